"""Reads back what is in the log: the chain, and recorded stretches of inputs.

Opens a consumer per partition on first need and closes it when the owner turns to new intakes, so that partitions that
recover at the same time do not wait for each other, and an idle worker holds no connection for it. What one fetch
brings is kept until the next one of the same topic: a recovery asks for a great many short stretches in a row.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from b3iq_schemas.topics import ELIGIBILITY_CHANGES
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.core.actions import ChainBatch, InputBatch
from b3iq_streams.core.records import Record

FETCH_RECORDS = 5_000
FETCH_MS = 500
BOUNDS_AGE_MS = 1_000
PATIENCE_S = 30


class Bounds(NamedTuple):
    """Where a log begins and ends, asked at `at_ms`."""

    start: int
    end: int
    at_ms: int


class Stretch(NamedTuple):
    """Everything in `[first, position)` of a log."""

    first: int
    records: list[Record]
    position: int

    def between(self, first: int, last: int) -> list[Record]:
        """The records in `[first, last)`."""
        low = bisect_left(self.records, first, key=_offset)
        return self.records[low : bisect_left(self.records, last, low, key=_offset)]


class Reader:
    """Reads for the owner of one partition, one request at a time."""

    def __init__(self, partition: int, connect: Callable[[], Awaitable[AIOKafkaConsumer]]) -> None:
        self._partition = partition
        self._connect = connect
        self._consumer: AIOKafkaConsumer | None = None
        self._at: tuple[str, int] | None = None
        self._bounds: dict[str, Bounds] = {}
        self._stretches: dict[str, Stretch] = {}

    async def chain(self, offset: int) -> ChainBatch:
        """Read the chain from `offset` on, in one bounded batch."""
        bounds = await self._ask_bounds(ELIGIBILITY_CHANGES)
        first = max(offset, bounds.start)
        if first >= bounds.end:
            return ChainBatch((), first, bounds.start, bounds.end)
        stretch = await self._stretch(ELIGIBILITY_CHANGES, first)
        return ChainBatch(tuple(stretch.between(first, stretch.position)), stretch.position, bounds.start, bounds.end)

    async def inputs(self, topic: str, first: int, last: int) -> InputBatch:
        """Read `[first, last)` of an input topic, as far as the log still has it."""
        bounds = self._bounds.get(topic)
        if bounds is None or last > bounds.end or monotonic_ms() - bounds.at_ms > BOUNDS_AGE_MS:
            bounds = self._bounds[topic] = await self._ask_bounds(topic)
        position, target = max(first, bounds.start), min(last, bounds.end)
        records: list[Record] = []
        async with asyncio.timeout(PATIENCE_S):
            while position < target:
                stretch = await self._stretch(topic, position)
                records += stretch.between(position, target)
                position = stretch.position
        return InputBatch(tuple(records), bounds.start, bounds.end)

    async def close(self) -> None:
        """Let go of the connection; the next read opens one again."""
        consumer, self._consumer, self._at = self._consumer, None, None
        self._bounds.clear()
        self._stretches.clear()
        if consumer is not None:
            await consumer.stop()

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            self._consumer = await self._connect()
        return self._consumer

    async def _ask_bounds(self, topic: str) -> Bounds:
        consumer = await self._connected()
        place = TopicPartition(topic, self._partition)
        asked_at_ms = monotonic_ms()
        starts, ends = await asyncio.gather(consumer.beginning_offsets([place]), consumer.end_offsets([place]))
        return Bounds(starts[place], ends[place], asked_at_ms)

    async def _stretch(self, topic: str, offset: int) -> Stretch:
        """What is known from `offset` on; fetches, and waits a little, when that is nothing."""
        known = self._stretches.get(topic)
        if known is not None and known.first <= offset < known.position:
            return known
        consumer = await self._connected()
        place = TopicPartition(topic, self._partition)
        if self._at != (topic, offset):
            if self._at is None or self._at[0] != topic:
                consumer.assign([place])
            consumer.seek(place, offset)
        fetched = await consumer.getmany(place, timeout_ms=FETCH_MS, max_records=FETCH_RECORDS)
        position = await consumer.position(place)
        self._at = (topic, position)
        stretch = Stretch(offset, [to_record(record) for record in fetched.get(place, [])], position)
        self._stretches[topic] = stretch
        return stretch


def to_record(record: "ConsumerRecord[bytes | None, bytes | None]") -> Record:
    """The plain value of a fetched record."""
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.timestamp,
        record.timestamp_type,
    )


def _offset(record: Record) -> int:
    return record.offset
