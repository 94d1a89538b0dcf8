"""The host agent on a real broker, as a program: it makes its node eligible, says goodbye, and never repeats itself."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from nacl.signing import SigningKey

from b3iq_schemas.envelope import keyid, parse
from b3iq_schemas.events import Heartbeat
from b3iq_schemas.topics import BENCHMARKS, DEAD_LETTERS, HEARTBEATS, REGISTRATIONS, ROUTE_HEALTH
from b3iq_streams import keys
from b3iq_streams.clock import now_ms
from b3iq_streams.devkafka import LocalKafka
from b3iq_streams.emit import from_event
from b3iq_streams.kafka import publisher, source
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.partition import Step, ViewSettings
from b3iq_streams.world import TRUST_FILE
from tests.factory import benchmark_event, registration_event, route_event
from tests.kafka.network import ROOT, Network, until
from tests.kafka.secured import Cluster
from tests.node.runtimes import VLLM, Served, inventory_text, serving

NODE = "node-1"
KEY = f"{NODE}/p0"
LONG: dict[str, Any] = {"heartbeat_ttl_ms": 30_000, "route_health_ttl_ms": 600_000, "benchmark_ttl_ms": 600_000}


class Host:
    """One GPU host: a stand-in runtime, an inventory, a sealed key, and the agent as a process."""

    def __init__(self, network: Network, runtime: Served) -> None:
        self.network, self.runtime, self.directory = network, runtime, network.directory / "host"
        self.directory.mkdir()
        self.key, self.inventory = self.directory / "key.json", self.directory / "inventory.toml"
        self.phrase = self.directory / "phrase"
        self.phrase.touch(0o600)
        self.phrase.write_text("correct horse battery\n")
        self.signing = SigningKey.generate()
        keys.save(self.signing, self.key, b"correct horse battery")
        self.inventory.write_text(inventory_text(runtime.url, network=network.world.network))
        self.agents: list[subprocess.Popen[bytes]] = []
        self.user: dict[str, str] = {}
        self.log = self.directory / "agent.log"

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "B3IQ_BOOTSTRAP": self.network.settings.bootstrap,
            "B3IQ_TRUST": str(self.network.directory / "world" / TRUST_FILE),
            "B3IQ_KEY_PASSPHRASE_FILE": str(self.phrase),
            "B3IQ_NODE_STATE": str(self.directory / "state"),
            **self.user,
        }

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "b3iq_streams.cli", "node", *arguments, "--inventory", str(self.inventory)]

    def agent(self, drain_s: float = 0.5) -> subprocess.Popen[bytes]:
        """Start the agent; its probe has time enough for a runtime on a busy machine."""
        pace = ("--interval", "0.3", "--drain", str(drain_s), "--probe-timeout", "10")
        command = self._command("run", "--key", str(self.key), *pace)
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=self._environment)
        self.agents.append(process)
        return process

    def program(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run another `node` command to its end."""
        return subprocess.run(
            self._command(*arguments), capture_output=True, text=True, cwd=ROOT, env=self._environment, timeout=60, check=False
        )

    async def beats(self) -> list[Heartbeat]:
        """Every heartbeat in the log, whoever wrote it, in order."""
        async with source(self.network.settings) as reader:
            found = await reader.read(HEARTBEATS)
        return [Heartbeat.model_validate_json(parse(record.value or b"").payload) for record in found]

    async def letters(self) -> list[str]:
        """The codes of all dead letters."""
        async with source(self.network.settings) as reader:
            return [orjson.loads(record.value or b"")["code"] for record in await reader.read(DEAD_LETTERS)]

    async def say(self, **registration: Any) -> None:
        """What control plane, observer and broker say of the node, all of it good unless told otherwise."""
        world, at_ms = self.network.world, now_ms()
        mine = {"network": world.network}
        listed = [keys.possession(self.signing, world.network, NODE)]
        facts = [
            (REGISTRATIONS, "control-plane", registration_event(NODE, at_ms) | {"keys": listed} | registration),
            (BENCHMARKS, "observer", benchmark_event(NODE, at_ms)),
            (ROUTE_HEALTH, "broker", route_event(NODE, at_ms)),
        ]
        async with publisher(self.network.settings) as out:
            await out.publish([from_event(topic, event | mine, world.roles[role]) for topic, role, event in facts])


