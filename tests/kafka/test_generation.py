"""More partitions, rehearsed on a real broker: the command interrupted before everything it does, killed, and run again."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from b3iq_schemas.envelope import verify
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, HOLDS
from b3iq_streams import kafka, regenerate, topics_admin
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.core.carry import in_force
from b3iq_streams.core.memory import read_change
from b3iq_streams.emit import Emission, from_event
from b3iq_streams.errors import UserError
from b3iq_streams.generation import KEPT
from b3iq_streams.processor.names import changelog
from b3iq_streams.regenerate import Change
from b3iq_streams.router.client import RouterClient
from b3iq_streams.settings import TrustSettings
from b3iq_streams.world import TRUST_FILE
from tests.kafka.load import Load
from tests.kafka.network import Network, until
from tests.kafka.recount import contents, finish
from tests.kafka.test_audit import Audit
from tests.kafka.witness import Witness

BEFORE, AFTER = 2, 4
NODES = [f"node-{i:02}" for i in range(1, 17)]
MOVED = [node for node in NODES if partition_for(node.encode(), BEFORE) != partition_for(node.encode(), AFTER)]
STAYED = [node for node in NODES if node not in MOVED]
HELD = {MOVED[0], MOVED[1], STAYED[0]}
RESUMED, LATE = MOVED[2], MOVED[3]
CLOSED = HELD | {LATE}


class Interrupted(BaseException):
    """Nobody catches it: the command ends where it is."""


class NextGeneration(Network):
    """The network after the change: its trust is what the command wrote."""

    @property
    def trust(self) -> RootTrust:
        """What everybody is configured with now."""
        return TrustSettings(trust=self.directory / "world" / TRUST_FILE).load()


def hold(network: Network, node_id: str, held: bool) -> Emission:
    """An operator's word."""
    at_ms = now_ms()
    event = {"network": network.world.network, "node_id": node_id, "seq": at_ms, "sent_at_ms": at_ms, "held": held,
             "reason": "disk swap", "actor": "op@example"}  # fmt: skip
    return from_event(HOLDS, event, network.world.roles["operator"])


async def say(network: Network, *emissions: Emission) -> None:
    """Append, acknowledged."""
    async with kafka.publisher(network.settings) as publisher:
        await publisher.publish(emissions)


def change(network: Network) -> Change:
    """What the test asks for."""
    return Change(
        network.trust, network.directory / "next.json", AFTER, (network.group, changelog(network.group)),
        network.world.roles["operator"], None,
    )  # fmt: skip


async def run(network: Network, say: Callable[[str], None] = print, dry_run: bool = False, **otherwise: Any) -> None:
    """The command, without its command line."""
    await regenerate.regenerate(replace(change(network), **otherwise), network.settings, say, dry_run)


def command(network: Network, archive: Path) -> list[str]:
    """The command, as an operator types it."""
    world = network.directory / "world"
    options = {
        "partitions": AFTER, "group": network.group, "operator-key": world / "operator.json", "trust": world / TRUST_FILE,
        "archive": archive, "out-trust": network.directory / "next.json", "bootstrap": network.settings.bootstrap,
    }  # fmt: skip
    named = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "b3iq_streams.cli", "topics", "regenerate", *named]


