"""What a worker measures: fills the processor's part of the table in `observability/metrics.py`.

Every call comes from the worker's event loop. Own epochs alone count facts, refusals and changes, so that workers add up.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.core.actions import Appended, Confirmed, Intake, Notice
from b3iq_streams.core.admit import Opened
from b3iq_streams.core.records import Record
from b3iq_streams.observability.collectors import Collectors
from b3iq_streams.observability.metrics import PROCESSOR
from b3iq_streams.processor.exits import Exits
from b3iq_streams.processor.observer import Observer

OF_HEAD = ("b3iq_resolved_lag_seconds", "b3iq_profiles_eligible", "b3iq_policy_revision", "b3iq_lag_records")
"""Gauges of a partition that go with it."""


class Metrics(Observer):
    """Observes a worker; `exits` = how processes with the same data directory ended before this one."""

    def __init__(self, exits: Mapping[str, Exits] | None = None) -> None:
        self._made = Collectors(PROCESSOR)
        self._resolved_at_ms: dict[int, int] = {}
        self._intake_at_ms: dict[int, int] = {}
        self._assigned_at_ms: dict[int, int] = {}
        for code, (count, last_at_ms) in (exits or {}).items():
            self._made.counter("b3iq_exits", code).inc(count)
            self._made.gauge("b3iq_exit_timestamp_seconds", code).set(last_at_ms / 1_000)

    def on_assigned(self, partition: int) -> None:
        """Recovery begins."""
        self._assigned_at_ms[partition] = monotonic_ms()

    def on_live(self, partition: int) -> None:
        """Recovery has ended."""
        began_ms = self._assigned_at_ms.pop(partition, None)
        if began_ms is not None:
            self._made.gauge("b3iq_recovery_seconds", partition).set((monotonic_ms() - began_ms) / 1_000)

    def on_intake(self, partition: int, intake: Intake) -> None:
        """An epoch begins."""
        self._intake_at_ms[partition] = monotonic_ms()
        behind = sum(max(0, intake.ends[topic] - intake.positions[topic]) for topic in intake.ends)
        self._made.gauge("b3iq_lag_records", partition).set(behind)

    def on_appended(self, partition: int, appended: Appended) -> None:
        """Its mark is acknowledged."""
        began_ms = self._intake_at_ms.pop(partition, None)
        if began_ms is not None:
            self._made.histogram("b3iq_epoch_seconds").observe((monotonic_ms() - began_ms) / 1_000)

    def on_confirmed(self, partition: int, confirmed: Confirmed) -> None:
        """An epoch counts."""
        made = self._made
        made.counter("b3iq_epochs", "self" if confirmed.own else "other").inc()
        if confirmed.own:
            self._count(confirmed)
        elif partition not in self._assigned_at_ms:
            made.counter("b3iq_contested_epochs").inc()
        made.gauge("b3iq_profiles_eligible", partition).set(confirmed.eligible)
        made.gauge("b3iq_policy_revision", partition).set(confirmed.head.policy_revision)
        if partition not in self._resolved_at_ms:
            made.gauge("b3iq_resolved_lag_seconds", partition).set_function(self._resolved_lag_of(partition))
        self._resolved_at_ms[partition] = confirmed.head.resolved_at_ms

    def _count(self, confirmed: Confirmed) -> None:
        made = self._made
        for topic, count in confirmed.admitted.items():
            made.counter("b3iq_events_admitted", topic).inc(count)
        for code, count in confirmed.refused.items():
            made.counter("b3iq_events_refused", code).inc(count)
        for code, count in confirmed.codes.items():
            made.counter("b3iq_changes", code).inc(count)
        made.counter("b3iq_profiles_lost").inc(confirmed.lost)
        made.counter("b3iq_refreshed_keys").inc(max(0, confirmed.refreshed))

    def on_checkpoint(self, partition: int, count: int) -> None:
        """Records went to the checkpoint."""
        self._made.counter("b3iq_checkpoint_records").inc(count)

    def on_notice(self, partition: int, notice: Notice) -> None:
        """The owner has something to say."""
        self._made.counter("b3iq_notices", notice.level, notice.code).inc()
        self._made.gauge("b3iq_notice_timestamp_seconds", notice.level, notice.code).set(now_ms() / 1_000)

    def on_released(self, partition: int) -> None:
        """The partition is somebody else's now: say nothing about it any more."""
        if self._resolved_at_ms.pop(partition, None) is not None:
            for name in OF_HEAD:
                self._made.remove(name, partition)

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
            with self._made.histogram("b3iq_verify_batch_seconds").time():
                return check(records, owner)

        return measured

    def render(self) -> bytes:
        """The text exposition format."""
        return self._made.render()

    def _resolved_lag_of(self, partition: int) -> Callable[[], float]:
        return lambda: (now_ms() - self._resolved_at_ms[partition]) / 1_000 if partition in self._resolved_at_ms else 0.0
