"""Every check as it ended for one profile, passing ones too: what was observed, what is required, which topic's record shows it.

One table beside the gates' own: `gates.py` knows how to judge, this knows how to tell. It judges nothing: what fails is what
the gates found and the decision published, word for word.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES, Gate
from b3iq_streams.core import checks, gates
from b3iq_streams.core.checks import Case, Check, Found
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.values import NodeState, Proof

MOOT = "moot"
"""State of a check that passes only because there is nothing to look at; whatever is missing there fails another check."""
TEXT_MAX = 96
Words = Callable[[Case], str | None]


class View(NamedTuple):
    """How one check is told when it passes; from what decides it now, not from what was overcome, which may be forgotten.

    `topic` = where its evidence is (empty: in no record), `observed` = None where there is nothing to look at, `required` =
    what it is held against.
    """

    title: str
    topic: str
    observed: Words
    required: Words


class Shown(NamedTuple):
    """One check of one profile. `state` is pass, fail, unknown or moot; code, since and next action only where it blocks."""

    check: str
    title: str
    gate: str
    state: str
    code: str | None
    observed: str
    required: str
    since_ms: int | None
    next_action: str | None
    topic: str


def _of_beat(name: str) -> Words:
    return lambda case: getattr(case.node.beat, name) if case.node.beat else None


def _of_registration(name: str, word: str) -> Words:
    return lambda case: _said(getattr(case.node.registration, name), word) if case.node.registration else None


def _claim(name: str, ruled: bool = False) -> Words:
    """A field of the profile; `ruled`: nothing can be said of it without a policy."""
    return lambda case: _word(getattr(case.profile, name)) if case.profile and (case.rules or not ruled) else None


def _said(yes: bool, word: str) -> str:
    return word if yes else f"not {word}"


def _word(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _always(text: str) -> Words:
    return lambda case: text


def _logged(fact: Callable[[Case], Proof | None]) -> Words:
    """When a fact was logged; None if there is none, or nothing to hold its age against."""
    return lambda case: f"logged at {proof.logged_at_ms}" if case.rules and (proof := fact(case)) else None


def _age(ttl: str) -> Words:
    return lambda case: f"at most {getattr(case.rules.policy, ttl)} ms old" if case.rules else "fresh"


def _stake(case: Case) -> str | None:
    held = case.node.registration
    return f"{held.stake_wei} wei" if held and case.rules else None


def _stake_min(case: Case) -> str:
    return f"{case.rules.stake_wei_min} wei" if case.rules else "the policy's stake"


def _runtimes(case: Case) -> str:
    rule = case.rules.policy.tiers.get(case.profile.route_tier) if case.rules and case.profile else None
    return _one_of(rule.runtimes) if rule else "a runtime of the tier"


def _runtime_kind(case: Case) -> str | None:
    """A known family on a tier without paid dispatch is not judged: the tier itself is the reason."""
    if case.profile is None or case.rules is None:
        return None
    rule = case.rules.policy.tiers.get(case.profile.route_tier)
    return case.profile.runtime_kind if rule and case.profile.runtime_kind in rule.runtimes else None


def _queues(case: Case) -> str:
    return _one_of(case.rules.policy.queue_states_passing) if case.rules else "a state that policy lets pass"


def _one_of(words: tuple[str, ...]) -> str:
    return "one of: " + " ".join(words)[:80]


def _revision(case: Case) -> str | None:
    return f"revision {case.rules.policy.revision}" if case.rules else None


def _hold(case: Case) -> str:
    return "no hold" if case.node.hold is None else "held" if case.node.hold.held else "released"


def _beat_proof(case: Case) -> Proof | None:
    return case.node.beat.proof if case.node.beat else None


def _route_proof(case: Case) -> Proof | None:
    return case.node.route.proof if case.node.route else None


def _registration_proof(case: Case) -> Proof | None:
    return case.node.registration.proof if case.node.registration else None


def _benchmark_proof(case: Case) -> Proof | None:
    return case.benchmark.proof if case.benchmark else None


_R, _B, _T, _H, _S = topics.REGISTRATIONS, topics.HEARTBEATS, topics.ROUTE_HEALTH, topics.HOLDS, topics.BENCHMARKS
VIEWS: Mapping[Check, View] = {
    checks.enrolment: View("enrolled", _R, _of_registration("enrolled", "enrolled"), _always("enrolled")),
    checks.equivocation: View("one voice", _B, _always("no block"), _always("one heartbeat per sequence")),
    checks.heartbeat: View("heartbeat fresh", _B, _logged(_beat_proof), _age("heartbeat_ttl_ms")),
    checks.online: View("online", _B, _of_beat("state"), _always("online")),
    checks.route: View("route vouched for", _T, _logged(_route_proof), _age("route_health_ttl_ms")),
    checks.route_health: View(
        "route healthy", _T, lambda case: case.node.route.state if case.node.route else None, _always("healthy")
    ),
    checks.public_inference: View(
        "public inference", _T,
        lambda case: _said(case.node.route.public_inference_allowed, "allowed") if case.node.route else None, _always("allowed"),
    ),
    checks.registration: View("registry fresh", _R, _logged(_registration_proof), _age("registration_ttl_ms")),
    checks.registered: View("registered", _R, _of_registration("registered", "registered"), _always("registered")),
    checks.active: View("active", _R, _of_registration("active", "active"), _always("active")),
    checks.stake: View("stake", _R, _stake, _stake_min),
    checks.listed: View("listed", _B, lambda case: "listed" if case.profile else None, _always("listed in the last heartbeat")),
    checks.runtime: View(
        "runtime answers", _B,
        lambda case: ("reachable" if case.profile.runtime_reachable else "unreachable") if case.profile else None,
        _always("reachable"),
    ),
    checks.installed: View("installed", _B, _claim("status"), _always("installed")),
    checks.policy: View("policy known", topics.POLICIES, _revision, _always("a signed policy revision")),
    checks.operator_hold: View("no operator hold", _H, _hold, _always("not held")),
    checks.network_eligible: View("offered", _B, _claim("network_eligible"), _always("true")),
    checks.paid_route: View("paid routing", _B, _claim("paid_route_eligible"), _always("true")),
    checks.tier: View("route tier", _B, _claim("route_tier", ruled=True), _always("a tier with paid dispatch")),
    checks.runtime_kind: View("runtime family", _B, _runtime_kind, _runtimes),
    checks.queue: View("queue", _B, _claim("queue_health", ruled=True), _queues),
    checks.benchmark_claim: View("benchmark claimed", _B, _claim("benchmark_verified"), _always("true")),
    checks.benchmark_observed: View("benchmark observed", _S, _logged(_benchmark_proof), _age("benchmark_ttl_ms")),
    checks.benchmark_outcome: View(
        "benchmark passed", _S, lambda case: case.benchmark.outcome if case.benchmark else None, _always("passed")
    ),
    checks.hold_down: View("steady", "", _always("no hold-down"), _always("no hold-down")),
}  # fmt: skip
"""Every check of the gates' two tables, once."""


