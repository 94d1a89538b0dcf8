"""What one has to buy: bytes on disk per fact and per epoch, memory per node, and how long a rebuild from the topics takes.

Heartbeats are appended one by one, each a batch of its own, as host agents send them. Memory is what a fresh worker holds
after it restored its checkpoint, with few and with many nodes; the difference is the nodes'.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from b3iq_schemas.topics import (
    BENCHMARKS,
    CHECKPOINT,
    ELIGIBILITY_CHANGES,
    HEARTBEATS,
    INPUTS,
    REGISTRATIONS,
    ROUTE_HEALTH,
    TOPICS,
)
from b3iq_streams import kafka
from b3iq_streams.clock import now_ms
from b3iq_streams.devkafka import LocalKafka
from b3iq_streams.processor.names import changelog
from tests.bench.bench_restart import settle
from tests.bench.facts import Facts, node_name
from tests.bench.network import Network, Seen
from tests.bench.table import Options, Row

PARTITIONS = 4
RECORDS = 500
FEW, MANY, MANY_QUICK = 500, 20_500, 4_500
IDLE_EPOCHS = 40
FRESH = "b3iq-fresh"


def run(options: Options) -> Iterator[Row]:
    """Disk first, on topics that are empty; then memory; then the rebuild."""
    many = MANY_QUICK if options.quick else MANY
    with tempfile.TemporaryDirectory(prefix="b3iq-bench-") as home, LocalKafka() as local:
        net = Network(local.bootstrap, Path(home), PARTITIONS)
        assert local._home is not None
        yield from disk(net, local._home)
    with tempfile.TemporaryDirectory(prefix="b3iq-bench-") as home, LocalKafka() as local:
        net = Network(local.bootstrap, Path(home), PARTITIONS)
        assert local._home is not None
        settle(net, FEW)
        few = resident(net)
        idle = idle_bytes(net, local._home)
        settle_more(net, many)
        nodes = many - FEW
        per_node = (resident(net) - few) / nodes
        yield Row("processor memory without nodes", "", f"{(few - per_node * FEW) / 2**20:.0f} MiB")
        yield Row("processor memory per node of one profile", "", f"{per_node / 2**10:.1f} KiB", f"{many:,} nodes restored")
        yield Row("checkpoint on disk per node, once compacted", "", f"{checkpoint_bytes(net):,.0f} B")
        yield Row("chain on disk per idle epoch", "", f"{idle:,.0f} B")
        seconds, records = rebuild(net)
        yield Row(
            "rebuild from the topics alone, start to live", "", f"{seconds:.1f} s", f"{records:,} records of {many:,} nodes"
        )


def disk(net: Network, home: Path) -> Iterator[Row]:
    """Bytes per fact, each appended alone."""
    for profiles in (1, 3):
        before = {topic: size(home, topic) for topic in TOPICS}
        asyncio.run(_append(net, profiles))
        grown = {topic: (size(home, topic) - before[topic]) / RECORDS for topic in TOPICS}
        yield Row(f"disk per heartbeat, profiles: {profiles}", "", f"{grown[HEARTBEATS]:,.0f} B", "one replica")
        if profiles == 1:
            for topic in (REGISTRATIONS, BENCHMARKS, ROUTE_HEALTH):
                yield Row(f"disk per record of {topic}", "", f"{grown[topic]:,.0f} B", "one replica")


async def _append(net: Network, profiles: int) -> None:
    facts = Facts(net.world, profiles)
    async with kafka.publisher(net.settings) as publisher:
        for number in range(RECORDS):
            name = node_name(number)
            for emission in (*facts.introduction(name, now_ms()), facts.heartbeat(name, 1, now_ms())):
                await (await publisher.send(*emission))


def size(home: Path, topic: str) -> int:
    """Bytes of a topic's segments."""
    return sum(path.stat().st_size for path in home.rglob(f"{topic}-[0-9]*/*.log"))


def settle_more(net: Network, many: int) -> None:
    """As `settle`, for the nodes after the few."""
    net.fill(many - FEW, profiles=1, seqs=(1, 2), introduce=True, first=FEW)
    with net.marks() as marks, net.worker("--instance", "w") as worker:
        net.folded(worker, marks)
        worker.end()


def resident(net: Network) -> int:
    """Bytes of a worker's memory, once it is live after a proper stop of the last one."""
    with net.marks() as marks, net.worker("--instance", "w") as worker:
        net.wait(worker, marks, lambda: len(marks.cuts) == PARTITIONS)
        pages = int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1])
        worker.end()
    return pages * 4_096


def idle_bytes(net: Network, home: Path) -> float:
    """What the chain grows by, per epoch in which nothing happens."""
    with net.marks() as marks, net.worker("--instance", "w") as worker:
        net.wait(worker, marks, lambda: len(marks.cuts) == PARTITIONS)
        before, first = size(home, ELIGIBILITY_CHANGES), len(marks.seen)
        net.wait(worker, marks, lambda: len(marks.seen) - first >= IDLE_EPOCHS)
        grown = size(home, ELIGIBILITY_CHANGES) - before
        worker.end()
    return grown / (len(marks.seen) - first)


def checkpoint_bytes(net: Network) -> float:
    """Key and value of the last record of each node."""

    async def read() -> float:
        async with kafka.source(net.settings) as source:
            last = {
                record.key: record for record in await source.read(CHECKPOINT) if record.key and not record.key.startswith(b"~")
            }
            sizes = [len(record.key or b"") + len(record.value or b"") for record in last.values()]
            return sum(sizes) / len(sizes)

    return asyncio.run(read())


def rebuild(net: Network) -> tuple[float, int]:
    """Seconds from the start of a worker that has nothing but the topics to its first mark everywhere; records folded."""

    async def create() -> None:
        async with kafka.admin(net.settings) as admin:
            await admin.create(changelog(FRESH), kafka.Layout(PARTITIONS, 1), TOPICS[CHECKPOINT].config)

    asyncio.run(create())
    first: dict[int, Seen] = {}
    with net.marks() as marks, net.worker("--group", FRESH) as worker:
        net.wait(worker, marks, lambda: len(marks.cuts) == PARTITIONS)
        for seen in marks.seen:
            first.setdefault(seen.partition, seen)
        worker.end()
    folded = sum(sum(ends.values()) for ends in net.ends(*INPUTS).values())
    return (max(seen.logged_at_ms for seen in first.values()) - worker.began_ms) / 1_000, folded
