"""Brings a catalog to life: a router's client, the live half that it feeds, and the clock that moves both on.

Whoever serves it, and where, is `serving.py`'s; the command and the demo open the same thing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from b3iq_schemas.policy import RootTrust
from b3iq_streams.catalog.live import DEFAULTS, TICK_S, Live, LiveSettings
from b3iq_streams.catalog.standing import Moment
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.log import DecisionLog
from b3iq_streams.router.partition import Step, ViewSettings
from b3iq_streams.settings import KafkaSettings

_log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """A view that is fed, and what is kept beside it."""

    client: RouterClient
    live: Live


def clock() -> Moment:
    """This machine's clocks."""
    return Moment(now_ms(), monotonic_ms())


@asynccontextmanager
async def opened(
    kafka: KafkaSettings,
    trust: RootTrust,
    view: ViewSettings,
    settings: LiveSettings = DEFAULTS,
    decisions: DecisionLog | None = None,
    watch: Callable[[Step], None] | None = None,
) -> AsyncIterator[Opened]:
    """A catalog over live topics for the length of a block; `decisions` and `watch` are the client's.

    Raises UserError when the topics are not fit.
    """
    fed: list[Live] = []

    def absorb(step: Step) -> None:
        fed[0].absorb(step)

    async with RouterClient(kafka, trust, view, decisions, watch, absorb) as client:
        live = Live(client.view, clock, settings)  # nothing was awaited since the view came to be, so no epoch was missed
        fed.append(live)
        pulse = asyncio.create_task(_pulse(live), name="catalog-pulse")
        try:
            yield Opened(client, live)
        finally:
            pulse.cancel()
            await asyncio.gather(pulse, return_exceptions=True)


async def _pulse(live: Live) -> None:
    while True:
        try:
            live.tick()
        except Exception as error:
            _log.error("the catalog missed a tick: %s", type(error).__name__)
        await asyncio.sleep(TICK_S)
