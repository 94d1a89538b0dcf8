"""Every code the product speaks, once: why a record is refused, why a profile is not eligible, why a router says no.

Docs, metrics, dead letters and blockers are generated from these tables. A code is never renamed and never reused;
those marked *network* in `NETWORK_CODES` are the network's own, letter for letter.
"""

from dataclasses import dataclass
from enum import StrEnum


class Gate(StrEnum):
    """The five profile gates, in the order of explanation."""

    NODE = "node"
    ROUTE = "route"
    PROTOCOL = "protocol"
    RUNTIME = "runtime"
    POLICY = "policy"


class CheckState(StrEnum):
    """A check passes, fails, or cannot tell. Only the first ever grants."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    FAIL = "fail"
    UNKNOWN = "unknown"


class Refusal(StrEnum):
    """Why a record was not admitted; in the order of the checks."""

    RECORD_EMPTY = "record_empty"
    RECORD_TOO_LARGE = "record_too_large"
    TIMESTAMP_TYPE_WRONG = "timestamp_type_wrong"
    ENVELOPE_MALFORMED = "envelope_malformed"
    ENVELOPE_SIGNATURES = "envelope_signatures"
    PAYLOAD_TYPE_UNEXPECTED = "payload_type_unexpected"
    UNAUTHORIZED = "unauthorized"
    INVALID_SIGNATURE = "invalid_signature"
    THRESHOLD_UNMET = "threshold_unmet"
    PAYLOAD_NOT_CANONICAL = "payload_not_canonical"
    PAYLOAD_INVALID = "payload_invalid"
    NETWORK_MISMATCH = "network_mismatch"
    KEY_MISMATCH = "key_mismatch"
    PARTITION_MISMATCH = "partition_mismatch"
    KEY_UNSAFE = "key_unsafe"
    POSSESSION_UNPROVEN = "possession_unproven"
    EQUIVOCATION = "equivocation"
    SEQUENCE_REPLAYED = "sequence_replayed"
    SEQUENCE_JUMP = "sequence_jump"
    SENT_AT_OUTSIDE_WINDOW = "sent_at_outside_window"
    ADMISSION_ERROR = "admission_error"


REFUSAL_MEANING: dict[Refusal, str] = {
    Refusal.RECORD_EMPTY: "the record has no value",
    Refusal.RECORD_TOO_LARGE: "the value is larger than the topic allows",
    Refusal.TIMESTAMP_TYPE_WRONG: "the timestamp is the sender's; the topic must use LogAppendTime",
    Refusal.ENVELOPE_MALFORMED: "the value is not a DSSE v1 JSON envelope with exactly its fields",
    Refusal.ENVELOPE_SIGNATURES: "the envelope has no signature, too many, or two by one key",
    Refusal.PAYLOAD_TYPE_UNEXPECTED: "the payload type does not belong on this topic",
    Refusal.UNAUTHORIZED: "no key that may sign this payload type, for this subject, is named",
    Refusal.INVALID_SIGNATURE: "a named key may sign, but the signature does not verify over the exact bytes",
    Refusal.THRESHOLD_UNMET: "fewer root keys than required signed the policy revision",
    Refusal.PAYLOAD_NOT_CANONICAL: "the payload is not compact JSON with unique keys that round-trips byte for byte",
    Refusal.PAYLOAD_INVALID: "the payload does not match its schema",
    Refusal.NETWORK_MISMATCH: "the payload is for another network",
    Refusal.KEY_MISMATCH: "the Kafka key is not the subject that was signed",
    Refusal.PARTITION_MISMATCH: "the record is not on the partition its key hashes to (murmur2)",
    Refusal.KEY_UNSAFE: "a registered key is not a safe Ed25519 point",
    Refusal.POSSESSION_UNPROVEN: "a registered key did not sign its own proof of possession",
    Refusal.EQUIVOCATION: "the same boot and sequence as an admitted record, with other content",
    Refusal.SEQUENCE_REPLAYED: "not newer than the last admitted record of its subject",
    Refusal.SEQUENCE_JUMP: "boot or sequence runs further ahead than policy allows",
    Refusal.SENT_AT_OUTSIDE_WINDOW: "the sender's time is too far from the broker's",
    Refusal.ADMISSION_ERROR: "a check broke on this record; it is refused, never guessed",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One reason for "no": its code, the gate it closes, how the check ended, and what the operator does next."""

    code: str
    gate: Gate
    state: CheckState
    condition: str
    next_action: str
    source: str
    """The topic whose record is the evidence; empty where there is none."""
    group: str
    """The operator pages' grouping: Node, Route, Protocol, Model."""


