"""Faust's transport with the hot path taken out: whole input batches go to the feed, changelog batches to the table.

Faust keeps what it is good at: the group, the assignment, the recovery, the standbys. It is not left what loses data:
it commits nothing, seeks nothing by itself, and creates no topics.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Protocol, cast

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata

from b3iq_schemas.topics import INPUTS
from b3iq_streams.processor.feed import Fetched, Target
from b3iq_streams.processor.framework import FAUST_LOG, TP, ConsumerMessage, Service, driver
from b3iq_streams.processor.table import Raw

POLL_S = 0.1
FETCH_WAIT_MS = 100
GROUP_CHECK_S = 1.0


class Diversion(Protocol):
    """Where fetched batches go."""

    def arrived(self, place: TopicPartition, fetched: Fetched) -> None:
        """Take in a batch of an input."""

    def restored(self, partition: int, records: Iterable[Raw]) -> None:
        """Apply a batch of the table's changelog."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread; what is fetched leaves it together with the position after it and the seek before it."""

    logger = FAUST_LOG

    def __post_init__(self) -> None:
        super().__post_init__()
        self._seek_ids: dict[TopicPartition, int] = {}
        self._told: dict[TopicPartition, tuple[int, int]] = {}
        self._subscribed: set[str] = set()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes 1,500 ms, for which a seek or a newly assigned partition would wait behind an idle fetch.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe, unless nothing changes: Faust asks again after every revocation, which would rebalance again."""
        if set(topics) != self._subscribed:
            self._subscribed = set(topics)
            await super().subscribe(topics=self._subscribed)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109  Faust's signature
        max_records: int | None = None,
    ) -> Any:
        drained = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        assignment = consumer._subscription.subscription and consumer._subscription.subscription.assignment
        if assignment is None:
            return {}
        fetched: dict[TP, Fetched] = {}
        for place in active_partitions & assignment.tps:
            state = assignment.state_value(place)
            if not state.has_valid_position:
                continue
            told = state.position, self._seek_ids.get(place, -1)
            if place in drained or self._told.get(place) != told:
                self._told[place] = told
                fetched[place] = Fetched(drained.get(place, []), *told)
        return fetched

    async def seek_inputs(self, targets: Mapping[TopicPartition, Target]) -> None:
        """Seek, and mark whatever is fetched from then on with the targets' ids."""
        await self.call_thread(self._seek_inputs, targets)

    async def _seek_inputs(self, targets: Mapping[TopicPartition, Target]) -> None:
        self._seek_ids.update({place: target.seek_id for place, target in targets.items()})
        await self._seek_wait(self._ensure_consumer(), {place: target.offset for place, target in targets.items()})

    async def check_group(self) -> None:
        """Raise what ended a background task of the consumer, if one has ended."""
        await self.call_thread(self._check_group)

    async def _check_group(self) -> None:
        consumer = self._ensure_consumer()
        consumer._coordinator.check_errors()
        if consumer._fetcher.error_future.done():
            consumer._fetcher.error_future.result()

    async def rest(self, places: Iterable[TopicPartition]) -> None:
        """Stop fetching these on the wire too: data that nobody takes makes every other fetch wait."""
        await self.call_thread(self._rest, [TopicPartition(*place) for place in places])

    async def _rest(self, places: list[TopicPartition]) -> None:
        self._ensure_consumer().pause(*places)

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit as the member that got the partitions: False once the group has gone on without it."""
        consumer = self._ensure_consumer()
        if consumer._coordinator.generation != self.app.consumer_generation_id:
            return False
        try:
            await consumer.commit({place: OffsetAndMetadata(offset, "") for place, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError):
            return False
        return True


class Consumer(driver.Consumer):
    """Faust's consumer, which hands Faust nothing but the last record of each changelog batch."""

    logger = FAUST_LOG
    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109
        """Fetch once, divert the batches, and yield what Faust has to know to follow its recovery."""
        if not self.flow_active:
            await self.wait_first(self.can_resume_flow.wait())
        active = self._get_active_partitions()
        if self.should_stop:
            return
        if not active:
            await self.sleep(POLL_S / 2)
            return
        diversion = cast(Transport, self.transport).diversion
        batches: Any = await self._getmany(set(active), POLL_S)
        for place, fetched in batches.items():
            if place.topic in INPUTS:
                diversion.arrived(TopicPartition(*place), fetched)
            elif fetched.records:
                diversion.restored(place.partition, fetched.records)
                yield TP(*place), self._to_message(place, fetched.records[-1])

    @Service.task
    async def _watch_group(self) -> None:
        """Crash when a background task of the consumer has died: nothing else notices, and the worker waits for ever."""
        async for _ in self.itertimer(GROUP_CHECK_S, name="group check"):
            await self._thread.check_group()

    async def seek_inputs(self, targets: Mapping[TopicPartition, Target]) -> None:
        """Go on fetching inputs where their owners stand."""
        await self._thread.seek_inputs(targets)

    def hold(self, places: Iterable[TopicPartition]) -> None:
        """Stop handing over batches of these."""
        self.pause_partitions(TP(*place) for place in places)

    def release(self, places: Iterable[TopicPartition]) -> None:
        """Hand over batches of these again."""
        self.resume_partitions({TP(*place) for place in places})

    async def rest(self, places: Iterable[TopicPartition]) -> None:
        """Stop fetching these until the next assignment."""
        await self._thread.rest(places)

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit exactly these, for their owners; False when the group refuses."""
        return await self._commit(offsets)

    async def perform_seek(self) -> None:
        """Nothing: positions are the owners'."""

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Nothing: commits are the owners'."""
        return False

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Nothing: commits are the owners'."""
        return False

    async def create_topic(self, topic: str, partitions: int, replication: int, **options: Any) -> None:
        """Nothing: topics are made by the admin command, with the settings they need."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: the watchdog sees to it that partitions make progress."""


class Producer(driver.Producer):
    """Faust's producer, which routes `/table` lookups and writes nothing."""

    logger = FAUST_LOG

    async def create_topic(self, topic: str, partitions: int, replication: int, **options: Any) -> None:
        """Nothing, as above."""


class Transport(driver.Transport):
    """Faust's Kafka transport with our consumer in it."""

    Consumer = Consumer
    Producer = Producer

    def __init__(self, urls: Any, app: Any, diversion: Diversion) -> None:
        super().__init__(urls, app)
        self.diversion = diversion
