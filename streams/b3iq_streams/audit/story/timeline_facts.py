"""When facts about a node took effect: each in the epoch that folded it (of several, the last), if it says something new.

Renewals that repeat what was known are counted; heartbeats are counted, and where they stayed away longer than policy lets them.
Reason and actor of a hold are not kept here.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from b3iq_schemas import topics
from b3iq_streams.audit.story.history import Turn
from b3iq_streams.core.values import NodeState, Proof


class Event(NamedTuple):
    """A fact that changed something: when it took effect, the epoch that folded it, its record, and what it says."""

    at_ms: int
    epoch: int
    topic: str
    offset: int
    logged_at_ms: int
    says: dict[str, Any]


class Gap(NamedTuple):
    """A stretch in which no heartbeat was logged, longer than its time to live; it may have begun before the range."""

    from_ms: int
    until_ms: int


class Facts:
    """What was said of a node from `from_ms` on. `profile_id` None: benchmarks of every profile."""

    def __init__(self, profile_id: str | None, from_ms: int) -> None:
        self._wanted, self._from_ms = profile_id, from_ms
        self._beat_ms: int | None = None
        self._ttl_ms = 0
        self.events: list[Event] = []
        self.renewed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.heartbeats = 0
        self.longest_gap_ms = 0
        self.gaps: list[Gap] = []

    def take(self, turn: Turn) -> None:
        """Account for an epoch; turns come in order."""
        within = turn.head.resolved_at_ms >= self._from_ms
        for event in self._events(turn):
            if within:
                self.events.append(event)
        self._ttl_ms = turn.rules.policy.heartbeat_ttl_ms if turn.rules else 0
        for record in turn.heartbeats:
            self._beat(record.timestamp_ms)
            self.heartbeats += within
        if within:
            self.refused.update(f"{refused.record.topic}: {refused.code}" for refused in turn.refused)

    def end(self, until_ms: int) -> None:
        """The range ends here; a silence that goes on is a gap as well."""
        if self._beat_ms is not None:
            self._gap(self._beat_ms, until_ms)

    def _beat(self, logged_at_ms: int) -> None:
        if self._beat_ms is not None:
            self._gap(self._beat_ms, logged_at_ms)
        self._beat_ms = logged_at_ms

    def _gap(self, from_ms: int, until_ms: int) -> None:
        if until_ms <= self._from_ms:
            return
        self.longest_gap_ms = max(self.longest_gap_ms, until_ms - from_ms)
        if until_ms - from_ms > self._ttl_ms:
            self.gaps.append(Gap(from_ms, until_ms))

    def _events(self, turn: Turn) -> Iterator[Event]:
        at_ms, epoch = turn.head.resolved_at_ms, turn.head.epoch
        revision = turn.rules.policy.revision if turn.rules else 0
        if turn.rules is not None and revision != (turn.ruled.policy.revision if turn.ruled else 0):
            proof = turn.rules.proof
            yield Event(at_ms, epoch, topics.POLICIES, proof.offset, proof.logged_at_ms, {"revision": revision})
        before = dict(_said(turn.was, self._wanted))
        for place, (proof, says) in _said(turn.node, self._wanted):
            had = before.get(place)
            if had is not None and had[0] == proof:
                continue
            if had is not None and had[1] == says:
                self.renewed[place[0]] += at_ms >= self._from_ms
                continue
            yield Event(at_ms, epoch, place[0], proof.offset, proof.logged_at_ms, says)


def _said(node: NodeState, wanted: str | None) -> Iterator[tuple[tuple[str, str], tuple[Proof, dict[str, Any]]]]:
    """Every fact of a node but its heartbeat, in fold order: (topic, profile) → its record and what of it may be told."""
    if (held := node.registration) is not None:
        says: dict[str, Any] = {"enrolled": held.enrolled, "registered": held.registered, "active": held.active}
        yield (topics.REGISTRATIONS, ""), (held.proof, says | {"stake_wei": str(held.stake_wei), "keys": len(held.keys)})
    if node.hold is not None:
        yield (topics.HOLDS, ""), (node.hold.proof, {"held": node.hold.held})
    for profile_id, seen in sorted(node.benchmarks.items()):
        if wanted in (None, profile_id):
            yield (topics.BENCHMARKS, profile_id), (seen.proof, {
                "profile_id": profile_id, "model_id": seen.model_id, "outcome": seen.outcome,
                "throughput_mtok_per_s": seen.throughput_mtok_per_s,
            })  # fmt: skip
    if (routed := node.route) is not None:
        says = {"state": routed.state, "public_inference_allowed": routed.public_inference_allowed}
        yield (topics.ROUTE_HEALTH, ""), (routed.proof, says)
