"""Reads partitions from an offset on, without a group: nothing read here moves anything anywhere."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import REQUEST_TIMEOUT_MS, BrokerUnavailable, Place, connect, translated
from b3iq_streams.settings import KafkaSettings

FETCH_WAIT_MS = 50
POLL_MS = 250
SILENT_POLLS_MAX = 120
"""How long a broker may stay silent in the middle of a stretch: half a minute."""


class Source:
    """Reads the partitions it is given, from the offsets it is given. Asking for end offsets waits for a fetch under way
    (50 ms at most); who needs them sooner opens a second source."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def partitions(self, topic: str) -> list[Place]:
        """The partitions of a topic, none if it does not exist."""
        with translated(f"looking up {topic}"):
            cluster = await self._consumer._client.fetch_all_metadata()  # `partitions_for_topic` knows assigned topics only
        return [Place(topic, partition) for partition in sorted(cluster.partitions_for_topic(topic) or ())]

    async def start_offsets(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset of the oldest record still kept, per partition."""
        with translated("asking for start offsets"):
            return _places(await self._consumer.beginning_offsets([TopicPartition(*place) for place in places]))

    async def end_offsets(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset that the next record will get, per partition."""
        with translated("asking for end offsets"):
            return _places(await self._consumer.end_offsets([TopicPartition(*place) for place in places]))

    async def offset_at(self, place: Place, at_ms: int) -> int:
        """The offset of the first record logged at or after a time; the end if there is none."""
        partition = TopicPartition(*place)
        with translated("asking for the offset of a time"):
            found = (await self._consumer.offsets_for_times({partition: at_ms}))[partition]
        return (await self.end_offsets([place]))[place] if found is None else int(found.offset)

    async def follow(self, offsets: Mapping[Place, int], poll_ms: int = POLL_MS) -> AsyncIterator[list[Record]]:
        """What is appended from `offsets` on, for ever: a list per poll, in order per partition, empty when all is quiet.

        One follower per source at a time. Raises OffsetGone when a position was deleted by retention.
        """
        self._consumer.assign([TopicPartition(*place) for place in offsets])
        for place, offset in offsets.items():
            self._consumer.seek(TopicPartition(*place), offset)
        while True:
            with translated("reading"):
                fetched = await self._consumer.getmany(timeout_ms=poll_ms)
            yield [
                Record(r.topic, r.partition, r.offset, r.key, r.value, r.timestamp, r.timestamp_type)
                for records in fetched.values()
                for r in records
            ]

    async def stretch(self, place: Place, first: int, last: int) -> AsyncIterator[Record]:
        """The records in `[first, last)` of one partition, in order; offsets without a record exist.

        Ends only when all of them were seen. Raises BrokerUnavailable when the broker stays silent before that.
        """
        async for record in self._whole({place: first}, {place: last}):
            yield record

    async def read(self, topic: str) -> list[Record]:
        """Everything a topic holds now, in order per partition; raises BrokerUnavailable when the broker falls silent."""
        places = await self.partitions(topic)
        starts, ends = await self.start_offsets(places), await self.end_offsets(places)
        firsts = {place: starts[place] for place in places if starts[place] < ends[place]}
        return [record async for record in self._whole(firsts, ends)] if firsts else []

    async def _whole(self, firsts: Mapping[Place, int], lasts: Mapping[Place, int]) -> AsyncIterator[Record]:
        left, silent = dict(firsts), 0
        async for batch in self.follow(firsts):
            for record in batch:
                if record.offset < lasts[Place(record.topic, record.partition)]:
                    yield record
            for place in list(left):
                if await self._consumer.position(TopicPartition(*place)) >= lasts[place]:
                    del left[place]
            if not left:
                return
            silent = 0 if batch else silent + 1
            if silent == SILENT_POLLS_MAX:
                place = next(iter(left))
                raise BrokerUnavailable(
                    f"reading {place.topic}/{place.partition}: nothing came for {silent * POLL_MS // 1_000} s"
                )


def _places(offsets: Mapping[TopicPartition, int]) -> dict[Place, int]:
    return {Place(*place): offset for place, offset in offsets.items()}


@asynccontextmanager
async def source(settings: KafkaSettings, once: bool = False) -> AsyncIterator[Source]:
    """A connected reader, without a group, for the length of a block; `once`: after a single try to connect."""
    consumer: AIOKafkaConsumer[Any, Any] = AIOKafkaConsumer(
        **settings.client,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await connect(consumer, settings, once)
        yield Source(consumer)
    finally:
        await consumer.stop()
