"""An audit's re-fold of a real log: from Kafka and from an archive, next to the same fold with everything in memory.

A worker has folded the log before, so that it has its marks. With signatures the reference is libsodium alone on the same
cores. Times are wall clock: reading goes on beside the fold, on other threads, and that is part of what is measured.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from b3iq_schemas import envelope, topics
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams.audit import parallel
from b3iq_streams.audit.archive.exporting import export
from b3iq_streams.audit.archive.origin import ArchiveOrigin
from b3iq_streams.audit.live import survey
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.replay import recount
from b3iq_streams.kafka.connection import Place
from tests.bench.bench_fold import known
from tests.bench.bench_verify import raw_rate, samples
from tests.bench.network import Network, network
from tests.bench.table import Options, Row, per_second

NODES = 2_000
PROFILES = 3
SHARE, SIGNED_SHARE = 0.8, 0.9


class Job(NamedTuple):
    """What a process re-folds: whose log, and whether it checks signatures."""

    trust: RootTrust
    signed: bool


def refold(desk: Desk, origin: Origin, job: Job) -> int:
    """Walk one partition; how many heartbeats it folded."""
    with origin.open() as source:
        walk = Walk(origin, source, job.trust, desk.partition, envelope.verify if job.signed else known)
        for _ in walk:
            pass
        return walk.refolding.head.cut[HEARTBEATS]


def in_memory(origin: Origin, trust: RootTrust, partition: int) -> Callable[[], int]:
    """The same fold with every record at hand."""
    with origin.open() as source:
        walk = Walk(origin, source, trust, partition, known)
        records = {
            topic: [record for batch in source.read(Place(topic, partition), 0, walk.bounds(topic).end) for record in batch]
            for topic in (*topics.INPUTS, topics.ELIGIBILITY_CHANGES)
        }

    def work() -> int:
        log = records[topics.ELIGIBILITY_CHANGES]
        return recount(walk.chain, walk.scope, records, log, known).head.cut[HEARTBEATS]

    return work


def rate(work: Callable[[], int], repeats: int) -> float:
    """Heartbeats a second, best of several goes."""
    best = 0.0
    for _ in range(repeats):
        began = time.perf_counter()
        best = max(best, work() / (time.perf_counter() - began))
    return best


def over(origin: Origin, job: Job, processes: int) -> Callable[[], int]:
    """A re-fold of all partitions over so many processes."""
    return lambda: sum(parallel.run(refold, range(origin.partitions), (origin, job), processes))


def logged(net: Network, rounds: int) -> None:
    """Heartbeats in the log, folded by a worker that is gone again."""
    net.fill(NODES, profiles=PROFILES, seqs=(1, 1 + rounds), introduce=True)
    with net.marks() as marks, net.worker() as worker:
        net.folded(worker, marks)
        worker.end()


def run(options: Options) -> Iterator[Row]:
    """Every source in turn, then more processes, then signatures."""
    rounds, repeats, cores = (10, 1, os.cpu_count() or 1) if options.quick else (60, 3, os.cpu_count() or 1)
    with network(cores) as net:
        logged(net, rounds)
        trust, directory = net.world.trust, Path(net.home) / "archive"
        live = survey(net.settings)
        began = time.perf_counter()
        export(live, trust, directory)
        exported_s = time.perf_counter() - began
        origins: Sequence[tuple[str, Origin]] = (("Kafka", live), ("an archive", ArchiveOrigin.load(directory)))
        memory = rate(in_memory(live, trust, 0), repeats)
        yield Row("re-fold of a chain's heartbeats in memory, one core", "", per_second(memory))
        records = sum(bounds.end - bounds.start for bounds in live.bounds.values())
        yield Row("export to Parquet, one process", "", per_second(records / exported_s))
        for name, origin in origins:
            single = rate(lambda: refold(_desk(0), origin, Job(trust, False)), repeats)  # noqa: B023  called at once
            yield Row(f"re-fold from {name}, one process", f"≥ {SHARE} × in memory", per_second(single),
                      f"{single / memory:.2f} ×", single >= SHARE * memory)  # fmt: skip
        alone = {count: raw_rate(samples(), count) for count in {1, cores}}
        for name, origin in origins:
            for count in sorted({1, cores}):
                with_them = rate(over(origin, Job(trust, True), count), repeats)
                yield Row(
                    f"with signatures, from {name}, {count} processes", f"≥ {SIGNED_SHARE} × Ed25519 on as many",
                    per_second(with_them), f"{per_second(alone[count])}: {with_them / alone[count]:.2f} ×",
                    with_them >= SIGNED_SHARE * alone[count],
                )  # fmt: skip


class _Still:
    def is_set(self) -> bool:
        return False

    def set(self) -> None:
        return None

    def put(self, item: tuple[int, int] | None, /) -> None:
        return None


def _desk(partition: int) -> Desk:
    return Desk(partition, _Still(), _Still())
