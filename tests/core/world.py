"""A partition under test: a log, its folded state, and what a reader would hold. Facts come from `tests.factory`."""

from collections.abc import Mapping
from typing import Any

import orjson

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.decide import FAR_MS, decide
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules, prepare
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, Outcome, step
from b3iq_streams.core.values import EMPTY_NODE, NodeState, Proof
from tests import factory
from tests.factory import T0, Log

KEY = "node-1/p0"
PROOF = Proof(0, "00" * 32, "", T0)

Decision = dict[str, Any]


def rules_of(**changes: Any) -> Rules:
    """The factory's policy, bent, as if it had been admitted."""
    return prepare(canonical(factory.policy_event(**changes)), PROOF)


def codes(decision: Decision) -> list[str]:
    """Codes of the failing checks, in their order."""
    return [failing["code"] for failing in decision["failing"]]


def leaf(decision: Decision, code: str) -> dict[str, Any]:
    """The failing check with this code."""
    (found,) = [failing for failing in decision["failing"] if failing["code"] == code]
    return dict(found)


def decisions_of(node_id: str, node: NodeState, rules: Rules | None, at_ms: int) -> dict[str, Decision]:
    """What is decided about the node at this moment from scratch; of what was decided before, only the hold-down stays."""
    forgotten = {
        name: last._replace(eligible=False, body=orjson.dumps(orjson.loads(last.body) | {"failing": [], "gates": None}))
        for name, last in node.published.items()
    }
    _, changes = decide(node_id, node._replace(published=forgotten), rules, at_ms)
    return {change.key: orjson.loads(change.decision) for change in changes}


class World:
    """One partition: `log` is what was produced, `state` what was folded, `view` the last decision per key."""

    def __init__(self, scope: Scope = factory.SCOPE, verify: Verify = factory.VERIFY) -> None:
        self.log = Log()
        self.state = PartitionState()
        self.scope, self.verify = scope, verify
        self.cut = dict.fromkeys(topics.INPUTS, 0)
        self.view: dict[str, Decision] = {}
        self.outcome: Outcome | None = None

    def policy(self, at_ms: int = T0, signers: tuple[str, ...] = (), **changes: Any) -> Record:
        """Publish a policy revision."""
        return self.log.put(topics.POLICIES, factory.policy_event(**changes), at_ms, signers)

    def beat(self, seq: int, at_ms: int, *, profiles: list[dict[str, Any]] | None = None, **changes: Any) -> Record:
        """Publish a heartbeat of node-1."""
        signers = changes.pop("signers", ())
        if profiles is not None:
            changes["profiles"] = profiles
        return self.log.put(topics.HEARTBEATS, factory.heartbeat_event(seq=seq, at_ms=at_ms, **changes), at_ms, signers)

    def registration(self, at_ms: int, **changes: Any) -> Record:
        """Publish a registration of node-1; its sequence is its time unless told otherwise."""
        signers = changes.pop("signers", ())
        return self.log.put(topics.REGISTRATIONS, factory.registration_event(at_ms=at_ms, **changes), at_ms, signers)

    def benchmark(self, at_ms: int, **changes: Any) -> Record:
        """Publish a benchmark of node-1."""
        signers = changes.pop("signers", ())
        return self.log.put(topics.BENCHMARKS, factory.benchmark_event(at_ms=at_ms, **changes), at_ms, signers)

    def route(self, at_ms: int, **changes: Any) -> Record:
        """Publish the broker's word on node-1's route."""
        signers = changes.pop("signers", ())
        return self.log.put(topics.ROUTE_HEALTH, factory.route_event(at_ms=at_ms, **changes), at_ms, signers)

    def hold(self, at_ms: int, **changes: Any) -> Record:
        """Publish an operator's word on node-1."""
        signers = changes.pop("signers", ())
        return self.log.put(topics.HOLDS, factory.hold_event(at_ms=at_ms, **changes), at_ms, signers)

    def epoch(self, at_ms: int, **held_back: int) -> Outcome:
        """Fold everything not folded yet as one epoch that judges at `at_ms`."""
        records: Mapping[str, list[Record]] = {
            name: listed[self.cut[name] : len(listed) - held_back.get(name, 0)] for name, listed in self.log.records.items()
        }
        outcome = step(self.state, Epoch(at_ms, records), self.scope, self.verify)
        self.state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        for name in records:
            self.cut[name] += len(records[name])
        for change in outcome.changes:
            self.view[change.key] = orjson.loads(change.decision)
            assert self.view[change.key]["eligible"] == change.eligible == (self.view[change.key]["failing"] == [])
        self.outcome = outcome
        return outcome

    def refusals(self) -> list[str]:
        """Codes with which records of the last epoch were refused."""
        assert self.outcome is not None
        return [refused.code.value for refused in self.outcome.refused]

    def eligible(self, key: str = KEY) -> bool:
        """What a reader of the published changes believes."""
        return bool(self.view.get(key, {}).get("eligible"))

    def node(self, node_id: str = "node-1") -> NodeState:
        """The node's state; an empty one if there is none."""
        return self.state.nodes.get(node_id, EMPTY_NODE)

    def walk(self, until_ms: int) -> None:
        """Idle epochs at every scheduled deadline up to `until_ms`, and one there."""
        while (deadline_ms := self.state.next_deadline_ms) < min(until_ms, FAR_MS):
            self.epoch(deadline_ms)
        self.epoch(until_ms)


def ready_world(**policy: Any) -> World:
    """A world with one eligible node, folded at T0 + 1."""
    world = World()
    world.policy(**policy)
    world.log.ready()
    world.epoch(T0 + 1)
    return world
