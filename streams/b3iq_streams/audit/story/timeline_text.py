"""A node's history as plain data and as text, one line an interval. Draws nothing (`timeline_html.py` does)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from b3iq_schemas import topics
from b3iq_streams.audit.story.explain_text import span
from b3iq_streams.audit.story.timeline import Interval, ProfileHistory, Silences, Timeline
from b3iq_streams.audit.story.timeline_facts import Event
from b3iq_streams.audit.times import show


def as_data(found: Timeline) -> dict[str, Any]:
    """One document, members in a fixed order; times in ms since the epoch, intervals half open."""
    facts, silences = found.facts, found.silences
    return {
        "node_id": found.node_id,
        "profile_id": found.profile_id,
        "partition": found.partition,
        "from_ms": found.from_ms,
        "until_ms": found.until_ms,
        "earliest_ms": found.earliest_ms,
        "epoch": found.epoch,
        "digest": found.digest,
        "profiles": [_profile(profile) for profile in found.profiles],
        "facts": [event._asdict() for event in facts.events],
        "renewed": _sorted(facts.renewed),
        "refused": _sorted(facts.refused),
        "heartbeats": {
            "admitted": facts.heartbeats,
            "longest_gap_ms": facts.longest_gap_ms,
            "gaps": [gap._asdict() for gap in facts.gaps],
        },
        "silences": {
            "count": silences.count,
            "total_ms": silences.total_ms,
            "longest": [silence._asdict() for silence in silences.longest],
        },
        "differences": [difference._asdict() for difference in found.differences],
    }


def _profile(profile: ProfileHistory) -> dict[str, Any]:
    share = round(profile.eligible_ms / profile.known_ms, 6) if profile.known_ms else None
    return {
        "profile_id": profile.profile_id,
        "flips": profile.flips,
        "eligible_ms": profile.eligible_ms,
        "known_ms": profile.known_ms,
        "eligible_share": share,
        "intervals": [interval._asdict() for interval in profile.intervals],
    }


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counter.items()) if count}


def as_text(found: Timeline) -> str:
    """For people: each profile's intervals, then what was said of the node."""
    parts = [list(_headline(found)), *(list(_lines(profile)) for profile in found.profiles), list(_facts(found))]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _headline(found: Timeline) -> Iterator[str]:
    name = found.node_id if found.profile_id is None else f"{found.node_id}/{found.profile_id}"
    yield f"{name}  from {show(found.from_ms)} to {show(found.until_ms)}, {span(found.until_ms - found.from_ms)}"
    yield f"  partition {found.partition}, up to epoch {found.epoch}, digest {found.digest}"
    if found.earliest_ms:
        yield f"  answered from {show(found.earliest_ms)} on, older evidence is gone"
    if not found.profiles:
        yield "  nothing was published about it: never eligible"
    for difference in found.differences:
        yield f"  DIFFERENT in epoch {difference.epoch}: {difference.what}"
        yield f"    recorded {difference.recorded or '(nothing)'}"
        yield f"    folded   {difference.recomputed or '(nothing)'}"


def summary(profile: ProfileHistory) -> str:
    """A profile's history in a few words."""
    flips = "1 flip" if profile.flips == 1 else f"{profile.flips} flips"
    last = profile.intervals[-1]
    end = "eligible" if last.eligible else f"not eligible ({', '.join(last.codes)})"
    return f"{percent(profile.eligible_ms, profile.known_ms)} eligible of {span(profile.known_ms)}, {flips}; at the end {end}"


def percent(part: int, whole: int) -> str:
    """A share with one decimal; never rounded up to all of it or down to nothing."""
    if not whole:
        return "–"
    tenths = part * 1_000 // whole
    if part and not tenths:
        return "< 0.1 %"
    return f"{tenths // 10}.{tenths % 10} %" if tenths % 10 else f"{tenths // 10} %"


def _lines(profile: ProfileHistory) -> Iterator[str]:
    yield f"{profile.profile_id}  {summary(profile)}"
    for interval in profile.intervals:
        yield f"    {show(interval.from_ms)}  {span(interval.length_ms):>12}  {verdict(interval)}"


def verdict(interval: Interval) -> str:
    """An interval in one line, without its times."""
    said = "eligible" if interval.eligible else f"no: {' '.join(interval.codes)}"
    doubt = "" if interval.proven else "  (its evidence is gone)"
    return f"{said}  rev {interval.policy_revision}  epoch {interval.epoch}{doubt}"


def _facts(found: Timeline) -> Iterator[str]:
    facts, silences = found.facts, found.silences
    yield "what was said of the node"
    for event in facts.events:
        yield f"    {show(event.at_ms)}  {event.topic:<14} {words(event)}"
    for topic, count in _sorted(facts.renewed).items():
        yield f"    {count:,} more on {topic} that said the same again"
    longest = f", the longest pause {span(facts.longest_gap_ms)}" if facts.longest_gap_ms else ""
    yield f"    {facts.heartbeats:,} heartbeats{longest}"
    for gap in facts.gaps:
        yield f"    {show(gap.from_ms)}  no heartbeat for {span(gap.until_ms - gap.from_ms)}, longer than policy lets it"
    for what, count in _sorted(facts.refused).items():
        yield f"    {count:,} refused on {what}"
    if silences.count:
        yield f"    {stretches(silences)}: routers past their bound answered processor_lag"
        for silence in silences.longest:
            yield f"    {show(silence.from_ms)}  no epoch for {span(silence.until_ms - silence.from_ms)}"


def stretches(silences: Silences) -> str:
    """How often and how long there was no epoch."""
    count = "1 stretch" if silences.count == 1 else f"{silences.count:,} stretches"
    return f"{count} without an epoch, {span(silences.total_ms)} in all"


def words(event: Event) -> str:
    """What a fact says, in a line."""
    says: Mapping[str, Any] = event.says
    if event.topic == topics.POLICIES:
        return f"revision {says['revision']}"
    if event.topic == topics.HOLDS:
        return "held by an operator" if says["held"] else "released by an operator"
    return ", ".join(f"{name} {str(value).lower() if isinstance(value, bool) else value}" for name, value in says.items())
