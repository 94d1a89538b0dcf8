"""What `verify` found, as plain data and as text for people. Judges nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from b3iq_streams.audit.archive.finding import Finding
from b3iq_streams.audit.times import show
from b3iq_streams.audit.verify import Report
from b3iq_streams.core.refold import Difference

LOSSES_SHOWN = 5
VALUE_SHOWN = 1_500


def verdict(reports: Sequence[Report], findings: Sequence[Finding] = ()) -> str:
    """`equal`, `different`, or `expired`; a difference outweighs what could not be seen, for it is certain."""
    if findings or any(report.counts["differences"] for report in reports):
        return "different"
    return "expired" if any(report.expired for report in reports) else "equal"


def first_difference(reports: Sequence[Report]) -> Difference | None:
    """The one in the earliest epoch; of several partitions the first."""
    found = [difference for report in reports for difference in report.differences]
    return min(found, key=lambda difference: (difference.epoch, difference.partition), default=None)


def as_data(reports: Sequence[Report], findings: Sequence[Finding] = ()) -> dict[str, Any]:
    """One document: the verdict, sums, then each partition. With findings about the archive there is nothing else."""
    first = first_difference(reports)
    return {
        "verdict": verdict(reports, findings),
        "archive": [finding._asdict() for finding in findings],
        "first_difference": first._asdict() if first else None,
        "totals": _sum(report.counts for report in reports),
        "admitted": _sum(report.admitted for report in reports),
        "refused": _sum(report.refused for report in reports),
        "lost": _sum(report.lost.reasons for report in reports),
        "partitions": [_partition(report) for report in reports],
    }


def _sum(counters: Iterator[Counter[str]] | Any) -> dict[str, int]:
    whole = Counter[str]()
    for counter in counters:
        whole.update(counter)
    return dict(sorted(whole.items()))


def _partition(report: Report) -> dict[str, Any]:
    return {
        "partition": report.partition,
        "epoch": report.epoch,
        "digest": report.digest,
        "resolved_at_ms": report.resolved_at_ms,
        "earliest_ms": report.earliest_ms,
        "counts": _sum([report.counts]),
        "admitted": _sum([report.admitted]),
        "refused": _sum([report.refused]),
        "losses": [loss._asdict() for loss in report.lost.first],
        "differences": [difference._asdict() for difference in report.differences],
        "unfolded": report.unfolded,
        "unproven": report.unproven,
        "expired": report.expired,
    }


def as_text(reports: Sequence[Report], findings: Sequence[Finding] = ()) -> str:
    """For people: the verdict first, then what it rests on."""
    if findings:
        return "\n".join(_findings(findings))
    return "\n".join([*_headline(reports), "", *_figures(reports), *_losses(reports), *_gaps(reports)])


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    yield "DIFFERENT: the archive is not what was exported; it was not folded"
    for finding in findings:
        place = [finding.topic, *(str(part) for part in (finding.partition, finding.offset) if part is not None)]
        yield f"{'/'.join(place)}: {finding.what}"
        yield f"  recorded    {_short(finding.recorded) or '(nothing)'}"
        yield f"  found       {_short(finding.found) or '(nothing)'}"


def _headline(reports: Sequence[Report]) -> Iterator[str]:
    said, counts = verdict(reports), _sum(report.counts for report in reports)
    epochs = f"{counts.get('epochs', 0):,} epochs in {len(reports)} partitions"
    if said == "equal":
        yield f"equal: {epochs} folded again, byte for byte"
        return
    if said == "expired":
        yield from sorted({report.expired for report in reports if report.expired})
        return
    yield f"DIFFERENT: {counts.get('differences', 0):,} differences in {epochs}"
    if (first := first_difference(reports)) is not None:
        yield f"first: partition {first.partition}, epoch {first.epoch}, mark at offset {first.offset}: {first.what}"
        yield f"  recorded    {_short(first.recorded) or '(nothing)'}"
        yield f"  folded      {_short(first.recomputed) or '(nothing)'}"


def _figures(reports: Sequence[Report]) -> Iterator[str]:
    counts = _sum(report.counts for report in reports)
    admitted, refused = _sum(r.admitted for r in reports), _sum(r.refused for r in reports)
    shown = {
        "changes": counts.get("changes", 0), "refreshes": counts.get("refreshed", 0),
        "state digests": counts.get("state_digests", 0), "facts admitted": sum(admitted.values()),
        "facts refused": sum(refused.values()), "facts after it": sum(report.unfolded for report in reports),
        "rebuilds": counts.get("rebuilt", 0),
    }  # fmt: skip
    for name, number in shown.items():
        detail = " ".join(f"{code} {count:,}" for code, count in refused.items()) if name == "facts refused" else ""
        yield f"  {name:<16}{number:>12,}  {detail}".rstrip()
    for report in reports:
        yield f"  partition {report.partition:<6}{report.epoch:>12,}  {show(report.resolved_at_ms)}  {report.digest[:16]}"


def _losses(reports: Sequence[Report]) -> Iterator[str]:
    reasons = _sum(report.lost.reasons for report in reports)
    if not reasons:
        return
    yield f"{sum(reasons.values()):,} marks did not count: " + ", ".join(f"{why} {count:,}" for why, count in reasons.items())
    for loss in [loss for report in reports for loss in report.lost.first][:LOSSES_SHOWN]:
        yield f"  partition {loss.partition}, offset {loss.offset}, attempt {loss.attempt or '?'}: {loss.reason}"


def _gaps(reports: Sequence[Report]) -> Iterator[str]:
    """What could not be seen because it is not kept any more."""
    late = [report for report in reports if report.earliest_ms]
    for report in late:
        yield f"partition {report.partition}: answered from {show(report.earliest_ms)} on, older evidence is gone" + (
            f"; {report.unproven} decisions rest on it" if report.unproven else ""
        )


def _short(value: str) -> str:
    return value if len(value) <= VALUE_SHOWN else value[: VALUE_SHOWN - 1] + "…"
