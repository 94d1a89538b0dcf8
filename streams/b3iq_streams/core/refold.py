"""Folds one partition's accepted epochs again, from the inputs alone, and says where the log and the fold differ.

Independent of owners and checkpoints: only the chain says which epochs count, with which cut and resolved time; only the
inputs say what they hold. One epoch at a time, so that nothing has to fit into memory but the state itself. Does no I/O:
whoever drives it hands in the records of the chain in offset order and answers for the inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainId, ChainReader, Head, Ignored
from b3iq_streams.core.decide import compose
from b3iq_streams.core.held import Held, as_published
from b3iq_streams.core.records import Record
from b3iq_streams.core.recovery import REBUILD_BATCH
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import FOLD, Epoch, Outcome, step
from b3iq_streams.core.values import EMPTY_NODE

Inputs = Callable[[str, int, int], Sequence[Record]]
"""(topic, first, last) → this partition's records with first ≤ offset < last, in offset order, all of them.

Raises InputsGone when it cannot give them all."""


class InputsGone(Exception):
    """Records that an accepted epoch folded are not there: deleted by retention (`expired`), or never written."""

    def __init__(self, topic: str, first: int, last: int, *, expired: bool) -> None:
        super().__init__(f"{topic}: offsets {first} to {last - 1} are {'gone' if expired else 'not in the log'}")
        self.topic, self.first, self.last, self.expired = topic, first, last, expired


class Difference(NamedTuple):
    """Where a recorded epoch and its recount part: the mark's coordinates, what differs, both values."""

    partition: int
    offset: int
    epoch: int
    what: str
    recorded: str
    recomputed: str


class Refolded(NamedTuple):
    """An accepted epoch, folded again: the head it extends, its mark and changes, what the fold makes of it."""

    before: Head
    accepted: Accepted
    outcome: Outcome
    refreshed: int
    differences: tuple[Difference, ...]


class Refolding:
    """One partition under way; `state` stands on `head`, the last epoch that was folded.

    `book` must know the policy revisions of the partition. It starts at genesis; `resume` puts it elsewhere.
    """

    def __init__(self, chain: ChainId, scope: Scope, verify: Verify, book: PolicyBook, inputs: Inputs) -> None:
        self.chain, self.scope, self.verify, self.book, self.inputs = chain, scope, verify, book, inputs
        self.head = chain.genesis_head()
        self.reader = ChainReader(chain, self.head, book.processors_of, verify)
        self.state = PartitionState()
        self.held = Held(self.head)
        self.partial = False
        """The state was rebuilt from what is left of the inputs (`late.py`), and no recorded digest has proven it yet."""
        self.unproven: set[str] = set()
        """Keys whose last decision rests on evidence that is gone: what is recorded is taken over, and proves nothing."""
        self.flips_known_ms = 0
        """Before this moment a hold-down may rest on flips that are gone."""

    def resume(self, head: Head, state: PartitionState, held: Held) -> None:
        """Go on from an epoch that was folded before."""
        self.head, self.state, self.held = head, state, held
        self.reader = ChainReader(self.chain, head, self.book.processors_of, self.verify)

    def feed(self, record: Record) -> Refolded | Ignored | None:
        """Take the next record of the chain; an accepted epoch is folded at once.

        Raises InputsGone, and PolicyUnknown as `ChainReader.feed` does.
        """
        verdict = self.reader.feed(record)
        return self.fold(verdict) if isinstance(verdict, Accepted) else verdict

    def fold(self, accepted: Accepted) -> Refolded:
        """Fold an accepted epoch as its mark recorded it, and compare."""
        before, mark = self.head, accepted.mark
        found = _Findings(self.chain.partition, accepted)
        if mark.rebuilt is not None:
            self.state, self.partial, self.unproven = PartitionState(), False, set()
            fold_inputs(self.state, self.scope, self.verify, self.inputs, mark.rebuilt, before.cut, before.resolved_at_ms)
        records = {topic: self._between(topic, before.cut, mark.cut) for topic in topics.INPUTS}
        outcome = step(self.state, Epoch(mark.resolved_at_ms, records), self.scope, self.verify)
        _compare_mark(found, before, accepted, outcome)
        if mark.rebuilt is None:
            outcome, refreshed = self._compare_changes(found, outcome)
        else:
            refreshed = 0
        if mark.state_sha256 is not None:
            self._compare_state(found, mark.state_sha256, self.state.digest(outcome.nodes, outcome.rules))
        self.state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        for problem in self.held.confirm(accepted, self.state):
            found.add(*problem)
        self.head = accepted.head
        return Refolded(before, accepted, outcome, refreshed, tuple(found.differences))

    def _between(self, topic: str, first: Mapping[str, int], last: Mapping[str, int]) -> Sequence[Record]:
        low, high = first.get(topic, 0), last.get(topic, 0)
        return self.inputs(topic, low, high) if low < high else ()

    def _compare_changes(self, found: "_Findings", outcome: Outcome) -> tuple[Outcome, int]:
        """Changes in order against the fold's, refreshes against the state; returns how many were refreshes, and the
        outcome with what had to be taken over from the log.

        The first epoch of a new segment also publishes what readers held otherwise: `Held` compares that one.
        """
        expected = {change.key: change.decision for change in outcome.changes}
        refreshed, taken = 0, dict[str, bytes | None]()
        for value in found.accepted.changes:
            outer = orjson.loads(value)
            decision = outer["decision"]
            key = f"{decision['node_id']}/{decision['profile_id']}"
            wanted = self._held(key, outcome) if outer["refresh"] else expected.pop(key, b"")
            refreshed += outer["refresh"]
            if b'"decision":' + wanted + b"}" == value[value.index(b'"decision":') :]:
                if not outer["refresh"]:  # which only repeats what was taken over
                    self.unproven.discard(key)
            elif self._excused(key, outcome, value + wanted):
                taken[key] = value
            else:
                found.add(f"decision on {key}", value.decode(), wanted.decode())
        for key, wanted in expected.items():
            if self._excused(key, outcome, wanted):
                taken[key] = None
            else:
                found.add(f"decision on {key}", "", wanted.decode())
        return self._take_over(outcome, taken) if taken else outcome, refreshed

    def _excused(self, key: str, outcome: Outcome, said: bytes) -> bool:
        """Whether a difference can come from evidence that is gone."""
        if self.partial and outcome.resolved_at_ms <= self.flips_known_ms and b'"hold_down"' in said:
            self.unproven.add(key)
        return key in self.unproven

    def _take_over(self, outcome: Outcome, taken: Mapping[str, bytes | None]) -> Outcome:
        """The outcome with these keys as the log has them; None: as they were before."""
        nodes = dict(outcome.nodes)
        for key, value in taken.items():
            node_id, _, profile_id = key.partition("/")
            known = self.state.nodes.get(node_id)
            node = nodes.get(node_id) or known or EMPTY_NODE
            published = dict(node.published)
            last = as_published(value) if value is not None else known.published.get(profile_id) if known else None
            if last is None:
                published.pop(profile_id, None)
            else:
                published[profile_id] = last
            nodes[node_id] = node._replace(published=published)
        return outcome._replace(nodes=nodes)

    def _compare_state(self, found: "_Findings", recorded: str, recomputed: str) -> None:
        """A state rebuilt from what is left cannot be held against its digest; but once it has it, all is proven."""
        if recorded == recomputed:
            self.partial, self.unproven = False, set()
        elif not self.partial:
            found.add("state digest", recorded, recomputed)

    def _held(self, key: str, outcome: Outcome) -> bytes:
        """The decision that a refresh of this key would publish."""
        node_id, _, profile_id = key.partition("/")
        node = outcome.nodes.get(node_id) or self.state.nodes.get(node_id)
        last = node.published.get(profile_id) if node else None
        return compose(node_id, profile_id, node, last, outcome.rules, refresh=True).decision if node and last else b""


