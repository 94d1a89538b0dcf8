"""A scripted network for the page: profiles, the reasons against them, and every change as it happened. Serves nothing.

It decides nothing by evidence: what a profile's reasons are is told to it by whoever directs the play.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from b3iq_schemas.codes import LEAVES, CheckState, Gate
from b3iq_streams.clock import now_ms

PARTITIONS = 4
RING_CHANGES_MAX = 2_000
HISTORY_MAX = 100
SPARK_STEP_MS = 10_000
SPARK_STEPS = 60

MODELS = (
    ("Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf", "network_beta", "vllm", 92_000),
    ("Llama-4-Scout-17B-16E-Instruct", "network_beta", "sglang", 71_500),
    ("mistralai/Mistral-Small-3.2-24B", "portable_local", "ollama", 38_200),
    ("DeepSeek-V3.2-Distill-70B", "network_beta", "openai", 24_900),
)
LOOKS = {
    "heartbeat_stale": ("logged at {ago}", "at most 30000 ms old"),
    "node_draining": ("draining", "online"),
    "route_missing": ("none", "a broker-owned public route"),
    "route_unhealthy": ("unhealthy", "healthy"),
    "protocol_stake_unsatisfied": ("250000000000000000 wei", "1000000000000000000 wei"),
    "runtime_unreachable": ("unreachable", "reachable"),
    "runtime_missing": ("runtime_missing", "installed"),
    "profile_not_installed": ("ready_to_install", "installed"),
    "operator_hold": ("held", "not held"),
    "route_tier_blocked": ("local_convenience", "a tier with paid dispatch"),
    "route_tier_future": ("datacenter_optimized", "a tier with paid dispatch"),
    "queue_blocked": ("blocked", "one of: healthy degraded"),
    "observed_benchmark_missing": ("none", "an observed benchmark"),
    "observed_benchmark_stale": ("logged at {ago}", "at most 604800000 ms old"),
    "hold_down": ("3 flips", "steady until {soon}"),
}
"""What was observed and what is required, as the processor words it."""

TROUBLES = (
    ("heartbeat_stale",),
    ("observed_benchmark_missing",),
    ("queue_blocked", "hold_down"),
    ("runtime_missing", "runtime_unreachable"),
    ("route_unhealthy",),
    ("protocol_stake_unsatisfied",),
    ("operator_hold",),
    ("route_missing",),
    ("observed_benchmark_stale",),
    ("node_draining",),
    ("route_tier_future",),
    ("profile_not_installed", "observed_benchmark_missing"),
)
ORDER = {code: place for place, code in enumerate(LEAVES)}


@dataclass
class Profile:
    """One (node, profile) as last decided; `reasons` = since when, by code."""

    node_id: str
    profile_id: str
    model_id: str
    route_tier: str
    runtime_kind: str
    throughput_mtok_per_s: int
    benchmarked_at_ms: int
    decided_at_ms: int
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def partition(self) -> int:
        """Where its decisions are published."""
        return sha256(self.node_id.encode()).digest()[0] % PARTITIONS

    @property
    def codes(self) -> list[str]:
        """Its reasons in the order of explanation."""
        return sorted(self.reasons, key=lambda code: ORDER.get(code, len(ORDER)))

    def gates(self) -> dict[str, str]:
        """State of each gate: fail if any reason fails, else unknown if any cannot tell, else pass."""
        states: dict[str, str] = dict.fromkeys((gate.value for gate in Gate), "pass")
        for leaf in (LEAVES[code] for code in self.reasons):
            if leaf.state is CheckState.FAIL or states[leaf.gate] == "pass":
                states[leaf.gate] = leaf.state.value
        return states


class Told(NamedTuple):
    """A change, where it stands, and the position of all partitions once it is applied."""

    partition: int
    epoch: int
    position: str
    change: dict[str, Any]


class Fleet:
    """The profiles by (node, profile), the past of each, and the changes that can still be told."""

    def __init__(self, nodes: int = 24, seed: int = 1, per_node: int | None = None) -> None:
        self.started_ms = now_ms()
        self.profiles: dict[tuple[str, str], Profile] = {}
        self.history: dict[str, deque[dict[str, Any]]] = {}
        self.epochs = dict.fromkeys(range(PARTITIONS), 41_000)
        self.ring: deque[Told] = deque(maxlen=RING_CHANGES_MAX)
        self.forgotten = dict(self.epochs)
        self._populate(nodes, random.Random(seed), per_node)
        rng = random.Random(seed)
        self.sparks = {group: self._past(group, rng) for group in self.groups()}
        self._sampled_ms = self.started_ms

    def _populate(self, nodes: int, rng: random.Random, per_node: int | None) -> None:
        troubled = set(range(3, nodes, 4))
        for n in range(nodes):
            node_id = f"node-{n:0{max(2, len(str(nodes - 1)))}d}"
            trouble = TROUBLES[(n // 4) % len(TROUBLES)] if n in troubled else ()
            for p in range(per_node or 1 + rng.randrange(3)):
                model_id, tier, runtime, mtok = MODELS[(n + p) % len(MODELS)]
                since_ms = self.started_ms - rng.randrange(20_000, 7_200_000)
                profile = Profile(
                    node_id, f"p{p}", model_id, tier, runtime, mtok + rng.randrange(-3_000, 3_000),
                    self.started_ms - rng.randrange(60_000, 86_400_000), since_ms, dict.fromkeys(trouble, since_ms),
                )  # fmt: skip
                if "route_tier_future" in trouble:
                    profile.route_tier = "datacenter_optimized"
                self.profiles[node_id, profile.profile_id] = profile
                self._remember(profile, "closed" if trouble else "opened", since_ms)

    def groups(self) -> list[tuple[str, str]]:
        """(model, tier) pairs, sorted."""
        return sorted({(profile.model_id, profile.route_tier) for profile in self.profiles.values()})

    def members(self, group: tuple[str, str]) -> Iterator[Profile]:
        """The profiles of one (model, tier)."""
        return (profile for profile in self.profiles.values() if (profile.model_id, profile.route_tier) == group)

    def _past(self, group: tuple[str, str], rng: random.Random) -> deque[int]:
        eligible = sum(not profile.reasons for profile in self.members(group))
        total = sum(1 for _ in self.members(group))
        steps: deque[int] = deque(maxlen=SPARK_STEPS)
        dip = 0
        for _ in range(SPARK_STEPS - 1):
            dip = rng.randrange(1, 2 + total // 4) if rng.random() < 0.06 else max(0, dip - rng.randrange(3))
            steps.append(max(0, eligible - dip))
        steps.append(eligible)
        return steps

    def sample(self) -> None:
        """One more point on each line, if it is time."""
        if now_ms() - self._sampled_ms >= SPARK_STEP_MS:
            self._sampled_ms += SPARK_STEP_MS
            for group, steps in self.sparks.items():
                steps.append(sum(not profile.reasons for profile in self.members(group)))

    def block(self, node_id: str, profile_id: str, code: str) -> None:
        """Another reason against the profile."""
        profile = self.profiles[node_id, profile_id]
        what = "changed" if profile.reasons else "closed"
        profile.reasons[code] = now_ms()
        self._publish(profile, what)

    def clear(self, node_id: str, profile_id: str, code: str) -> None:
        """One reason less."""
        profile = self.profiles[node_id, profile_id]
        del profile.reasons[code]
        self._publish(profile, "changed" if profile.reasons else "opened")

    def _publish(self, profile: Profile, what: str) -> None:
        partition = profile.partition
        self.epochs[partition] += 1
        profile.decided_at_ms = now_ms()
        self._remember(profile, what, profile.decided_at_ms)
        change = {
            "at_ms": profile.decided_at_ms, "partition": partition, "epoch": self.epochs[partition],
            "node_id": profile.node_id, "profile_id": profile.profile_id, "what": what, "codes": profile.codes,
            "eligible": not profile.reasons, "gates": profile.gates(), "model_id": profile.model_id,
            "route_tier": profile.route_tier,
        }  # fmt: skip
        if len(self.ring) == self.ring.maxlen:
            self.forgotten[self.ring[0].partition] = self.ring[0].epoch
        self.ring.append(Told(partition, self.epochs[partition], self.position(), change))

    def _remember(self, profile: Profile, what: str, at_ms: int) -> None:
        past = self.history.setdefault(profile.node_id, deque(maxlen=HISTORY_MAX))
        past.appendleft({"at_ms": at_ms, "profile_id": profile.profile_id, "what": what, "codes": profile.codes,
                         "epoch": self.epochs[profile.partition]})  # fmt: skip

    def position(self) -> str:
        """The id of an event after everything so far."""
        return ",".join(f"{partition}-{epoch}" for partition, epoch in sorted(self.epochs.items()))

    def since(self, position: dict[int, int]) -> list[Told] | None:
        """The changes after `position`, oldest first; None if some of them were forgotten, or it is none of ours."""
        if any(position.get(partition, -1) < epoch for partition, epoch in self.forgotten.items()):
            return None
        return [told for told in self.ring if told.epoch > position[told.partition]]

    def forget(self) -> None:
        """Nothing of the past can be told one by one any more."""
        self.ring.clear()
        for partition in self.epochs:
            self.epochs[partition] += 1
        self.forgotten = dict(self.epochs)
