"""What a policy revision would have to say differently, where a policy can help: tiers, stake, queues, empty roles.

Times to live are left alone unless they are zero, and no dropped key is named again: that a fact is old or its key gone is for
whoever says it to mend.
"""

from collections.abc import Iterator
from typing import Any

from b3iq_schemas import topics
from b3iq_schemas.policy import Policy
from b3iq_streams.core.remedy_situation import A_KEY, FIRST, Edit, Situation

TIERS_MAX, RUNTIMES_MAX, QUEUE_STATES_MAX = 32, 16, 8
"""As many as a policy can hold."""
_ROLES = {topics.REGISTRATIONS: "control_plane", topics.BENCHMARKS: "observer", topics.ROUTE_HEALTH: "broker"}
_TTLS = ("heartbeat_ttl_ms", "route_health_ttl_ms", "registration_ttl_ms", "benchmark_ttl_ms")


def policy_edits(case: Situation) -> list[Edit]:
    """The edits of the policy in force that would help the profile."""
    return [Edit(topics.POLICIES, field, before, after) for field, before, after in _levers(case)]


def _levers(case: Situation) -> Iterator[tuple[str, Any, Any]]:
    if case.rules is None:
        yield "revision", None, FIRST["revision"]
        return
    policy, held = case.rules.policy, case.node.registration
    for topic, role in _ROLES.items():
        if not case.rules.keys_by_topic[topic]:
            yield f"roles.{role}", [], [A_KEY]
    for ttl in _TTLS:
        if getattr(policy, ttl) == 0:
            yield ttl, 0, 1
    if held and held.stake_wei < case.rules.stake_wei_min:
        yield "stake_wei_min", policy.stake_wei_min, str(held.stake_wei)
    yield from _tier(case, policy)
    yield from _queue(case, policy)


def _tier(case: Situation, policy: Policy) -> Iterator[tuple[str, Any, Any]]:
    """The profile's own tier opened for its runtime; some tier, if none is open and the profile has none to open."""
    claims, tiers = case.claims, policy.tiers
    some_open = any(rule.paid == "allowed" and rule.runtimes for rule in tiers.values())
    own = claims is not None and claims.route_tier != "unknown"
    if not own and some_open:
        return
    name, kind = (claims.route_tier, claims.runtime_kind) if own and claims else ("network_beta", "vllm")
    rule = tiers.get(name)
    if rule is None and len(tiers) == TIERS_MAX:
        return
    if rule is None or rule.paid != "allowed":
        yield f"tiers.{name}.paid", rule.paid if rule else None, "allowed"
    if rule is None or kind not in rule.runtimes:
        yield (
            f"tiers.{name}.runtimes",
            list(rule.runtimes) if rule else None,
            [kind, *(rule.runtimes if rule else ())][:RUNTIMES_MAX],
        )


def _queue(case: Situation, policy: Policy) -> Iterator[tuple[str, Any, Any]]:
    passing = list(policy.queue_states_passing)
    now = case.claims.queue_health if case.claims else ""
    wanted = now if now in ("healthy", "degraded") else "healthy"
    if wanted not in passing and (now == wanted or "degraded" not in passing):
        yield "queue_states_passing", passing, [wanted, *passing][:QUEUE_STATES_MAX]
