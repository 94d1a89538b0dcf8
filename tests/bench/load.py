"""Appends facts as a process of its own: `python -m tests.bench.load JSON`; as fast as it can, or at a steady rate.

It signs as it goes, and exits with 1 unless every record was acknowledged.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer

from b3iq_streams.clock import now_ms
from b3iq_streams.emit import Emission
from b3iq_streams.kafka import BATCH_BYTES_MAX
from b3iq_streams.world import World
from tests.bench.facts import Facts, node_name

BURST_S = 0.01


def emissions(facts: Facts, job: dict[str, Any]) -> Iterator[Emission]:
    """Introductions if asked for, then rounds of heartbeats over the nodes."""
    names = [node_name(number) for number in range(*job["nodes"])]
    if job["introduce"]:
        for name in names:
            yield from facts.introduction(name, now_ms())
    for seq in range(*job["seqs"]):
        for name in names:
            yield facts.heartbeat(name, seq, now_ms())


def append(bootstrap: str, records: Iterable[Emission], rate: float | None) -> int:
    """Append all; the number of records that were not acknowledged."""
    lost = 0

    def delivered(error: object, _message: object) -> None:
        nonlocal lost
        lost += error is not None

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "batch.size": BATCH_BYTES_MAX,
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 20_000,
        }
    )
    began = time.perf_counter()
    for number, (topic, key, value) in enumerate(records):
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        ahead_s = number / rate - (time.perf_counter() - began) if rate else 0.0
        if ahead_s > BURST_S:
            time.sleep(ahead_s)
    producer.flush()
    return lost


def main() -> int:
    """Do the one job given."""
    job = orjson.loads(sys.argv[1])
    facts = Facts(World.load(Path(job["world"])), job["profiles"])
    return bool(append(job["bootstrap"], emissions(facts, job), job["rate"]))


if __name__ == "__main__":
    sys.exit(main())
