"""What `whatif` found, as plain data and as text for people. Everything in it may appear in public. Judges nothing."""

from collections.abc import Iterator
from typing import Any

from b3iq_streams.audit.times import show
from b3iq_streams.audit.whatif.ledger import Flip
from b3iq_streams.audit.whatif.whatif import Report

HOUR_MS = 3_600_000
REQUESTS = ("lost", "moved", "won")


def as_data(report: Report) -> dict[str, Any]:
    """The report as plain data; spans and requests by model and tier, sorted."""
    requests = report.requests
    return {
        "revision": report.revision,
        "first_ms": report.first_ms,
        "last_ms": report.last_ms,
        "flips": len(report.flips),
        "profiles": [_flip(flip) for flip in report.flips],
        "eligible": [
            {"model_id": model_id, "route_tier": tier, "recorded_ms": span.recorded_ms, "candidate_ms": span.candidate_ms,
             "won_ms": span.won_ms, "lost_ms": span.lost_ms}
            for (model_id, tier), span in report.spans.items()
        ],
        "requests": {
            "considered": requests.considered,
            "unjudged": requests.unjudged,
            **{
                name: [
                    {"model_id": model_id, "route_tier": tier, "count": count}
                    for (model_id, tier), count in sorted(getattr(requests, name).items())
                ]
                for name in REQUESTS
            },
        },
        "unproven": report.unproven,
        "late": [{"partition": partition, "first_ms": first_ms} for partition, first_ms in report.late],
    }  # fmt: skip


def _flip(flip: Flip) -> dict[str, Any]:
    node_id, _, profile_id = flip.key.partition("/")
    return {
        "node_id": node_id,
        "profile_id": profile_id,
        "model_id": flip.model_id,
        "route_tier": flip.route_tier,
        "first_ms": flip.first_ms,
        "recorded": flip.recorded,
        "candidate": flip.candidate,
        "won_ms": flip.won_ms,
        "lost_ms": flip.lost_ms,
    }


def as_text(report: Report) -> str:
    """The report for people: the count first, then each profile, then time and requests."""
    return "\n".join([*_headline(report), *_profiles(report), *_spans(report), *_requests(report), *_gaps(report)])


def _headline(report: Report) -> Iterator[str]:
    if report.first_ms is None or report.last_ms is None:
        yield "nothing to judge: no epoch under any policy in the range"
        return
    flips = len(report.flips)
    profiles = f"{flips:,} profile{'' if flips == 1 else 's'}"
    yield f"{profiles} would flip under revision {report.revision}, from {show(report.first_ms)} to {show(report.last_ms)}"


def _profiles(report: Report) -> Iterator[str]:
    for flip in report.flips:
        yield f"  {flip.key}  {flip.model_id}  {flip.route_tier}  {_gain(flip.won_ms, flip.lost_ms)}"
        yield f"    {show(flip.first_ms)}  recorded: {_why(flip.recorded)}; candidate: {_why(flip.candidate)}"


def _why(codes: tuple[str, ...]) -> str:
    return " ".join(codes) or "eligible"


def _gain(won_ms: int, lost_ms: int) -> str:
    return f"won {_hours(won_ms)}, lost {_hours(lost_ms)}"


def _hours(duration_ms: int) -> str:
    """Thousandths of an hour, rounded down: integers only, so that it is the same everywhere."""
    thousandths = duration_ms * 1_000 // HOUR_MS
    return f"{thousandths // 1_000:,}.{thousandths % 1_000:03d} h"


def _spans(report: Report) -> Iterator[str]:
    if report.spans:
        yield "eligible time"
    for (model_id, tier), span in report.spans.items():
        sides = f"recorded {_hours(span.recorded_ms)}, candidate {_hours(span.candidate_ms)}"
        yield f"  {model_id}  {tier}  {sides}: {_gain(span.won_ms, span.lost_ms)}"


def _requests(report: Report) -> Iterator[str]:
    requests = report.requests
    counts = {name: getattr(requests, name) for name in REQUESTS}
    said = ", ".join(f"{found.total():,} {name}" for name, found in counts.items())
    yield f"{requests.considered:,} requests: {said}"
    for name, found in counts.items():
        for (model_id, tier), count in sorted(found.items()):
            yield f"  {name:<6} {count:>12,}  {model_id}  {tier}"


def _gaps(report: Report) -> Iterator[str]:
    for partition, first_ms in report.late:
        yield f"partition {partition}: judged from {show(first_ms)} on, older evidence is gone"
    if report.requests.unjudged:
        yield f"{report.requests.unjudged:,} requests were before the first moment that can be judged"
    if report.unproven:
        yield f"{report.unproven:,} profiles are not judged: they rest on evidence that is gone"
