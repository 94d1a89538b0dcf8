"""How often routers considered a node and why they did not choose it: counts by reason, and nothing else of any decision.

Routing decisions carry ids of requests, hashes of callers and whatever else was considered, none of which is public or the
node's. A decision counts if a router key of a revision in force by the end of the range signed it, once however often it
was logged lately.
"""

from collections import Counter, deque
from collections.abc import Mapping

from pydantic import ValidationError

from b3iq_schemas import envelope, topics
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.decisions import ROUTING_DECISION_V1, RoutingDecision
from b3iq_streams.audit.bundle.contents import Range
from b3iq_streams.audit.bundle.parts import Routing
from b3iq_streams.audit.source import Origin, Source
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules, keys_by_id

REMEMBERED_MAX = 100_000
RANKED_LOWER, OTHER = "ranked_lower", "other"
"""Reasons beside a router's codes: eligible and allowed, but another one came first; and a word not known here."""


def router_keys(rules: Rules | None) -> Mapping[str, bytes]:
    """The router keys of a revision and of all before it, by key id."""
    keys: dict[str, bytes] = {}
    while rules is not None:
        keys |= keys_by_id(rules.policy.roles.router)
        rules = rules.before
    return keys


def count(
    origin: Origin, source: Source, node_id: str, asked: Range, network: str, keys: Mapping[str, bytes], verify: Verify
) -> Routing:
    """Count over every partition of `routing-decisions`."""
    counts, reasons, kept_ms = Counter[str](), Counter[str](), 0
    for place in sorted(place for place in origin.bounds if place.topic == topics.ROUTING_DECISIONS):
        start, end = origin.bounds[place]
        seen: deque[str] = deque(maxlen=REMEMBERED_MAX)
        known: set[str] = set()
        first = True
        for batch in source.read(place, start, end) if start < end else ():
            for record in batch:
                if first and start > 0:
                    kept_ms = max(kept_ms, record.timestamp_ms)
                first = False
                decision = _read(record, asked, network, keys, verify)
                if decision is None or decision.decision_id in known:
                    continue
                if len(seen) == REMEMBERED_MAX:
                    known.discard(seen[0])
                seen.append(decision.decision_id)
                known.add(decision.decision_id)
                _add(decision, node_id, counts, reasons)
    return Routing(
        considered=counts["considered"], chosen=counts["chosen"], reasons=dict(sorted(reasons.items())), counted_from_ms=kept_ms
    )


def _read(record: Record, asked: Range, network: str, keys: Mapping[str, bytes], verify: Verify) -> RoutingDecision | None:
    """The decision in a record, if it is one of this network, of the range, and a router signed it."""
    try:
        sealed = envelope.parse(record.value or b"")
        if sealed.payload_type != ROUTING_DECISION_V1:
            return None
        decision = RoutingDecision.model_validate_json(sealed.payload)
    except (envelope.EnvelopeError, ValidationError):
        return None
    if decision.network != network or not asked.from_ms <= decision.decided_at_ms <= asked.to_ms:
        return None
    signed = any(found.keyid in keys and verify(keys[found.keyid], sealed.signed_bytes, found.sig) for found in sealed.signatures)
    return decision if signed else None


def _add(decision: RoutingDecision, node_id: str, counts: Counter[str], reasons: Counter[str]) -> None:
    chosen = (decision.node_id, decision.profile_id)
    for candidate in decision.considered:
        if candidate.node_id != node_id:
            continue
        counts["considered"] += 1
        if decision.allowed and (candidate.node_id, candidate.profile_id) == chosen:
            counts["chosen"] += 1
        elif not candidate.reason:
            reasons[RANKED_LOWER] += 1
        else:
            reasons[candidate.reason if candidate.reason in set(RouteRefusal) else OTHER] += 1