_ENROL = "complete managed enrolment"
_HEARTBEAT = "bring the host agent online and publish a fresh heartbeat"
_ROUTE = "ask the broker for a public route, or have it repaired"
_STAKE = "finish registration and stake, after operator approval"
_RUNTIME = "start or configure the runtime, rerun the probe"
_INSTALL = "install the approved profile, then publish a fresh heartbeat"
_TIER = "use a network-beta or portable endpoint profile, or wait for a policy that allows this tier"
_BENCHMARK = "run the benchmark smoke path so that the control plane observes fresh evidence"
_QUEUE = "clear queue, overload or backend health, then publish a heartbeat"
_POLICY = "ask the operators to publish a policy revision"
_UPGRADE = "upgrade the host agent or ask the operators: this value is not known here"
_SUPPORT = "report it: a check of the processor broke on this node's facts"
_N, _R, _P, _I, _Y = Gate.NODE, Gate.ROUTE, Gate.PROTOCOL, Gate.RUNTIME, Gate.POLICY
_F, _U = CheckState.FAIL, CheckState.UNKNOWN


def _leaf(code: str, gate: Gate, state: CheckState, condition: str, action: str, source: str, group: str) -> Leaf:
    return Leaf(code, gate, state, condition, action, source, group)


LEAVES: dict[str, Leaf] = {
    leaf.code: leaf
    for leaf in (
        _leaf("enrolment_missing", _N, _U, "no registration of the node is known", _ENROL, "registrations", "Node"),
        _leaf("enrolment_incomplete", _N, _F, "the node is not fully enrolled", _ENROL, "registrations", "Node"),
        _leaf("node_equivocated", _N, _F, "two signed heartbeats share one boot and sequence",
              "stop the second agent that uses this identity, then wait for the block to end", "heartbeats", "Node"),
        _leaf("heartbeat_missing", _N, _U, "no signed heartbeat was ever admitted", _HEARTBEAT, "heartbeats", "Node"),
        _leaf("heartbeat_key_revoked", _N, _F, "the last heartbeat's key is no longer registered",
              "sign heartbeats with a registered key", "heartbeats", "Node"),
        _leaf("heartbeat_stale", _N, _F, "the last heartbeat is older than its time to live", _HEARTBEAT,
              "heartbeats", "Node"),
        _leaf("node_offline", _N, _F, "the node says it is offline", _HEARTBEAT, "heartbeats", "Node"),
        _leaf("node_draining", _N, _F, "the node says it is draining", "let it drain, or bring it back online",
              "heartbeats", "Node"),
        _leaf("node_state_unknown", _N, _U, "the node's state is a word not known here", _UPGRADE, "heartbeats", "Node"),
        _leaf("route_missing", _R, _U, "no broker-owned public route is known", _ROUTE, "route-health", "Route"),
        _leaf("route_key_revoked", _R, _F, "the key that vouched for the route is no longer a broker key", _ROUTE,
              "route-health", "Route"),
        _leaf("route_stale", _R, _F, "the broker's last word on the route is too old", _ROUTE, "route-health", "Route"),
        _leaf("route_unhealthy", _R, _F, "the broker sees the route as unhealthy", _ROUTE, "route-health", "Route"),
        _leaf("route_withdrawn", _R, _F, "the broker withdrew the route", _ROUTE, "route-health", "Route"),
        _leaf("route_state_unknown", _R, _U, "the route's state is a word not known here", _UPGRADE, "route-health", "Route"),
        _leaf("public_inference_not_allowed", _R, _F, "public inference is not allowed on the route", _ROUTE,
              "route-health", "Route"),
        _leaf("registration_missing", _P, _U, "no registry state of the node is known", _STAKE, "registrations", "Protocol"),
        _leaf("registration_key_revoked", _P, _F, "the key that signed the registration is no longer a control-plane key",
              _STAKE, "registrations", "Protocol"),
        _leaf("registration_stale", _P, _F, "the last registry state is too old", _STAKE, "registrations", "Protocol"),
        _leaf("protocol_not_registered", _P, _F, "the node is not registered", _STAKE, "registrations", "Protocol"),
        _leaf("protocol_not_active", _P, _F, "the node is not active", _STAKE, "registrations", "Protocol"),
        _leaf("protocol_stake_unsatisfied", _P, _F, "the stake is below the current stake policy", _STAKE,
              "registrations", "Protocol"),
        _leaf("profile_missing", _I, _U, "the last heartbeat does not list the profile", _INSTALL, "heartbeats", "Model"),
        _leaf("runtime_unreachable", _I, _F, "the runtime does not answer", _RUNTIME, "heartbeats", "Model"),
        _leaf("runtime_missing", _I, _F, "the runtime is missing", _RUNTIME, "heartbeats", "Model"),
        _leaf("profile_not_installed", _I, _F, "the profile is not installed", _INSTALL, "heartbeats", "Model"),
        _leaf("hardware_unsupported", _I, _F, "the hardware does not support the profile",
              "choose a profile that this hardware supports", "heartbeats", "Model"),
        _leaf("install_status_unknown", _I, _U, "the install status is a word not known here", _UPGRADE, "heartbeats", "Model"),
        _leaf("policy_missing", _Y, _U, "no policy revision is known", _POLICY, "policies", "Model"),
        _leaf("operator_hold", _Y, _F, "an operator paused the node", "ask the operator who holds it", "holds", "Node"),
        _leaf("network_not_eligible", _Y, _F, "the host does not offer the profile to the network",
              "allow network serving for the profile", "heartbeats", "Model"),
        _leaf("paid_route_not_enabled", _Y, _F, "paid routing is not enabled for the profile",
              "enable paid routing for the profile", "heartbeats", "Model"),
        _leaf("route_tier_blocked", _Y, _F, "the tier is blocked for paid dispatch", _TIER, "heartbeats", "Model"),
        _leaf("route_tier_future", _Y, _F, "the tier is not dispatchable yet", _TIER, "heartbeats", "Model"),
        _leaf("route_tier_unknown", _Y, _U, "the tier is not one that policy knows", _TIER, "heartbeats", "Model"),
        _leaf("runtime_kind_not_allowed", _Y, _F, "the runtime family is not allowed on this tier",
              "serve the profile with a runtime that the tier allows", "heartbeats", "Model"),
        _leaf("runtime_kind_unknown", _Y, _U, "the runtime family is a word not known here", _UPGRADE, "heartbeats", "Model"),
        _leaf("queue_blocked", _Y, _F, "the runtime's queue is blocked", _QUEUE, "heartbeats", "Model"),
        _leaf("queue_unhealthy", _Y, _F, "the runtime's queue is unhealthy", _QUEUE, "heartbeats", "Model"),
        _leaf("queue_degraded", _Y, _F, "the runtime's queue is degraded and policy blocks that", _QUEUE, "heartbeats", "Model"),
        _leaf("queue_health_unknown", _Y, _U, "the queue's health is a word not known here", _QUEUE, "heartbeats", "Model"),
        _leaf("model_benchmark_unverified", _Y, _F, "the host does not claim benchmark proof", _BENCHMARK,
              "heartbeats", "Model"),
        _leaf("observed_benchmark_missing", _Y, _U, "the control plane has observed no benchmark of the profile",
              _BENCHMARK, "benchmarks", "Model"),
        _leaf("observed_benchmark_key_revoked", _Y, _F, "the key that signed the benchmark is no longer an observer key",
              _BENCHMARK, "benchmarks", "Model"),
        _leaf("observed_benchmark_mismatch", _Y, _F, "the observed benchmark is of another model", _BENCHMARK,
              "benchmarks", "Model"),
        _leaf("observed_benchmark_failed", _Y, _F, "the observed benchmark failed", _BENCHMARK, "benchmarks", "Model"),
        _leaf("observed_benchmark_unknown", _Y, _U, "the benchmark's outcome is a word not known here", _UPGRADE,
              "benchmarks", "Model"),
        _leaf("observed_benchmark_stale", _Y, _F, "the observed benchmark is too old", _BENCHMARK, "benchmarks", "Model"),
        _leaf("hold_down", _Y, _F, "the profile flipped too often and must stay ready for a while",
              "keep the profile ready until the hold-down ends", "", "Model"),
        *(_leaf(f"{gate}_check_error", gate, _U, f"a check of the {gate} gate broke", _SUPPORT, "", group)
          for gate, group in zip(Gate, ("Node", "Route", "Protocol", "Model", "Model"), strict=True)),
    )
}  # fmt: skip
"""Every leaf of DOMAIN's five gates by code, in the order of explanation."""


