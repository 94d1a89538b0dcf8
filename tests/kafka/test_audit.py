"""The audit on a real Kafka log, with crashes, zombies, rebalances and lies in it: the same bytes from wherever it reads."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from b3iq_schemas.canonical import canonical
from b3iq_schemas.decisions import ROUTING_DECISION_V1
from b3iq_schemas.envelope import parse, sign
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, HEARTBEATS, ROUTING_DECISIONS
from b3iq_streams import kafka
from b3iq_streams.clock import now_ms
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.log import DecisionLog
from b3iq_streams.router.request import Request
from b3iq_streams.world import TRUST_FILE, demo_policy
from tests.kafka.load import Load
from tests.kafka.network import SECOND, TIMES, Network
from tests.kafka.recount import contents, finish
from tests.kafka.support import admin_client
from tests.kafka.test_processor_members import SESSION_MS, owned
from tests.kafka.witness import Witness
from tests.shells.router_lab import caller

SECRET = b"0123456789abcdef"
CALL_EVERY_S = 0.05
NODE = "node-01"


class Audit:
    """The command, as an analyst runs it."""

    def __init__(self, network: Network, archive: Path | None = None) -> None:
        self._source = ["--archive", str(archive)] if archive else ["--bootstrap", network.settings.bootstrap]
        self._trust = ["--trust", str(network.directory / "world" / TRUST_FILE)]

    def run(self, *arguments: str, seed: str = "0") -> tuple[int, bytes]:
        """Exit code and what was printed."""
        command = [sys.executable, "-m", "b3iq_streams.cli", "audit", *arguments, *self._source, *self._trust]
        done = subprocess.run(command, capture_output=True, check=False, env=os.environ | {"PYTHONHASHSEED": seed}, timeout=240)
        assert done.returncode in (0, 1, 3), done.stderr.decode()
        return done.returncode, done.stdout or done.stderr

    def data(self, *arguments: str) -> dict[str, Any]:
        """A document, from a command that finds nothing wrong."""
        code, said = self.run(*arguments, "--json")
        assert code == 0, said[:3_000]
        document: dict[str, Any] = orjson.loads(said)
        return document


@asynccontextmanager
async def calls(network: Network) -> AsyncIterator[None]:
    """Paid calls for the length of a block, each decision logged."""
    async with kafka.publisher(network.settings) as publisher:
        decisions = DecisionLog(publisher, network.world.roles["router"], SECRET)
        async with RouterClient(network.settings, network.trust, decisions=decisions) as client:

            async def call() -> None:
                while True:
                    for model in sorted(client.view.models()) or ["no-such-model"]:
                        await client.pick(Request(model, caller()))
                    await asyncio.sleep(CALL_EVERY_S)  # the rate of the load

            task = asyncio.create_task(call())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def eventful(network: Network) -> None:
    """A log with a crash, a zombie, rebalances, refusals and paid calls in it."""
    async with Witness(network).watching() as witness:
        async with Load(network).running(), calls(network):
            options: dict[str, Any] = {"static": False, "session_timeout_ms": SESSION_MS}
            first = network.worker("a", **options)
            await owned(network, witness, first=2)
            await witness.progress()
            first.signal(signal.SIGKILL)
            zombie = network.worker("b", key=SECOND, **options)
            await owned(network, witness, second=2)
            zombie.signal(signal.SIGSTOP)
            network.worker("c", **options)
            await owned(network, witness, first=2)
            zombie.signal(signal.SIGCONT)
            await zombie.ends()
            await witness.progress()
        await finish(network, witness)


async def lie(network: Network) -> None:
    """A router with a listed key sends a call to a node that its view says is not eligible."""
    found = await contents(network, [ROUTING_DECISIONS, ELIGIBILITY_CHANGES])
    honest = next(
        decision
        for (topic, _), records in sorted(found.items())
        if topic == ROUTING_DECISIONS
        for decision in (orjson.loads(parse(record.value or b"").payload) for record in records)
        if decision["allowed"]
    )
    forged = honest | {"decision_id": "f" * 32, "model_id": "a-model-it-does-not-serve", "decided_at_ms": now_ms()}
    value = sign(ROUTING_DECISION_V1, canonical(forged), [network.world.roles["router"]])
    async with kafka.publisher(network.settings) as publisher:
        await publisher.publish([(ROUTING_DECISIONS, b"f" * 32, value)])


async def forget(network: Network, topic: str, share: float) -> None:
    """What retention does: a share of every partition of a topic goes, oldest first."""
    async with kafka.source(network.settings) as source:
        ends = await source.end_offsets(await source.partitions(topic))
    async with admin_client(network.settings.bootstrap) as client:
        await client.delete_records({TopicPartition(*place): RecordsToDelete(int(end * share)) for place, end in ends.items()})


async def test_an_audit_of_an_eventful_log(network: Network, tmp_path: Path) -> None:
    """Verified, explained and exported, from Kafka and from the archive, over one process or two: the same bytes; a lying
    router is caught; and what retention takes is called expired."""
    await eventful(network)
    live, archive = Audit(network), Audit(network, tmp_path / "archive")
    verified = live.run("verify", "--json", "--processes", "1")
    assert 0 == verified[0], verified[1][:3_000]
    assert "equal" == orjson.loads(verified[1])["verdict"]
    assert verified == live.run("verify", "--json", "--processes", "2", seed="1")
    assert 0 == live.run("export", str(tmp_path / "archive"))[0]
    assert verified == archive.run("verify", "--json", "--processes", "2", seed="2")

    questions = [
        ("decisions", "--json"), ("explain", NODE, "p0", "--json"), ("explain", NODE, "p0"), ("timeline", NODE, "--json"),
        ("whatif", str(candidate(network, tmp_path)), "--json"),
    ]  # fmt: skip
    for question in questions:
        answer = live.run(*question, seed="3")
        assert 0 == answer[0], answer[1][:3_000]
        assert answer == archive.run(*question, seed="4")
    verdicts = live.data("decisions")["verdicts"]
    assert 0 == verdicts["violation"]
    assert verdicts["justified"] > 10

    await lie(network)
    code, said = live.run("decisions")
    assert 1 == code
    assert b"violation" in said

    middle = str(orjson.loads(verified[1])["partitions"][0]["resolved_at_ms"])
    await forget(network, HEARTBEATS, 0.5)
    code, said = live.run("explain", NODE, "p0", "--at", str(int(middle) - 3_600_000))
    assert (3, b"evidence expired") == (code, said[:16])
    assert 0 == live.run("explain", NODE, "p0")[0]
    assert b"older evidence is gone" in live.run("verify")[1]


def candidate(network: Network, directory: Path) -> Path:
    """A policy that somebody might think of: heartbeats live for a third of the time."""
    path = directory / "candidate.json"
    policy = demo_policy(network.world, now_ms(), 9, **(TIMES | {"heartbeat_ttl_ms": 1_000}))
    path.write_text(policy.model_dump_json())
    return path
