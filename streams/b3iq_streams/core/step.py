"""The fold: every transition of a partition's state, in one file. `step` is pure; `PartitionState.absorb` applies it.

| topic (in this order)  | what an admitted fact changes |
|---|---|
| policies      | the rules; every node is judged again |
| registrations | enrolment, registry, stake, keys of the node |
| holds         | whether operators hold the node |
| benchmarks    | the observed evidence of one profile |
| route-health  | the node's public route |
| heartbeats    | the node's state and claims; an equivocation blocks the node |
| (time)        | whatever deadline lies at or before `resolved_at_ms` |

Inside a topic, records fold by offset. Freshness is judged at the epoch's `resolved_at_ms`, from the records' log times.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.codes import Refusal
from b3iq_streams.core.admit import Fact, Opened, Refused, Scope, Verify, admit, keys_for, open_record
from b3iq_streams.core.decide import Change, decide
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules, keys_by_id, prepare
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.values import EMPTY_NODE, Beat, Benchmarked, Held, NodeState, Registered, Routed

FOLD = 1
"""Version of this function: raise it whenever the same inputs could give other decisions or other state bytes."""


_BEAT = NodeState._fields.index("beat")


class Epoch(NamedTuple):
    """What one epoch folds: the records per input topic up to its cut, and the moment it judges at."""

    resolved_at_ms: int
    records: Mapping[str, Sequence[Record | Opened]]


class Outcome(NamedTuple):
    """What an epoch would change: nodes by id, the rules, decisions to publish sorted by key, refused records."""

    resolved_at_ms: int
    nodes: Mapping[str, NodeState]
    rules: Rules | None
    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]
    admitted: Mapping[str, int]


Complete = Callable[[str], bool]


def none_complete(node_id: str) -> bool:
    return False


def step(state: PartitionState, epoch: Epoch, scope: Scope, verify: Verify, complete: Complete = none_complete) -> Outcome:
    """The outcome of folding `epoch` onto `state`; `state` is only read.

    Nodes that are `complete` (a restored record already holds this epoch, rule R2) are left as they are.
    """
    fold = _Fold(state, epoch.resolved_at_ms, scope, verify, complete)
    for topic in topics.INPUTS:
        for record in epoch.records.get(topic, ()):
            fold.record(topic, record)
    return fold.finish()


class _Fold:
    """One epoch under way: an overlay over the state, which itself is never touched."""

    def __init__(self, state: PartitionState, at_ms: int, scope: Scope, verify: Verify, complete: Complete) -> None:
        self.state, self.at_ms, self.scope, self.verify, self.complete = state, at_ms, scope, verify, complete
        self.rules = state.rules
        self.nodes: dict[str, NodeState] = {}
        self.judge: set[str] = set()
        self.refused: list[Refused] = []
        self.admitted: dict[str, int] = {}

    def node(self, node_id: str) -> NodeState | None:
        found = self.nodes.get(node_id)
        return found if found is not None else self.state.nodes.get(node_id)

    def record(self, topic: str, record: Record | Opened) -> None:
        key = record.record.key if isinstance(record, Opened) else record.key
        node_id = key.decode("utf-8", "surrogateescape") if key else ""
        node = None if topic == topics.POLICIES else self.node(node_id)
        if isinstance(record, Record):
            record = open_record(record, keys_for(topic, self.rules, node, self.scope), self.scope, self.verify)
        result = admit(record, self.rules, node, self.scope, self.verify)
        if isinstance(result, Refused):
            self.refuse(topic, node_id, node, result)
            return
        self.admitted[topic] = self.admitted.get(topic, 0) + 1
        if topic == topics.POLICIES:
            self.rules = replace(prepare(result.payload, result.proof), before=self.rules)
        elif not self.complete(node_id):
            self.nodes[node_id] = self.evolve(topic, node_id, node or EMPTY_NODE, result)

    def evolve(self, topic: str, node_id: str, node: NodeState, fact: Fact) -> NodeState:
        if topic != topics.HEARTBEATS:
            self.judge.add(node_id)
            return _TRANSITIONS[topic](node, fact)
        evolved, same = self.heartbeat(node, fact)
        if not same:
            self.judge.add(node_id)
        return evolved

    def heartbeat(self, node: NodeState, fact: Fact) -> tuple[NodeState, bool]:
        """The node with a newer heartbeat; `same` when only its age changed and the last one had not expired."""
        event, last, rules = fact.event, node.beat, self.rules
        assert rules is not None
        same = (
            last is not None
            and last.state == event.state
            and last.proof.keyid == fact.proof.keyid
            and self.at_ms < min(last.proof.logged_at_ms, fact.proof.logged_at_ms) + rules.policy.heartbeat_ttl_ms
            and last.listing == fact.listing
        )
        beat = Beat(fact.proof, event.boot, event.seq, event.state, fact.listing, fact.claims)
        return NodeState._make((*node[:_BEAT], beat, *node[_BEAT + 1 :])), same  # as `_replace` would, in a third of its time

    def refuse(self, topic: str, node_id: str, node: NodeState | None, refused: Refused) -> None:
        self.refused.append(refused)
        if refused.code is not Refusal.EQUIVOCATION or topic != topics.HEARTBEATS or node is None:
            return
        if self.rules is not None and not self.complete(node_id):
            logged_at_ms = refused.record.timestamp_ms
            until_ms = max(node.equivocated_until_ms, logged_at_ms + self.rules.policy.equivocation_block_ms)
            self.nodes[node_id] = node._replace(equivocated_until_ms=until_ms, equivocated_at_ms=logged_at_ms)
            self.judge.add(node_id)

    def finish(self) -> Outcome:
        if self.rules is not None and not self.rules.judges_as(self.state.rules):
            self.judge.update(self.state.nodes)
        self.judge.update(self.state.due(self.at_ms))
        changes: list[Change] = []
        for node_id in sorted(self.judge):
            node = self.node(node_id)
            if node is None or self.complete(node_id):
                continue
            judged, changed = decide(node_id, node, self.rules, self.at_ms)
            changes += changed
            if judged is not node:
                self.nodes[node_id] = judged
        changes.sort(key=lambda change: change.key)
        return Outcome(self.at_ms, self.nodes, self.rules, tuple(changes), tuple(self.refused), self.admitted)


def _registration(node: NodeState, fact: Fact) -> NodeState:
    event = fact.event
    keys = keys_by_id(tuple(key.public_key for key in event.keys))
    return node._replace(
        registration=Registered(fact.proof, event.seq, event.enrolled, event.registered, event.active, int(event.stake_wei), keys)
    )


def _hold(node: NodeState, fact: Fact) -> NodeState:
    event = fact.event
    return node._replace(hold=Held(fact.proof, event.seq, event.held, event.reason, event.actor))


def _benchmark(node: NodeState, fact: Fact) -> NodeState:
    event = fact.event
    seen = Benchmarked(fact.proof, event.seq, event.model_id, event.outcome, event.throughput_mtok_per_s)
    return node._replace(benchmarks={**node.benchmarks, event.profile_id: seen})


def _route(node: NodeState, fact: Fact) -> NodeState:
    event = fact.event
    return node._replace(route=Routed(fact.proof, event.seq, event.state, event.public_inference_allowed))


_TRANSITIONS: Mapping[str, Callable[[NodeState, Fact], NodeState]] = {
    topics.REGISTRATIONS: _registration,
    topics.HOLDS: _hold,
    topics.BENCHMARKS: _benchmark,
    topics.ROUTE_HEALTH: _route,
}
