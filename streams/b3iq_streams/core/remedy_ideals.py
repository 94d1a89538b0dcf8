"""What each fact would have to say for its checks to pass, as edits of what it says now. An ideal changes only what blocks.

Asks nobody for a verdict (`remedy.py` does), and leaves what a profile is, its model and its price, as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

from b3iq_schemas import topics
from b3iq_streams.core.remedy_policy import policy_edits
from b3iq_streams.core.remedy_situation import ANY_MODEL, NODE_KEY, TIME, Edit, Situation
from b3iq_streams.core.values import Claims, Proof

TIERS = ("network_beta", "portable_local")
"""Tiers that a profile moves to first, where policy allows them."""
_TTLS = {
    topics.REGISTRATIONS: "registration_ttl_ms",
    topics.BENCHMARKS: "benchmark_ttl_ms",
    topics.ROUTE_HEALTH: "route_health_ttl_ms",
    topics.HEARTBEATS: "heartbeat_ttl_ms",
}


def ideal(fact: str, case: Situation) -> list[Edit]:
    """The edits with which a fact would do its part in this situation; none if it does already, or cannot."""
    return _IDEALS[fact](case)


def _differing(fact: str, now: Any, wanted: Mapping[str, Any]) -> list[Edit]:
    """Edits for what differs; of a fact that is missing, for everything."""
    if now is None:
        return [Edit(fact, field, None, value) for field, value in wanted.items()]
    return [Edit(fact, field, had, value) for field, value in wanted.items() if (had := getattr(now, field)) != value]


def _proven(topic: str, proof: Proof | None, case: Situation) -> list[Edit]:
    """A key that counts, and a time at which the fact is fresh."""
    edits, keys = list[Edit](), case.keys(topic)
    if proof is None:
        return edits
    if keys and proof.keyid not in keys:
        edits.append(Edit(topic, "keyid", proof.keyid, keys[0]))
    if case.rules and case.at_ms >= proof.logged_at_ms + getattr(case.rules.policy, _TTLS[topic]):
        edits.append(Edit(topic, "logged_at_ms", proof.logged_at_ms, case.at_ms))
    return edits


def _registration(case: Situation) -> list[Edit]:
    now, topic = case.node.registration, topics.REGISTRATIONS
    edits = _proven(topic, now.proof if now else None, case)
    edits += _differing(topic, now, {"enrolled": True, "registered": True, "active": True})
    least = case.rules.stake_wei_min if case.rules else 0
    if now is None or now.stake_wei < least:
        edits.append(Edit(topic, "stake_wei", str(now.stake_wei) if now else None, str(least)))
    keys, beat = case.keys(topics.HEARTBEATS), case.node.beat
    missing = beat.proof.keyid if beat else NODE_KEY
    if missing not in keys and (beat or not keys):
        edits.append(Edit(topic, "keys", keys if now else None, sorted([*keys, missing])))
    return edits


def _hold(case: Situation) -> list[Edit]:
    return [Edit(topics.HOLDS, "held", True, False)] if case.node.hold and case.node.hold.held else []


def _benchmark(case: Situation) -> list[Edit]:
    now, claims = case.node.benchmarks.get(case.profile_id), case.claims
    model = claims.model_id if claims else now.model_id if now else ANY_MODEL
    return [
        *_proven(topics.BENCHMARKS, now.proof if now else None, case),
        *_differing(topics.BENCHMARKS, now, {"model_id": model, "outcome": "passed"}),
    ]


def _route(case: Situation) -> list[Edit]:
    now = case.node.route
    return [
        *_proven(topics.ROUTE_HEALTH, now.proof if now else None, case),
        *_differing(topics.ROUTE_HEALTH, now, {"state": "healthy", "public_inference_allowed": True}),
    ]


def _heartbeat(case: Situation) -> list[Edit]:
    beat, claims = case.node.beat, case.claims
    seen = case.node.benchmarks.get(case.profile_id)
    model = claims.model_id if claims else seen.model_id if seen else ANY_MODEL
    tier, runtime = _place(case, claims)
    wanted = {
        "model_id": model, "status": "installed", "runtime_kind": runtime, "runtime_reachable": True, "route_tier": tier,
        "network_eligible": True, "benchmark_verified": True, "paid_route_eligible": True, "queue_health": _queue(case, claims),
    }  # fmt: skip
    return [
        *_proven(topics.HEARTBEATS, beat.proof if beat else None, case),
        *_differing(topics.HEARTBEATS, beat, {"state": "online"}),
        *_differing(topics.HEARTBEATS, claims, wanted),
    ]


def _place(case: Situation, claims: Claims | None) -> tuple[str, str]:
    """Tier and runtime family, as they are wherever policy lets them be."""
    rules = case.rules.policy.tiers if case.rules else {}
    open_tiers = {name: rules[name].runtimes for name in sorted(rules) if rules[name].paid == "allowed" and rules[name].runtimes}
    tier, runtime = (claims.route_tier, claims.runtime_kind) if claims else ("", "")
    order = [name for name in (tier, *TIERS, *open_tiers) if name in open_tiers]
    keeping = [name for name in order if runtime in open_tiers[name]]
    if tier in open_tiers or not keeping:  # to serve with another runtime is less than to become another class of supply
        return (order[0], runtime if runtime in open_tiers[order[0]] else open_tiers[order[0]][0]) if order else (tier, runtime)
    return keeping[0], runtime


def _queue(case: Situation, claims: Claims | None) -> str:
    now = claims.queue_health if claims else ""
    passing = case.rules.policy.queue_states_passing if case.rules else ()
    return next((word for word in (now, "healthy", "degraded") if word in ("healthy", "degraded") and word in passing), "healthy")


def _time(case: Situation) -> list[Edit]:
    last = case.node.published.get(case.profile_id)
    until_ms = max(case.node.equivocated_until_ms, last.held_down_until_ms if last else 0)
    return [Edit(TIME, "wait_until_ms", case.at_ms, until_ms)] if until_ms > case.at_ms else []


_IDEALS: Mapping[str, Callable[[Situation], list[Edit]]] = {
    topics.POLICIES: policy_edits,
    topics.REGISTRATIONS: _registration,
    topics.HOLDS: _hold,
    topics.BENCHMARKS: _benchmark,
    topics.ROUTE_HEALTH: _route,
    topics.HEARTBEATS: _heartbeat,
    TIME: _time,
}
