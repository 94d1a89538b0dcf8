"""Folds one node alone through the epochs of a bundle and compares every decision on it, byte for byte.

That is exact, because what is decided about a node depends on the policies, its own records, and the moments of the epochs;
an epoch that folds none of these and publishes nothing about the node leaves it as it was, so it may be left out. The real
`step` folds; a withheld hold is put in as it is claimed, before the rest of its epoch, which changes nothing but the hold.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_streams.audit.bundle.chain import Checked, Frame, Mismatch
from b3iq_streams.audit.bundle.contents import Bundle, Entry, Fact, Logged, Unshown, Withheld, decode
from b3iq_streams.audit.bundle.start import held_of
from b3iq_streams.audit.bundle.summary import Decided
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.chain import Head
from b3iq_streams.core.decide import compose, decide
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, Outcome, step
from b3iq_streams.core.values import EMPTY_NODE, NodeState

_DECISION = b'"decision":'


class Folded(NamedTuple):
    """What one epoch makes of the node: it, the rules, its decisions by key, refusals by topic and offset."""

    node: NodeState
    rules: Rules | None
    changes: dict[str, bytes]
    refused: dict[tuple[str, int], str]


def fold(state: PartitionState, node_id: str, at_ms: int, entries: Sequence[Entry], policies: Sequence[Record], scope: Scope,
         verify: Verify) -> Folded:  # fmt: skip
    """Fold one epoch onto the state of a node alone."""
    records: dict[str, list[Record]] = {topics.POLICIES: list(policies)}
    for entry in entries:
        if isinstance(entry, Withheld):
            state.nodes[node_id] = state.nodes.get(node_id, EMPTY_NODE)._replace(hold=held_of(entry))
        elif isinstance(entry, Fact):
            records.setdefault(entry.topic, []).append(entry.record)
    outcome = step(state, Epoch(at_ms, records), scope, verify)
    nodes, changes = dict(outcome.nodes), list(outcome.changes)
    node = nodes.get(node_id) or state.nodes.get(node_id)
    if node is not None:
        node, late = decide(node_id, node, outcome.rules, at_ms)  # nothing new, unless a withheld hold is all there was
        nodes[node_id] = node
        changes += late
    state.absorb(at_ms, nodes, outcome.rules)
    return Folded(node or EMPTY_NODE, outcome.rules, {change.key: change.decision for change in changes}, _refusals(outcome))


def _refusals(outcome: Outcome) -> dict[tuple[str, int], str]:
    return {(found.record.topic, found.record.offset): found.code.value for found in outcome.refused}


class Refold:
    """One bundle under way."""

    def __init__(self, bundle: Bundle, frame: Frame, state: PartitionState, scope: Scope, verify: Verify) -> None:
        self.bundle, self.frame, self.state, self.scope, self.verify = bundle, frame, state, scope, verify
        self.before = frame.start.head if frame.start else None
        self.decided: list[Decided] = []
        self.refreshed = 0

    def run(self) -> None:
        """Fold every epoch in order. Raises Mismatch at the first thing that differs."""
        queues = self._queues()
        for checked in self.frame.epochs:
            cut = checked.head.cut
            entries = [entry for topic in topics.INPUTS for entry in _below(queues[topic], cut.get(topic, 0))]
            first, last = self._cut(topics.POLICIES), cut.get(topics.POLICIES, 0)
            policies = [record for record in self.frame.policies if first <= record.offset < last]
            found = fold(self.state, self.bundle.node_id, checked.head.resolved_at_ms, entries, policies, self.scope, self.verify)
            self._compare_admission(entries, found)
            self._compare_revision(checked, found)
            self._compare_decisions(checked, found)
            self.before = checked.head
        for queue in queues.values():
            for entry in queue:
                raise Mismatch("records", _place(entry), "beyond the last epoch", entry.offset, "an offset that it folded")

    def _queues(self) -> dict[str, list[Entry]]:
        """The records by topic, last first; each behind the one before it, none before the range, all of the node."""
        queues: dict[str, list[Entry]] = {topic: [] for topic in topics.INPUTS}
        previous: Entry | None = None
        for entry in self.bundle.records:
            if entry.partition != self.bundle.partition:
                raise Mismatch("records", _place(entry), "partition", entry.partition, self.bundle.partition)
            if entry.topic == topics.POLICIES:
                raise Mismatch("records", _place(entry), "topic", entry.topic, "a topic about nodes")
            if isinstance(entry, Fact) and decode(entry.key) != self.bundle.node_id.encode():
                raise Mismatch("records", _place(entry), "key", decode(entry.key)[:80], self.bundle.node_id)
            if entry.offset < (low := self._cut(entry.topic)):
                raise Mismatch("records", _place(entry), "offset", entry.offset, f"at least {low}")
            if previous is not None and _rank(entry) <= _rank(previous):
                raise Mismatch("records", _place(entry), "order", _place(entry), f"after {_place(previous)}")
            queues[entry.topic].append(entry)
            previous = entry
        for queue in queues.values():
            queue.reverse()
        return queues

    def _cut(self, topic: str) -> int:
        return self.before.cut.get(topic, 0) if self.before else 0

    def _compare_admission(self, entries: Sequence[Entry], found: Folded) -> None:
        for entry in entries:
            if isinstance(entry, Fact):
                recomputed = found.refused.get((entry.topic, entry.offset))
                if entry.refused != recomputed:
                    raise Mismatch("records", _place(entry), "admission", entry.refused or "admitted", recomputed or "admitted")

    def _compare_revision(self, checked: Checked, found: Folded) -> None:
        revision = found.rules.policy.revision if found.rules else 0
        if revision != checked.mark.policy_revision:
            raise Mismatch("policies", _at(checked.head), "revision in force", revision, checked.mark.policy_revision)

    def _compare_decisions(self, checked: Checked, found: Folded) -> None:
        """What was published about the node against what the fold gives; a refresh against the state."""
        expected = dict(found.changes)
        for i, value in enumerate(checked.changes or ()):
            if (outer := about(value, self.bundle.node_id)) is None:
                continue
            key = f"{self.bundle.node_id}/{outer['decision'].get('profile_id')}"
            if refresh := outer.get("refresh") is True:
                wanted = _refreshed(key, found)
                self.refreshed += 1
            else:
                wanted = expected.pop(key, b"")
            head = b'{"attempt":"%b","i":%d,"refresh":%b,"decision":' % (
                checked.mark.attempt.encode(), i, b"true" if refresh else b"false",
            )  # fmt: skip
            if value != head + wanted + b"}":
                self._differ(checked, key, value[value.find(_DECISION) + len(_DECISION) : -1], wanted)
            self.decided.append(Decided(checked.head.resolved_at_ms, outer["decision"]))
        for key, wanted in expected.items():
            self._differ(checked, key, b"", wanted)

    def _differ(self, checked: Checked, key: str, published: bytes, wanted: bytes) -> None:
        said = published.decode() or ("nothing" if checked.changes is not None else "not shown")
        raise Mismatch("epochs", _at(checked.head), f"decision on {key}", said, wanted.decode() or "nothing")


def about(value: bytes, node_id: str) -> dict[str, Any] | None:
    """The content of a change that is about the node; None for one that is not. `value` is canonical JSON."""
    if b'"node_id":"%b"' % node_id.encode() not in value:
        return None
    outer: dict[str, Any] = orjson.loads(value)
    decision = outer.get("decision")
    return outer if isinstance(decision, dict) and decision.get("node_id") == node_id else None


def _refreshed(key: str, found: Folded) -> bytes:
    """The decision that a refresh of this key publishes."""
    node_id, _, profile_id = key.partition("/")
    last = found.node.published.get(profile_id)
    return compose(node_id, profile_id, found.node, last, found.rules, refresh=True).decision if last else b""


def _below(queue: list[Entry], cut: int) -> Iterator[Entry]:
    """Takes what lies before a cut off the queue."""
    while queue and queue[-1].offset < cut:
        yield queue.pop()


def _rank(entry: Entry) -> tuple[int, int]:
    return topics.INPUTS.index(entry.topic), entry.offset


def _place(entry: Logged) -> str:
    topic = entry.topic if isinstance(entry, Fact | Withheld | Unshown) else ""
    return f"{topic} partition {entry.partition} offset {entry.offset}"


def _at(head: Head) -> str:
    return f"{topics.ELIGIBILITY_CHANGES} offset {head.offset}, epoch {head.epoch}"
