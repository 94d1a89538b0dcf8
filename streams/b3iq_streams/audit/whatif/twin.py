"""Two folds of one partition side by side: as the policies on record had it, and as a candidate revision would have had it.

From the first epoch resolved at or after `from_ms` on (and not before there was any policy) the candidate is in force instead of
every revision on record; both judge at each recorded epoch's resolved time. Compares nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.policy import Policy
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.chain import Accepted, Head
from b3iq_streams.core.decide import decide
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import Inputs, Refolded, Refolding, fold_inputs
from b3iq_streams.core.rules import Rules, prepare
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from b3iq_streams.core.values import NodeState, Proof


class Twin(Refolding):
    """The re-fold of a walk, with the candidate's beside it: `other` is None until the candidate is in force.

    After an epoch, `whole` says that any profile may have changed on either side; else only those in the epoch's changes on
    record, and those in `moved` under the candidate.
    """

    def __init__(self, walk: Walk, verify: Verify, candidate: Policy, from_ms: int) -> None:
        self._taken = _Taken(walk.inputs)
        super().__init__(walk.chain, walk.scope, verify, walk.book, self._taken)
        walk.refolding = self
        self.other: PartitionState | None = None
        self.moved: tuple[str, ...] = ()
        self.whole = False
        self._payload, self._from_ms = canonical(candidate), from_ms

    def fold(self, accepted: Accepted) -> Refolded:
        """Fold an epoch on both sides."""
        begins = self.other is None and accepted.mark.resolved_at_ms >= self._from_ms
        before, rules, nodes = self.head, self.state.rules, dict(self.state.nodes) if begins else {}
        epoch = super().fold(accepted)
        if begins and self.state.rules is not None:
            self.other = self._begin(before, rules, nodes)
        if self.other is not None:
            self._follow(epoch, self.other, begins)
        return epoch

    def _begin(self, before: Head, rules: Rules | None, nodes: dict[str, NodeState]) -> PartitionState:
        """The state on record under the candidate: facts logged before that are admitted under the rules of their time."""
        logged_at_ms = max(self._from_ms, before.resolved_at_ms)
        candidate = prepare(self._payload, Proof(0, sha256_hex(self._payload), "", logged_at_ms))
        other = PartitionState()
        other.absorb(before.resolved_at_ms, nodes, replace(candidate, before=rules))
        return other

    def _follow(self, epoch: Refolded, other: PartitionState, begins: bool) -> None:
        before, mark = epoch.before, epoch.accepted.mark
        if mark.rebuilt is not None:
            other = self._rebuild(other, mark.rebuilt, before)
        records = {
            topic: self._taken.again(topic, before.cut.get(topic, 0), mark.cut.get(topic, 0))
            for topic in topics.INPUTS
            if topic != topics.POLICIES
        }
        outcome = step(other, Epoch(mark.resolved_at_ms, records), self.scope, self.verify)
        other.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        self.whole = begins or mark.rebuilt is not None
        if self.whole:
            judge_all(other)
        self.moved = tuple(change.key for change in outcome.changes)

    def _rebuild(self, other: PartitionState, starts: dict[str, int], before: Head) -> PartitionState:
        """As on record: everything from these offsets on is folded again onto nothing."""
        fresh = PartitionState()
        fresh.absorb(0, {}, other.rules)
        fold_inputs(fresh, self.scope, self.verify, _without_policies(self._taken), starts, before.cut, before.resolved_at_ms)
        self.other = fresh
        return fresh


def judge_all(state: PartitionState) -> None:
    """Decide on every node as of the state's own moment; one that was judged then already stays as it is."""
    judged = {}
    for node_id in sorted(state.nodes):
        node, _ = decide(node_id, state.nodes[node_id], state.rules, state.resolved_at_ms)
        if node is not state.nodes[node_id]:
            judged[node_id] = node
    state.absorb(state.resolved_at_ms, judged, state.rules)


class _Taken:
    """Inputs that remember, of each topic, what was asked for last: the other side folds the same records."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._last: dict[str, tuple[int, int, Sequence[Record]]] = {}

    def __call__(self, topic: str, first: int, last: int) -> Sequence[Record]:
        found = self._inputs(topic, first, last)
        self._last[topic] = first, last, found
        return found

    def again(self, topic: str, first: int, last: int) -> Sequence[Record]:
        """The same records once more."""
        if first >= last:
            return ()
        known = self._last.get(topic)
        return known[2] if known is not None and known[:2] == (first, last) else self._inputs(topic, first, last)


def _without_policies(inputs: Inputs) -> Inputs:
    return lambda topic, first, last: () if topic == topics.POLICIES else inputs(topic, first, last)
