"""A network of one's own on a real Kafka: broker, topics, keys, policy, workers and load as processes, marks as they come."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Consumer, TopicPartition

from b3iq_schemas.eligibility import MARK_KEY, Mark
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, INPUTS, POLICIES
from b3iq_streams import kafka, topics_admin
from b3iq_streams.clock import now_ms
from b3iq_streams.core.chain import read_mark
from b3iq_streams.devkafka import LocalKafka
from b3iq_streams.settings import KafkaSettings
from b3iq_streams.world import World, demo_policy, sign_policy

ROOT = Path(__file__).parents[2]
LONG_MS = 30 * 86_400_000
POLICY: dict[str, Any] = {
    "heartbeat_ttl_ms": LONG_MS,
    "route_health_ttl_ms": LONG_MS,
    "registration_ttl_ms": LONG_MS,
    "benchmark_ttl_ms": LONG_MS,
    "sent_at_past_ms": LONG_MS,
    "refresh_period_ms": 3_600_000,
    "hold_down": {"flips_max": 16, "window_ms": 1, "hold_ms": 1},
}
"""Nothing expires and nothing is held down, unless a bench wants it to."""
PATIENCE_S = 300
NODES_PER_JOB_MIN = 1_000


class WorkerGone(Exception):
    """A worker ended, or did not get where it should."""


class Seen(NamedTuple):
    """A mark in the log."""

    partition: int
    logged_at_ms: int
    mark: Mark


class Marks:
    """Every mark of `eligibility-changes`, as far as it was read; nothing is verified here."""

    def __init__(self, bootstrap: str, starts: Mapping[int, int]) -> None:
        self.seen: list[Seen] = []
        self._consumer = consumer(bootstrap)
        self._consumer.assign([TopicPartition(ELIGIBILITY_CHANGES, number, at) for number, at in starts.items()])
        self.cuts: dict[int, Mapping[str, int]] = {}

    def read(self, timeout_s: float = 0.1) -> None:
        """Take in what has come."""
        for message in self._consumer.consume(5_000, timeout_s):
            found = read_mark(message.value()) if message.error() is None and message.key() == MARK_KEY else None
            if found is not None:
                self.seen.append(Seen(message.partition(), message.timestamp()[1], found[0]))
                self.cuts[message.partition()] = found[0].cut

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


@dataclass
class Worker:
    """A processor as users run it."""

    process: subprocess.Popen[bytes]
    began_ms: int

    @property
    def cpu_s(self) -> float:
        """Processor time it used so far, on all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE_S)


class Network:
    """One broker, one world; `partitions` of every topic."""

    def __init__(self, bootstrap: str, home: Path, partitions: int, **policy: Any) -> None:
        self.home, self.partitions = home, partitions
        self.settings = KafkaSettings(bootstrap=bootstrap)
        self.world = World.generate()
        self.world.save(home / "world")
        asyncio.run(self._prepare(POLICY | policy))

    async def _prepare(self, policy: Mapping[str, Any]) -> None:
        async with kafka.admin(self.settings) as admin:
            await topics_admin.apply(admin, kafka.Layout(self.partitions, 1))
        value = sign_policy(self.world, demo_policy(self.world, now_ms(), **policy))
        async with kafka.publisher(self.settings) as publisher:
            for partition in range(self.partitions):
                await (await publisher.send(POLICIES, b"1", value, partition))

    @property
    def bootstrap(self) -> str:
        """Where the broker is."""
        return self.settings.bootstrap

    def load(
        self, nodes: tuple[int, int], *, profiles: int, seqs: tuple[int, int], introduce: bool = False, rate: float | None = None
    ) -> subprocess.Popen[bytes]:
        """Begin to append facts of nodes from the first number up to, not including, the second; the same for seqs."""
        job = {
            "bootstrap": self.bootstrap, "world": str(self.home / "world"), "nodes": nodes, "profiles": profiles,
            "seqs": seqs, "introduce": introduce, "rate": rate,
        }  # fmt: skip
        return subprocess.Popen([sys.executable, "-m", "tests.bench.load", orjson.dumps(job).decode()], cwd=ROOT)

    def fill(self, nodes: int, *, profiles: int, seqs: tuple[int, int], introduce: bool = False, first: int = 0) -> None:
        """Append facts of that many nodes, on all cores."""
        share, end = max(NODES_PER_JOB_MIN, -(-nodes // (os.cpu_count() or 1))), first + nodes
        ranges = [(at, min(at + share, end)) for at in range(first, end, share)]
        jobs = [self.load(some, profiles=profiles, seqs=seqs, introduce=introduce) for some in ranges]
        if any([job.wait(PATIENCE_S) for job in jobs]):  # noqa: C419  every one of them has to be waited for
            raise RuntimeError("the load was not appended")

    def ends(self, *topics: str) -> dict[str, dict[int, int]]:
        """End offsets, by topic and partition."""
        asking = consumer(self.bootstrap)
        try:
            return {
                topic: {
                    number: asking.get_watermark_offsets(TopicPartition(topic, number))[1] for number in range(self.partitions)
                }
                for topic in topics
            }
        finally:
            asking.close()

    @contextmanager
    def worker(self, *options: str) -> Iterator[Worker]:
        """A worker for the length of a block; killed at its end if it still runs."""
        command = [sys.executable, "-m", "b3iq_streams.cli", "processor", "--key", str(self.home / "world/processor.json"),
                   "--bootstrap", self.bootstrap, "--trust", str(self.home / "world/world.json"),
                   "--datadir", str(self.home / "data"), "--log-level", "warning", *options]  # fmt: skip
        with (self.home / "worker.log").open("ab") as log:
            worker = Worker(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log), now_ms())
        try:
            yield worker
        finally:
            worker.end(signal.SIGKILL)

    @contextmanager
    def marks(self) -> Iterator[Marks]:
        """The marks that are appended from now on."""
        marks = Marks(self.bootstrap, self.ends(ELIGIBILITY_CHANGES)[ELIGIBILITY_CHANGES])
        try:
            yield marks
        finally:
            marks.close()

    def folded(self, worker: Worker, marks: Marks) -> None:
        """Wait until marks cover all that is in the inputs now."""
        ends = self.ends(*INPUTS)
        wanted = [(number, topic, end) for topic, found in ends.items() for number, end in found.items()]

        def covered() -> bool:
            return all(marks.cuts.get(number, {}).get(topic, 0) >= end for number, topic, end in wanted)

        self.wait(worker, marks, covered)

    def wait(self, worker: Worker, marks: Marks, true: Callable[[], bool]) -> None:
        """Read marks until something holds."""
        until = time.perf_counter() + PATIENCE_S
        while not true():
            if worker.process.poll() is not None or time.perf_counter() > until:
                log = (self.home / "worker.log").read_text()[-300:]
                raise WorkerGone(f"exit code {worker.process.poll()}; its log ends: {' '.join(log.split())}")
            marks.read()


@contextmanager
def network(partitions: int, **policy: Any) -> Iterator[Network]:
    """A broker of one's own, and a network on it."""
    with tempfile.TemporaryDirectory(prefix="b3iq-bench-") as home, LocalKafka() as local:
        yield Network(local.bootstrap, Path(home), partitions, **policy)


def consumer(bootstrap: str) -> Any:
    """A consumer that belongs to no group and goes where it is told."""
    return Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 20,
         "auto.offset.reset": "error"}
    )  # fmt: skip
