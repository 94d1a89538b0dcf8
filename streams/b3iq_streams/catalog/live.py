"""The catalog's live half: a router's view, what is kept beside it, and how news of it get to readers.

Fed by whoever follows the log (`absorb`) and by the clock (`tick`); without I/O of its own, so that tests drive it by hand.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from b3iq_streams.catalog.answers import change_event, status_event
from b3iq_streams.catalog.hub import Hub, HubSettings
from b3iq_streams.catalog.listing import Listed, Listing
from b3iq_streams.catalog.models import StatusEvent
from b3iq_streams.catalog.standing import Moment, Standing, stand
from b3iq_streams.catalog.store import Store
from b3iq_streams.router.partition import Step
from b3iq_streams.router.view import RouterView

TICK_S = 0.2
STATUS_MS = 1_000
"""A status that changed in nothing but its times is told this often, any other change at the next tick."""
SILENCE_MS = 5_000
"""One that did not change at all is told this often, so that readers know the time."""
SPARK_STEP_MS = 5_000

_log = logging.getLogger(__name__)

Clock = Callable[[], Moment]


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What an operator may choose."""

    hub: HubSettings = field(default_factory=HubSettings)
    spark_step_ms: int = SPARK_STEP_MS


DEFAULTS = LiveSettings()


class Live:
    """What the pages ask."""

    def __init__(self, view: RouterView, clock: Clock, settings: LiveSettings = DEFAULTS) -> None:
        self.view, self.clock, self.settings = view, clock, settings
        self._begin()
        self.hub = Hub(self._epochs(), settings.hub)
        self._told: StatusEvent | None = None
        self._sampled_ms: int | None = None

    def look(self, moment: Moment | None = None) -> Standing:
        """How things stand now, or at a moment that is now; to be asked before anything is shown."""
        if self.store.sync():
            self.hub.reset(self._epochs())
        return stand(self.view, moment or self.clock())

    @property
    def composed(self) -> int:
        """How often the list of models was made."""
        return self._listing.composed

    def models(self) -> Listed | Standing:
        """The list of models, or how things stand where nothing can be claimed."""
        moment = self.clock()  # one for all: a list of a moment later could lack what is kept for the next request
        standing = self.look(moment)
        return self._listing.now(standing, moment) if standing.ready else standing

    def absorb(self, step: Step) -> None:
        """An epoch that the view accepted, synced or not. Never raises: what could not be taken is not shown."""
        try:
            self._absorb(step)
        except Exception as error:  # whatever it was, nothing that was half taken may be shown or kept in a list
            _log.error("an epoch of partition %d was not taken: %s", step.partition, type(error).__name__)
            self._begin()
            self.hub.reset(self._epochs())

    def _begin(self) -> None:
        """With nothing; rows come with the next decisions, and every live one within the policy's refresh period."""
        self.store = Store(self.view)
        self._listing = Listing(self.view, self.store)

    def _absorb(self, step: Step) -> None:
        happened = self.store.absorb(step)
        epoch = step.accepted.head.epoch
        if not self.store.follows(step.partition):
            self.hub.skip(step.partition, epoch)
            return
        standing = self.look() if happened else None
        events = [change_event(step, one, standing).body for one in happened if standing]
        self.hub.publish(step.partition, epoch, events)

    def tick(self) -> None:
        """Time has passed: catch up with what the view did by itself, tell how things stand, remember counts."""
        standing = self.look()
        if self.store.caught_up():
            self.hub.reset(self._epochs())
        self.tell(standing)
        monotonic_ms = self.clock().monotonic_ms
        if self._sampled_ms is None or monotonic_ms >= self._sampled_ms + self.settings.spark_step_ms:
            self._sampled_ms = monotonic_ms
            self.store.census.sample(standing)

    def tell(self, standing: Standing) -> None:
        """Tell readers how things stand, if that is news."""
        now, told = status_event(self, standing), self._told
        if told is None or _news(now, told):
            self._told = now
            self.hub.status(now.body)

    def _epochs(self) -> list[int]:
        return [head.epoch for head in self.view.heads()]


def _news(now: StatusEvent, told: StatusEvent) -> bool:
    times = {"now_ms": told.now_ms, "resolved_at_ms": told.resolved_at_ms}
    if now.model_copy(update=times) != told:
        return True
    return now.now_ms >= told.now_ms + (STATUS_MS if now.resolved_at_ms != told.resolved_at_ms else SILENCE_MS)
