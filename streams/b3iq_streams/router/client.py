"""The router's client: keeps a view fed from Kafka, and answers requests from it.

    async with RouterClient(kafka, trust) as client:
        choice = await client.pick(Request(model, caller))

Whatever goes wrong on the way from the broker ends in a view that grants nothing, and is tried again for as long as the
client is open. One task follows the log, searches run beside it; answers come from memory.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from b3iq_schemas.envelope import verify
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, POLICIES
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.core.records import LOG_APPEND_TIME, Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Place, Source, source
from b3iq_streams.router.feed import Searches, partition_count
from b3iq_streams.router.log import DecisionLog
from b3iq_streams.router.partition import Step, ViewSettings
from b3iq_streams.router.request import Request
from b3iq_streams.router.view import DEFAULTS, Choice, RouterView
from b3iq_streams.settings import KafkaSettings

POLL_MS = 100
RETRY_S = 1.0
COUNT_CHECK_MS = 10_000
BREATH_RECORDS = 200
_log = logging.getLogger(__name__)


class RouterClient:
    """A view of one network and the task that feeds it. `watch` is called with every epoch accepted once it is synced,
    `absorb` with every accepted epoch, also while catching up: whoever keeps more of a decision than the view does."""

    def __init__(
        self,
        kafka: KafkaSettings,
        trust: RootTrust,
        settings: ViewSettings = DEFAULTS,
        decisions: DecisionLog | None = None,
        watch: Callable[[Step], None] | None = None,
        absorb: Callable[[Step], None] | None = None,
    ) -> None:
        self._kafka, self._trust, self._settings, self._decisions = kafka, trust, settings, decisions
        self._watch, self._absorb = watch, absorb
        self._view: RouterView | None = None
        self._task: asyncio.Task[None] | None = None
        self._policy_positions: dict[int, int] = {}
        self._counted_at_ms = 0
        self._synced = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        await self.close()

    @property
    def view(self) -> RouterView:
        """The view; there is one from `start` on."""
        if self._view is None:
            raise RuntimeError("the router client was not started")
        return self._view

    async def start(self) -> None:
        """Look at the topics, then follow them in the background; raises UserError when they are not fit."""
        async with source(self._kafka) as reader:
            self._view = RouterView(self._trust, await partition_count(reader), verify, self._settings)
        self._task = asyncio.create_task(self._run(self._view), name="router-view")

    async def close(self) -> None:
        """Stop following; the view grants nothing from then on."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def synced(self, timeout_s: float) -> bool:
        """Wait until every partition has been read, once, to where it ended; False if time is up before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._synced.wait()
        return self._synced.is_set()

    async def pick(self, request: Request) -> Choice:
        """The answer to a request; once its record is in the log, if decisions are logged, and only if it still holds."""
        while True:
            at_ms, monotonic = now_ms(), monotonic_ms()
            choice = self.view.pick(request, at_ms, monotonic)
            if self._decisions is None:
                return choice
            await self._decisions.write(self._decisions.compose(self.view, request, choice, at_ms, monotonic))
            if self.view.holds(choice, request, now_ms(), monotonic_ms()):
                return choice

    async def _run(self, view: RouterView) -> None:
        try:
            while True:
                try:
                    async with source(self._kafka) as reader, Searches(self._kafka, view) as searches:
                        await self._read_policies(view, reader)
                        await self._follow(view, reader, searches)
                except UserError as error:
                    _log.warning("the view is lost: %s", error)
                except Exception:
                    _log.exception("the view is lost")
                view.lost()
                await asyncio.sleep(RETRY_S)
        finally:
            view.lost()

    async def _read_policies(self, view: RouterView, reader: Source) -> None:
        """All revisions up to now, before any mark is judged."""
        ends = await reader.end_offsets(await reader.partitions(POLICIES))
        self._policy_positions = {place.partition: end for place, end in ends.items()}
        for record in await reader.read(POLICIES):
            self._take(view, record)
        view.policies_known()

    async def _follow(self, view: RouterView, reader: Source, searches: Searches) -> None:
        """Follow policies and every partition that has a start; begin anew at other offsets when a search has ended."""
        while True:
            offsets = {Place(POLICIES, partition): offset for partition, offset in self._policy_positions.items()}
            offsets |= {Place(ELIGIBILITY_CHANGES, partition): offset for partition, offset in view.positions().items()}
            async for batch in reader.follow(offsets, POLL_MS):
                for number, record in enumerate(batch):
                    self._take(view, record)
                    if number % BREATH_RECORDS == BREATH_RECORDS - 1:
                        await asyncio.sleep(0)
                view.tick(now_ms(), monotonic_ms())
                if view.synced:
                    self._synced.set()
                searches.begin()
                if searches.end():
                    break
                await self._count(view, reader)

    def _take(self, view: RouterView, record: Record) -> None:
        if record.timestamp_type != LOG_APPEND_TIME and self._settings.stamped:
            raise UserError(f"{record.topic} is not stamped by the broker: set message.timestamp.type=LogAppendTime")
        if record.topic == POLICIES:
            self._policy_positions[record.partition] = max(self._policy_positions[record.partition], record.offset + 1)
        was_synced = view.parts[record.partition].synced
        for step in view.apply(record):
            if self._absorb is not None:
                self._absorb(step)
            if was_synced and self._watch is not None:
                self._watch(step)

    async def _count(self, view: RouterView, reader: Source) -> None:
        if monotonic_ms() < self._counted_at_ms + COUNT_CHECK_MS:
            return
        if await partition_count(reader) != len(view.parts):
            raise UserError("the number of partitions changed: that is another network's generation")
        self._counted_at_ms = monotonic_ms()
