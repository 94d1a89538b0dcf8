"""Brokers of a secured cluster die under load, one after the other: no fact that was acknowledged is ever missing.

`make soak` sets B3IQ_SOAK_KILLS to 50.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from b3iq_schemas.topics import ELIGIBILITY_CHANGES
from b3iq_streams.core.records import Record
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


@pytest.fixture
async def network(secured: Cluster, tmp_path: Path) -> AsyncIterator[Network]:
    """A network of one partition on three brokers, whose worker connects as the processor."""
    made = await Network.on_secured(secured, tmp_path, 1)
    yield made
    for worker in made.workers:
        worker.remove()


async def partitions(network: Network) -> list[tuple[int, int]]:
    """The leader of each partition of every topic (-1: none), and how many replicas are in sync; the chain's comes first."""
    async with admin_client(network.settings) as client:
        described = await client.describe_topics()
    topics = sorted(described, key=lambda topic: topic["topic"] != ELIGIBILITY_CHANGES)
    return [(part["leader"], len(part["isr"])) for topic in topics for part in topic["partitions"]]


async def whole_again(network: Network) -> None:
    """Wait until every partition has a leader and all its replicas in sync."""
    async with asyncio.timeout(PATIENCE_S):
        while any(leader < 0 or in_sync < REPLICAS for leader, in_sync in await partitions(network)):  # noqa: ASYNC110  remote
            await asyncio.sleep(0.2)


def missing(load: Load, found: dict[tuple[str, int], list[Record]]) -> list[str]:
    """Facts that were acknowledged and are not in the logs: not where they were said to be, or nowhere."""
    values = {place: {record.value for record in records} for place, records in found.items()}
    lost = []
    for emission, placed in load.acknowledged:
        records = found[placed.topic, placed.partition]
        here = records[placed.offset].value if 0 <= placed.offset < len(records) else None
        known = emission.value in values[placed.topic, placed.partition]
        if (placed.offset >= 0 and here != emission.value) or not known:
            lost.append(f"{placed} holds something else, or nothing")
    return lost


async def settled(network: Network, witness: Witness, load: Load) -> None:
    """Everything acknowledged is in the logs and folded, the chain is whole, and the recount gives the same bytes."""
    (recount,) = await finish(network, witness)
    topics = {placed.topic for _, placed in load.acknowledged}
    found = await contents(network, sorted(topics))
    assert load.acknowledged
    assert [] == missing(load, found)
    assert all(recount.head.cut[topic] == len(found[topic, 0]) for topic in topics)


async def test_leaders_are_killed_one_after_the_other(secured: Cluster, network: Network) -> None:
    """The chain's leader is killed with SIGKILL again and again, each time while all replicas are in sync; then a router
    and an auditor, with their own passwords, see a whole network."""
    async with Witness(network).watching() as witness, network.supervised(network.worker):
        async with Load(network, nodes=9).running() as load:
            await witness.progress()
            for _ in range(KILLS):
                leader, _ = (await partitions(network))[0]
                acknowledged = load.sent
                secured.kafka.kill(leader - 1)
                await until(lambda before=acknowledged: load.sent > before, "facts acknowledged without it", PATIENCE_S)  # type: ignore[misc]
                await asyncio.to_thread(secured.kafka.start)
                await whole_again(network)
            await witness.progress(3, PATIENCE_S)
            await _a_router_follows(secured, network)
        await witness.caught_up()
    await settled(network, witness, load)
    assert "equal" == _audited(secured, network)


async def _a_router_follows(secured: Cluster, network: Network) -> None:
    async with RouterClient(secured.settings("router"), network.trust) as client:
        await until(lambda: any(head.epoch > 0 for head in client.view.heads()), "the router follows the chain")


def _audited(secured: Cluster, network: Network) -> str:
    trust = network.directory / "world" / TRUST_FILE
    command = [sys.executable, "-m", "b3iq_streams.cli", "audit", "verify", "--json", "--trust", str(trust)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=secured.environment("auditor"), timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return str(orjson.loads(done.stdout)["verdict"])


@contextmanager
def full_disk(cluster: Cluster, node: int) -> Iterator[None]:
    """A disk of its own under a stopped node's data, which fills up while the block runs."""
    cluster.kafka.kill(node)
    data, aside = cluster.kafka.data(node), cluster.kafka.data(node).with_suffix(".aside")
    data.rename(aside)
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(data)], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", str(data)], check=True)
        cluster.kafka.start()
        yield
    finally:
        cluster.kafka.kill(node)
        (data / "filler").unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", str(aside)], check=True)
        subprocess.run(["cp", "-a", f"{data}/.", str(aside)], check=True)
        subprocess.run(["umount", str(data)], check=True)
        data.rmdir()
        aside.rename(data)
        cluster.kafka.start()


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with (path / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            return


async def test_a_full_disk_on_one_broker(secured: Cluster, network: Network) -> None:
    """It takes that broker out, not the network: facts are acknowledged and folded by the other two; with space again, the
    broker catches up."""
    leader, _ = (await partitions(network))[0]
    with full_disk(secured, leader - 1):
        await whole_again(network)
        async with Witness(network).watching() as witness, network.supervised(network.worker):
            async with Load(network, nodes=9).running() as load:
                await witness.progress()
                await asyncio.to_thread(fill, secured.kafka.data(leader - 1))
                await until(lambda: not secured.kafka.running(leader - 1), "the broker gives up", PATIENCE_S)
                await witness.progress(3, PATIENCE_S)
            await witness.caught_up()
        await settled(network, witness, load)
    await whole_again(network)