class _Findings:
    """The differences of one epoch."""

    def __init__(self, partition: int, accepted: Accepted) -> None:
        self.partition, self.accepted = partition, accepted
        self.differences: list[Difference] = []

    def add(self, what: str, recorded: str, recomputed: str) -> None:
        head = self.accepted.head
        self.differences.append(Difference(self.partition, head.offset, head.epoch, what, recorded, recomputed))


def _compare_mark(found: _Findings, before: Head, accepted: Accepted, outcome: Outcome) -> None:
    """What a mark says of itself, and that neither time nor any position went back."""
    mark = accepted.mark
    revision = outcome.rules.policy.revision if outcome.rules else 0
    if revision != mark.policy_revision:
        found.add("policy revision", str(mark.policy_revision), str(revision))
    if mark.fold != FOLD:
        found.add("version of the fold", str(mark.fold), str(FOLD))
    if mark.resolved_at_ms < before.resolved_at_ms:
        found.add("resolved time goes back", str(mark.resolved_at_ms), f"at least {before.resolved_at_ms}")
    for topic in topics.INPUTS:
        if mark.cut.get(topic, 0) < before.cut.get(topic, 0):
            found.add(f"cut of {topic} goes back", str(mark.cut.get(topic, 0)), f"at least {before.cut.get(topic, 0)}")
    if unknown := sorted(mark.cut.keys() - set(topics.INPUTS)):
        found.add("cut of topics that are no inputs", ", ".join(unknown), "")


def fold_inputs(
    state: PartitionState, scope: Scope, verify: Verify, inputs: Inputs,
    first: Mapping[str, int], last: Mapping[str, int], at_ms: int,
) -> None:  # fmt: skip
    """Fold everything in [first, last) onto a fresh state, as an owner does who rebuilds: topic by topic, at one moment."""
    for topic in topics.INPUTS:
        end = last.get(topic, 0)
        for low in range(first.get(topic, 0), end, REBUILD_BATCH):
            records = inputs(topic, low, min(low + REBUILD_BATCH, end))
            outcome = step(state, Epoch(at_ms, {topic: records}), scope, verify)
            state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
