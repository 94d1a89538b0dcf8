"""The agent: probe, compose, take the next number, sign, send, wait; and say goodbye when it is asked to end.

The life of one process, in this order: find its place in the log, begin a boot above everything before it, `online` until
asked to stop, `draining` for a while, `offline` once. Every heartbeat is made anew, with its own number: what was not
acknowledged may or may not be in the log, and sending it again could only be a replay. Only `online` needs a probe: what is
about to end is not offered, and must not wait for a runtime that ends as well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.emit import from_event
from b3iq_streams.kafka import BrokerUnavailable, KafkaRefused, NotAdmitted, OffsetGone, Source, source
from b3iq_streams.node.beat import compose
from b3iq_streams.node.identity import Identity
from b3iq_streams.node.inventory import Inventory
from b3iq_streams.node.link import Link
from b3iq_streams.node.lookback import highest_boot, registered_since_ms
from b3iq_streams.node.pace import Backoff, interval
from b3iq_streams.node.probe import NOT_ASKED, Observed, Prober, observed
from b3iq_streams.node.sequence import Sequence
from b3iq_streams.security import SecurityError
from b3iq_streams.settings import KafkaSettings

LOOKBACK_RECORDS_MAX = 50_000
"""How far to look for a backup that was put back, when there is a sequence file; without one, to the node's registration."""
BEFORE_REGISTERED_MS = 3_600_000
"""Looked at besides: brokers' clocks differ, and an agent may have spoken before it was listed."""
GOODBYE_S = 10.0
HURRIED_S = 2.0
"""How long `offline` may take; after a second signal, from then on."""
_log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """How often, and how long: heartbeats, draining, probes."""

    interval_s: float
    drain_s: float
    probe_timeout_s: float


