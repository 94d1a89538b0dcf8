"""Prometheus collectors made from the table; the only place that makes any."""

import itertools
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from b3iq_streams.observability.metrics import OTHER, Kind, Metric, bounded

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which is in no table


class Collectors:
    """The collectors of some metrics in a registry of their own, so that several can live in one process.

    Every call names a metric of the table and its label values in the table's order; values out of bounds become `other`.
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.registry = CollectorRegistry()
        self._metrics = {metric.name: metric for metric in metrics}
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in self._metrics.values():
            self._make(metric)

    def counter(self, name: str, *values: object) -> Counter:
        """A counter, ready to be increased."""
        labels = self._labels(name, values)
        return self._counters[name].labels(*labels) if labels else self._counters[name]

    def gauge(self, name: str, *values: object) -> Gauge:
        """A gauge, ready to be set."""
        labels = self._labels(name, values)
        return self._gauges[name].labels(*labels) if labels else self._gauges[name]

    def histogram(self, name: str, *values: object) -> Histogram:
        """A histogram, ready to observe."""
        labels = self._labels(name, values)
        return self._histograms[name].labels(*labels) if labels else self._histograms[name]

    def remove(self, name: str, *values: object) -> None:
        """Say nothing about these labels of a gauge any more."""
        self._gauges[name].remove(*self._labels(name, values))

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def _labels(self, name: str, values: tuple[object, ...]) -> list[str]:
        return [bounded(bound, value) for bound, value in zip(self._metrics[name].labels.values(), values, strict=True)]

    def _make(self, metric: Metric) -> None:
        match metric.kind:
            case Kind.COUNTER:
                made = Counter(metric.name, metric.help, metric.labels, registry=self.registry)
                self._counters[metric.name] = made
                bounds = [sorted({*bound, OTHER}) for bound in metric.labels.values() if isinstance(bound, frozenset)]
                if bounds and len(bounds) == len(metric.labels):  # a first event must be an increase: begin at 0
                    for values in itertools.product(*bounds):
                        made.labels(*values)
            case Kind.GAUGE:
                self._gauges[metric.name] = Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
            case Kind.HISTOGRAM:
                self._histograms[metric.name] = Histogram(
                    metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry
                )
