"""What the check of a bundle found, as plain data and as text for people. Judges nothing."""

from collections.abc import Iterator
from typing import Any

from b3iq_streams.audit.bundle.check import UNSHOWN, Result
from b3iq_streams.audit.bundle.contents import Bundle
from b3iq_streams.audit.times import show

VALUE_SHOWN = 1_500


def as_data(result: Result) -> dict[str, Any]:
    """One document. What the bundle says stands in it only if it was verified."""
    bundle, mismatch = result.bundle, result.mismatch
    return {
        "verified": result.verified,
        "mismatch": None if mismatch is None else {
            "part": mismatch.part, "where": mismatch.where, "what": mismatch.what,
            "claimed": mismatch.claimed, "found": mismatch.found,
        },
        "altered": result.altered,
        "network": bundle.network,
        "node_id": bundle.node_id,
        "range": bundle.range.model_dump(),
        "operator": bundle.operator,
        "checked": result.counts,
        "unshown": [{"code": code, "count": count, "what": UNSHOWN[code]} for code, count in result.unshown.items()],
        "summary": bundle.summary.model_dump(mode="json") if result.verified else None,
        "routing_claimed": bundle.routing.model_dump(mode="json") if result.verified else None,
    }  # fmt: skip


def as_text(result: Result) -> str:
    """For people: the verdict, what it rests on, why the node was or was not eligible, what is not shown."""
    return "\n".join(_verified(result) if result.verified else _different(result))


def _different(result: Result) -> Iterator[str]:
    mismatch = result.mismatch
    assert mismatch is not None
    yield f"NOT VERIFIED: {_title(result.bundle)}"
    yield f"first: {mismatch.part}, {mismatch.where}: {mismatch.what}"
    yield f"  in the bundle  {_short(mismatch.claimed)}"
    yield f"  found          {_short(mismatch.found)}"
    yield "its digest does not match: it was altered after it was made" if result.altered else "its digest matches its content"


def _verified(result: Result) -> Iterator[str]:
    bundle, counts = result.bundle, result.counts
    yield f"verified: {_title(bundle)}"
    for count, what in (
        (counts["policies"], "policy revisions signed by the roots"),
        (counts["marks"], f"marks signed by processors, {counts['linked']:,} linked to the one before"),
        (counts["facts"], "facts signed by their roles or by the node"),
        (counts["refused"], "records refused again, with the same codes"),
        (counts["decisions"], f"decisions on the node, folded again, equal byte for byte ({counts['refreshes']:,} refreshes)"),
    ):
        yield f"  {count:>8,}  {what}"
    for code in ("holds", "refused"):
        if code in result.unshown:
            yield f"  {result.unshown[code]:>8,}  withheld: not checked ({'holds' if code == 'holds' else 'refused records'})"
    yield ""
    yield from _why(bundle)
    yield ""
    yield "a bundle cannot show:"
    for code, count in result.unshown.items():
        yield f"  - {UNSHOWN[code]}" + (f" ({count:,})" if count else "")


def _why(bundle: Bundle) -> Iterator[str]:
    yield f"from {show(bundle.summary.from_ms)} to {show(bundle.summary.until_ms)}:"
    yield from (f"  {sentence}" for sentence in bundle.summary.words)
    routing = bundle.routing
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in routing.reasons.items()) or "none"
    yield f"  Routers wrote it down as a candidate {routing.considered:,} times and chose it {routing.chosen:,} times;"
    yield f"  why not: {reasons} (claimed, not checked)."
    if routing.counted_from_ms > bundle.summary.from_ms:
        yield f"  Routing decisions before {show(routing.counted_from_ms)} are not kept any more."


def _title(bundle: Bundle) -> str:
    openness = "operator's bundle" if bundle.operator else "public"
    return f"{bundle.node_id} of {bundle.network}, partition {bundle.partition} of {bundle.partitions}, {openness}"


def _short(value: str) -> str:
    """One line that says nothing to a terminal, whatever a forged bundle holds."""
    line = "".join(letter if letter.isprintable() else " " for letter in value)
    return line if len(line) <= VALUE_SHOWN else line[: VALUE_SHOWN - 1] + "…"
