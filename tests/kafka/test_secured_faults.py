"""Brokers of a secured cluster die under load, one after the other: no fact that was acknowledged is ever missing.

`make soak` sets B3IQ_SOAK_KILLS to 50.
"""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from b3iq_schemas.topics import CHECKPOINT, ELIGIBILITY_CHANGES, HEARTBEATS, ROUTE_HEALTH
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.core.records import Record
from b3iq_streams.emit import Emission
from b3iq_streams.kafka import Placed
from b3iq_streams.processor.names import GROUP
from b3iq_streams.router.client import RouterClient
from b3iq_streams.world import TRUST_FILE
from tests.kafka.load import Load
from tests.kafka.network import ROOT, Network, until
from tests.kafka.recount import contents, finish
from tests.kafka.secured import Cluster
from tests.kafka.support import admin_client
from tests.kafka.witness import Witness

KILLS = int(os.environ.get("B3IQ_SOAK_KILLS", "10"))
PATIENCE_S = 90.0
REPLICAS = 3
THE_GROUP = "the processor's group"
TARGETS = (ELIGIBILITY_CHANGES, THE_GROUP, HEARTBEATS, CHECKPOINT, ROUTE_HEALTH)
"""Whose leader is killed, in turn: the chain's, the group's coordinator, those of inputs and of the checkpoint."""
RESTARTS_MAX = 1
"""How often the worker may start again for each broker that dies."""
Logs = Mapping[tuple[str, int], list[Record]]


class Part(NamedTuple):
    """A partition as the cluster has it; leader -1: none."""

    topic: str
    leader: int
    in_sync: int


@pytest.fixture
async def network(secured: Cluster, tmp_path: Path) -> AsyncIterator[Network]:
    """A network of one partition on three brokers, whose worker connects as the processor. Who says facts is as patient as the
    test: how soon a broker is replaced is no matter of the machine's load."""
    made = await Network.on_secured(secured, tmp_path, 1)
    made.settings = made.settings.model_copy(update={"delivery_s": PATIENCE_S})
    yield made
    for worker in made.workers:
        worker.remove()


async def partitions(network: Network) -> list[Part]:
    """Every partition of every topic, Kafka's own included."""
    async with admin_client(network.settings) as client:
        described = await client.describe_topics()
    return [Part(topic["topic"], one["leader"], len(one["isr"])) for topic in described for one in topic["partitions"]]


async def leader(network: Network, target: str) -> int:
    """The broker that leads a topic of one partition, or coordinates the group."""
    if target == THE_GROUP:
        async with admin_client(network.settings) as client:
            return int(await client.find_coordinator(GROUP))
    return next(part.leader for part in await partitions(network) if part.topic == target)


async def whole_again(network: Network) -> None:
    """Wait until every partition has a leader and all its replicas in sync."""
    found: list[Part] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not found or any(part.leader < 0 or part.in_sync < REPLICAS for part in found):
                found = await partitions(network)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not whole again within {PATIENCE_S:g} s: {found}") from None


def missing(acknowledged: Sequence[tuple[Emission, Placed]], logs: Logs) -> list[str]:
    """Facts that were acknowledged and are not in the logs: not where they were said to be, or (without a place) nowhere."""
    values = {place: {record.value for record in records} for place, records in logs.items()}
    lost = []
    for emission, placed in acknowledged:
        records = logs[placed.topic, placed.partition]
        here = records[placed.offset].value if 0 <= placed.offset < len(records) else None
        known = emission.value in values[placed.topic, placed.partition]
        if (placed.offset >= 0 and here != emission.value) or not known:
            lost.append(f"{placed} holds something else, or nothing")
    return lost


async def settled(network: Network, witness: Witness, load: Load) -> None:
    """Everything acknowledged is in the logs and folded, the recount gives the same bytes, and who followed all along saw the
    records and accepted the epochs that who reads afresh does: nothing that was read has been taken back."""
    (recount,) = await finish(network, witness)
    logs = await contents(network, sorted({place.topic for place in network.places}))
    assert load.acknowledged
    assert [] == missing(load.acknowledged, logs)
    assert all(recount.head.cut[placed.topic] > placed.offset for _, placed in load.acknowledged)
    assert [] == [place for place, seen in witness.records.items() if seen != logs[place.topic, place.partition][: len(seen)]]


@contextmanager
def telling(killed: list[str]) -> Iterator[None]:
    """Let a failure say which brokers had been killed, and for what."""
    try:
        yield
    except Exception as error:
        error.add_note(f"killed so far: {', '.join(killed) or 'none'}")
        raise


