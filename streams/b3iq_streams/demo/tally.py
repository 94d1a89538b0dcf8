"""What a demo counts while it runs, and the picture of the moment that is shown. Reads no clock and no topic."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from b3iq_schemas.codes import LEAVES, Gate, RouteRefusal
from b3iq_streams.demo.callers import ALLOWED
from b3iq_streams.router.partition import Flip, Step
from b3iq_streams.router.supply import Candidate

FLIPS_SHOWN = 40


class Blocker(NamedTuple):
    """One code that blocks profiles now, and how many."""

    gate: Gate
    code: str
    profiles: int


class Change(NamedTuple):
    """A flip, and the resolved time of its epoch."""

    resolved_at_ms: int
    flip: Flip


class Lane(NamedTuple):
    """One partition of the router's view: why it says no (None: it does not), and the age of its resolved time."""

    refusal: RouteRefusal | None
    lag_ms: int | None


class Picture(NamedTuple):
    """Everything that is shown of one moment."""

    elapsed_ms: int
    doing: str
    address: str
    """Where the catalog's page is."""
    profiles: int
    eligible: int
    gates: Mapping[Gate, int]
    """Profiles that pass each gate."""
    blockers: Sequence[Blocker]
    changes: Sequence[Change]
    calls: Mapping[str, int]
    refused_facts: Mapping[str, int]
    events: int
    lanes: Sequence[Lane]


@dataclass
class Tally:
    """Counts of one run."""

    sent: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    first_allowed_after_ms: int | None = None
    seen: dict[str, set[str]] = field(default_factory=dict)
    """Every profile that a code ever blocked, by code."""
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=FLIPS_SHOWN))

    def answered(self, code: str, elapsed_ms: int) -> None:
        """A paid call was answered."""
        self.calls[str(code)] += 1
        if code == ALLOWED and self.first_allowed_after_ms is None:
            self.first_allowed_after_ms = elapsed_ms

    def accepted(self, step: Step) -> None:
        """The router accepted an epoch."""
        for flip in step.flips:
            self.changes.append(Change(step.accepted.head.resolved_at_ms, flip))
            self._see(flip.key, flip.codes)

    def look(self, entries: Iterable[Candidate]) -> None:
        """Note what blocks each profile now; needed where epochs were skipped."""
        for entry in entries:
            self._see(entry.key, entry.codes)

    def _see(self, key: str, codes: Iterable[str]) -> None:
        for code in codes:
            self.seen.setdefault(code, set()).add(key)

    @property
    def allowed(self) -> int:
        """Paid calls that were allowed."""
        return self.calls[ALLOWED]

    @property
    def refused_calls(self) -> dict[str, int]:
        """Paid calls that were refused, by code."""
        return {code: count for code, count in sorted(self.calls.items()) if code != ALLOWED}

    @property
    def blockers(self) -> dict[str, int]:
        """How many profiles each code ever blocked."""
        return {code: len(self.seen[code]) for code in sorted(self.seen)}


def blockers(entries: Iterable[Candidate]) -> list[Blocker]:
    """What blocks profiles now, in the order of explanation; codes not known here come last, under policy."""
    counts = Counter(code for entry in entries for code in entry.codes)
    known = [Blocker(leaf.gate, code, counts.pop(code)) for code, leaf in LEAVES.items() if code in counts]
    return known + [Blocker(Gate.POLICY, code, count) for code, count in sorted(counts.items())]


def gates(entries: Sequence[Candidate]) -> dict[Gate, int]:
    """How many profiles pass each gate."""
    closed = Counter(gate for entry in entries for gate in {_gate(code) for code in entry.codes})
    return {gate: len(entries) - closed[gate] for gate in Gate}


def _gate(code: str) -> Gate:
    return LEAVES[code].gate if code in LEAVES else Gate.POLICY
