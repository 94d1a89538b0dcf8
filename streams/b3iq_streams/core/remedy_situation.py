"""A profile at a moment, and the same with some fields of its facts changed. Knows the form of facts; asks for no verdict.

A fact that is missing is begun afresh when it is changed: logged now, by a key that counts, saying nothing good of itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_streams.core.rules import Rules, prepare
from b3iq_streams.core.values import Beat, Benchmarked, Claims, NodeState, Proof, Registered, Routed

TIME = "time"
"""Not a fact: that a moment is waited for, with all evidence kept as fresh as it is."""
FOLDED: tuple[str, ...] = (*topics.INPUTS, TIME)
"""The order in which changes are applied, as an epoch folds: what a fact needs may depend on those before it."""
NODE_KEY, ANY_MODEL = "a key of the node", "any-model"
"""Stand-ins where nothing is known of the node's keys or of the profile's model."""
A_KEY = "00" * 32
"""Stand-in for a public key of a role that names none."""
_DAY_MS = 86_400_000
FIRST: Mapping[str, Any] = {
    "network": "any", "revision": 1, "sent_at_ms": 0,
    "roles": {role: [A_KEY] for role in ("control_plane", "observer", "broker", "operator", "processor", "router")},
    "heartbeat_ttl_ms": _DAY_MS, "route_health_ttl_ms": _DAY_MS, "registration_ttl_ms": _DAY_MS, "benchmark_ttl_ms": _DAY_MS,
    "sent_at_past_ms": 0, "sent_at_future_ms": 0, "boot_jump_max": 1, "seq_jump_max": 1, "equivocation_block_ms": 0,
    "stake_wei_min": "0", "tiers": {"network_beta": {"paid": "allowed", "runtimes": ["vllm"]}},
    "queue_states_passing": ["healthy"], "hold_down": {"flips_max": 1, "window_ms": 0, "hold_ms": 0},
    "refresh_period_ms": 0, "grace_ms": 0,
}  # fmt: skip
"""Some first revision that lets somebody through, where there is none."""
_PROOF = frozenset(Proof._fields)
_CLAIMS = frozenset(Claims._fields)
Values = Mapping[str, Any]


class Edit(NamedTuple):
    """A field of a fact that must differ: plain JSON values; `before` is None where the fact is missing or silent."""

    fact: str
    field: str
    before: Any
    after: Any


class Situation(NamedTuple):
    """One profile of one node, the rules and the moment it is judged at."""

    node_id: str
    profile_id: str
    node: NodeState
    rules: Rules | None
    at_ms: int

    @property
    def claims(self) -> Claims | None:
        """What the last heartbeat says of the profile."""
        listed = self.node.beat.profiles if self.node.beat else ()
        return next((claims for claims in listed if claims.profile_id == self.profile_id), None)

    def keys(self, topic: str) -> list[str]:
        """Ids of the keys that count on a topic: of a role, or of the node for its heartbeats; sorted."""
        if topic == topics.HEARTBEATS:
            return sorted(self.node.registration.keys) if self.node.registration else []
        return sorted(self.rules.keys_by_topic[topic]) if self.rules else []


def apply(case: Situation, edits: Sequence[Edit]) -> Situation:
    """The situation with every edit made."""
    for fact in FOLDED:
        values = {edit.field: edit.after for edit in edits if edit.fact == fact}
        if values:
            case = _APPLY[fact](case, values)
    return case


def fresh_claims(case: Situation) -> Claims:
    """A profile that is listed and says nothing good of itself."""
    return Claims(case.profile_id, "", "", "", False, "", False, False, False, "", "0", 0)


def _fresh(case: Situation, topic: str) -> Proof:
    return Proof(-1, "", next(iter(case.keys(topic)), ""), case.at_ms)


def _split(proof: Proof, values: Values) -> tuple[Proof, dict[str, Any]]:
    """The proof changed, and the values that are not the proof's."""
    changed = proof._replace(**{name: value for name, value in values.items() if name in _PROOF})
    return changed, {name: value for name, value in values.items() if name not in _PROOF}


def _registration(case: Situation, values: Values) -> Situation:
    base = case.node.registration or Registered(_fresh(case, topics.REGISTRATIONS), 0, False, False, False, 0, {})
    proof, rest = _split(base.proof, values)
    if "stake_wei" in rest:
        rest["stake_wei"] = int(rest["stake_wei"])
    if "keys" in rest:
        rest["keys"] = {name: base.keys.get(name, b"") for name in rest["keys"]}
    return _with(case, registration=base._replace(proof=proof, **rest))


def _hold(case: Situation, values: Values) -> Situation:
    return _with(case, hold=case.node.hold._replace(**values) if case.node.hold else None)


def _benchmark(case: Situation, values: Values) -> Situation:
    base = case.node.benchmarks.get(case.profile_id) or Benchmarked(_fresh(case, topics.BENCHMARKS), 0, "-", "", 0)
    proof, rest = _split(base.proof, values)
    return _with(case, benchmarks={**case.node.benchmarks, case.profile_id: base._replace(proof=proof, **rest)})


def _route(case: Situation, values: Values) -> Situation:
    base = case.node.route or Routed(_fresh(case, topics.ROUTE_HEALTH), 0, "", False)
    proof, rest = _split(base.proof, values)
    return _with(case, route=base._replace(proof=proof, **rest))


def _heartbeat(case: Situation, values: Values) -> Situation:
    base = case.node.beat or Beat(_fresh(case, topics.HEARTBEATS), 0, 0, "", "", ())
    proof, rest = _split(base.proof, values)
    claimed = {name: rest.pop(name) for name in tuple(rest) if name in _CLAIMS}
    profiles = base.profiles
    if claimed:
        profiles = ((case.claims or fresh_claims(case))._replace(**claimed),)  # of the others nothing is asked
    return _with(case, beat=base._replace(proof=proof, profiles=profiles, **rest))


def _policy(case: Situation, values: Values) -> Situation:
    """The policy with fields set, a dotted name for what lies deeper; read again as a signed one would be."""
    policy: dict[str, Any] = case.rules.policy.model_dump(mode="json") if case.rules else dict(FIRST)
    for name, value in values.items():
        *path, field = name.split(".")
        part = policy
        for step in path:
            part = part.setdefault(step, {"paid": "blocked", "runtimes": []})
        part[field] = value
    return case._replace(rules=prepare(canonical(policy), Proof(-1, "", "", case.at_ms)))


def _time(case: Situation, values: Values) -> Situation:
    """Later, and every fact about the node as old as it is now: whoever waits keeps up what is well."""
    until_ms = values["wait_until_ms"]
    by_ms, node = until_ms - case.at_ms, case.node
    return _with(
        case._replace(at_ms=until_ms),
        registration=_later(node.registration, by_ms),
        benchmarks={name: _later(seen, by_ms) for name, seen in node.benchmarks.items()},
        route=_later(node.route, by_ms),
        beat=_later(node.beat, by_ms),
    )


def _later(fact: Any, by_ms: int) -> Any:
    return fact and fact._replace(proof=fact.proof._replace(logged_at_ms=fact.proof.logged_at_ms + by_ms))


def _with(case: Situation, **parts: Any) -> Situation:
    return case._replace(node=case.node._replace(**parts))


_APPLY: Mapping[str, Callable[[Situation, Values], Situation]] = {
    topics.POLICIES: _policy,
    topics.REGISTRATIONS: _registration,
    topics.HOLDS: _hold,
    topics.BENCHMARKS: _benchmark,
    topics.ROUTE_HEALTH: _route,
    topics.HEARTBEATS: _heartbeat,
    TIME: _time,
}
