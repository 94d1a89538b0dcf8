"""Every check of DOMAIN: small functions of (evidence, policy, moment), each answering None (pass) or what it found.

A check sees one node, one profile and the epoch's resolved time; it neither remembers nor decides. Which gate it belongs to,
and what a broken check means, is `gates.py`'s.
"""

from collections.abc import Callable
from typing import NamedTuple

from b3iq_streams.core.rules import Rules
from b3iq_streams.core.values import Benchmarked, Claims, NodeState, Published


class Found(NamedTuple):
    """A failing check: leaf code, since when (0: since now), what was observed, what is required."""

    code: str
    since_ms: int
    observed: str
    required: str


class Case(NamedTuple):
    """What a check may look at. `at_ms` is the epoch's resolved time, the only clock there is."""

    node: NodeState
    rules: Rules | None
    at_ms: int
    profile: Claims | None = None
    benchmark: Benchmarked | None = None
    last: Published | None = None


Check = Callable[[Case], Found | None]

_STATUS_CODES = {
    "ready_to_install": "profile_not_installed",
    "runtime_missing": "runtime_missing",
    "hardware_unsupported": "hardware_unsupported",
}
_ROUTE_CODES = {"unhealthy": "route_unhealthy", "withdrawn": "route_withdrawn"}
_NODE_CODES = {"offline": "node_offline", "draining": "node_draining"}
_QUEUE_CODES = {"blocked": "queue_blocked", "unhealthy": "queue_unhealthy", "degraded": "queue_degraded"}
_RUNTIME_KINDS = frozenset({"ollama", "openai", "vllm", "sglang"})


def _stale(code: str, logged_at_ms: int, ttl_ms: int, case: Case) -> Found | None:
    deadline_ms = logged_at_ms + ttl_ms
    if case.at_ms < deadline_ms:
        return None
    return Found(code, max(deadline_ms, _ruled_ms(case)), f"logged at {logged_at_ms}", f"at most {ttl_ms} ms old")


def enrolment(case: Case) -> Found | None:
    """The node is fully enrolled."""
    registration = case.node.registration
    if registration is None:
        return Found("enrolment_missing", 0, "none", "a registration")
    if not registration.enrolled:
        return Found("enrolment_incomplete", registration.proof.logged_at_ms, "not enrolled", "enrolled")
    return None


def equivocation(case: Case) -> Found | None:
    """No two heartbeats of the node share one boot and sequence."""
    if case.at_ms < case.node.equivocated_until_ms:
        since_ms, until_ms = case.node.equivocated_at_ms, case.node.equivocated_until_ms
        return Found("node_equivocated", since_ms, "two heartbeats, one sequence", f"none until {until_ms}")
    return None


def heartbeat(case: Case) -> Found | None:
    """There is a heartbeat, by a key still registered, and it is fresh."""
    beat, registration = case.node.beat, case.node.registration
    if beat is None:
        return Found("heartbeat_missing", 0, "none", "a signed heartbeat")
    if registration is None or beat.proof.keyid not in registration.keys:
        return Found("heartbeat_key_revoked", registration.proof.logged_at_ms if registration else 0,
                     f"key {beat.proof.keyid[:16]}", "a registered key")  # fmt: skip
    if case.rules is None:
        return None
    return _stale("heartbeat_stale", beat.proof.logged_at_ms, case.rules.policy.heartbeat_ttl_ms, case)


def online(case: Case) -> Found | None:
    """The node says it is online."""
    beat = case.node.beat
    if beat is None or beat.state == "online":
        return None
    return Found(_NODE_CODES.get(beat.state, "node_state_unknown"), beat.proof.logged_at_ms, beat.state, "online")


def route(case: Case) -> Found | None:
    """A broker that still counts vouches for a public route, and did so lately."""
    routed, rules = case.node.route, case.rules
    if routed is None:
        return Found("route_missing", 0, "none", "a broker-owned public route")
    if rules is None:
        return None
    if routed.proof.keyid not in rules.keys_by_topic["route-health"]:
        return Found("route_key_revoked", rules.proof.logged_at_ms, f"key {routed.proof.keyid[:16]}", "a broker key")
    return _stale("route_stale", routed.proof.logged_at_ms, rules.policy.route_health_ttl_ms, case)


