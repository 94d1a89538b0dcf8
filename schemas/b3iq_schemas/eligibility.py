"""What the processor publishes on `eligibility-changes`: whole decisions, and the signed marks that make them count."""

from typing import Annotated, Literal

from pydantic import Field

from b3iq_schemas.ids import (
    AttemptId,
    Contract,
    Count,
    ModelId,
    NetworkId,
    NodeId,
    Positive,
    ProfileId,
    Sha256Hex,
    TimeMs,
    Token,
    Wei,
)

MARK_V1 = "application/vnd.b3iq.mark.v1+json"
MARK_KEY = b"~mark"
Observed = Annotated[str, Field(max_length=96)]
State = Literal["pass", "fail", "unknown"]


class Failing(Contract):
    """One failing check: since when, what was observed, what is required."""

    code: Token
    gate: Literal["node", "route", "protocol", "runtime", "policy"]
    since_ms: TimeMs
    observed: Observed
    required: Observed


class Evidence(Contract):
    """The record behind a check: where it stands, the SHA-256 of its payload, the id of the key that signed it."""

    topic: Annotated[str, Field(max_length=64)]
    offset: Count
    sha256: Sha256Hex
    keyid: Sha256Hex


class Gates(Contract):
    """State of each gate: pass only if every check passes; fail if any fails; else unknown."""

    node: State
    route: State
    protocol: State
    runtime: State
    policy: State


class Decision(Contract):
    """The whole decision on one (node, profile); never a difference to an older one."""

    node_id: NodeId
    profile_id: ProfileId
    eligible: bool
    gates: Gates
    failing: Annotated[tuple[Failing, ...], Field(max_length=64)]
    model_id: ModelId
    route_tier: Token
    runtime_kind: Token
    price_wei_per_mtok: Wei
    throughput_mtok_per_s: Count
    """Of the observed benchmark, 0 without one; thousandths of a token per second."""
    benchmarked_at_ms: TimeMs
    """When the observed benchmark was logged, 0 without one."""
    valid_until_ms: TimeMs
    """Earliest expiry of slow evidence (registration, benchmark); 0 when not eligible."""
    policy_revision: Count
    decided_at_ms: TimeMs
    """`resolved_at_ms` of the epoch in which this content was decided; a refresh keeps it."""
    evidence: Annotated[tuple[Evidence, ...], Field(max_length=8)]
    """As of `decided_at_ms`; one per topic."""


class EligibilityChange(Contract):
    """Value of a change record; the key is `node_id/profile_id`."""

    attempt: AttemptId
    i: Count
    refresh: bool
    decision: Decision


class Anchor(Contract):
    """Apply the accepted epochs after this one, and you hold every live key. Offset -1, epoch 0 = the beginning."""

    offset: Annotated[int, Field(ge=-1, le=2**53 - 1)]
    epoch: Count
    digest: Sha256Hex


class Mark(Contract):
    """The signed end of an epoch. Its digest, the SHA-256 of its payload, names the epoch.

    `cut` = next offset per input topic; `n` changes of this `attempt`, whose exact values in order of `i`,
    concatenated, have `changes_sha256`; `state_sha256` and `rebuilt` are present only where the protocol says so.
    """

    network: NetworkId
    generation: Count
    partition: Count
    attempt: AttemptId
    epoch: Positive
    prev: Sha256Hex
    resolved_at_ms: TimeMs
    cut: Annotated[dict[Annotated[str, Field(max_length=64)], Count], Field(max_length=16)]
    n: Count
    changes_sha256: Sha256Hex
    policy_revision: Count
    fold: Count
    anchor: Anchor
    state_sha256: Sha256Hex | None = None
    rebuilt: Annotated[dict[Annotated[str, Field(max_length=64)], Count], Field(max_length=16)] | None = None
