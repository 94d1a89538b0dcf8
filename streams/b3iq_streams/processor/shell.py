"""Holds the parts of one worker together, and says what Faust's signals do to them."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from b3iq_schemas.topics import ELIGIBILITY_CHANGES, HEARTBEATS, INPUTS
from b3iq_streams.core.actions import Checkpoint
from b3iq_streams.core.records import Outgoing
from b3iq_streams.processor.clients import new_producer, open_consumer
from b3iq_streams.processor.engine import Engine, OwnerExit, OwnerLike, Ports
from b3iq_streams.processor.feed import Feed, Fetched, Preverify
from b3iq_streams.processor.framework import TP, App, ConsumerMessage, Event
from b3iq_streams.processor.guard import Vital, Watchdog, die, die_of
from b3iq_streams.processor.names import changelog
from b3iq_streams.processor.observer import Observer
from b3iq_streams.processor.prober import Prober
from b3iq_streams.processor.reader import Reader
from b3iq_streams.processor.settings import ProcessorSettings
from b3iq_streams.processor.table import CheckpointStore, Raw
from b3iq_streams.processor.tenure import Epoch, Tenure
from b3iq_streams.processor.writer import Writer, Written

FLOW_POLL_S = 0.005

MakeOwner = Callable[[int, Checkpoint], OwnerLike]


class Clients:
    """Our own connections, for as long as the worker runs."""

    def __init__(self, settings: ProcessorSettings, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        self._producer = producer
        self._consumer = consumer
        self.writer = Writer(producer, settings)
        self.prober = Prober(consumer)

    @classmethod
    async def open(cls, settings: ProcessorSettings) -> Self:
        """Connect."""
        producer = new_producer(settings)
        await producer.start()
        return cls(settings, producer, await open_consumer(settings, INPUTS))

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.gather(self._producer.stop(), self._consumer.stop())


class Shell:
    """The tenures of a worker. All methods run on Faust's event loop, except where the watchdog asks for vitals."""

    def __init__(
        self, settings: ProcessorSettings, make_owner: MakeOwner, preverify: Preverify | None, observer: Observer
    ) -> None:
        self._settings = settings
        self._make_owner = make_owner
        self._preverify = preverify
        self._observer = observer
        self._tenures: dict[int, Tenure] = {}
        self.settled = False
        """Whether the group has given this worker its share, which may be none, at least once."""
        self._clients: Clients | None = None
        self._feed: Feed | None = None
        self._watchdog = Watchdog(self.vitals, stall_s=settings.stall_ms // 1_000, recovery_s=settings.recovery_ms // 1_000)

    def attach(self, app: App, agent: Any, store: Callable[[], CheckpointStore]) -> None:
        """Tell the shell which app it works in."""
        self._app: Any = app
        self._agent = agent
        self._store = store

    def watch(self) -> None:
        """End the process from now on when nothing moves."""
        self._watchdog.start()

    def vitals(self) -> Iterable[Vital]:
        """Progress of every partition held here, and of a rebalance that is under way."""
        vitals = [tenure.vital for tenure in list(self._tenures.values())]
        if self._app.rebalancing or not self._app.rebalancing_count:
            vitals.append(Vital("the group", self._app.rebalancing_count, False))
        return vitals

    def arrived(self, place: TopicPartition, fetched: Fetched) -> None:
        """A batch of an input came."""
        if self._feed is not None:
            self._feed.arrived(place, fetched)

    def restored(self, partition: int, records: Iterable[Raw]) -> None:
        """A batch of the changelog came."""
        self._store().image(partition).restore(records)

    async def on_recovered(self) -> None:
        """Faust has restored the images of what it assigned: begin with every partition, unless it is outdated."""
        rebalance = self._app.rebalancing_count
        feed, clients = await self._open()
        await self.release()
        actives = self._app.assignor.assigned_actives()
        await self._app.consumer.rest(tp for tp in actives if tp.topic == changelog(self._settings.group))
        if self._app.rebalancing_count != rebalance or self._app.should_stop:
            return
        for partition in sorted(tp.partition for tp in actives if tp.topic == HEARTBEATS):
            self._begin(partition, feed, clients)
        self.settled = True

    async def release(self, *_signal: Any, **_details: Any) -> None:
        """Give up every partition: finish the epoch under way, checkpoint, commit."""
        await asyncio.gather(*(tenure.finish() for tenure in self._tenures.values()))
        for partition in self._tenures:
            if self._feed is not None:
                self._feed.close(partition)
            self._observer.on_released(partition)
        self._tenures.clear()

    async def shut_down(self, *_signal: Any, **_details: Any) -> None:
        """Give up every partition and close our connections."""
        await self.release()
        self._watchdog.stop()
        if self._clients is not None:
            await self._clients.close()

    async def _open(self) -> tuple[Feed, Clients]:
        if self._clients is None or self._feed is None:
            self._clients = await Clients.open(self._settings)
            self._feed = Feed(self._settings, self._clients.prober, self._app.consumer, self._preverify)
            # Faust routes table lookups with the producer's metadata, and does not ask for them itself.
            await self._app.producer._ensure_producer().partitions_for(changelog(self._settings.group))
        return self._feed, self._clients

    def _begin(self, partition: int, feed: Feed, clients: Clients) -> None:
        owner = self._make_owner(partition, self._store().checkpoint(partition))
        reader = Reader(partition, lambda: open_consumer(self._settings, (ELIGIBILITY_CHANGES, *INPUTS)))
        engine = Engine(partition, owner, Ports(reader, clients.writer, self._applied, self._commit, self._observer))
        feed.open(partition, owner)
        self._observer.on_assigned(partition)
        tenure = Tenure(
            partition,
            engine,
            feed,
            flowing=self._flowing,
            deliver=self._deliver,
            on_live=partial(self._observer.on_live, partition),
        )
        self._tenures[partition] = tenure
        tenure.task.add_done_callback(lambda task: self._ended(tenure, task))

    def _ended(self, tenure: Tenure, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        match task.exception():
            case None if tenure.finishing:
                return
            case None:
                die("ended", f"the owner of {tenure.vital.what} returned by itself")
            case OwnerExit(code=code, detail=detail):
                die(code, detail)
            case error:
                die_of(error)

    async def _flowing(self) -> None:
        """Wait until Faust lets events through; what is put into a channel before is thrown away."""
        while self._app.rebalancing:  # noqa: ASYNC110  a plain flag of Faust's, which nothing signals
            await asyncio.sleep(FLOW_POLL_S)

    def _deliver(self, epoch: Epoch) -> None:
        """Make the epoch the next event of the partition's actor."""
        place = TP(HEARTBEATS, epoch.partition)
        message = ConsumerMessage(
            *place,
            offset=epoch.intake.positions[HEARTBEATS],
            timestamp=epoch.intake.clock_ms / 1_000,
            timestamp_type=0,
            headers=None,
            key=None,
            value=None,
            checksum=None,
            tp=place,
            generation_id=self._app.consumer_generation_id,
        )
        actor = self._agent._actor_by_partition[place]
        actor.stream.channel.queue.put_nowait(Event(self._app, None, epoch, None, message))

    def _applied(self, partition: int, records: tuple[Outgoing, ...], written: list[Written]) -> None:
        """Keep the image as the changelog is, batch by batch."""
        image, rest = self._store().image(partition), iter(records)
        for batch in written:
            image.write(itertools.islice(rest, batch.records), batch.first)

    async def _commit(self, partition: int, cut: Mapping[str, int]) -> bool:
        return bool(
            await self._app.consumer.commit_offsets({TopicPartition(topic, partition): offset for topic, offset in cut.items()})
        )
