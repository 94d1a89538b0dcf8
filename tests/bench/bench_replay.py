"""A recount's work through a real Kafka: read a log of heartbeats back and fold it, signatures taken as known.

The references are loops one would write by hand: the same client reads the same records, parses the JSON inside, and keeps
the last heartbeat per node in a dict; they check nothing and decide nothing. One polls and uses the standard library, as
most do, the other takes batches and uses the parsers that we use.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
import pybase64
from confluent_kafka import TopicPartition

from b3iq_schemas.topics import HEARTBEATS, INPUTS
from b3iq_streams import kafka
from b3iq_streams.clock import now_ms
from b3iq_streams.core.admit import Scope
from b3iq_streams.core.records import Record
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from tests.bench.bench_fold import REPLAY_BAR, known
from tests.bench.network import Network, consumer, network
from tests.bench.table import Options, Row, per_second

NODES = 2_000
PROFILES = 3
BATCH = 2_000
SHARE = 0.8


class Folding(NamedTuple):
    """A state that batches of records are folded onto."""

    state: PartitionState
    scope: Scope
    at_ms: int

    def fold(self, topic: str, records: Sequence[Record]) -> None:
        """One epoch."""
        outcome = step(self.state, Epoch(self.at_ms, {topic: records}), self.scope, known)
        assert not outcome.refused
        self.state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)


def messages(net: Network, topic: str, wanted: int) -> Iterator[list[Any]]:
    """Everything in a topic's one partition, in batches, with librdkafka."""
    reading = consumer(net.bootstrap)
    reading.assign([TopicPartition(topic, 0, 0)])
    try:
        while wanted > 0:
            batch = reading.consume(min(BATCH, wanted), 1.0)
            wanted -= len(batch)
            yield batch
    finally:
        reading.close()


def record_of(message: Any) -> Record:
    """A plain record."""
    kind, stamp = message.timestamp()
    return Record(message.topic(), message.partition(), message.offset(), message.key(), message.value(), stamp, kind - 1)


def fresh(net: Network, slow: dict[str, list[Record]]) -> Folding:
    """A state that knows everything but heartbeats."""
    folding = Folding(PartitionState(), Scope(net.world.trust, 0, 1), now_ms())
    for topic in INPUTS:
        if topic != HEARTBEATS:
            folding.fold(topic, slow[topic])
    return folding


def plain_loop(net: Network, count: int) -> None:
    """The loop as most write it."""
    last: dict[bytes, Any] = {}
    reading = consumer(net.bootstrap)
    reading.assign([TopicPartition(HEARTBEATS, 0, 0)])
    while count > 0:
        if (message := reading.poll(1.0)) is not None:
            last[message.key()] = json.loads(base64.b64decode(json.loads(message.value())["payload"]))
            count -= 1
    reading.close()
    assert len(last) == NODES


def quick_loop(net: Network, count: int) -> None:
    """The loop with everything done to make it quick."""
    last: dict[bytes, Any] = {}
    for batch in messages(net, HEARTBEATS, count):
        for message in batch:
            last[message.key()] = orjson.loads(pybase64.b64decode(orjson.loads(message.value())["payload"]))
    assert len(last) == NODES


def with_librdkafka(net: Network, count: int, folding: Folding) -> None:
    """Fold what librdkafka brings."""
    for batch in messages(net, HEARTBEATS, count):
        folding.fold(HEARTBEATS, [record_of(message) for message in batch])


async def with_aiokafka(net: Network, count: int, folding: Folding) -> None:
    """Fold what our own reader brings."""
    async with kafka.source(net.settings) as source:
        async for records in source.follow({kafka.Place(HEARTBEATS, 0): 0}):
            folding.fold(HEARTBEATS, records)
            count -= len(records)
            if count <= 0:
                return


def in_memory(records: Sequence[Record], folding: Folding) -> None:
    """Fold what is there already."""
    for first in range(0, len(records), BATCH):
        folding.fold(HEARTBEATS, records[first : first + BATCH])


def run(options: Options) -> Iterator[Row]:
    """All of them take turns, and the best go of each counts."""
    rounds, repeats = (10, 2) if options.quick else (30, 5)
    with network(1) as net:
        net.fill(NODES, profiles=PROFILES, seqs=(1, 1 + rounds), introduce=True)
        ends = {topic: found[0] for topic, found in net.ends(*INPUTS).items()}
        log = {topic: [record_of(m) for batch in messages(net, topic, ends[topic]) for m in batch] for topic in INPUTS}
        count, rates = ends[HEARTBEATS], dict.fromkeys(("memory", "librdkafka", "aiokafka", "plain", "quick"), 0.0)

        def go(name: str, work: Callable[[], object]) -> None:
            began = time.perf_counter()
            work()
            rates[name] = max(rates[name], count / (time.perf_counter() - began))

        for _ in range(repeats):
            states = [fresh(net, log) for _ in range(3)]
            go("memory", lambda: in_memory(log[HEARTBEATS], states[0]))  # noqa: B023  called at once
            go("plain", lambda: plain_loop(net, count))
            go("quick", lambda: quick_loop(net, count))
            go("librdkafka", lambda: with_librdkafka(net, count, states[1]))  # noqa: B023
            go("aiokafka", lambda: asyncio.run(with_aiokafka(net, count, states[2])))  # noqa: B023
    memory, plain = rates["memory"], rates["plain"]
    yield Row("replay of heartbeats in memory", "≥ 30,000/s per core", per_second(memory), met=memory >= REPLAY_BAR)
    for name in ("librdkafka", "aiokafka"):
        rate = rates[name]
        yield Row(
            f"replay through Kafka with {name}", f"≥ {SHARE} × in memory, ahead of a plain loop", per_second(rate),
            f"{rate / memory:.2f} × memory, {rate / plain:.2f} × the plain loop", rate >= SHARE * memory and rate >= plain,
        )  # fmt: skip
    yield Row("a loop by hand: poll, json, dict; no checks", "", per_second(plain))
    yield Row("the same with batches and orjson; no checks", "", per_second(rates["quick"]))
