"""The one table of topics: names, keys, signers, settings. Admin command, compose, docs and checks come from here."""

from dataclasses import dataclass, field
from typing import Literal

from b3iq_schemas import decisions, eligibility, events, policy

HEARTBEATS = "heartbeats"
REGISTRATIONS = "registrations"
BENCHMARKS = "benchmarks"
ROUTE_HEALTH = "route-health"
HOLDS = "holds"
POLICIES = "policies"
ELIGIBILITY_CHANGES = "eligibility-changes"
ROUTING_DECISIONS = "routing-decisions"
DEAD_LETTERS = "dead-letters"
CHECKPOINT = "b3iq-processor-checkpoint-changelog"

DAY_MS = 86_400_000
FOREVER_MS = -1
INPUT_BYTES_MAX = 64 * 1024
"""The broker applies it to a producer's whole batch: keep a publisher's batches at 60 KB or less."""

Role = Literal["node", "control-plane", "observer", "broker", "operator", "root", "processor", "router"]
Principal = Role | Literal["catalog", "auditor", "admin"]
"""Who connects to Kafka: one principal per role, and those that sign nothing."""
PRINCIPALS: tuple[Principal, ...] = (
    "node", "control-plane", "observer", "broker", "operator", "root", "processor", "router", "catalog", "auditor", "admin",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `role` signs its records (None: not signed as a whole); `readers` may read it, `writer` alone appends."""

    name: str
    key: str
    role: Role | None
    payload_type: str | None
    retention_ms: int
    is_input: bool = False
    cleanup: Literal["delete", "compact"] = "delete"
    message_bytes_max: int = 1024 * 1024
    extra: dict[str, str] = field(default_factory=dict)
    purpose: str = ""
    readers: tuple[Principal, ...] = ()

    @property
    def writer(self) -> Principal:
        """Who appends to it: who signs it; what nobody signs is the processor's."""
        return self.role or "processor"

    @property
    def config(self) -> dict[str, str]:
        """The topic's settings as Kafka names them."""
        settings = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.message_bytes_max),
            "compression.type": "uncompressed",
            "message.timestamp.type": "LogAppendTime",
        }
        if self.cleanup == "delete":
            settings["retention.ms"] = str(self.retention_ms)
            settings["retention.bytes"] = "-1"
        return settings | self.extra


_FOLDERS: tuple[Principal, ...] = ("processor", "auditor")
_FOLLOWERS: tuple[Principal, ...] = ("node", "processor", "router", "catalog", "auditor")
_READERS: dict[str, tuple[Principal, ...]] = {
    POLICIES: ("root", *_FOLLOWERS),
    REGISTRATIONS: ("node", *_FOLDERS),
    HEARTBEATS: ("node", *_FOLDERS),
}
"""Of inputs that more than folders read: a host learns where its own numbers stand, and why it is or is not eligible."""


def _input(name: str, role: Role, payload_type: str, retention_ms: int, purpose: str) -> Topic:
    key, readers = "revision" if name == POLICIES else "node_id", _READERS.get(name, _FOLDERS)
    return Topic(name, key, role, payload_type, retention_ms, True, "delete", INPUT_BYTES_MAX, purpose=purpose, readers=readers)


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        _input(POLICIES, "root", policy.POLICY_V1, FOREVER_MS, "each revision, written to every partition"),
        _input(REGISTRATIONS, "control-plane", events.REGISTRATION_V1, 400 * DAY_MS, "enrolment, registry, stake, keys"),
        _input(HOLDS, "operator", events.HOLD_V1, FOREVER_MS, "pause and resume"),
        _input(BENCHMARKS, "observer", events.BENCHMARK_V1, 400 * DAY_MS, "observed benchmarks"),
        _input(ROUTE_HEALTH, "broker", events.ROUTE_HEALTH_V1, 100 * DAY_MS, "public routes and their health"),
        _input(HEARTBEATS, "node", events.HEARTBEAT_V1, 100 * DAY_MS, "readiness of nodes and profiles"),
        Topic(ELIGIBILITY_CHANGES, "node_id/profile_id, marks: ~mark", "processor", eligibility.MARK_V1, 100 * DAY_MS,
              purpose="the chain of epochs: changes and signed marks", readers=_FOLLOWERS),
        Topic(ROUTING_DECISIONS, "decision id", "router", decisions.ROUTING_DECISION_V1, 400 * DAY_MS,
              purpose="every paid dispatch, allowed or refused", readers=("auditor",)),
        Topic(DEAD_LETTERS, "original key", None, None, 100 * DAY_MS,
              purpose="refused records, with code and coordinates", readers=("auditor",)),
        Topic(CHECKPOINT, "node_id", None, None, FOREVER_MS, cleanup="compact",
              extra={"segment.ms": "600000", "segment.bytes": str(64 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.1"},
              purpose="the processor's checkpoint: a cache", readers=("processor",)),
    )
}  # fmt: skip
"""Every topic by name; inputs stand in the order in which an epoch folds them."""

INPUTS: tuple[str, ...] = tuple(name for name, topic in TOPICS.items() if topic.is_input)
"""Input topics in fold order: policies, registrations, holds, benchmarks, route-health, heartbeats."""
