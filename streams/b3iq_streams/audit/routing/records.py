"""From a record of `routing-decisions` to a decision that a router vouches for, or the code that says why nobody does.

Looks at the record alone: signature, schema, its own times, whether it agrees with itself. What was true is others' question.
"""

from typing import NamedTuple

from pydantic import ValidationError

from b3iq_schemas import topics
from b3iq_schemas.canonical import parse_canonical, sha256_hex
from b3iq_schemas.codes import Refusal, RouteRefusal
from b3iq_schemas.decisions import RoutingDecision
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.routing.codes import Code, Limits
from b3iq_streams.audit.routing.policies import Revisions
from b3iq_streams.audit.source import Origin
from b3iq_streams.core.admit import Scope, Verify, open_record
from b3iq_streams.core.records import Record

ALLOWED = "allowed"
SUPPLY_CODES = frozenset({RouteRefusal.NO_HEALTHY_CANDIDATES, RouteRefusal.GRANT_EXPIRED})
"""Refusals that claim something about supply."""
VIEW_CODES = frozenset({RouteRefusal.PROCESSOR_KEY_REVOKED, RouteRefusal.PROCESSOR_LAG, RouteRefusal.POLICY_LAG})
"""Refusals that claim that a partition could not be acted on, in a way that the log shows."""
UNSEEN_CODES = frozenset({RouteRefusal.VIEW_NOT_SYNCED, RouteRefusal.CLOCK_BEHIND, RouteRefusal.ROUTER_DISPATCH_FAILED})
"""Refusals whose reason only the router could see."""
CALLER_CODES = frozenset(RouteRefusal) - SUPPLY_CODES - VIEW_CODES - UNSEEN_CODES
"""Refusals by the caller's own policy, which is not in the log by design."""


class Reader(NamedTuple):
    """What it takes to judge a record: the trust, the partitions of the chain, the policies, how signatures are checked."""

    scope: Scope
    revisions: Revisions
    verify: Verify
    limits: Limits

    @classmethod
    def of(cls, origin: Origin, trust: RootTrust, revisions: Revisions, verify: Verify, limits: Limits) -> "Reader":
        """The reader for an origin's decisions."""
        return cls(Scope(trust, 0, origin.partitions, origin.stamped), revisions, verify, limits)


class Told(NamedTuple):
    """A decision that a listed router signed; equal digests are equal payloads."""

    decision: RoutingDecision
    payload_sha256: str

    @property
    def key(self) -> str:
        """The chosen node and profile."""
        return f"{self.decision.node_id}/{self.decision.profile_id}"


def read_decision(record: Record, reader: Reader) -> Told | Refusal:
    """The decision in a record, or why it counts for nothing; the checks stand in the order of `Refusal`."""
    keys = reader.revisions.routers(record.timestamp_ms)
    opened = open_record(record, keys, reader.scope, reader.verify)
    if opened.refusal is not None or opened.envelope is None:
        return opened.refusal or Refusal.ADMISSION_ERROR
    sealed = opened.envelope
    if not any(signature.keyid in keys for signature in sealed.signatures):
        return Refusal.UNAUTHORIZED
    if not opened.valid:
        return Refusal.INVALID_SIGNATURE
    try:
        parse_canonical(sealed.payload)
    except (ValueError, TypeError):
        return Refusal.PAYLOAD_NOT_CANONICAL
    try:
        decision = RoutingDecision.model_validate_json(sealed.payload)
    except ValidationError:
        return Refusal.PAYLOAD_INVALID
    if decision.network != reader.scope.trust.network:
        return Refusal.NETWORK_MISMATCH
    if record.key != decision.decision_id.encode():
        return Refusal.KEY_MISMATCH
    return Told(decision, sha256_hex(sealed.payload))


def fault(told: Told, logged_at_ms: int, reader: Reader) -> Code | None:
    """What is wrong with a decision whatever the log says of nodes: its times, its words, the positions it names."""
    decision, limits = told.decision, reader.limits
    if decision.decided_at_ms > logged_at_ms + limits.skew_ms:
        return Code.FROM_THE_FUTURE
    if logged_at_ms > decision.decided_at_ms + limits.log_delay_ms_max + limits.skew_ms:
        return Code.BACKDATED
    chosen = decision.node_id is not None and decision.profile_id is not None
    nobody = decision.node_id is None and decision.profile_id is None
    if decision.allowed != (decision.code == ALLOWED) or not (chosen if decision.allowed else nobody):
        return Code.DECISION_INCONSISTENT
    if not decision.allowed and decision.code not in set(RouteRefusal):
        return Code.CODE_UNKNOWN
    named = [position.partition for position in decision.view]
    if len(set(named)) != len(named) or any(partition >= reader.scope.partitions for partition in named):
        return Code.POSITION_UNKNOWN
    return Code.POSITION_MISSING if set(asked(told, reader.scope.partitions)) - set(named) else None


def asked(told: Told, partitions: int) -> range:
    """The partitions of the chain that must answer for a decision: the chosen node's, or all that a refusal rests on."""
    decision = told.decision
    if decision.allowed:
        assert decision.node_id is not None
        partition = partition_for(decision.node_id.encode(), partitions)
        return range(partition, partition + 1)
    return range(0 if decision.code in UNSEEN_CODES else partitions)


def topic_partitions(origin: Origin) -> list[int]:
    """The partitions of `routing-decisions`."""
    return sorted(place.partition for place in origin.bounds if place.topic == topics.ROUTING_DECISIONS)