async def test_leaders_are_killed_one_after_the_other(secured: Cluster, network: Network) -> None:
    """The leader of the chain, of inputs, of the checkpoint and of the group is killed with SIGKILL in turn, under load and
    while all replicas are in sync; each time facts are acknowledged and folded without it. A router that was there all along
    and an auditor, with their own passwords, see a whole network."""
    killed, began_ms = list[str](), monotonic_ms()
    with telling(killed):
        async with (
            Witness(network).watching() as witness,
            network.supervised(network.worker),
            RouterClient(secured.settings("router"), network.trust) as router,
        ):
            async with Load(network, nodes=9).running() as load:
                await witness.progress()
                for target in itertools.islice(itertools.cycle(TARGETS), KILLS):
                    await whole_again(network)
                    node = await leader(network, target)
                    secured.kafka.kill(node - 1)
                    killed.append(f"{node} ({target})")
                    await _goes_on(load, witness)
                    await _moved(network, target, node)
                    await asyncio.to_thread(secured.kafka.start)
            await whole_again(network)
            await witness.caught_up()
            epoch = witness.epochs[0]
            await until(lambda: router.view.heads()[0].epoch >= epoch, "the router follows the chain", PATIENCE_S)
        await settled(network, witness, load)
        assert "equal" == _audited(secured, network)
        assert len(network.workers) - 1 <= KILLS * RESTARTS_MAX
    seconds, restarts = (monotonic_ms() - began_ms) // 1_000, len(network.workers) - 1
    print(f"{KILLS} kills in {seconds} s: {load.sent} facts folded, {witness.epochs[0]} epochs, {restarts} restarts")


async def _moved(network: Network, target: str, node: int) -> None:
    """Wait until another broker leads. What was acknowledged since may have been on its way when the old one died."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await leader(network, target) == node:  # noqa: ASYNC110  what brokers know of each other signals nothing
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{node} still leads {target} after {PATIENCE_S:g} s") from None


async def _goes_on(load: Load, witness: Witness) -> None:
    """Wait until facts that were said from now on are acknowledged, and an epoch from now on is accepted."""
    sent = load.sent
    await until(lambda: load.sent > sent, "facts acknowledged without it", PATIENCE_S)
    await witness.progress(1, PATIENCE_S)


def _audited(secured: Cluster, network: Network) -> str:
    trust = network.directory / "world" / TRUST_FILE
    command = [sys.executable, "-m", "b3iq_streams.cli", "audit", "verify", "--json", "--trust", str(trust)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=secured.environment("auditor"), timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return str(orjson.loads(done.stdout)["verdict"])


async def test_a_broker_that_cannot_write(secured: Cluster, network: Network) -> None:
    """Every write to a file fails on the chain's leader, as on a full or a read-only disk (it is refused by the kernel, EFBIG):
    that takes the broker out, not the network: facts are acknowledged and folded by the other two. With a disk again, the
    broker catches up."""
    await whole_again(network)
    node = await leader(network, ELIGIBILITY_CHANGES)
    with telling([f"{node} (no disk)"]):
        async with Witness(network).watching() as witness, network.supervised(network.worker):
            async with Load(network, nodes=9).running() as load:
                await witness.progress()
                secured.kafka.refuse_writes(node - 1)
                await until(lambda: not secured.kafka.running(node - 1), "the broker gives up", PATIENCE_S)
                await _goes_on(load, witness)
                await _moved(network, ELIGIBILITY_CHANGES, node)
                await asyncio.to_thread(secured.kafka.start)
                await whole_again(network)
            await witness.caught_up()
        await settled(network, witness, load)


def test_a_missing_fact_is_noticed() -> None:
    """What the tests above hold the logs against does find a loss: a fact overwritten, cut off, or never stored."""
    facts = [Emission(HEARTBEATS, b"k", value) for value in (b"one", b"two", b"three")]
    said = [(fact, Placed(HEARTBEATS, 0, offset)) for offset, fact in enumerate(facts)]
    whole = [Record(HEARTBEATS, 0, offset, b"k", fact.value, 0, 1) for offset, fact in enumerate(facts)]
    twice = [(facts[2], Placed(HEARTBEATS, 0, -1))]
    place = (HEARTBEATS, 0)
    assert [] == missing(said + twice, {place: whole})
    assert 1 == len(missing(said, {place: whole[:2]}))
    assert 2 == len(missing(said, {place: [whole[0], whole[2], whole[1]]}))
    assert 1 == len(missing(twice, {place: whole[:2]}))
