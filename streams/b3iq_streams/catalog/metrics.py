"""What the catalog measures: fills its part of the table in `observability/metrics.py`."""

from b3iq_schemas.codes import LEAVES
from b3iq_streams.catalog.live import Live
from b3iq_streams.observability.collectors import Collectors
from b3iq_streams.observability.metrics import CATALOG, OTHER


class Metrics:
    """Counts requests; looks at the live half when it is asked."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._made = Collectors(CATALOG)

    def answered(self, route: str, status: int, taken_ms: int) -> None:
        """A request was answered; `route` is the pattern it matched, never the path."""
        self._made.counter("b3iq_catalog_requests", route, status).inc()
        self._made.histogram("b3iq_catalog_request_seconds", route).observe(taken_ms / 1_000)

    def render(self) -> bytes:
        """The text exposition format."""
        made, live, standing = self._made, self._live, self._live.look()
        made.gauge("b3iq_catalog_ready").set(standing.ready)
        for partition, head in enumerate(live.view.heads()):
            if head.resolved_at_ms:
                made.gauge("b3iq_catalog_resolved_lag_seconds", partition).set((standing.at_ms - head.resolved_at_ms) / 1_000)
        made.gauge("b3iq_catalog_profiles").set(len(live.store.index.rows))
        made.gauge("b3iq_catalog_eligible").set(live.store.census.eligible(standing))
        made.gauge("b3iq_catalog_readers").set(live.hub.readers)
        made.gauge("b3iq_catalog_listings_composed").set(live.composed)
        blocked = dict.fromkeys((*LEAVES, OTHER), 0)
        for code, profiles in live.store.index.count("code"):
            blocked[code if code in LEAVES else OTHER] += profiles
        for code, profiles in blocked.items():
            made.gauge("b3iq_catalog_blocked", code).set(profiles)
        return made.render()
