"""Facts for tests: a small world of keys and sound events that tests bend one field at a time. No clock, no randomness."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from nacl.signing import SigningKey

from b3iq_schemas import events, topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.envelope import pae, sign, verify
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core.admit import Scope
from b3iq_streams.core.records import LOG_APPEND_TIME, Record

NETWORK = "testnet"
T0 = 1_800_000_000_000
"""The broker's time at which every test world begins (ms)."""


def key(name: str) -> SigningKey:
    """The signing key that goes by this name; the same in every run."""
    return SigningKey(sha256(name.encode()).digest())


def public(name: str) -> str:
    """Hex public key of `key(name)`."""
    return bytes(key(name).verify_key).hex()


ROLES = ("control_plane", "observer", "broker", "operator", "processor", "router")
SIGNER = {
    topics.REGISTRATIONS: "control_plane",
    topics.HOLDS: "operator",
    topics.BENCHMARKS: "observer",
    topics.ROUTE_HEALTH: "broker",
}
PAYLOAD_TYPE = {name: topic.payload_type or "" for name, topic in topics.TOPICS.items()}

TRUST = RootTrust(
    network=NETWORK,
    generation=1,
    roots=tuple(public(f"root{i}") for i in range(3)),
    threshold=2,
    genesis_processors=(public("processor"),),
)
SCOPE = Scope(TRUST, partition=0, partitions=1)
VERIFY = verify


def policy_event(**changes: Any) -> dict[str, Any]:
    """A sound policy revision as plain data."""
    event: dict[str, Any] = {
        "network": NETWORK,
        "revision": 1,
        "sent_at_ms": T0,
        "roles": {role: [public(role)] for role in ROLES},
        "heartbeat_ttl_ms": 30_000,
        "route_health_ttl_ms": 60_000,
        "registration_ttl_ms": 3_600_000,
        "benchmark_ttl_ms": 86_400_000,
        "sent_at_past_ms": 120_000,
        "sent_at_future_ms": 10_000,
        "boot_jump_max": 1_000,
        "seq_jump_max": 1_000_000,
        "equivocation_block_ms": 600_000,
        "stake_wei_min": "1000",
        "tiers": {
            "local_convenience": {"paid": "blocked", "runtimes": []},
            "portable_local": {"paid": "allowed", "runtimes": ["ollama", "openai", "vllm", "sglang"]},
            "network_beta": {"paid": "allowed", "runtimes": ["openai", "vllm", "sglang"]},
            "datacenter_optimized": {"paid": "future", "runtimes": ["vllm", "sglang"]},
            "fleet_orchestrated": {"paid": "future", "runtimes": ["vllm", "sglang"]},
        },
        "queue_states_passing": ["healthy", "degraded"],
        "hold_down": {"flips_max": 3, "window_ms": 600_000, "hold_ms": 120_000},
        "refresh_period_ms": 3_600_000,
        "grace_ms": 10_000,
    }
    return event | changes


def node_key(node_id: str, signer: str = "") -> dict[str, str]:
    """A registered key entry with its proof of possession."""
    signing = key(signer or node_id)
    claim = events.possession_payload(NETWORK, node_id, bytes(signing.verify_key))
    proof = signing.sign(pae(events.POSSESSION_V1, claim)).signature
    return {"public_key": bytes(signing.verify_key).hex(), "proof": proof.hex()}


def _fact(node_id: str, seq: int, sent_at_ms: int) -> dict[str, Any]:
    return {"network": NETWORK, "node_id": node_id, "seq": seq, "sent_at_ms": sent_at_ms}


def registration_event(node_id: str = "node-1", at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    """A node that is enrolled, registered, active and staked."""
    event = _fact(node_id, at_ms, at_ms) | {
        "enrolled": True,
        "registered": True,
        "active": True,
        "stake_wei": "5000",
        "chain_height": 100,
        "keys": [node_key(node_id)],
    }
    return event | changes


def benchmark_event(node_id: str = "node-1", at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    """A benchmark that passed."""
    event = _fact(node_id, at_ms, at_ms) | {
        "profile_id": "p0",
        "model_id": "Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf",
        "outcome": "passed",
        "throughput_mtok_per_s": 90_000,
        "first_token_ms_p50": 120,
        "report_sha256": "ab" * 32,
    }
    return event | changes


def route_event(node_id: str = "node-1", at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    """A healthy route with public inference allowed."""
    event = _fact(node_id, at_ms, at_ms) | {
        "broker_id": "broker-1",
        "state": "healthy",
        "public_inference_allowed": True,
    }
    return event | changes


def hold_event(node_id: str = "node-1", at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    """An operator's pause."""
    event = _fact(node_id, at_ms, at_ms) | {"held": True, "reason": "maintenance", "actor": "op@example"}
    return event | changes


def profile(profile_id: str = "p0", **changes: Any) -> dict[str, Any]:
    """A profile with nothing wrong."""
    claims: dict[str, Any] = {
        "profile_id": profile_id,
        "model_id": "Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf",
        "status": "installed",
        "runtime_kind": "vllm",
        "runtime_reachable": True,
        "route_tier": "network_beta",
        "network_eligible": True,
        "benchmark_verified": True,
        "paid_route_eligible": True,
        "queue_health": "healthy",
        "price_wei_per_mtok": "250000000000000",
        "context_tokens_max": 131_072,
    }
    return claims | changes


def heartbeat_event(node_id: str = "node-1", seq: int = 1, at_ms: int = T0, **changes: Any) -> dict[str, Any]:
    """A heartbeat of an online node with one sound profile."""
    event = _fact(node_id, seq, at_ms) | {
        "boot": 1,
        "state": "online",
        "agent_version": "1.0.0",
        "profiles": [profile()],
    }
    return event | changes


class Log:
    """Input topics of one partition as lists of records; `put` signs an event as its role (or node) and appends it."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.records: dict[str, list[Record]] = {name: [] for name in topics.INPUTS}

    def put(self, topic: str, event: Mapping[str, Any], at_ms: int = T0, signers: tuple[str, ...] = ()) -> Record:
        """Sign and append; the Kafka key and the signer are those the topic expects unless told otherwise."""
        if topic == topics.POLICIES:
            subject, names = str(event["revision"]), signers or ("root0", "root1")
        else:
            subject, names = event["node_id"], signers or (SIGNER.get(topic, event["node_id"]),)
        value = sign(PAYLOAD_TYPE[topic], canonical(dict(event)), [key(name) for name in names])
        return self.raw(topic, subject.encode(), value, at_ms)

    def raw(self, topic: str, kafka_key: bytes | None, value: bytes | None, at_ms: int = T0) -> Record:
        """Append a record as it stands."""
        record = Record(topic, self.partition, len(self.records[topic]), kafka_key, value, at_ms, LOG_APPEND_TIME)
        self.records[topic].append(record)
        return record

    def ready(self, node_id: str = "node-1", at_ms: int = T0, **beat: Any) -> None:
        """Everything a node needs to be eligible (the policy aside)."""
        self.put(topics.REGISTRATIONS, registration_event(node_id, at_ms), at_ms)
        self.put(topics.BENCHMARKS, benchmark_event(node_id, at_ms), at_ms)
        self.put(topics.ROUTE_HEALTH, route_event(node_id, at_ms), at_ms)
        self.put(topics.HEARTBEATS, heartbeat_event(node_id, at_ms=at_ms, **beat), at_ms)

    @property
    def ends(self) -> dict[str, int]:
        """End offset per topic."""
        return {name: len(records) for name, records in self.records.items()}
