"""The history of a node's profiles over a range of time: when each was eligible, what blocked it, and what was said of the node.

Intervals are those that readers of the log held: from the epoch that published a decision to the one that published another
verdict. Every epoch is folded again, and where the log recorded something else the history says so. Draws nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import NamedTuple

import orjson

from b3iq_schemas import envelope
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.story.explain import LAG_MS
from b3iq_streams.audit.story.history import NodeWalk, Turn, check_ids, open_node
from b3iq_streams.audit.story.timeline_facts import Facts
from b3iq_streams.audit.times import FAR_FUTURE_MS, show
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.refold import Difference
from b3iq_streams.errors import UserError

SILENCES_MAX = 20
DIFFERENCES_MAX = 20


class Interval(NamedTuple):
    """[from_ms, until_ms) with one verdict: gates by name, codes of failing checks, the revision and epoch that opened it.

    `proven` = the fold gave that verdict too (False: its evidence is gone).
    """

    from_ms: int
    until_ms: int
    eligible: bool
    gates: Mapping[str, str]
    codes: tuple[str, ...]
    policy_revision: int
    epoch: int
    proven: bool

    @property
    def length_ms(self) -> int:
        """How long it lasted within the range."""
        return self.until_ms - self.from_ms


@dataclass(frozen=True)
class ProfileHistory:
    """One profile: its intervals in order, and how often it opened or closed in the range."""

    profile_id: str
    intervals: tuple[Interval, ...]
    flips: int

    @property
    def known_ms(self) -> int:
        """How much of the range something was published about it."""
        return sum(interval.length_ms for interval in self.intervals)

    @property
    def eligible_ms(self) -> int:
        """How much of that it was eligible."""
        return sum(interval.length_ms for interval in self.intervals if interval.eligible)


class Silence(NamedTuple):
    """A stretch without an epoch: routers answered `processor_lag`, whatever stood before."""

    from_ms: int
    until_ms: int


@dataclass
class Silences:
    """How often and how long the partition made no epoch, and the longest of these stretches."""

    count: int = 0
    total_ms: int = 0
    _longest: list[tuple[int, int]] = field(default_factory=list)

    def add(self, from_ms: int, until_ms: int) -> None:
        """Take a stretch between two epochs, if it is one."""
        if until_ms - from_ms <= LAG_MS:
            return
        self.count, self.total_ms = self.count + 1, self.total_ms + until_ms - from_ms
        push = heappush if len(self._longest) < SILENCES_MAX else heappushpop
        push(self._longest, (until_ms - from_ms, from_ms))

    @property
    def longest(self) -> list[Silence]:
        """The longest ones, in order of time."""
        return [Silence(from_ms, from_ms + length_ms) for length_ms, from_ms in sorted(self._longest, key=lambda one: one[1])]


@dataclass(frozen=True)
class Timeline:
    """What is known of a node from `from_ms` to `until_ms`, which lie within what was asked and what the log holds.

    `earliest_ms` = from when on the logs can be answered for (0: always); `epoch`, `digest` = the last one folded.
    """

    node_id: str
    profile_id: str | None
    partition: int
    from_ms: int
    until_ms: int
    earliest_ms: int
    epoch: int
    digest: str
    profiles: tuple[ProfileHistory, ...]
    facts: Facts
    silences: Silences
    differences: tuple[Difference, ...]


def timeline(
    origin: Origin, trust: RootTrust, node_id: str, profile_id: str | None = None, from_ms: int = 0,
    to_ms: int = FAR_FUTURE_MS, verify: Verify = envelope.verify,
) -> Timeline:  # fmt: skip
    """The history of a node, or of one of its profiles, from `from_ms` to `to_ms`.

    Raises UserError for malformed ids and for ranges outside the log, EvidenceExpired for what is not kept.
    """
    check_ids(node_id, profile_id)
    with open_node(origin, trust, node_id, verify) as walk:
        work = _Collecting(node_id, profile_id, from_ms)
        for turn in walk.turns(to_ms):
            work.take(turn)
        return work.end(walk, to_ms)


class _Said(NamedTuple):
    """A verdict as it was published, and where the interval that it opened begins."""

    eligible: bool
    gates: Mapping[str, str]
    codes: tuple[str, ...]
    policy_revision: int
    epoch: int
    from_ms: int
    proven: bool

    def same(self, other: "_Said") -> bool:
        return self[:3] == other[:3]


class _Collecting:
    """A walk under way: per profile its finished intervals in the range, the verdict that stands, and its flips."""

    def __init__(self, node_id: str, profile_id: str | None, from_ms: int) -> None:
        self.node_id, self.wanted, self.from_ms = node_id, profile_id, from_ms
        self.first_ms: int | None = None
        self.last: Turn | None = None
        self.standing: dict[str, _Said] = {}
        self.done: dict[str, list[Interval]] = {}
        self.flips: dict[str, int] = {}
        self.facts, self.silences = Facts(profile_id, from_ms), Silences()
        self.differences: list[Difference] = []

    def take(self, turn: Turn) -> None:
        now_ms = turn.head.resolved_at_ms
        if self.first_ms is None:
            self.first_ms = turn.before.resolved_at_ms if turn.before.epoch else now_ms
            for profile_id, said in _before_the_log(turn):
                self._say(profile_id, said)
        elif now_ms > self.from_ms and self.last is not None:
            self.silences.add(max(self.last.head.resolved_at_ms, self.from_ms), now_ms)
        for profile_id, said in _published(turn):
            self._say(profile_id, said)
        self.facts.take(turn)
        found = turn.differences if self.wanted is None else turn.differences_on(f"{self.node_id}/{self.wanted}")
        self.differences += found[: DIFFERENCES_MAX - len(self.differences)]
        self.last = turn

    def _say(self, profile_id: str, said: _Said) -> None:
        if self.wanted not in (None, profile_id):
            return
        before = self.standing.get(profile_id)
        if before is not None and before.same(said):
            return
        if before is not None:
            self._finish(profile_id, before, said.from_ms)
        if said.from_ms >= self.from_ms and said.eligible != (before is not None and before.eligible):
            self.flips[profile_id] = self.flips.get(profile_id, 0) + 1
        self.standing[profile_id] = said

    def _finish(self, profile_id: str, said: _Said, until_ms: int, last: bool = False) -> None:
        """Note the part of an interval that lies in the range; the last one even if it has just begun."""
        from_ms = max(said.from_ms, self.from_ms)
        if from_ms < until_ms + last:
            made = Interval(from_ms, until_ms, *said[:5], said.proven)
            self.done.setdefault(profile_id, []).append(made)

    def end(self, walk: NodeWalk, to_ms: int) -> Timeline:
        """The whole. Raises what `timeline` raises."""
        place = f"partition {walk.partition}"
        if self.last is None and walk.earliest_ms:
            raise EvidenceExpired(f"{place}: {show(to_ms)} is before what is kept", walk.earliest_ms)
        if self.last is None or self.first_ms is None:
            raise walk.no_epoch("" if to_ms == FAR_FUTURE_MS else f" up to {show(to_ms)}")
        head = self.last.head
        until_ms = walk.stands_until_ms(to_ms)
        self.silences.add(max(head.resolved_at_ms, self.from_ms), until_ms)
        if until_ms < self.from_ms:
            raise UserError(f"{show(self.from_ms)} is after the end of the log: {place} is resolved up to {show(until_ms)}")
        for profile_id, said in self.standing.items():
            self._finish(profile_id, said, until_ms, last=True)
        self.facts.end(until_ms)
        known = sorted(self.standing)
        profiles = (ProfileHistory(name, tuple(self.done.get(name, ())), self.flips.get(name, 0)) for name in known)
        return Timeline(
            walk.node_id, self.wanted, walk.partition, max(self.first_ms, self.from_ms), until_ms, walk.earliest_ms or 0,
            head.epoch, head.digest, tuple(profiles), self.facts, self.silences,
            (*self.differences, *([walk.gone] if walk.gone else ())),
        )  # fmt: skip


def _published(turn: Turn) -> Iterator[tuple[str, _Said]]:
    head = turn.head
    for said in turn.decisions:
        codes = tuple(leaf.code for leaf in said.failing)
        proven = said.profile_id not in turn.unproven
        gates = said.gates.model_dump()
        yield said.profile_id, _Said(
            said.eligible, gates, codes, said.policy_revision, head.epoch, head.resolved_at_ms, proven
        )  # fmt: skip


def _before_the_log(turn: Turn) -> Iterator[tuple[str, _Said]]:
    """What stood when the walk began in the middle of the log."""
    for profile_id, last in sorted(turn.was.published.items()):
        body = orjson.loads(last.body)
        codes = tuple(leaf["code"] for leaf in body["failing"])
        proven = profile_id not in turn.unproven
        before = turn.before
        yield profile_id, _Said(
            last.eligible, body["gates"], codes, last.policy_revision, before.epoch, before.resolved_at_ms, proven
        )  # fmt: skip