@contextmanager
def hosted(network: Network) -> Iterator[Host]:
    """A host on a network; its agents do not outlive the block."""
    with serving(VLLM) as runtime:
        host = Host(network, runtime)
        try:
            yield host
        finally:
            for process in host.agents:
                if process.poll() is None:
                    process.kill()
                process.wait()


@asynccontextmanager
async def routing(network: Network) -> AsyncIterator[tuple[RouterClient, list[tuple[str, ...]]]]:
    """A router's view, and every set of blocking codes that the node's profile had since it was synced."""
    seen: list[tuple[str, ...]] = []

    def watch(step: Step) -> None:
        entry = client.view.entries(step.partition).get(KEY)
        if entry and (not seen or seen[-1] != entry.codes):
            seen.append(entry.codes)

    client = RouterClient(network.settings, network.trust, ViewSettings(bound_ms=30_000), watch=watch)
    async with client:
        assert await client.synced(30)
        yield client, seen


@pytest.fixture
async def settled(owned_kafka: LocalKafka, tmp_path: Path) -> AsyncIterator[Network]:
    """A network whose routes and benchmarks last, with one worker."""
    made = await Network.create(owned_kafka.bootstrap, tmp_path, 2, **LONG)
    made.worker()
    yield made
    for worker in made.workers:
        worker.remove()


async def test_a_life(settled: Network) -> None:
    """Eligible once everything is said; a runtime that fails closes it, its return opens it; killed and started anew it goes
    on with nothing refused; SIGTERM closes it with node_draining, then node_offline; `check` explains on the way."""
    with hosted(settled) as host:
        await host.say()
        async with routing(settled) as (_, seen):
            first = host.agent()
            await until(lambda: seen[-1:] == [()], f"eligible: {host.log.read_text()}")
            checked = host.program("check", "--key", str(host.key))
            assert (0, "") == (checked.returncode, checked.stderr)
            assert "✓ p0  eligible" in checked.stdout

            second = host.program("run", "--key", str(host.key))
            assert (2, 1) == (second.returncode, second.stderr.count("\n"))
            assert "another agent runs" in second.stderr

            health = host.runtime.answers.pop("/health")
            await until(lambda: bool(seen) and "runtime_unreachable" in seen[-1], "the runtime's failure")
            checked = host.program("check")
            assert 1 == checked.returncode
            assert "runtime_unreachable: the runtime does not answer" in checked.stdout
            assert "next: start or configure the runtime, rerun the probe" in checked.stdout
            host.runtime.answers["/health"] = health
            await until(lambda: seen[-1] == (), "the runtime's return")

            first.kill()
            first.wait()
            last = host.agent(drain_s=4)  # long enough for an epoch in which it drains
            await until(lambda: host.log.read_text().count("profile p0: installed") == 3, "the second boot's first probe")
            await until(lambda: seen[-1] == (), "eligible again")
            last.send_signal(signal.SIGTERM)
            await until(lambda: last.poll() is not None, "the agent's end")
            assert 0 == last.returncode, host.log.read_text()
            await until(lambda: "node_offline" in seen[-1], f"offline: {seen}")
        assert [] != [codes for codes in seen if "node_draining" in codes]
        assert [] == await host.letters()
        beats = await host.beats()
    places = [(beat.boot, beat.seq) for beat in beats]
    assert sorted(set(places)) == places
    assert 1 == places[-1][0] - places[0][0]
    states = [beat.state for beat in beats]
    assert states == sorted(states, key=["online", "draining", "offline"].index)
    assert 1 == states.count("offline")


