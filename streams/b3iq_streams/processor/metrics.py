"""What a worker measures, as Prometheus metrics: units in the names, labels from bounded sets only.

The table is this class; nothing else in the product counts. Every call comes from the worker's event loop.
"""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.core.actions import Appended, Confirmed, Intake, Notice
from b3iq_streams.core.admit import Opened
from b3iq_streams.core.records import Record
from b3iq_streams.processor.observer import Observer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics(Observer):
    """Observes a worker. `registry` is its own, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def per_partition(name: str, text: str) -> Gauge:
            return Gauge(name, text, ["partition"], registry=registry)

        self.admitted = Counter("b3iq_events_admitted", "Facts admitted", ["topic"], registry=registry)
        self.refused = Counter("b3iq_events_refused", "Records refused", ["code"], registry=registry)
        self.epochs = Counter("b3iq_epochs", "Epochs seen accepted", ["proposed_by"], registry=registry)
        self.epoch_seconds = Histogram(
            "b3iq_epoch_seconds", "Intake handed over to epoch acknowledged", buckets=SECONDS, registry=registry
        )
        self.verify_seconds = Histogram(
            "b3iq_verify_batch_seconds", "Signature checks of one fetched batch", buckets=SECONDS, registry=registry
        )
        self.lag_records = per_partition("b3iq_lag_records", "Records known at the inputs' ends and not yet taken")
        self.resolved_lag_seconds = per_partition("b3iq_resolved_lag_seconds", "Now minus resolved time of the head")
        self.recovery_seconds = per_partition("b3iq_recovery_seconds", "Assigned to live, last time")
        self.eligible = per_partition("b3iq_profiles_eligible", "Profiles eligible for paid traffic")
        self.changes = Counter(
            "b3iq_changes", "Changes by leaf code, `eligible` for those that opened", ["code"], registry=registry
        )
        self.refreshed = Counter("b3iq_refreshed_keys", "Unchanged keys published again", registry=registry)
        self.checkpointed = Counter("b3iq_checkpoint_records", "Records written to the checkpoint", registry=registry)
        self.alarms = Counter("b3iq_notices", "What owners had to say", ["level", "code"], registry=registry)
        self._resolved_at_ms: dict[int, int] = {}
        self._intake_at_ms: dict[int, int] = {}
        self._assigned_at_ms: dict[int, int] = {}

    def on_assigned(self, partition: int) -> None:
        """Recovery begins."""
        self._assigned_at_ms[partition] = monotonic_ms()

    def on_live(self, partition: int) -> None:
        """Recovery has ended."""
        began_ms = self._assigned_at_ms.pop(partition, None)
        if began_ms is not None:
            self.recovery_seconds.labels(partition).set((monotonic_ms() - began_ms) / 1_000)

    def on_intake(self, partition: int, intake: Intake) -> None:
        """An epoch begins."""
        self._intake_at_ms[partition] = monotonic_ms()
        behind = sum(max(0, intake.ends[topic] - intake.positions[topic]) for topic in intake.ends)
        self.lag_records.labels(partition).set(behind)

    def on_appended(self, partition: int, appended: Appended) -> None:
        """Its mark is acknowledged."""
        began_ms = self._intake_at_ms.pop(partition, None)
        if began_ms is not None:
            self.epoch_seconds.observe((monotonic_ms() - began_ms) / 1_000)

    def on_confirmed(self, partition: int, confirmed: Confirmed) -> None:
        """An epoch counts."""
        self.epochs.labels("self" if confirmed.own else "other").inc()
        for topic, count in confirmed.admitted.items():
            self.admitted.labels(topic).inc(count)
        for code, count in confirmed.refused.items():
            self.refused.labels(code).inc(count)
        for code, count in confirmed.codes.items():
            self.changes.labels(code).inc(count)
        self.refreshed.inc(max(0, confirmed.refreshed))
        self.eligible.labels(partition).set(confirmed.eligible)
        if partition not in self._resolved_at_ms:
            self.resolved_lag_seconds.labels(partition).set_function(self._resolved_lag_of(partition))
        self._resolved_at_ms[partition] = confirmed.head.resolved_at_ms

    def on_checkpoint(self, partition: int, count: int) -> None:
        """Records went to the checkpoint."""
        self.checkpointed.inc(count)

    def on_notice(self, partition: int, notice: Notice) -> None:
        """The owner has something to say."""
        self.alarms.labels(notice.level, notice.code).inc()

    def on_released(self, partition: int) -> None:
        """The partition is somebody else's now: say nothing about it any more."""
        if self._resolved_at_ms.pop(partition, None) is not None:
            for gauge in (self.resolved_lag_seconds, self.eligible, self.lag_records):
                gauge.remove(partition)

    @property
    def resolved_lag_seconds_max(self) -> float | None:
        """The oldest resolved time among partitions held here, as an age; None without any."""
        if not self._resolved_at_ms:
            return None
        return (now_ms() - min(self._resolved_at_ms.values())) / 1_000

    def timed(
        self, check: Callable[[Sequence[Record], Any], Sequence[Opened]]
    ) -> Callable[[Sequence[Record], Any], Sequence[Opened]]:
        """`check`, with the time of each batch measured."""

        def measured(records: Sequence[Record], owner: Any) -> Sequence[Opened]:
            with self.verify_seconds.time():
                return check(records, owner)

        return measured

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def _resolved_lag_of(self, partition: int) -> Callable[[], float]:
        return lambda: (now_ms() - self._resolved_at_ms[partition]) / 1_000 if partition in self._resolved_at_ms else 0.0
