"""Makes intakes: collects what Faust's consumer fetched, per partition, and hands it over up to freshly asked ends.

Everything runs on the event loop, except for `preverify`, which opens whole batches on two threads, signatures and all, while
the owner is still busy with what came before. Fetching of a topic pauses while too much of it waits.
"""

import asyncio
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from aiokafka import ConsumerRecord, TopicPartition

from b3iq_schemas.topics import INPUTS
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.core.actions import Intake
from b3iq_streams.core.admit import Opened
from b3iq_streams.core.proposal import TRUST_FIRST
from b3iq_streams.core.records import Record
from b3iq_streams.processor.engine import OwnerLike
from b3iq_streams.processor.inbox import Inbox, spend
from b3iq_streams.processor.prober import Prober
from b3iq_streams.processor.reader import to_record
from b3iq_streams.processor.settings import ProcessorSettings

SMALL_INBOX_BYTES = 256 << 10
PREVERIFY_THREADS = 2

Preverify = Callable[[Sequence[Record], Any], Sequence[Record | Opened]]
"""What of admission needs no state, for a batch and its partition's owner; answers an item for each record, in order."""


class StarvedError(Exception):
    """Records are in the log, and the consumer does not bring them."""


class Target(NamedTuple):
    """Where to seek, and the id that marks everything fetched after it."""

    offset: int
    seek_id: int


class Fetched(NamedTuple):
    """One batch of a topic's partition; `position` is where the fetch goes on, `seek_id` names the seek before it."""

    records: list[ConsumerRecord[bytes | None, bytes | None]]
    position: int
    seek_id: int


class Source(Protocol):
    """The consumer that fills the feed."""

    async def seek_inputs(self, targets: Mapping[TopicPartition, Target]) -> None:
        """Go on fetching at each target."""

    def hold(self, places: Iterable[TopicPartition]) -> None:
        """Stop handing over batches of these."""

    def release(self, places: Iterable[TopicPartition]) -> None:
        """Hand over batches of these again."""


class Lane:
    """One partition in the feed: its inboxes by topic, and what its owner waits for."""

    def __init__(self, partition: int, owner: OwnerLike) -> None:
        self.owner = owner
        self.inboxes = {topic: Inbox() for topic in INPUTS}
        self.places = {topic: TopicPartition(topic, partition) for topic in INPUTS}
        self.news = asyncio.Event()
        self.stopping = False
        self.due_ms = 0
        self.starving_ms: dict[str, int] = {}


