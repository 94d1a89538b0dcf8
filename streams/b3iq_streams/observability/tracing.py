"""OpenTelemetry spans behind the extra `otel`: an epoch is a span, with links to the input ranges that it folds.

Configured by the standard OTEL_* environment alone: without OTEL_EXPORTER_OTLP_ENDPOINT (or its _TRACES_ form) there are no
spans, and nothing of OpenTelemetry's SDK is imported.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from b3iq_streams.core.actions import Appended, Confirmed, Intake
from b3iq_streams.core.admit import Opened
from b3iq_streams.errors import UserError
from b3iq_streams.processor.observer import Observer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "b3iq-processor"


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names somebody to send spans to, and does not turn them off."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(environment.get(name) for name in ENDPOINTS)


def otlp_exporter() -> "SpanExporter":
    """Sends spans where the environment says; UserError without the extra."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError:
        raise UserError("OTEL_EXPORTER_OTLP_ENDPOINT is set: spans need pip install 'b3iq-streams[otel]'") from None
    return OTLPSpanExporter()


class Spans(Observer):
    """Makes a span of each epoch proposed here: from the intake to the epoch seen accepted, or to the next intake.

    `at_once` = export each span when it ends, instead of in batches on a thread.
    """

    def __init__(self, exporter: "SpanExporter", *, at_once: bool = False) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

        self._provider = TracerProvider(resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE)}))
        self._provider.add_span_processor(SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("b3iq_streams")
        self._open: dict[int, Span] = {}

    def on_intake(self, partition: int, intake: Intake) -> None:
        """An intake was handed over; an epoch still open lost its race."""
        self.on_released(partition)
        self._open[partition] = span = self._tracer.start_span("epoch", attributes={"partition": partition})
        for topic, records in intake.records.items():
            if records:
                first = records[0].record if isinstance(records[0], Opened) else records[0]
                last = intake.positions[topic] - 1
                span.add_event("input", {"topic": topic, "partition": partition, "first": first.offset, "last": last})

    def on_appended(self, partition: int, appended: Appended) -> None:
        """Its mark is acknowledged."""
        if span := self._open.get(partition):
            span.add_event("acknowledged", {"offset": appended.mark_offset})

    def on_confirmed(self, partition: int, confirmed: Confirmed) -> None:
        """It counts. Epochs of others have no span here."""
        span = self._open.pop(partition, None) if confirmed.own else None
        if span is not None:
            head = confirmed.head
            span.set_attributes(
                {
                    "epoch": head.epoch,
                    "digest": head.digest,
                    "policy_revision": head.policy_revision,
                    "admitted": sum(confirmed.admitted.values()),
                    "refused": sum(confirmed.refused.values()),
                    "changes": confirmed.changes,
                    "refreshed": confirmed.refreshed,
                    "eligible": confirmed.eligible,
                }
            )
            span.end()

    def on_released(self, partition: int) -> None:
        """What is open of a partition came to nothing."""
        if span := self._open.pop(partition, None):
            span.set_attribute("lost", True)
            span.end()
