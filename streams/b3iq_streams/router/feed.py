"""Answers the searches of a view from Kafka: bounds of a partition, and stretches of it. Follows nothing."""

import asyncio
import logging
from types import TracebackType
from typing import Self

from b3iq_schemas.topics import ELIGIBILITY_CHANGES, POLICIES
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import UNSEEN, Place, Source, source
from b3iq_streams.router.bootstrap import Answer, AskBounds, Bounds, ReadRange, Search, Start
from b3iq_streams.router.view import RouterView
from b3iq_streams.settings import KafkaSettings

QUIET_POLLS_MAX = 8
AT_ONCE_MAX = 8
_log = logging.getLogger(__name__)


async def partition_count(reader: Source) -> int:
    """P, the number of partitions that the chain and the policies share; raises UserError if there is no such number."""
    counts = {topic: len(await reader.partitions(topic)) for topic in (ELIGIBILITY_CHANGES, POLICIES)}
    for topic, count in counts.items():
        if count == 0:
            raise UserError(f"topic {topic} {UNSEEN}")
    if len(set(counts.values())) > 1:
        raise UserError(f"topics must have the same number of partitions: {counts}")
    return counts[POLICIES]


class Searches:
    """The searches under way, each on a connection of its own, so that nobody who follows the log waits for them."""

    def __init__(self, kafka: KafkaSettings, view: RouterView) -> None:
        self._kafka, self._view = kafka, view
        self._running: dict[int, tuple[int, asyncio.Task[Start | None]]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for _, task in self._running.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._running.values()), return_exceptions=True)
        for partition, (number, _) in self._running.items():
            self._view.start(partition, number, None)

    def begin(self) -> None:
        """Start the searches that the view wants."""
        for partition in range(len(self._view.parts)):
            if partition not in self._running and self._view.wants_bootstrap(partition):
                number, search = self._view.search(partition)
                self._running[partition] = number, asyncio.create_task(self._run(partition, search))

    def end(self) -> bool:
        """Hand over what finished searches found; True if the log must be followed from other offsets now."""
        moved = False
        for partition, (number, task) in list(self._running.items()):
            if task.done():
                del self._running[partition]
                moved |= self._view.start(partition, number, task.result()) is not None
        return moved

    async def _run(self, partition: int, search: Search) -> Start | None:
        place = Place(ELIGIBILITY_CHANGES, partition)
        try:
            async with self._slots, source(self._kafka) as reader:
                return await drive(reader, place, search)
        except UserError as error:
            _log.warning("no start for partition %d yet: %s", partition, error)
            return None


async def drive(reader: Source, place: Place, search: Search) -> Start | None:
    """Run a search to its end."""
    try:
        ask = next(search)
        while True:
            ask = search.send(await _answer(reader, place, ask))
    except StopIteration as stop:
        found: Start | None = stop.value
        return found


async def _answer(reader: Source, place: Place, ask: AskBounds | ReadRange) -> Answer:
    if isinstance(ask, AskBounds):
        starts, ends = await reader.start_offsets([place]), await reader.end_offsets([place])
        return Bounds(starts[place], ends[place])
    return await read_range(reader, place, ask.first, ask.last)


async def read_range(reader: Source, place: Place, first: int, last: int) -> tuple[Record, ...]:
    """The records in `[first, last)`. Offsets without a record exist, so a log that stays quiet has no more of them."""
    found: list[Record] = []
    quiet = 0
    async for batch in reader.follow({place: first}):
        found += [record for record in batch if record.offset < last]
        quiet = 0 if batch else quiet + 1
        if quiet == QUIET_POLLS_MAX or (batch and batch[-1].offset >= last - 1):
            break
    return tuple(found)
