"""What the catalog measures, as Prometheus metrics: units in the names, labels from bounded sets only."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from b3iq_streams.catalog.live import Live

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Counts requests; looks at the live half when it is asked. `registry` is its own, so that several can live together."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("b3iq_catalog_requests", "Requests", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "b3iq_catalog_request_seconds", "Request to answer", ["route"], buckets=SECONDS, registry=registry
        )
        self._ready = Gauge("b3iq_catalog_ready", "1 while claims are made", registry=registry)
        self._lag = Gauge("b3iq_catalog_resolved_lag_seconds", "Now minus resolved time", ["partition"], registry=registry)
        self._profiles = Gauge("b3iq_catalog_profiles", "Profiles shown", registry=registry)
        self._eligible = Gauge("b3iq_catalog_eligible", "Profiles claimed eligible", registry=registry)
        self._readers = Gauge("b3iq_catalog_readers", "Readers of changes", registry=registry)
        self._listings = Gauge("b3iq_catalog_listings_composed", "How often the list of models was made", registry=registry)

    def answered(self, route: str, status: int, taken_ms: int) -> None:
        """A request was answered; `route` is the pattern it matched, never the path."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(taken_ms / 1_000)

    def render(self) -> bytes:
        """The text exposition format."""
        live, standing = self._live, self._live.look()
        self._ready.set(standing.ready)
        for partition, head in enumerate(live.view.heads()):
            if head.resolved_at_ms:
                self._lag.labels(partition).set((standing.at_ms - head.resolved_at_ms) / 1_000)
        self._profiles.set(len(live.store.index.rows))
        self._eligible.set(live.store.census.eligible(standing))
        self._readers.set(live.hub.readers)
        self._listings.set(live.composed)
        return generate_latest(self.registry)