def case_of(node: NodeState, rules: Rules | None, at_ms: int, profile_id: str) -> Case:
    """What the checks look at for one profile of a node."""
    listed = next((profile for profile in node.beat.profiles if profile.profile_id == profile_id), None) if node.beat else None
    return Case(node, rules, at_ms, listed, node.benchmarks.get(profile_id), node.published.get(profile_id))


def leaves(case: Case) -> tuple[Shown, ...]:
    """Every check in the order of explanation; `since_ms` of a failing one is that of the decision published last."""
    since = _published_since(case)
    return tuple(_shown(gate, check, case, since) for gate, check in (*gates.NODE_CHECKS, *gates.PROFILE_CHECKS))


def gate_states(shown: Sequence[Shown]) -> dict[str, str]:
    """State of each gate, as a decision with these checks publishes them."""
    return gates.gate_states([Found(leaf.code, 0, "", "") for leaf in shown if leaf.code])


def _published_since(case: Case) -> dict[str, int]:
    failing: list[dict[str, Any]] = orjson.loads(case.last.body)["failing"] if case.last else []
    return {leaf["code"]: leaf["since_ms"] for leaf in failing}


def _shown(gate: Gate, check: Check, case: Case, since: Mapping[str, int]) -> Shown:
    view = VIEWS.get(check) or View(check.__name__, "", _always(""), _always(""))
    failing = gates.run(((gate, check),), case)
    if not failing:
        observed = view.observed(case)
        state, told = (MOOT, "") if observed is None else ("pass", observed)
        required = (view.required(case) or "")[:TEXT_MAX]
        return Shown(check.__name__, view.title, gate, state, None, told[:TEXT_MAX], required, None, None, view.topic)
    (found,) = failing
    leaf = LEAVES[found.code]
    since_ms = since.get(found.code, min(found.since_ms or case.at_ms, case.at_ms))
    return Shown(
        check.__name__, view.title, leaf.gate, leaf.state, found.code, found.observed[:TEXT_MAX], found.required[:TEXT_MAX],
        since_ms, leaf.next_action, view.topic,
    )  # fmt: skip