class Agent:
    """One node's agent in one process."""

    def __init__(
        self, inventory: Inventory, identity: Identity, sequence: Sequence, pace: Pace, kafka: KafkaSettings, stamped: bool = True
    ) -> None:
        """Raises UserError if the inventory names a token file that is not fit."""
        self._inventory, self._identity, self._sequence, self._pace, self._kafka = inventory, identity, sequence, pace, kafka
        self._prober = Prober(inventory, pace.probe_timeout_s)
        self._link = Link(kafka, stamped)
        self._found = {offer.profile_id: observed(offer, NOT_ASKED) for offer in inventory.profiles}
        self._failing, self._began = False, False

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> bool:
        """Until `stop` is set, then drain (cut short by `hurry`) and say `offline`; whether the network knows that it ended.

        Raises UserError if the broker refuses this client for good before the first heartbeat, there are no topics, or the
        sequence cannot be kept.
        """
        try:
            if not await _unless(stop, self._until_done(self._begin)):
                return True
            while await self._turn(stop, self._online):
                pass
            await self._drain(hurry)
            return await self._say_offline(hurry)
        finally:
            await self._link.close()

    async def _turn(self, stop: asyncio.Event, action: Callable[[], Awaitable[None]]) -> bool:
        """Do something that needs the broker, then wait out its interval, which began with it; False once `stop` is set."""
        due_ms = monotonic_ms() + interval(self._pace.interval_s) * 1_000
        if done := await _unless(stop, self._until_done(action)):
            await _sleep(stop, max(0, due_ms - monotonic_ms()) / 1_000)
        return done

    async def _until_done(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something that needs the broker, again and again until it works: there is no use in giving up."""
        backoff = Backoff()
        while True:
            try:
                await action()
            except (BrokerUnavailable, KafkaRefused, OffsetGone, SecurityError) as error:
                if isinstance(error, NotAdmitted | SecurityError) and not self._began:
                    raise  # settings that are wrong from the start are told to whoever starts it
                wait_s = backoff.next()
                _log.warning("%s; next try in %.1f s", error, wait_s)
                self._failing = True
                await asyncio.sleep(wait_s)
            else:
                if self._failing:
                    _log.info("the broker answers again")
                self._failing = False
                return

    async def _begin(self) -> None:
        """Find this process's boot: above the file's and above the log's."""
        inventory, kept = self._inventory, self._sequence.kept
        logged = await self._last_logged()
        if kept is not None and logged is not None and logged > kept.boot:
            _log.warning(
                "the log knows boot %d, the sequence file only %d: it was put back, or another agent runs", logged, kept.boot
            )
        boot = self._sequence.begin(logged, now_ms() // 1_000)
        self._began = True
        _log.info("%s in %s begins boot %d, %d profiles", inventory.node_id, inventory.network, boot, len(inventory.profiles))

    async def _last_logged(self) -> int | None:
        """The boot of the node's last heartbeat in the log, None if it is not found, or may not be looked for."""
        inventory, kept = self._inventory, self._sequence.kept
        try:
            async with source(self._kafka, once=True) as reader:
                limit, since_ms = (await self._where_to_stop(reader)) if kept is None else (LOOKBACK_RECORDS_MAX, 0)
                return await highest_boot(reader, inventory.network, inventory.node_id, self._identity.publics(), limit, since_ms)
        except KafkaRefused as error:
            if not error.forbidden:
                raise
            _log.warning("this user may not read heartbeats, so a sequence file that was lost or put back goes unnoticed")
            return None

    async def _where_to_stop(self, reader: Source) -> tuple[int | None, int]:
        """Without a sequence file, how far the log is looked through for the last heartbeat: records, and a time in ms."""
        registered_ms = await registered_since_ms(reader, self._inventory.node_id)
        if registered_ms is None:
            _log.info("no sequence file, and no registration of this node yet: taken for a new one")
            return LOOKBACK_RECORDS_MAX, 0
        _log.info("no sequence file: looking for the last heartbeat since the node was registered")
        return None, max(0, registered_ms - BEFORE_REGISTERED_MS)

    async def _online(self) -> None:
        found = await self._prober.look()
        self._tell(found)
        self._found = found
        await self._beat("online")

    async def _beat(self, state: str) -> None:
        """One heartbeat, acknowledged."""
        key = await self._identity.refresh()
        place = self._sequence.next()
        emission = from_event(HEARTBEATS, compose(self._inventory, self._found, place, state, now_ms()), key)
        if said := await self._link.send(emission):
            _log.warning("%s", said)
        _log.debug("boot %d seq %d %s", *place, state)

    async def _drain(self, hurry: asyncio.Event) -> None:
        """Say `draining` as often as anything else, for as long as running calls may take."""
        if self._pace.drain_s and not hurry.is_set():
            _log.info("draining for %g s, then offline", self._pace.drain_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.drain_s):
                    while await self._turn(hurry, lambda: self._beat("draining")):
                        pass

    async def _say_offline(self, hurry: asyncio.Event) -> bool:
        try:
            async with asyncio.timeout(HURRIED_S if hurry.is_set() else GOODBYE_S) as limit:
                hastening = asyncio.ensure_future(_hasten(limit, hurry))
                try:
                    await self._until_done(lambda: self._beat("offline"))
                finally:
                    hastening.cancel()
        except TimeoutError:
            _log.warning("ends without having said offline, so its last heartbeat has to run out")
            return False
        _log.info("offline")
        return True

    def _tell(self, found: Mapping[str, Observed]) -> None:
        """What changed since the last probe, for the host's own log."""
        for profile_id, seen in found.items():
            if self._found[profile_id] != seen:
                why = f" ({seen.why})" if seen.why else ""
                log = _log.warning if seen.why else _log.info
                log("profile %s: %s, queue %s%s", profile_id, seen.status, seen.queue_health, why)


async def _hasten(limit: asyncio.Timeout, hurry: asyncio.Event) -> None:
    await hurry.wait()
    limit.reschedule(asyncio.get_running_loop().time() + HURRIED_S)


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do the work, or drop it when `stop` is set; whether it was done. Raises what the work raises."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return not stop.is_set()
        return False
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
