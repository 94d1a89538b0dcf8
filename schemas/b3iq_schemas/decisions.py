"""What the router and the admission write down: routing decisions and dead letters."""

from typing import Annotated, Literal

from pydantic import Field

from b3iq_schemas.ids import AttemptId, Contract, Count, ModelId, NetworkId, NodeId, ProfileId, Sha256Hex, TimeMs, Token

ROUTING_DECISION_V1 = "application/vnd.b3iq.routing-decision.v1+json"
RAW_BYTES_MAX = 4096
"""How much of a refused record its dead letter keeps."""


class Considered(Contract):
    """A candidate that was looked at, and why it was not chosen (empty: it was, or it only ranked lower)."""

    node_id: NodeId
    profile_id: ProfileId
    reason: Annotated[str, Field(max_length=48)]


class ViewPosition(Contract):
    """What the router held of one partition: the accepted epoch, its digest and its resolved time."""

    partition: Count
    epoch: Count
    digest: Sha256Hex
    resolved_at_ms: TimeMs


class RoutingDecision(Contract):
    """One paid dispatch, allowed or refused. No prompt, no customer: the caller is a keyed hash."""

    network: NetworkId
    decision_id: AttemptId
    decided_at_ms: TimeMs
    model_id: ModelId
    caller_hash: Sha256Hex
    request_policy_sha256: Sha256Hex
    allowed: bool
    code: Token
    """`allowed`, or the refusal's code."""
    node_id: NodeId | None
    profile_id: ProfileId | None
    considered: Annotated[tuple[Considered, ...], Field(max_length=32)]
    considered_total: Count
    view: Annotated[tuple[ViewPosition, ...], Field(max_length=1024)]


class DeadLetter(Contract):
    """A refused record: why, where it stands, and its first bytes. Identified by topic, partition, offset."""

    schema_version: Literal[1] = 1
    code: Token
    topic: Annotated[str, Field(max_length=64)]
    partition: Count
    offset: Count
    logged_at_ms: TimeMs
    key: Annotated[str, Field(max_length=1024)]
    """Base64 of the first bytes of the Kafka key."""
    value: Annotated[str, Field(max_length=8192)]
    """Base64 of the first bytes of the Kafka value."""
    value_bytes: Count
    value_sha256: Sha256Hex
