"""Worker processes for the shell's tests, and what the tests look at from outside."""

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from b3iq_schemas.topics import CHECKPOINT, HEARTBEATS, TOPICS
from b3iq_streams.processor.names import changelog

PARTITIONS = 4
PATIENCE_S = 40.0
ROOT = Path(__file__).parents[2]


@dataclass
class WorkerProcess:
    """One worker; `events` collects what it printed."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    arrivals: "queue.Queue[None]" = field(default_factory=queue.Queue)

    @classmethod
    def start(cls, bootstrap: str, group: str, datadir: Path, **options: Any) -> "WorkerProcess":
        """Run `shell_worker.py` with the settings given."""
        settings = {"bootstrap": bootstrap, "group": group, "datadir": str(datadir), "session_timeout_ms": 3_000}
        with datadir.with_suffix(".log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.kafka.shell_worker", json.dumps(settings | options)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
        worker = cls(process)
        threading.Thread(target=worker._read, daemon=True).start()
        return worker

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            self.arrivals.put(None)

    def of(self, event: str) -> list[dict[str, Any]]:
        """What it printed of one kind."""
        return [item for item in list(self.events) if item["event"] == event]

    def partitions(self) -> set[int]:
        """Partitions in which it appended an epoch since it last gave one up."""
        live: set[int] = set()
        for item in list(self.events):
            if item["event"] == "appended":
                live.add(item["partition"])
            if item["event"] == "released":
                live.clear()
        return live

    def wait_live(self, count: int) -> None:
        """Wait until it serves this many partitions."""
        wait_for(lambda: len(self.partitions()) == count, f"{count} live partitions")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for the end of the process."""
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        """Take it away, however it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait_for(true: Callable[[], bool], what: str) -> None:
    """Wait until something holds; say what it was when it does not in time."""
    for _ in range(int(PATIENCE_S / 0.05)):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError(f"not in {PATIENCE_S:.0f} s: {what}")


async def create_topics(bootstrap: str, *groups: str) -> None:
    """Every topic of the network, and the changelogs of these groups."""
    topics = [name for name in TOPICS if name != CHECKPOINT]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, PARTITIONS, 1, topic_configs=TOPICS[name].config) for name in topics]
            + [NewTopic(changelog(group), PARTITIONS, 1, topic_configs=TOPICS[CHECKPOINT].config) for group in groups]
        )
    finally:
        await admin.close()


async def publish(bootstrap: str, records: Iterable[tuple[str, bytes]], topic: str = HEARTBEATS) -> None:
    """Append `(key, value)` records, each acknowledged."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for sent in [await producer.send(topic, value, key=key.encode()) for key, value in records]:
            await sent
    finally:
        await producer.stop()


async def counts_in(bootstrap: str, topic: str) -> Counter[str]:
    """How many records each key has."""
    return Counter({key: len(values) for key, values in (await contents(bootstrap, topic)).items()})


async def contents(bootstrap: str, topic: str) -> dict[str, list[bytes | None]]:
    """Everything in a topic, by key."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: dict[str, list[bytes | None]] = {}
        for place in places:
            while await consumer.position(place) < ends[place]:
                for batch in (await consumer.getmany(*places, timeout_ms=200)).values():
                    for record in batch:
                        found.setdefault((record.key or b"").decode(), []).append(record.value)
        return found
    finally:
        await consumer.stop()


async def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """The group's committed offsets of one topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {place.partition: at.offset for place, at in offsets.items() if place.topic == topic}


def fetch(url: str) -> tuple[int, Any]:
    """GET a JSON document."""
    with urlopen(url, timeout=5) as response:
        return response.status, json.loads(response.read())
