"""The invariants of time: what expires, what takes effect, what a mark claims (I1, P1, P2, A3). See `checkers.py`."""

from collections.abc import Iterator

from b3iq_schemas import topics
from tests.sim.history import Grant, History
from tests.sim.knobs import BOUND_MS, SKEW_MS, STALE_MS, TIMES
from tests.sim.reference import Reference, Told, eligible
from tests.sim.truth import Truth

Found = Iterator[str]


def i1_fast_evidence_expires(history: History, reference: Reference, truth: Truth) -> Found:
    """I1: no grant on a heartbeat or a route later than its TTL + B + σ after it was appended, whatever the clocks."""
    for grant, told in _granted(history, reference):
        policy, node_id = reference.policies[told.mark["policy_revision"]].event, grant.key.partition("/")[0]
        for topic, ttl in ((topics.HEARTBEATS, "heartbeat_ttl_ms"), (topics.ROUTE_HEALTH, "route_health_ttl_ms")):
            fact = truth.evidence(topic, node_id, told.mark["cut"][topic])
            if fact is None or grant.real_ms >= fact.real_ms + policy[ttl] + BOUND_MS + SKEW_MS:
                yield f"{grant} rests on {topic} of {fact and fact.real_ms}"


def i1_slow_evidence_expires(history: History, reference: Reference, truth: Truth) -> Found:
    """I1: no grant on a registration or a benchmark at or after its TTL, without any excess."""
    for grant, told in _granted(history, reference):
        node_id = grant.key.partition("/")[0]
        for topic, subject, ttl in (
            (topics.REGISTRATIONS, node_id, "registration_ttl_ms"),
            (topics.BENCHMARKS, grant.key, "benchmark_ttl_ms"),
        ):
            fact = truth.evidence(topic, subject, told.mark["cut"][topic])
            if fact is None or grant.real_ms >= fact.real_ms + int(str(TIMES[ttl])):
                yield f"{grant} rests on {topic} of {fact and fact.real_ms}"


def i1_explicit_no_takes_effect(history: History, reference: Reference, truth: Truth) -> Found:
    """I1: B + σ + λ after an honest no was appended (hold, deregistration, bad route, failed benchmark, blocked tier,
    equivocation), nobody grants against it; given clocks within σ."""
    slack_ms = BOUND_MS + SKEW_MS + STALE_MS
    for grant in history.grants:
        if grant.real_ms >= history.honest_until_ms:
            return
        for fact in truth.standing_no(grant.key, grant.real_ms):
            if grant.real_ms > fact.real_ms + slack_ms:
                yield f"{grant} against {fact.topic}[{fact.offset}] of {fact.real_ms}"
        for fact in history.world.equivocations:
            node_id = fact.event["node_id"]
            lasts_ms = fact.real_ms + int(str(TIMES["equivocation_block_ms"])) - SKEW_MS
            blocked = fact.real_ms + slack_ms < grant.real_ms < lasts_ms
            if blocked and grant.key.startswith(f"{node_id}/") and fact.real_ms >= truth.settled[node_id]:
                yield f"{grant} against the equivocation of {fact.real_ms}"


def marks_stop_at_deadlines(history: History, reference: Reference, truth: Truth) -> Found:
    """P1: no mark passes the deadline of evidence that a yes at this mark rests on."""
    for told in reference.told:
        resolved, revision = told.mark["resolved_at_ms"], told.mark["policy_revision"]
        for key, decision in eligible(told.view).items():
            policy, node_id = reference.policies[revision].event, key.partition("/")[0]
            beat = truth.evidence(topics.HEARTBEATS, node_id, told.mark["cut"][topics.HEARTBEATS])
            if beat is None or beat.logged_ms + policy["heartbeat_ttl_ms"] <= resolved or decision["valid_until_ms"] <= resolved:
                yield f"epoch {told.mark['epoch']}: {key} is eligible past a deadline"


def claims_hold(history: History, reference: Reference, truth: Truth) -> Found:
    """P2: everything logged before resolved_at, give or take σ and λ, is folded; given clocks within σ."""
    for told in reference.told:
        if told.real_ms >= history.honest_until_ms:
            return
        for topic, log in history.world.inputs.items():
            cut = told.mark["cut"][topic]
            if cut < log.end and log.real_ms[cut] + SKEW_MS + STALE_MS < told.mark["resolved_at_ms"]:
                yield f"epoch {told.mark['epoch']} claims {topic}[{cut}] of {log.real_ms[cut]}"


def nobody_poisons_time(history: History, reference: Reference, truth: Truth) -> Found:
    """A3: no accepted mark is further in the future than 2σ, however wrong a worker's clock."""
    for told in reference.told:
        if told.mark["resolved_at_ms"] > told.real_ms + 2 * SKEW_MS:
            yield f"epoch {told.mark['epoch']} is from the future"


def _granted(history: History, reference: Reference) -> Iterator[tuple[Grant, Told]]:
    for grant in history.grants:
        if grant.digest in reference.by_digest:
            yield grant, reference.told[reference.by_digest[grant.digest]]