async def test_a_lost_state_and_a_new_key(settled: Network) -> None:
    """Without its sequence file the node goes on above the log; a rotation changes the key only when it is listed, and
    while the agent runs; an unregistered key is explained; nothing is refused but what that key signed."""
    with hosted(settled) as host:
        process = host.agent()
        await until(lambda: "begins boot" in host.log.read_text(), "the first boot")
        await until_letters(host, "unauthorized")
        checked = host.program("check", "--key", str(host.key))
        assert 1 == checked.returncode
        assert "enrolment_missing" in checked.stdout
        assert "unauthorized: a heartbeat logged" in checked.stdout
        process.kill()
        process.wait()
        (host.directory / "state" / settled.world.network / NODE / "sequence.json").unlink()
        await host.say()
        async with routing(settled) as (_, seen):
            host.agent()
            await until(lambda: seen[-1:] == [()], f"eligible: {host.log.read_text()}")
            boots = sorted({beat.boot for beat in await host.beats()})
            assert 2 == len(boots) == boots[-1] - boots[0] + 1
            said = host.log.read_text()
            assert said.index("taken for a new one") < said.index("since the node was registered")

            begun = host.program("rotate", "--key", str(host.key))
            entries = orjson.loads(begun.stdout)["keys"]
            early = host.program("rotate", "--key", str(host.key), "--finish")
            assert (2, True) == (early.returncode, "no registration lists" in early.stderr)
            await host.say(keys=entries)
            refused = len(await host.letters())
            done = host.program("rotate", "--key", str(host.key), "--finish")
            assert (0, "") == (done.returncode, done.stderr)
            await until(lambda: "from now on" in host.log.read_text(), "the new key")
            await host.say(keys=entries[1:])
            await until_signed(host, keyid(bytes.fromhex(entries[1]["public_key"])))
            await until(lambda: seen[-1] == (), f"eligible with the new key: {seen}")
        assert refused == len(await host.letters())
        assert {"unauthorized"} == set(await host.letters())


async def test_on_a_cluster_with_access_rules(secured: Cluster, tmp_path: Path) -> None:
    """As the user `node` and with no more rights than that has, it speaks, is killed, goes on above, and says goodbye; with a
    wrong password it ends with one line, in which the password is not."""
    network = await Network.on_secured(secured, tmp_path, 1)
    with hosted(network) as host:
        host.user = secured.environment("node")
        first = host.agent()
        await until(lambda: host.log.read_text().count("profile p0: installed") == 1, "the first boot")
        while len(await host.beats()) < 2:
            assert first.poll() is None, host.log.read_text()
        first.kill()
        first.wait()
        last = host.agent()
        await until(lambda: host.log.read_text().count("profile p0: installed") == 2, "the second boot")
        last.send_signal(signal.SIGTERM)
        await until(lambda: last.poll() is not None, "the agent's end")
        assert 0 == last.returncode, host.log.read_text()
        beats = await host.beats()
        places = [(beat.boot, beat.seq) for beat in beats]
        assert sorted(set(places)) == places
        assert 2 == len({boot for boot, _ in places})
        assert "offline" == beats[-1].state

        explained = host.program("check", "--key", str(host.key), "--timeout", "1")
        assert (1, "") == (explained.returncode, explained.stderr)
        assert "enrolment_missing" in explained.stdout
        assert "this user may not read dead-letters" in explained.stdout

        host.user["B3IQ_SASL_PASSWORD"] = "a-wrong-one"
        refused = host.program("run", "--key", str(host.key))
        assert (2, 1) == (refused.returncode, refused.stderr.count("\n")), refused.stderr
        assert "wrong name or password" in refused.stderr
        assert "a-wrong-one" not in refused.stderr


async def until_letters(host: Host, code: str) -> None:
    """Wait for a refusal."""
    for _ in range(400):
        if code in await host.letters():
            return
    raise AssertionError(f"no {code}: {host.log.read_text()}")


async def until_signed(host: Host, by: str) -> None:
    """Wait for a heartbeat by this key."""
    for _ in range(400):
        async with source(host.network.settings) as reader:
            found = await reader.read(HEARTBEATS)
        if parse(found[-1].value or b"").signatures[0].keyid == by:
            return
    raise AssertionError(f"never signed by {by}: {host.log.read_text()}")