def killed_while_it_deletes(network: Network, archive: Path) -> int:
    """The exit code of a run that gets as far as deleting."""
    with subprocess.Popen(command(network, archive), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("delete heartbeats"):
                process.kill()
    return process.returncode


def finished(network: Network, archive: Path) -> tuple[int, str]:
    """Exit code and complaints of a run that nobody disturbs."""
    done = subprocess.run(command(network, archive), capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


async def lived(network: Network) -> None:
    """A first generation with a past: three nodes held, one held and resumed, the worker stopped properly, all folded."""
    async with Witness(network).watching() as witness:
        async with Load(network, nodes=len(NODES), scenario="healthy").running():
            worker = network.worker(static=False)
            await witness.progress()
            await say(network, *(hold(network, node, True) for node in sorted({*HELD, RESUMED})))
            await say(network, hold(network, RESUMED, False))
            await witness.progress()
        await witness.caught_up()
        await worker.stop()


def next_of(network: Network) -> NextGeneration:
    """The network as it is configured after the change."""
    directory = network.directory / "next"
    directory.mkdir()
    network.world.save(directory / "world")
    (directory / "world" / TRUST_FILE).write_bytes((network.directory / "next.json").read_bytes())
    return NextGeneration(network.settings, network.world, directory, AFTER, network.group, workers=network.workers)


async def say_late(network: Network) -> None:
    """A pause in the middle of the change, by a producer that does not know yet that there are more partitions."""
    late = hold(network, LATE, True)
    async with kafka.publisher(network.settings) as publisher:
        await (await publisher.send(*late, partition_for(late.key, BEFORE)))


def and_then_late(network: Network) -> Callable[..., Any]:
    """The step that deletes, and a late pause right after it: nothing but the last look can find that."""
    replace_topics = regenerate._Steps._replace

    async def step(self: Any, *arguments: Any) -> None:
        await replace_topics(self, *arguments)
        await say_late(network)

    return step


async def held(network: Network) -> set[str]:
    """Nodes that are held after the change, by the topics alone."""
    said = (await contents(network, KEPT)).values()
    return set(in_force([record for found in said for record in found], AFTER, network.trust, verify))


async def interrupted_everywhere(network: Network) -> list[str]:
    """Run the command again and again, each time ended after the one next thing that it does; all that it ever did."""
    done: list[str] = []
    while not (network.directory / "next.json").exists():
        said: list[str] = []

        def hear(line: str, said: list[str] = said) -> None:
            said.append(line)
            if len(said) > 2:  # the first line says what it is about
                raise Interrupted

        with contextlib.suppress(Interrupted):
            await run(network, hear)
        done.append(said[1])
        assert len(done) == len(set(done)), f"done twice: {done[-1]}"
        if done[-1] == f"delete {ELIGIBILITY_CHANGES}":
            await say_late(network)
    return done


@contextlib.asynccontextmanager
async def routers(network: Network, made: Network) -> AsyncIterator[tuple[RouterClient, RouterClient]]:
    """A router with the old trust file, and one with the new."""
    async with RouterClient(network.settings, network.trust) as old, RouterClient(network.settings, made.trust) as new:
        yield old, new


def granted(client: RouterClient) -> set[str]:
    """Nodes that a router would send paid calls to."""
    view = client.view
    return {candidate.node_id for partition in range(AFTER) for candidate in view.entries(partition).values()
            if candidate.eligible and view.states(now_ms(), monotonic_ms())[partition] is None}  # fmt: skip


def started_with_the_old_trust(network: Network) -> tuple[int, str]:
    """Exit code of a worker that was not given the new file, and the part of its line that tells the generations."""
    world = network.directory / "world"
    options = {"--bootstrap": network.settings.bootstrap, "--trust": world / TRUST_FILE, "--key": world / "processor.json",
               "--group": network.group, "--datadir": network.directory / "late"}  # fmt: skip
    words = [sys.executable, "-m", "b3iq_streams.cli", "processor", *(str(word) for pair in options.items() for word in pair)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    told = re.search(r"generation \d+, the trust file of generation \d+", done.stderr)
    return done.returncode, told[0] if told else done.stderr


async def second_life(network: Network) -> None:
    """The new generation: held nodes stay held, the others open once their senders spoke, and the audit finds all equal."""
    made = next_of(network)
    async with Witness(made).watching() as witness:
        made.worker(static=False)
        async with Load(made, nodes=len(NODES), scenario="healthy", junk=False).running(), routers(network, made) as (old, new):
            await until(lambda: granted(new) >= set(NODES) - CLOSED, "everybody else is open again")
            assert granted(new) == set(NODES) - CLOSED
            assert granted(old) == set()
            assert (2, "generation 2, the trust file of generation 1") == started_with_the_old_trust(network)
        await finish(made, witness)
    assert Audit(made).run("verify")[0] == 0
    chain = await contents(made, [ELIGIBILITY_CHANGES])
    opened = [read_change(record.value or b"") for partition in range(AFTER)
              for record in chain[ELIGIBILITY_CHANGES, partition] if record.key != b"~mark"]  # fmt: skip
    said = {node: [decision for key, _, decision in opened if key.startswith(node)] for node in CLOSED}
    for node, decisions in said.items():
        assert decisions, f"nothing was said of {node}"
        assert all(not decision["eligible"] for decision in decisions), f"{node} was opened"
        assert "operator_hold" in {leaf["code"] for leaf in decisions[-1]["failing"]}  # type: ignore[attr-defined]
    assert any(decision["eligible"] for key, _, decision in opened if key.startswith(RESUMED))


async def test_holds_outlive_a_change_of_partitions(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted at every step and finished: held nodes stay held, the resumed one opens, the old trust grants nothing."""
    monkeypatch.setattr(regenerate, "QUIET_MS", 0)
    await lived(network)
    rehearsed: list[str] = []
    await run(network, rehearsed.append, dry_run=True)
    assert not change(network).plan_file.exists()
    assert sum("sign again" in line for line in rehearsed) == len(HELD & set(MOVED)), rehearsed
    done = await interrupted_everywhere(network)
    assert {line.partition(":")[0] for line in rehearsed[1:-1]} <= {line.partition(":")[0] for line in done}
    assert sum(LATE in line for line in done) == 1
    await run(network, done.append)
    assert "nothing to do" in done[-1]
    await second_life(network)


async def test_it_refuses_what_it_cannot_prove(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processors that run or just ran, a key that cannot sign holds, an archive that ends too early, a lost plan: no step."""
    monkeypatch.setattr(regenerate, "QUIET_MS", 3_600_000)
    network.worker(static=False)
    async with Witness(network).watching() as witness:
        await witness.progress()
    with pytest.raises(UserError, match="stop every processor"):
        await run(network)
    await network.workers[0].stop()
    with pytest.raises(UserError, match="the chain grew"):
        await run(network)
    with pytest.raises(UserError, match="can only be carried to more"):
        await run(network, partitions=BEFORE)
    before = await contents(network, [HOLDS])
    monkeypatch.setattr(regenerate, "QUIET_MS", 0)
    with pytest.raises(UserError, match="no operator's"):
        await run(network, operator=network.world.roles["router"])
    with pytest.raises(UserError, match="audit export"):
        await run(network, archived=lambda: {kafka.Place(ELIGIBILITY_CHANGES, 0): 1})
    assert (before, False) == (await contents(network, [HOLDS]), change(network).plan_file.exists())
    monkeypatch.setattr(regenerate._Steps, "_replace", and_then_late(network))
    await run(network)
    assert {LATE} == await held(network)
    (network.directory / "next.json").unlink()
    with pytest.raises(UserError, match="can only be carried to more"):
        await run(network)


async def test_killed_and_run_again(network: Network) -> None:
    """As operators do it: export, the command, SIGKILL while it deletes, the command again; the topics are as they must be."""
    await lived(network)
    archive, quiet_at = network.directory / "archive", now_ms() + regenerate.QUIET_MS
    assert Audit(network).run("export", str(archive))[0] == 0
    await until(lambda: now_ms() > quiet_at, "the chain is silent for long enough")
    assert killed_while_it_deletes(network, archive) == -signal.SIGKILL
    assert change(network).plan_file.exists()
    async with kafka.admin(network.settings) as admin:
        with pytest.raises(UserError, match="not as they must be"):  # which is what a processor asks before it starts
            await topics_admin.require(admin)
    assert (0, "") == finished(network, archive)
    made = next_of(network)
    assert made.trust.generation == network.trust.generation + 1
    assert made.trust.genesis_processors[0] == network.trust.genesis_processors[0]
    async with kafka.admin(network.settings) as admin:
        assert [] == await topics_admin.differences(admin, partitions=AFTER)
    assert await held(network) == HELD
    assert Audit(network, archive).run("verify")[0] == 0
