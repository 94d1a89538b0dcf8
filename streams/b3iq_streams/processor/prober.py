"""Asks the broker how far its logs go: the clock first, then the end offsets, on a connection of its own.

Every answer pairs a clock reading with ends asked after it, so all that was appended before `clock_ms` lies below them.
Partitions that ask at the same time share one request; nobody gets an answer whose clock was read before they asked.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from b3iq_streams.clock import monotonic_ms, now_ms

STARTS_AGE_MS = 10_000


class Sighting(NamedTuple):
    """`clock_ms` was read before `ends` was asked. `starts` move by retention only and may be some seconds old."""

    clock_ms: int
    ends: Mapping[TopicPartition, int]
    starts: Mapping[TopicPartition, int]


class Prober:
    """Shared by the partitions of a worker; one request is under way at a time."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._waiting: list[tuple[tuple[TopicPartition, ...], asyncio.Future[Sighting]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._starts: dict[TopicPartition, int] = {}
        self._starts_at_ms = 0

    async def ask(self, places: Iterable[TopicPartition]) -> Sighting:
        """The ends of `places` (and of others who asked meanwhile), with the clock that they are good for."""
        answer: asyncio.Future[Sighting] = asyncio.get_running_loop().create_future()
        self._waiting.append((tuple(places), answer))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all(), name="prober")
        return await answer

    def forget_starts(self) -> None:
        """Ask for the log starts again: a gap was seen, and retention may have made it."""
        self._starts.clear()

    async def _ask_all(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, []
            try:
                sighting = await self._look({place for places, _ in asked for place in places})
            except Exception as error:
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for _, answer in asked:
                    if not answer.done():
                        answer.set_result(sighting)

    async def _look(self, places: set[TopicPartition]) -> Sighting:
        clock_ms = now_ms()
        ends = await self._consumer.end_offsets(places)
        if not places <= self._starts.keys() or monotonic_ms() - self._starts_at_ms > STARTS_AGE_MS:
            self._starts = await self._consumer.beginning_offsets(places)
            self._starts_at_ms = monotonic_ms()
        return Sighting(clock_ms, ends, self._starts)