def route_health(case: Case) -> Found | None:
    """The route is healthy."""
    routed = case.node.route
    if routed is None or routed.state == "healthy":
        return None
    code = _ROUTE_CODES.get(routed.state, "route_state_unknown")
    return Found(code, routed.proof.logged_at_ms, routed.state, "healthy")


def public_inference(case: Case) -> Found | None:
    """Public inference is allowed on the route."""
    routed = case.node.route
    if routed is None or routed.public_inference_allowed:
        return None
    return Found("public_inference_not_allowed", routed.proof.logged_at_ms, "not allowed", "allowed")


def registration(case: Case) -> Found | None:
    """There is a registration by a control-plane key that still counts, and it is fresh."""
    held, rules = case.node.registration, case.rules
    if held is None:
        return Found("registration_missing", 0, "none", "a registration")
    if rules is None:
        return None
    if held.proof.keyid not in rules.keys_by_topic["registrations"]:
        return Found("registration_key_revoked", rules.proof.logged_at_ms, f"key {held.proof.keyid[:16]}",
                     "a control-plane key")  # fmt: skip
    return _stale("registration_stale", held.proof.logged_at_ms, rules.policy.registration_ttl_ms, case)


def registered(case: Case) -> Found | None:
    """The node is registered on chain."""
    held = case.node.registration
    if held is None or held.registered:
        return None
    return Found("protocol_not_registered", held.proof.logged_at_ms, "not registered", "registered")


def active(case: Case) -> Found | None:
    """The node is active on chain."""
    held = case.node.registration
    if held is None or held.active:
        return None
    return Found("protocol_not_active", held.proof.logged_at_ms, "not active", "active")


def stake(case: Case) -> Found | None:
    """The node's stake satisfies the current policy."""
    held, rules = case.node.registration, case.rules
    if held is None or rules is None or held.stake_wei >= rules.stake_wei_min:
        return None
    since_ms = max(held.proof.logged_at_ms, rules.proof.logged_at_ms)
    return Found("protocol_stake_unsatisfied", since_ms, f"{held.stake_wei} wei", f"{rules.stake_wei_min} wei")


def listed(case: Case) -> Found | None:
    """The last heartbeat lists the profile."""
    if case.profile is not None:
        return None
    since_ms = case.node.beat.proof.logged_at_ms if case.node.beat else 0
    return Found("profile_missing", since_ms, "not listed", "listed in the last heartbeat")


def runtime(case: Case) -> Found | None:
    """The runtime answers."""
    if case.profile is None or case.profile.runtime_reachable:
        return None
    return Found("runtime_unreachable", _beat_ms(case), "unreachable", "reachable")


def installed(case: Case) -> Found | None:
    """The profile is installed."""
    if case.profile is None or case.profile.status == "installed":
        return None
    status = case.profile.status
    return Found(_STATUS_CODES.get(status, "install_status_unknown"), _beat_ms(case), status, "installed")


def policy(case: Case) -> Found | None:
    """There is a policy to judge by."""
    return Found("policy_missing", 0, "none", "a signed policy revision") if case.rules is None else None


def operator_hold(case: Case) -> Found | None:
    """No operator holds the node. A hold outlives the key that signed it: dropping a key never grants."""
    hold = case.node.hold
    if hold is None or not hold.held:
        return None
    return Found("operator_hold", hold.proof.logged_at_ms, "held", "not held")


def network_eligible(case: Case) -> Found | None:
    """The host offers the profile to the network."""
    if case.profile is None or case.profile.network_eligible:
        return None
    return Found("network_not_eligible", _beat_ms(case), "false", "true")


def paid_route(case: Case) -> Found | None:
    """Paid routing is enabled for the profile."""
    if case.profile is None or case.profile.paid_route_eligible:
        return None
    return Found("paid_route_not_enabled", _beat_ms(case), "false", "true")


