"""An explanation as plain data and as text for a hundred columns. Public-safe: a hold's reason and actor only for operators."""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from b3iq_schemas import topics
from b3iq_schemas.codes import Gate
from b3iq_streams.audit.story.explain import Evidence, Explanation, Flip
from b3iq_streams.audit.times import show
from b3iq_streams.core.leaves import Shown
from b3iq_streams.core.remedy_situation import TIME, Edit

SIGNS = {"pass": "✓", "fail": "✗", "unknown": "?", "moot": "·"}
WIDTH, INDENT = 100, 25
_MOMENT = re.compile(r"\b(until) (\d{1,16})\b")
_LOGGED, _AGE = re.compile(r"logged at (\d{1,16})"), re.compile(r"at most (\d{1,16}) ms old")


def as_data(found: Explanation, operator: bool = False) -> dict[str, Any]:
    """One document, members in a fixed order; times in ms since the epoch."""
    head = found.head
    mark = {
        "topic": topics.ELIGIBILITY_CHANGES, "partition": found.partition, "offset": head.offset, "keyid": head.keyid,
        "logged_at_ms": head.logged_at_ms,
    }  # fmt: skip
    policy = found.evidence.get(topics.POLICIES)
    data: dict[str, Any] = {
        "node_id": found.node_id,
        "profile_id": found.profile_id,
        "asked_at_ms": found.asked_at_ms,
        "eligible": found.eligible,
        "known": found.known,
        "model_id": found.model_id,
        "epoch": {"number": head.epoch, "digest": head.digest, "resolved_at_ms": head.resolved_at_ms, "mark": mark},
        "distance_ms": found.distance_ms,
        "lagging": found.lagging,
        "resolved_until_ms": found.resolved_until_ms,
        "earliest_ms": found.earliest_ms,
        "policy": {"revision": found.policy_revision, "record": _record(policy)},
        "gates": {gate.value: found.gates[gate] for gate in Gate},
        "leaves": [_leaf(leaf, found.evidence.get(leaf.topic)) for leaf in found.leaves],
        "remedy": _remedy(found),
        "flip_before": found.flip_before._asdict() if found.flip_before else None,
        "flip_after": found.flip_after._asdict() if found.flip_after else None,
        "differences": [difference._asdict() for difference in found.differences],
    }
    if operator:
        hold = found.hold
        data["hold"] = {"held": hold.held, "reason": hold.reason, "actor": hold.actor} if hold else None
    return data


def _leaf(leaf: Shown, evidence: Evidence | None) -> dict[str, Any]:
    fields = leaf._asdict()
    del fields["topic"]
    return fields | {"record": _record(evidence)}


def _record(evidence: Evidence | None) -> dict[str, Any] | None:
    return evidence._asdict() if evidence else None


def _remedy(found: Explanation) -> dict[str, Any] | None:
    if found.remedy.edits is None:
        return None
    return {"facts": _facts(found.remedy.edits), "alternatives": [_facts(edits) for edits in found.remedy.alternatives]}