class Feed:
    """All partitions of a worker."""

    def __init__(self, settings: ProcessorSettings, prober: Prober, source: Source, preverify: Preverify | None = None) -> None:
        self._settings = settings
        self._prober = prober
        self._source = source
        self._preverify = preverify
        self._threads = ThreadPoolExecutor(PREVERIFY_THREADS, thread_name_prefix="preverify")
        self._lanes: dict[int, Lane] = {}
        self._seek_ids = itertools.count()
        self._held: set[TopicPartition] = set()

    def open(self, partition: int, owner: OwnerLike) -> None:
        """Begin to collect for a partition; nothing is kept before its owner says where it stands."""
        self._lanes[partition] = Lane(partition, owner)

    def close(self, partition: int) -> None:
        """Forget a partition and all that waits for it."""
        lane = self._lanes.pop(partition)
        self._held.difference_update(lane.places.values())

    def stop(self, partition: int) -> None:
        """Make the partition's next intake the last one, and hand it over now."""
        lane = self._lanes[partition]
        lane.stopping = True
        lane.news.set()

    def arrived(self, place: TopicPartition, fetched: Fetched) -> None:
        """Take in a batch that the consumer fetched."""
        lane = self._lanes.get(place.partition)
        if lane is None or fetched.seek_id != lane.inboxes[place.topic].seek_id:
            return
        inbox = lane.inboxes[place.topic]
        if fetched.position < inbox.position:
            return  # a log that was cut short: its end, below the owner's position, is what the owner has to see
        records = [to_record(record) for record in fetched.records]
        if records and records[0].offset != inbox.position:
            self._prober.forget_starts()
        inbox.add(records, fetched.position)
        if records and self._preverify is not None:
            prepared = self._threads.submit(self._preverify, records, lane.owner)
            inbox.await_prepared(records[0].offset, asyncio.wrap_future(prepared))
        self._hold_back(place, inbox)
        lane.news.set()

    async def take(self, partition: int, positions: Mapping[str, int]) -> Intake:
        """Hand over what there is from `positions` on; when nothing comes, an empty intake after the idle period."""
        lane = self._lanes[partition]
        if not lane.stopping:
            await self._align(lane, positions)
            await self._news_of(lane, lane.due_ms, lambda: any(box.records for box in lane.inboxes.values()))
        stop = lane.stopping
        sighting = await self._prober.ask(lane.places.values())
        lane.due_ms = monotonic_ms() + self._settings.idle_epoch_ms
        ends = {topic: sighting.ends[place] for topic, place in lane.places.items()}
        starts = {topic: sighting.starts[place] for topic, place in lane.places.items()}
        if stop:
            return Intake(sighting.clock_ms, starts, ends, dict.fromkeys(INPUTS, ()), dict(positions), stop=True)
        await self._catch_up(lane, ends)
        records, after = await self._cut(lane, ends)
        self._check_supply(lane, ends, after, records)
        return Intake(sighting.clock_ms, starts, ends, records, after)

    async def _align(self, lane: Lane, positions: Mapping[str, int]) -> None:
        """Bring every inbox to where the owner stands, seeking where that is out of reach."""
        targets = {}
        for topic, inbox in lane.inboxes.items():
            if not inbox.move_to(positions[topic]):
                target = Target(positions[topic], next(self._seek_ids))
                inbox.restart(*target)
                targets[lane.places[topic]] = target
        if targets:
            await self._source.seek_inputs(targets)

    async def _catch_up(self, lane: Lane, ends: Mapping[str, int]) -> None:
        """Wait a little for what the ends promise, unless there is enough for one intake already."""

        def enough() -> bool:
            boxes = lane.inboxes
            return (
                all(box.position >= ends[topic] for topic, box in boxes.items())
                or sum(len(box.records) for box in boxes.values()) >= self._settings.intake_records
                or sum(box.bytes for box in boxes.values()) >= self._settings.intake_bytes
            )

        await self._news_of(lane, monotonic_ms() + self._settings.catch_up_ms, enough)

    async def _cut(self, lane: Lane, ends: Mapping[str, int]) -> tuple[dict[str, tuple[Record | Opened, ...]], dict[str, int]]:
        boxes = lane.inboxes
        counts = spend(
            ((box, ends[topic]) for topic, box in boxes.items()),
            self._settings.intake_records,
            self._settings.intake_bytes,
        )
        granted = self._trust_first(boxes, dict(zip(boxes, counts, strict=True)), ends)
        shares = {topic: await box.take(granted[topic], ends[topic]) for topic, box in boxes.items()}
        for topic, place in lane.places.items():
            self._let_go(place, boxes[topic])
        records = {topic: share.records for topic, share in shares.items()}
        return records, {topic: share.position for topic, share in shares.items()}

    @staticmethod
    def _trust_first(boxes: Mapping[str, Inbox], counts: dict[str, int], ends: Mapping[str, int]) -> dict[str, int]:
        """Keep back what the owner would not take yet: topics whose admission rests on one that is not read to its end."""
        for i, topic in enumerate(TRUST_FIRST):
            waiting, _ = boxes[topic].count_below(ends[topic], sys.maxsize, sys.maxsize)
            if boxes[topic].position < ends[topic] or waiting > counts[topic]:
                return {name: counts[name] if name in TRUST_FIRST[: i + 1] else 0 for name in counts}
        return counts

    def _check_supply(
        self, lane: Lane, ends: Mapping[str, int], after: Mapping[str, int], records: Mapping[str, tuple[Record | Opened, ...]]
    ) -> None:
        """Raise when a topic has had more and brought nothing for too long: a new process fetches anew."""
        for topic in lane.inboxes:
            if records[topic] or lane.inboxes[topic].records or after[topic] >= ends[topic]:
                lane.starving_ms.pop(topic, None)
            elif monotonic_ms() - lane.starving_ms.setdefault(topic, monotonic_ms()) > self._settings.starve_ms:
                raise StarvedError(f"{lane.places[topic]}: nothing comes from {after[topic]}, its end is {ends[topic]}")

    @staticmethod
    async def _news_of(lane: Lane, until_ms: int, arrived: Callable[[], bool]) -> None:
        """Wait until `arrived` or the partition is to stop, but not longer than `until_ms` of the monotonic clock."""
        while not (arrived() or lane.stopping):
            left_ms = until_ms - monotonic_ms()
            if left_ms <= 0:
                return
            lane.news.clear()
            try:
                async with asyncio.timeout(left_ms / 1_000):
                    await lane.news.wait()
            except TimeoutError:
                return

    def _hold_back(self, place: TopicPartition, inbox: Inbox) -> None:
        total = sum(box.bytes for lane in self._lanes.values() for box in lane.inboxes.values())
        crowded = total > self._settings.inbox_bytes and inbox.bytes > SMALL_INBOX_BYTES
        if len(inbox.records) > self._settings.inbox_records or crowded:
            self._held.add(place)
            self._source.hold((place,))

    def _let_go(self, place: TopicPartition, inbox: Inbox) -> None:
        small = inbox.bytes <= max(SMALL_INBOX_BYTES, self._settings.intake_bytes) // 2
        if place in self._held and small and len(inbox.records) <= self._settings.inbox_records // 2:
            self._held.discard(place)
            self._source.release((place,))
