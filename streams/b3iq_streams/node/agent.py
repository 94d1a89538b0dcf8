"""The agent: probe, compose, take the next number, sign, send, wait; and say goodbye when it is asked to end.

The life of one process, in this order: find its place in the log, begin a boot above everything before it, `online` until
asked to stop, `draining` for a while, `offline` once. Every heartbeat is made anew, with its own number: what was not
acknowledged may or may not be in the log, and sending it again could only be a replay.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from b3iq_schemas.events import PROFILES_MAX
from b3iq_schemas.ids import INT_MAX
from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.emit import from_event
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import BrokerUnavailable, KafkaRefused, source
from b3iq_streams.node.beat import compose
from b3iq_streams.node.identity import Identity
from b3iq_streams.node.inventory import Inventory
from b3iq_streams.node.link import Link
from b3iq_streams.node.lookback import highest_boot
from b3iq_streams.node.pace import Backoff, interval
from b3iq_streams.node.probe import Observed, Prober
from b3iq_streams.node.sequence import Place, Sequence
from b3iq_streams.settings import KafkaSettings

LOOKBACK_RECORDS_MAX = 50_000
"""How far to look for a backup that was put back, when there is a sequence file; without one, to the log's beginning."""
GOODBYE_S = 10.0
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
        """Raises UserError if the inventory makes heartbeats that are too large, or names a token file that is not fit."""
        self._inventory, self._identity, self._sequence, self._pace, self._kafka = inventory, identity, sequence, pace, kafka
        self._prober = Prober(inventory, pace.probe_timeout_s)
        self._link = Link(kafka, stamped)
        self._told: dict[str, Observed] = {}
        self._failing = False
        _check_size(inventory, identity)

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Until `stop` is set, then drain (cut short by `hurry`) and say `offline`; raises UserError if that failed."""
        try:
            if not await _unless(stop, self._until_done(self._begin)):
                return
            while await _unless(stop, self._until_done(self._online)):
                await _sleep(stop, interval(self._pace.interval_s))
            await self._drain(hurry)
            await self._say_offline()
        finally:
            await self._link.close()

    async def _until_done(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do something that needs the broker, again and again until it works: there is no use in giving up."""
        backoff = Backoff()
        while True:
            try:
                await action()
            except (BrokerUnavailable, KafkaRefused) as error:
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
        if kept is None:
            _log.info("no sequence file: looking for the last heartbeat in the log")
        async with source(self._kafka) as reader:
            public = (bytes(self._identity.key.verify_key),)
            limit = None if kept is None else LOOKBACK_RECORDS_MAX
            logged = await highest_boot(reader, inventory.network, inventory.node_id, public, limit)
        if kept is not None and logged is not None and logged > kept.boot:
            _log.warning(
                "the log knows boot %d, the sequence file only %d: it was put back, or another agent runs", logged, kept.boot
            )
        boot = self._sequence.begin(logged, now_ms() // 1_000)
        _log.info("%s in %s begins boot %d, %d profiles", inventory.node_id, inventory.network, boot, len(inventory.profiles))

    async def _online(self) -> None:
        await self._beat("online")

    async def _beat(self, state: str) -> None:
        """One heartbeat, acknowledged."""
        found = await self._prober.look()
        self._tell(found)
        key = await self._identity.refresh()
        place = self._sequence.next()
        emission = from_event(HEARTBEATS, compose(self._inventory, found, place, state, now_ms()), key)
        if said := await self._link.send(emission):
            _log.warning("%s", said)
        _log.debug("boot %d seq %d %s", *place, state)

    async def _drain(self, hurry: asyncio.Event) -> None:
        """Say `draining` as often as anything else, for as long as running calls may take."""
        _log.info("draining for %g s, then offline", self._pace.drain_s)
        until_ms = monotonic_ms() + self._pace.drain_s * 1_000
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.drain_s):
                while monotonic_ms() < until_ms:
                    if not await _unless(hurry, self._until_done(lambda: self._beat("draining"))):
                        return
                    await _sleep(hurry, interval(self._pace.interval_s))

    async def _say_offline(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._beat("offline")
        except (TimeoutError, BrokerUnavailable, KafkaRefused) as error:
            why = str(error) or f"no acknowledgement within {GOODBYE_S:g} s"
            raise UserError(f"stopped without saying offline, so the last heartbeat has to run out: {why}") from None
        _log.info("offline")

    def _tell(self, found: Mapping[str, Observed]) -> None:
        """What changed since the last probe, for the host's own log."""
        for profile_id, seen in found.items():
            if self._told.get(profile_id) != seen:
                log = _log.warning if seen.why else _log.info
                log(
                    "profile %s: %s, queue %s%s", profile_id, seen.status, seen.queue_health, f" ({seen.why})" if seen.why else ""
                )
        self._told = dict(found)


def _check_size(inventory: Inventory, identity: Identity) -> None:
    """The largest heartbeat that this inventory can make must fit the topic's limit."""
    worst = Observed("hardware_unsupported", False, "unhealthy", INT_MAX, "")
    found = {offer.profile_id: worst for offer in inventory.profiles}
    assert len(found) <= PROFILES_MAX
    try:
        from_event(HEARTBEATS, compose(inventory, found, Place(INT_MAX, INT_MAX), "draining", INT_MAX), identity.key)
    except UserError as error:
        raise UserError(f"the inventory makes heartbeats that are {error}") from None


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
