"""A policy revision: everything an operator could want to set, and the role keys, signed by k of n roots.

A revision is whole, never a difference to an older one; a lower revision is ignored. Past decisions replay under the
revision of their moment, so nothing here may ever move into code.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from b3iq_schemas.ids import Contract, Count, DurationMs, NetworkId, Positive, PublicKeyHex, TimeMs, Token, Wei

POLICY_V1 = "application/vnd.b3iq.policy.v1+json"

Keys = Annotated[tuple[PublicKeyHex, ...], Field(max_length=16)]


class RoleKeys(Contract):
    """Who may sign what; several keys per role allow rotation."""

    control_plane: Keys
    observer: Keys
    broker: Keys
    operator: Keys
    processor: Keys
    router: Keys


class TierRule(Contract):
    """Paid dispatch on one route tier: `allowed` for the listed runtimes, `blocked`, or `future` (blocked for now)."""

    paid: Literal["allowed", "blocked", "future"]
    runtimes: Annotated[tuple[Token, ...], Field(max_length=16)]


class HoldDown(Contract):
    """`flips_max` losses of eligibility within `window_ms` hold a profile back for `hold_ms` after the last one."""

    flips_max: Annotated[int, Field(ge=1, le=16)]
    window_ms: DurationMs
    hold_ms: DurationMs


class Policy(Contract):
    """One revision of the network's policy."""

    network: NetworkId
    revision: Positive
    sent_at_ms: TimeMs
    roles: RoleKeys
    heartbeat_ttl_ms: DurationMs
    route_health_ttl_ms: DurationMs
    registration_ttl_ms: DurationMs
    benchmark_ttl_ms: DurationMs
    sent_at_past_ms: DurationMs
    """How far a sender's clock may lie behind the broker's."""
    sent_at_future_ms: DurationMs
    """How far it may run ahead."""
    boot_jump_max: Positive
    seq_jump_max: Positive
    equivocation_block_ms: DurationMs
    stake_wei_min: Wei
    tiers: Annotated[dict[Token, TierRule], Field(max_length=32)]
    queue_states_passing: Annotated[tuple[Token, ...], Field(max_length=8)]
    hold_down: HoldDown
    refresh_period_ms: DurationMs
    """Every live key is published again within this time, so that a router can start from an anchor that old."""
    grace_ms: DurationMs
    """How long after a newer revision was logged a router may still act on marks that do not know it (D4)."""

    @model_validator(mode="after")
    def _sound(self) -> "Policy":
        if {"blocked", "unhealthy"} & set(self.queue_states_passing):
            raise ValueError("queue states blocked and unhealthy fail closed and cannot pass")
        if (rule := self.tiers.get("unknown")) and rule.paid == "allowed":
            raise ValueError("tier unknown cannot be allowed")
        return self


class RootTrust(Contract):
    """Configuration, not data: the root keys, how many must sign, and the processor keys before any policy (A4)."""

    network: NetworkId
    generation: Count
    roots: Annotated[tuple[PublicKeyHex, ...], Field(min_length=1, max_length=16)]
    threshold: Annotated[int, Field(ge=1, le=16)]
    genesis_processors: Keys
    skew_ms: Annotated[int, Field(ge=0, le=60_000)] = 500
    """σ: no two clocks of brokers, workers and routers differ by more. A constant of the network, the same for everyone."""

    @model_validator(mode="after")
    def _reachable(self) -> "RootTrust":
        if len(set(self.roots)) != len(self.roots) or self.threshold > len(self.roots):
            raise ValueError("threshold must be reachable with distinct roots")
        return self