class RouteRefusal(StrEnum):
    """Why the router answers "no": first the view (one code for the whole view), then supply, then the caller."""

    VIEW_NOT_SYNCED = "view_not_synced"
    PROCESSOR_KEY_REVOKED = "processor_key_revoked"
    PROCESSOR_LAG = "processor_lag"
    CLOCK_BEHIND = "clock_behind"
    POLICY_LAG = "policy_lag"
    GRANT_EXPIRED = "grant_expired"
    NO_HEALTHY_CANDIDATES = "no_healthy_candidates"
    UNAUTHORIZED = "unauthorized"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    SPEND_CAP_EXCEEDED = "gateway_spend_cap_exceeded"
    SCOPE_DENIED = "gateway_api_key_scope_denied"
    TIER_NOT_ALLOWED = "route_tier_not_allowed"
    PRICE_ABOVE_MAX = "price_above_max"
    ROUTER_DISPATCH_FAILED = "router_dispatch_failed"


ROUTE_REFUSAL_MEANING: dict[RouteRefusal, tuple[int, str]] = {
    RouteRefusal.VIEW_NOT_SYNCED: (503, "the router's view is not complete yet"),
    RouteRefusal.PROCESSOR_KEY_REVOKED: (503, "the key that signed the view is no longer a processor key"),
    RouteRefusal.PROCESSOR_LAG: (503, "the view is older than the bound: nothing can be claimed about any node"),
    RouteRefusal.CLOCK_BEHIND: (503, "the router's clock is behind the view, or jumped"),
    RouteRefusal.POLICY_LAG: (503, "a newer policy revision is out that the view does not yet follow"),
    RouteRefusal.GRANT_EXPIRED: (503, "every candidate's evidence has expired"),
    RouteRefusal.NO_HEALTHY_CANDIDATES: (503, "no node is eligible for this model"),
    RouteRefusal.UNAUTHORIZED: (401, "the account may not make paid calls"),
    RouteRefusal.INSUFFICIENT_BALANCE: (402, "the account's balance does not cover the call"),
    RouteRefusal.SPEND_CAP_EXCEEDED: (402, "the call would exceed the spend cap"),
    RouteRefusal.SCOPE_DENIED: (403, "the caller's policy does not allow this model"),
    RouteRefusal.TIER_NOT_ALLOWED: (403, "eligible supply exists only on tiers that the caller does not allow"),
    RouteRefusal.PRICE_ABOVE_MAX: (402, "every candidate costs more than the caller's limit"),
    RouteRefusal.ROUTER_DISPATCH_FAILED: (502, "the chosen node did not answer"),
}
"""HTTP status and meaning of each answer of the router."""

NETWORK_CODES = frozenset(
    {
        "no_healthy_candidates", "router_dispatch_failed", "model_benchmark_unverified", "observed_benchmark_missing",
        "protocol_stake_unsatisfied", "gateway_spend_cap_exceeded", "insufficient_balance",
        "gateway_api_key_scope_denied", "invalid_signature", "unauthorized",
    }
)  # fmt: skip
"""Codes that the network's public documents already use."""
