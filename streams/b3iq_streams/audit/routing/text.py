"""What `decisions` found, as plain data and as text for people. Without `operator`: only what may appear in public, so no
decision id and nothing of the caller. Judges nothing.
"""

from collections.abc import Iterator
from typing import Any

from b3iq_schemas.topics import ROUTING_DECISIONS
from b3iq_streams.audit.routing.codes import Verdict, meaning
from b3iq_streams.audit.routing.decisions import Finding, Summary
from b3iq_streams.audit.routing.intake import Said
from b3iq_streams.audit.routing.records import ALLOWED
from b3iq_streams.audit.times import show

PUBLIC = ("decided_at_ms", "code", "model_id", "node_id", "profile_id")


def as_data(found: Finding, operator: bool) -> dict[str, Any]:
    """A finding as plain data."""
    said = found.said._asdict() if found.said else None
    return {
        "topic": ROUTING_DECISIONS,
        "partition": found.partition,
        "offset": found.offset,
        "logged_at_ms": found.logged_at_ms,
        "value_sha256": found.value_sha256,
        "verdict": found.verdict,
        "codes": found.codes,
        "said": said if operator or said is None else {name: said[name] for name in PUBLIC},
        "because": found.because,
    }


def summary_data(summary: Summary) -> dict[str, Any]:
    """The counts as plain data."""
    return {
        "decisions": summary.decisions,
        "copies": summary.copies,
        "verdicts": {verdict.value: summary.count(verdict) for verdict in Verdict},
        "codes": {verdict.value: dict(sorted(codes.items())) for verdict, codes in summary.codes.items()},
    }


def as_text(found: Finding, operator: bool) -> str:
    """A finding for people: what the record says, which rule broke, what the view said, what was true."""
    where = f"{ROUTING_DECISIONS}/{found.partition}/{found.offset}"
    lines = [f"{found.verdict or 'copy'}  {where}  logged {show(found.logged_at_ms)}  sha256 {found.value_sha256}"]
    if found.said is not None:
        lines.append(f"  said   {_said(found.said)}")
        if operator:
            lines.append(f"  id     {found.said.decision_id}, caller {found.said.caller_hash}")
    if found.verdict not in (None, Verdict.JUSTIFIED, Verdict.STALE):
        lines += [f"  why    {code}: {meaning(code)}" for code in found.codes]
    lines += _allowed(found.because) if "view" in found.because else _refused(found.because.get("partitions", ()))
    return "\n".join(lines)


def _said(said: Said) -> str:
    when = show(said.decided_at_ms)
    if said.code == ALLOWED:
        return f"allowed {said.node_id}/{said.profile_id} for {said.model_id} at {when}"
    return f"refused {said.model_id} at {when}: {said.code}"


def _position(part: dict[str, Any]) -> str:
    return f"partition {part['partition']}, epoch {part['epoch']}, {part['age_ms']} ms old"


def _allowed(because: dict[str, Any]) -> Iterator[str]:
    view, truth = because["view"], because["truth"]
    if view is None:
        yield f"  view   {_position(because)}: not known"
    elif view["eligible"]:
        until = show(view["valid_until_ms"])
        yield f"  view   {_position(because)}: eligible for {view['model_id']} until {until}"
    else:
        yield f"  view   {_position(because)}: not eligible: {_codes(view['codes'])}"
    if truth is None:
        yield "  truth  not known"
    elif truth["eligible"]:
        yield "  truth  eligible"
    else:
        stale = f", {because['stale_ms']} ms before" if "stale_ms" in because else ""
        yield f"  truth  not eligible since {show(truth['since_ms'])}{stale}: {_codes(truth['codes'])}"


def _codes(codes: list[str]) -> str:
    return " ".join(codes) or "nothing is published about it"


def _refused(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        yield f"  view   {_position(part)}: {_holding(part)}"
        supply = part["supply"]
        if supply["differs"]:
            yield f"  truth  {supply['key']} was eligible at that position"
        elif supply["stale_ms"] is not None:
            yield f"  truth  {supply['key']} had been eligible for {supply['stale_ms']} ms"


def _holding(part: dict[str, Any]) -> str:
    if part["fault"] or part["missing"]:
        return str(part["fault"] or part["missing"])
    blind = f"not to be acted on: {' '.join(part['surely'] or part['perhaps'])}; " if part["perhaps"] else ""
    if part["key"] is None:
        return f"{blind}no candidate"
    ends = f"lasts {part['live_ms']} ms more" if part["live_ms"] > 0 else f"ended {-part['live_ms']} ms before"
    return f"{blind}{part['key']} eligible, its evidence {ends}"


def summary_text(summary: Summary) -> str:
    """The counts for people."""
    said = ", ".join(f"{summary.count(verdict):,} {verdict}" for verdict in Verdict)
    lines = [f"{summary.decisions:,} decisions: {said}"]
    for verdict, codes in summary.codes.items():
        lines += [f"  {verdict:<18}  {code:<30}{count:>12,}" for code, count in sorted(codes.items())]
    if summary.copies:
        lines.append(f"{summary.copies:,} copies of decisions that were judged once")
    return "\n".join(lines)
