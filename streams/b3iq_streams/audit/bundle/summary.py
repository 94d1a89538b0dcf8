"""What the decisions on a node say over a range, per profile and in words. The same function fills a bundle and checks it.

Counts time from decision to decision; it neither reads records nor judges. Time before a profile's first decision is `absent`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from b3iq_schemas.codes import LEAVES, REFUSAL_MEANING, Refusal
from b3iq_streams.audit.bundle.contents import Entry, Withheld
from b3iq_streams.audit.bundle.parts import Blocker, Interval, ProfileSummary, Summary, Verdict
from b3iq_streams.core.values import NodeState

BLOCKERS_SHOWN = 4
Decision = Mapping[str, Any]
"""The contract's Decision as plain data; of what stood at the beginning, its content."""


class Decided(NamedTuple):
    """A decision on the node that was published: when, and what it says."""

    at_ms: int
    decision: Decision


def standing(node: NodeState | None) -> list[Decided]:
    """What was last decided on each profile in a node's state; when it began to stand is the reader's to say."""
    published = sorted(node.published.items()) if node else []
    return [Decided(0, orjson.loads(last.body) | {"policy_revision": last.policy_revision}) for _, last in published]


def summarise(
    node_id: str, from_ms: int, until_ms: int, opening: Sequence[Decided], decided: Sequence[Decided], records: Sequence[Entry]
) -> Summary:
    """The summary of a range. `opening` = what stood when it began, `decided` = what was published in it, in order."""
    histories: dict[str, list[Decided]] = {}
    for found in opening:
        histories.setdefault(found.decision["profile_id"], []).append(found._replace(at_ms=from_ms))
    for found in decided:
        histories.setdefault(found.decision["profile_id"], []).append(found)
    profiles = tuple(_profile(profile_id, histories[profile_id], from_ms, until_ms) for profile_id in sorted(histories))
    codes = Counter(entry.refused for entry in records if not isinstance(entry, Withheld) and entry.refused is not None)
    refused = dict(sorted(codes.items()))
    words = (*_words(node_id, profiles), *_refusals(refused))
    return Summary(from_ms=from_ms, until_ms=until_ms, profiles=profiles, refused=refused, words=words)


def _profile(profile_id: str, history: Sequence[Decided], from_ms: int, until_ms: int) -> ProfileSummary:
    intervals: list[Interval] = []
    if history[0].at_ms > from_ms:
        intervals.append(Interval(from_ms=from_ms, until_ms=history[0].at_ms, verdict="absent", policy_revision=0, blockers=()))
    ends = [*(found.at_ms for found in history[1:]), until_ms]
    for found, end_ms in zip(history, ends, strict=True):
        verdict: Verdict = "eligible" if found.decision["eligible"] else "not_eligible"
        blockers = _blockers(found.decision)
        if intervals and (intervals[-1].verdict, intervals[-1].blockers) == (verdict, blockers):
            intervals[-1] = intervals[-1].model_copy(update={"until_ms": end_ms})
        else:
            revision = found.decision["policy_revision"]
            intervals.append(
                Interval(from_ms=found.at_ms, until_ms=end_ms, verdict=verdict, policy_revision=revision, blockers=blockers)
            )
    eligible_ms = sum(interval.until_ms - interval.from_ms for interval in intervals if interval.verdict == "eligible")
    return ProfileSummary(
        profile_id=profile_id, model_id=history[-1].decision["model_id"], eligible_ms=eligible_ms, of_ms=until_ms - from_ms,
        intervals=tuple(intervals),
    )  # fmt: skip


def _blockers(decision: Decision) -> tuple[Blocker, ...]:
    return tuple(
        Blocker(**failing, next_action=LEAVES[failing["code"]].next_action if failing["code"] in LEAVES else "")
        for failing in decision["failing"]
    )


def top_blockers(profile: ProfileSummary) -> list[tuple[str, int, int]]:
    """(code, ms that it blocked, how often it began), the longest first."""
    blocked_ms, times, open_codes = Counter[str](), Counter[str](), set[str]()
    for interval in profile.intervals:
        codes = {blocker.code for blocker in interval.blockers}
        times.update(codes - open_codes)
        for code in codes:
            blocked_ms[code] += interval.until_ms - interval.from_ms
        open_codes = codes
    return [(code, blocked_ms[code], times[code]) for code in sorted(times, key=lambda code: (-blocked_ms[code], code))]


def share(part_ms: int, of_ms: int) -> str:
    """A share in percent, rounded down: nothing but the whole is 100."""
    tenths = part_ms * 1_000 // of_ms if of_ms else 0
    return f"{tenths // 10}.{tenths % 10} %"


def duration(ms: int) -> str:
    """A length of time in the two units that matter."""
    seconds = ms // 1_000
    for unit, name, smaller, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit:
            return f"{seconds // unit} {name} {seconds % unit // smaller} {small}"
    return f"{ms / 1_000:.3f} s" if ms % 1_000 else f"{seconds} s"


def _words(node_id: str, profiles: Sequence[ProfileSummary]) -> Iterator[str]:
    if not profiles:
        yield f"No decision on {node_id} is on record: no profile of it was listed or benchmarked, so no router could choose it."
    for profile in profiles:
        how_long = f"eligible {share(profile.eligible_ms, profile.of_ms)} of {duration(profile.of_ms)}"
        at_once = "eligible" if profile.intervals[-1].verdict == "eligible" else "not eligible"
        yield f"{profile.profile_id} ({profile.model_id}) was {how_long if profile.of_ms else at_once}."
        for code, blocked_ms, times in top_blockers(profile)[:BLOCKERS_SHOWN]:
            leaf = LEAVES.get(code)
            said = f"{leaf.condition}; next: {leaf.next_action}" if leaf else "a code not known here"
            yield f"{profile.profile_id} was blocked by {code} for {duration(blocked_ms)}, {_often(times)}: {said}."
        if absent_ms := sum(i.until_ms - i.from_ms for i in profile.intervals if i.verdict == "absent"):
            yield f"{profile.profile_id} was not listed yet for {duration(absent_ms)}."


def _refusals(refused: Mapping[str, int]) -> Iterator[str]:
    for code, count in refused.items():
        meaning = REFUSAL_MEANING[Refusal(code)] if code in set(Refusal) else "a code not known here"
        yield f"{count} of its records {'was' if count == 1 else 'were'} refused, {code}: {meaning}."


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times} times"
