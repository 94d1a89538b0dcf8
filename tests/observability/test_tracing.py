"""Spans, caught in memory."""

import sys
from functools import partial

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from b3iq_schemas.topics import INPUTS
from b3iq_streams.core.actions import Appended, Confirmed, Intake
from b3iq_streams.core.chain import Anchor, Head
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.observability.tracing import Spans, otlp_exporter, wanted
from b3iq_streams.processor.observer import Observer, Observers

HEAD = Head(3, 42, "ab" * 32, 1_000, 7, {}, Anchor(-1, 0, ""))
SECRET = b"what nobody may read"


def intake() -> Intake:
    """Three heartbeats."""
    records = tuple(Record("heartbeats", 2, offset, b"node-1", SECRET, 0) for offset in (10, 11, 12))
    zero = dict.fromkeys(INPUTS, 0)
    return Intake(0, zero, zero, {"heartbeats": records, "holds": ()}, {**zero, "heartbeats": 13})


def confirmed(own: bool) -> Confirmed:
    """An epoch with a fact, a refusal and a change."""
    return Confirmed(HEAD, own, {"heartbeats": 2}, {"record_empty": 1}, 1, 4, {"eligible": 1}, 5, 0)


def test_an_epoch_is_a_span_that_names_its_inputs() -> None:
    """Partition, epoch, digest, counts; the ranges it folded; no payload."""
    exporter = InMemorySpanExporter()
    spans = Spans(exporter, at_once=True)
    spans.on_intake(2, intake())
    spans.on_appended(2, Appended(4, 5, 1_000))
    assert () == exporter.get_finished_spans()
    spans.on_confirmed(2, confirmed(own=True))
    (span,) = exporter.get_finished_spans()
    assert {
        "partition": 2, "epoch": 42, "digest": "ab" * 32, "policy_revision": 7,
        "admitted": 2, "refused": 1, "changes": 1, "refreshed": 4, "eligible": 5,
    } == dict(span.attributes or {})  # fmt: skip
    assert [
        ("input", {"topic": "heartbeats", "partition": 2, "first": 10, "last": 12}),
        ("acknowledged", {"offset": 5}),
    ] == [(event.name, dict(event.attributes or {})) for event in span.events]
    assert SECRET.decode() not in span.to_json()


def test_an_epoch_that_lost_its_race_is_marked_lost() -> None:
    """Another's epoch ends no span of ours; the next intake, or giving the partition up, does."""
    exporter = InMemorySpanExporter()
    spans = Spans(exporter, at_once=True)
    spans.on_intake(2, intake())
    spans.on_confirmed(2, confirmed(own=False))
    assert () == exporter.get_finished_spans()
    spans.on_intake(2, intake())
    spans.on_released(2)
    assert [True, True] == [(span.attributes or {}).get("lost") for span in exporter.get_finished_spans()]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_spans_are_made_when_the_environment_says_so(environment: dict[str, str], expected: bool) -> None:
    """The standard variables decide."""
    assert expected == wanted(environment)


def test_without_the_extra_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for spans and lacks the packages is told what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(UserError, match=r"pip install 'b3iq-streams\[otel\]'"):
        otlp_exporter()


def test_several_observers_are_told_everything() -> None:
    """Every call of an observer reaches each of them."""
    heard: list[tuple[str, str]] = []
    calls = [name for name in vars(Observer) if name.startswith("on_")]

    class Ear(Observer):
        def __init__(self, name: str) -> None:
            for call in calls:
                setattr(self, call, partial(self.hear, (name, call)))

        def hear(self, what: tuple[str, str], *_: object) -> None:
            heard.append(what)

    both = Observers((Ear("a"), Ear("b")))
    for call in calls:
        getattr(both, call)(0)
    assert [(name, call) for call in calls for name in ("a", "b")] == heard
