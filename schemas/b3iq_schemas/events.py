"""Signed facts: what nodes, control plane, observers, brokers and operators say. One model per payload type.

Lists that the network may extend are tokens, not enums: a word not known yet parses, and then blocks with its own
code. Every fact carries `seq`, strictly increasing per subject and topic (Unix milliseconds do well); `sent_at_ms` is
the sender's clock and decides nothing but the admission window.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from b3iq_schemas.canonical import canonical
from b3iq_schemas.ids import (
    ActorId,
    Contract,
    Count,
    ModelId,
    NetworkId,
    NodeId,
    ProfileId,
    PublicKeyHex,
    Sha256Hex,
    SignatureHex,
    Text,
    TimeMs,
    Token,
    Wei,
)

PROFILES_MAX = 64
NODE_KEYS_MAX = 4

HEARTBEAT_V1 = "application/vnd.b3iq.heartbeat.v1+json"
REGISTRATION_V1 = "application/vnd.b3iq.registration.v1+json"
POSSESSION_V1 = "application/vnd.b3iq.possession.v1+json"
BENCHMARK_V1 = "application/vnd.b3iq.benchmark.v1+json"
ROUTE_HEALTH_V1 = "application/vnd.b3iq.route-health.v1+json"
HOLD_V1 = "application/vnd.b3iq.hold.v1+json"


class Profile(Contract):
    """What the host says of one model profile; a claim, never proof."""

    profile_id: ProfileId
    model_id: ModelId
    status: Token
    runtime_kind: Token
    runtime_reachable: bool
    route_tier: Token
    network_eligible: bool
    benchmark_verified: bool
    paid_route_eligible: bool
    queue_health: Token
    price_wei_per_mtok: Wei
    """Price of a million tokens."""
    context_tokens_max: Count


class Profiles(Contract):
    """The profiles of one heartbeat, each listed once."""

    profiles: Annotated[tuple[Profile, ...], Field(max_length=PROFILES_MAX)]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len({profile.profile_id for profile in self.profiles}) != len(self.profiles):
            raise ValueError("a profile is listed twice")
        return self


class Fact(Contract):
    """What every fact about a node carries."""

    network: NetworkId
    node_id: NodeId
    seq: Count
    sent_at_ms: TimeMs


class Heartbeat(Fact, Profiles):
    """Signed by the node. `boot` counts starts of the host agent, `seq` heartbeats within one boot."""

    boot: Count
    state: Token
    """`online`, `draining`, `offline`."""
    agent_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]{1,32}$")]


class NodeKey(Contract):
    """A key the node may sign with, and the key's own signature that proves its owner has it."""

    public_key: PublicKeyHex
    proof: SignatureHex
    """Ed25519 over PAE(possession type, canonical {"network","node_id","public_key"})."""


class Registration(Fact):
    """Control plane's reading of enrolment and registry; lists the node's active keys (old and new while rotating)."""

    enrolled: bool
    registered: bool
    active: bool
    stake_wei: Wei
    chain_height: Count
    keys: Annotated[tuple[NodeKey, ...], Field(max_length=NODE_KEYS_MAX)]


class Benchmark(Fact):
    """A benchmark that the control plane observed itself."""

    profile_id: ProfileId
    model_id: ModelId
    outcome: Token
    """`passed` or `failed`."""
    throughput_mtok_per_s: Count
    """Measured throughput in thousandths of a token per second (whole numbers only: no floats are signed)."""
    first_token_ms_p50: Count
    report_sha256: Sha256Hex


class RouteHealth(Fact):
    """The broker's word on the public route it owns; never where the route leads."""

    broker_id: ActorId
    state: Token
    """`healthy`, `unhealthy`, `withdrawn`."""
    public_inference_allowed: bool


class Hold(Fact):
    """An operator pauses (`held`) or resumes a node; reason and actor are required."""

    held: bool
    reason: Text
    actor: ActorId


class Possession(Contract):
    """What a node key signs to prove that its owner has it."""

    network: NetworkId
    node_id: NodeId
    public_key: PublicKeyHex


def possession_payload(network: str, node_id: str, public_key: bytes) -> bytes:
    """The canonical bytes of `Possession`; sign PAE(POSSESSION_V1, these) with the key itself."""
    return canonical({"network": network, "node_id": node_id, "public_key": public_key.hex()})