def _facts(edits: Sequence[Edit]) -> list[dict[str, Any]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for edit in edits:
        grouped.setdefault(edit.fact, []).append({"field": edit.field, "from": edit.before, "to": edit.after})
    return [{"fact": fact, "changes": changes} for fact, changes in grouped.items()]


def as_text(found: Explanation, operator: bool = False) -> str:
    """For people: the verdict, each gate with its checks, what would have helped, and the records it all rests on."""
    parts = [list(_headline(found)), *_gates(found), list(_remedies(found)), list(_records(found))]
    if operator and found.hold is not None:
        state = "held" if found.hold.held else "released"
        parts.append(["hold (not public)", f"    {state} by {found.hold.actor}: {found.hold.reason}"])
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _headline(found: Explanation) -> Iterator[str]:
    head = found.head
    verdict = "eligible" if found.eligible else "not eligible" if found.known else "not eligible: nothing is known"
    asked = head.resolved_at_ms if found.asked_at_ms is None else found.asked_at_ms
    yield f"{found.node_id}/{found.profile_id}  {verdict}  at {show(asked)}"
    if found.model_id is not None:
        yield f"  model {found.model_id}"
    distance = f", {span(found.distance_ms)} before" if found.distance_ms else ""
    yield f"  epoch {head.epoch} of partition {found.partition}, resolved up to {show(head.resolved_at_ms)}{distance}"
    if found.lagging:
        yield "  of the time after that the log says nothing: a router past its bound answers processor_lag, not this"
    yield f"  digest {head.digest}"
    yield f"  mark {topics.ELIGIBILITY_CHANGES}/{found.partition}/{head.offset}, logged {show(head.logged_at_ms)}"
    yield f"  signed by key {head.keyid}"
    yield f"  policy revision {found.policy_revision}" if found.policy_revision else "  no policy"
    if found.earliest_ms:
        yield f"  answered from {show(found.earliest_ms)} on, older evidence is gone"
    yield f"  before  {_flip(found.flip_before, 'never opened or closed')}"
    yield f"  after   {_flip(found.flip_after, f'never opened or closed, up to {show(found.resolved_until_ms)}')}"
    for difference in found.differences:
        yield f"  DIFFERENT in epoch {difference.epoch}: {difference.what}"
        yield f"    recorded {difference.recorded or '(nothing)'}"
        yield f"    folded   {difference.recomputed or '(nothing)'}"


def _flip(flip: Flip | None, none: str) -> str:
    if flip is None:
        return none
    said = "opened" if flip.opened else f"closed: {' '.join(flip.codes)}"
    return f"{show(flip.at_ms)}  epoch {flip.epoch}  {said}"


def _gates(found: Explanation) -> Iterator[list[str]]:
    for gate in Gate:
        lines = [f"{SIGNS[found.gates[gate]]} {gate.value}"]
        for leaf in found.leaves:
            if leaf.gate == gate:
                lines += _check(leaf, found.head.resolved_at_ms)
        yield lines


def _check(leaf: Shown, at_ms: int) -> Iterator[str]:
    start = f"    {SIGNS[leaf.state]} {leaf.title:<18} "
    observed, required = humane(leaf.observed, at_ms), humane(leaf.required, at_ms)
    if leaf.code is None:
        yield f"{start}{observed or 'nothing to look at':<26} {required:<33} {leaf.topic}".rstrip()
        return
    yield from _wrapped(start, f"{observed}; required: {required}")
    yield from _wrapped("", f"{leaf.code}, since {show(leaf.since_ms or 0)}")
    yield from _wrapped("", f"next: {leaf.next_action}")


def _wrapped(start: str, text: str) -> list[str]:
    """Words beside a check's title, over as many lines as they need."""
    indent = " " * INDENT
    return wrap(text, WIDTH, initial_indent=start.ljust(INDENT), subsequent_indent=indent, break_long_words=False,
                break_on_hyphens=False)  # fmt: skip


def _remedies(found: Explanation) -> Iterator[str]:
    edits, others = found.remedy
    if edits is None:
        yield "nothing that anybody could say would have made it eligible: a check of the processor is broken"
        return
    for number, chosen in enumerate((edits, *others) if edits else ()):
        yield "or with" if number else "would have been eligible with"
        facts = [edit.fact for edit in chosen]
        for at, edit in enumerate(chosen):
            name = edit.fact if facts.index(edit.fact) == at else ""
            yield f"    {name:<14} {_edit(edit, found.head.resolved_at_ms)}"


def _edit(edit: Edit, at_ms: int) -> str:
    if edit.fact == TIME:
        return f"wait until {show(edit.after)}, {span(edit.after - edit.before)}, with all evidence kept fresh"
    if edit.field == "logged_at_ms":
        return f"a fresh one: the last was logged {span(at_ms - edit.before)} before"
    return f"{edit.field}: {_value(edit.before)} → {_value(edit.after)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return " ".join(_value(item) for item in value) or "none"
    return str(value).lower() if isinstance(value, bool) else _key(str(value))


def _key(text: str) -> str:
    return f"{text[:16]}…" if re.fullmatch(r"[0-9a-f]{64}", text) else text


def _records(found: Explanation) -> Iterator[str]:
    if found.evidence:
        yield "records behind it"
    for item in found.evidence.values():
        kept = "kept" if item.matches else "ALTERED" if item.kept else "not kept any more"
        place = f"{item.topic}/{item.partition}/{item.offset}"
        yield f"    {place:<26} logged {show(item.logged_at_ms)}, {kept}"
        yield f"        payload {item.sha256}"
        yield f"        key     {item.keyid}"


def humane(text: str, at_ms: int) -> str:
    """A check's words with its times as people read them, seen from `at_ms`."""
    text = _LOGGED.sub(lambda found: f"logged {span(at_ms - int(found[1]))} before", text)
    text = _AGE.sub(lambda found: f"at most {span(int(found[1]))} old", text)
    return _MOMENT.sub(lambda found: f"{found[1]} {show(int(found[2]))}", text)


def span(duration_ms: int) -> str:
    """A duration in at most two units, cut off below; negative ones (a log time ahead of the resolved time) as they are."""
    if duration_ms < 0:
        return f"-{span(-duration_ms)}"
    if duration_ms < 1_000:
        return f"{duration_ms} ms"
    if duration_ms < 60_000:
        return f"{duration_ms / 1_000:.1f} s".replace(".0 s", " s")
    seconds = duration_ms // 1_000
    for size, unit, rest_size, rest_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // rest_size
            return f"{seconds // size} {unit}" + (f" {rest} {rest_unit}" if rest else "")
    raise AssertionError(seconds)
