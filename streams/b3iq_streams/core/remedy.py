"""The smallest set of facts that would have made a profile eligible at a moment, found and proved by the fold's own judge.

Sets of facts are tried from the smallest on, each fact in its ideal form; within a set only the fields that must differ remain.
`decide` answers each time, so a remedy is no opinion. Policy is changed only where nothing else helps; sets with it that are
no larger are told beside. Neither says who could bring a fact about, nor publishes anything.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_streams.core.decide import decide
from b3iq_streams.core.remedy_ideals import ideal
from b3iq_streams.core.remedy_situation import FOLDED, TIME, Edit, Situation, apply

FACTS: tuple[str, ...] = (
    topics.HEARTBEATS, topics.ROUTE_HEALTH, topics.REGISTRATIONS, topics.BENCHMARKS, topics.HOLDS, TIME, topics.POLICIES,
)  # fmt: skip
"""The order of preference among sets of one size: what the host can do alone first, what needs the roots last."""
Edits = tuple[Edit, ...]


class Remedy(NamedTuple):
    """What would have had to differ: empty if nothing, None if nothing helps (a check of the processor is broken).

    `alternatives` = other sets of facts, no larger, that would have done as well.
    """

    edits: Edits | None
    alternatives: tuple[Edits, ...] = ()


def eligible(case: Situation) -> bool:
    """What the fold would decide on the profile in this situation."""
    judged, _ = decide(case.node_id, case.node, case.rules, case.at_ms)
    last = judged.published.get(case.profile_id)
    return last is not None and last.eligible


def remedy(case: Situation) -> Remedy:
    """The remedy of a profile. Each set was judged to suffice, and without any of its edits not to."""
    if eligible(case):
        return Remedy(())
    best = next(_working(case, FACTS[:-1], len(FACTS)), None) or next(_working(case, FACTS, len(FACTS)), None)
    if best is None:
        return Remedy(None)
    others = [found for found in _working(case, FACTS, len(_facts(best))) if _facts(found) != _facts(best)]
    return Remedy(_needed(case, best), tuple(_needed(case, found) for found in others))


def _facts(edits: Sequence[Edit]) -> frozenset[str]:
    return frozenset(edit.fact for edit in edits)


def _working(case: Situation, facts: Sequence[str], size_max: int) -> Iterator[Edits]:
    """The ideals of each set of facts that suffices and of which no part does, smallest first."""
    found: list[frozenset[str]] = []
    for size in range(1, size_max + 1):
        for chosen in combinations(facts, size):
            edits = _ideals(case, chosen)
            if _facts(edits) != set(chosen) or any(known <= set(chosen) for known in found):
                continue
            if eligible(apply(case, edits)):
                found.append(frozenset(chosen))
                yield edits


def _ideals(case: Situation, chosen: Sequence[str]) -> Edits:
    """Each fact's edits, given those that fold before it."""
    edits: list[Edit] = []
    for fact in FOLDED:
        if fact in chosen:
            wanted = ideal(fact, case)
            case = apply(case, wanted)
            edits += wanted
    return tuple(edits)


def _needed(case: Situation, edits: Edits) -> Edits:
    """The edits without which it would not do; those of one fact stay together, in the order of preference."""
    kept = list(edits)
    for edit in edits:
        fewer = [other for other in kept if other != edit]
        if eligible(apply(case, fewer)):
            kept = fewer
    return tuple(sorted(kept, key=lambda edit: FACTS.index(edit.fact)))