def tier(case: Case) -> Found | None:
    """Policy allows paid dispatch on the profile's tier."""
    if case.profile is None or case.rules is None:
        return None
    name = case.profile.route_tier
    rule = case.rules.policy.tiers.get(name)
    if name == "unknown" or rule is None:
        return Found("route_tier_unknown", max(_beat_ms(case), _ruled_ms(case)), name, "a tier of the policy")
    if rule.paid == "allowed":
        return None
    code = "route_tier_future" if rule.paid == "future" else "route_tier_blocked"
    return Found(code, max(_beat_ms(case), case.rules.proof.logged_at_ms), name, "a tier with paid dispatch")


def runtime_kind(case: Case) -> Found | None:
    """Policy allows the profile's runtime family on its tier."""
    if case.profile is None or case.rules is None:
        return None
    kind = case.profile.runtime_kind
    rule = case.rules.policy.tiers.get(case.profile.route_tier)
    if rule is not None and kind in rule.runtimes:
        return None
    if kind not in _RUNTIME_KINDS:
        return Found("runtime_kind_unknown", max(_beat_ms(case), _ruled_ms(case)), kind, "a known runtime")
    if rule is None or rule.paid != "allowed":
        return None  # the tier itself is the reason
    return Found("runtime_kind_not_allowed", max(_beat_ms(case), _ruled_ms(case)), kind, _listed(rule.runtimes))


def queue(case: Case) -> Found | None:
    """The runtime's queue is in a state that policy lets pass."""
    if case.profile is None or case.rules is None:
        return None
    health = case.profile.queue_health
    if health in ("healthy", "degraded") and health in case.rules.policy.queue_states_passing:
        return None
    code = _QUEUE_CODES.get(health, "queue_health_unknown")
    return Found(code, max(_beat_ms(case), _ruled_ms(case)), health, _listed(case.rules.policy.queue_states_passing))


def benchmark_claim(case: Case) -> Found | None:
    """The host claims benchmark proof."""
    if case.profile is None or case.profile.benchmark_verified:
        return None
    return Found("model_benchmark_unverified", _beat_ms(case), "false", "true")


def benchmark_observed(case: Case) -> Found | None:
    """The control plane observed a benchmark of this very model, by a key that still counts, and it is fresh."""
    seen, rules = case.benchmark, case.rules
    if seen is None:
        return Found("observed_benchmark_missing", 0, "none", "an observed benchmark")
    if case.profile is not None and seen.model_id != case.profile.model_id:
        return Found(
            "observed_benchmark_mismatch", max(seen.proof.logged_at_ms, _beat_ms(case)), "another model", "the profile's model"
        )
    if rules is None:
        return None
    if seen.proof.keyid not in rules.keys_by_topic["benchmarks"]:
        return Found("observed_benchmark_key_revoked", rules.proof.logged_at_ms, f"key {seen.proof.keyid[:16]}",
                     "an observer key")  # fmt: skip
    return _stale("observed_benchmark_stale", seen.proof.logged_at_ms, rules.policy.benchmark_ttl_ms, case)


def benchmark_outcome(case: Case) -> Found | None:
    """The observed benchmark passed."""
    if case.benchmark is None or case.benchmark.outcome == "passed":
        return None
    outcome = case.benchmark.outcome
    code = "observed_benchmark_failed" if outcome == "failed" else "observed_benchmark_unknown"
    return Found(code, case.benchmark.proof.logged_at_ms, outcome, "passed")


def hold_down(case: Case) -> Found | None:
    """The profile is not held down after repeated flips. One more check: it can only ever add a "no"."""
    if case.last is None or case.at_ms >= case.last.held_down_until_ms:
        return None
    flips, until_ms = len(case.last.flips_ms), case.last.held_down_until_ms
    return Found("hold_down", case.last.flips_ms[-1], f"{flips} flips", f"steady until {until_ms}")


def _ruled_ms(case: Case) -> int:
    """Since when the rules are what they are: a check that they turned into a "no" fails since then, not before."""
    return case.rules.proof.logged_at_ms if case.rules else 0


def _beat_ms(case: Case) -> int:
    return case.node.beat.proof.logged_at_ms if case.node.beat else 0


def _listed(words: tuple[str, ...]) -> str:
    return "one of: " + " ".join(words)[:80]
