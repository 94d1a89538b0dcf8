"""A simulated fleet: what nodes, control plane, observers, brokers and operators would send. No clock, no network.

The same world, seed and times give the same bytes. `bootstrap` once, then `tick` whenever some time has passed; each
returns the records to append, in order.
"""

import random
from collections.abc import Iterator
from typing import Any

from nacl.signing import SigningKey

from b3iq_schemas import topics
from b3iq_schemas.envelope import keyid
from b3iq_streams.emit import Emission, from_event
from b3iq_streams.fleet_kinds import Kind, assign
from b3iq_streams.keys import possession
from b3iq_streams.world import World

ROUTE_MS = 4_000
BENCHMARK_MS = 8_000
REGISTRATION_MS = 30_000
ATTACK_MS = {"forge": 5_000, "replay": 5_000, "equivocate": 40_000}
"""How often each attack comes; the first one after ten seconds."""
FIRST_ATTACK_MS = 10_000

# Model, price (10¹² wei per million tokens), throughput (tokens per second), context (tokens).
_MODELS: tuple[tuple[str, int, int, int], ...] = (
    ("Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf", 250, 90, 131_072),
    ("gpt-oss-120b-mxfp4.gguf", 420, 60, 131_072),
    ("Mistral-Small-3.2-24B-Instruct-Q6_K.gguf", 180, 70, 65_536),
    ("Llama-3.3-70B-Instruct-Q4_K_M.gguf", 510, 35, 131_072),
)
_RUNTIMES = {"network_beta": ("vllm", "sglang", "openai"), "portable_local": ("ollama", "openai", "vllm")}


class Fleet:
    """All nodes of one run, and the roles that speak about them."""

    def __init__(
        self, world: World, *, nodes: int, start_ms: int, seed: int = 7, rate: float = 1.0, scenario: str = "all"
    ) -> None:
        """`rate` = heartbeats per second and node."""
        rng = random.Random(seed)  # noqa: S311 (a simulation that must repeat, not a secret)
        self.period_ms = max(1, round(1_000 / rate))
        kinds = assign(nodes, scenario)
        width = len(str(nodes))
        self.nodes = [_Node(world, f"node-{i + 1:0{width}}", kind, start_ms, self.period_ms, rng) for i, kind in enumerate(kinds)]

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of every node, by its id."""
        return {node.node_id: node.kind for node in self.nodes}

    def bootstrap(self, now_ms: int) -> list[Emission]:
        """What has to be known of every node before its first heartbeat."""
        return [emission for node in self.nodes for emission in node.introduce(now_ms)]

    def tick(self, now_ms: int) -> list[Emission]:
        """Everything that fell due up to now; what was missed is not made up for."""
        return [emission for node in self.nodes for emission in node.act(now_ms)]


class _Node:
    """One node with those who speak about it: when each next does, and how far its counters got."""

    def __init__(self, world: World, node_id: str, kind: Kind, start_ms: int, period_ms: int, rng: random.Random) -> None:
        self.world, self.node_id, self.kind, self.start_ms = world, node_id, kind, start_ms
        self.key = world.node_key(node_id)
        self.boot, self.seq, self.held = start_ms // 1_000, 0, False
        self.stake_wei = str(rng.randint(2, 50) * 1_000)
        self.profiles = _profiles(rng, kind)
        self.throughput = {model: tokens * rng.randint(800, 1_200) for model, _, tokens, _ in _MODELS}
        self.periods = {"beat": period_ms, "route": ROUTE_MS, "benchmark": BENCHMARK_MS, "registration": REGISTRATION_MS}
        self.due_ms = {what: start_ms + 1 + rng.randrange(period) for what, period in self.periods.items()}
        if kind.attack:
            self.periods["attack"] = ATTACK_MS[kind.attack]
            self.due_ms["attack"] = start_ms + FIRST_ATTACK_MS
        self.first_beat: Emission | None = None
        self.last_beat: dict[str, Any] = {}

    def introduce(self, now_ms: int) -> Iterator[Emission]:
        """Registration, benchmarks and route, as far as the node has them."""
        yield self._registration(now_ms)
        if self.kind.benchmark != "never":
            yield from self._benchmarks(now_ms)
        if self.kind.routed:
            yield self._route(now_ms)

    def act(self, now_ms: int) -> Iterator[Emission]:
        """What is due, the slow facts first; a silent node's other parties go on speaking."""
        elapsed_ms = now_ms - self.start_ms
        if self._is_due("registration", now_ms):
            yield self._registration(now_ms)
        if self.kind.held(elapsed_ms) != self.held:
            self.held = not self.held
            yield self._hold(now_ms)
        if self._is_due("benchmark", now_ms) and self.kind.benchmark == "renewed":
            yield from self._benchmarks(now_ms)
        if self._is_due("route", now_ms) and self.kind.routed:
            yield self._route(now_ms)
        if self._is_due("beat", now_ms) and not self.kind.silent(elapsed_ms):
            yield self._beat(now_ms)
        if self.first_beat and self.kind.attack and self._is_due("attack", now_ms):
            yield self._attack(now_ms, self.first_beat)

    def _is_due(self, what: str, now_ms: int) -> bool:
        late_ms, period_ms = now_ms - self.due_ms[what], self.periods[what]
        if late_ms < 0:
            return False
        self.due_ms[what] += period_ms * (1 + late_ms // period_ms)
        return True

    def _fact(self, seq: int, now_ms: int) -> dict[str, Any]:
        return {"network": self.world.network, "node_id": self.node_id, "seq": seq, "sent_at_ms": now_ms}

    def _registration(self, now_ms: int) -> Emission:
        event = self._fact(now_ms, now_ms) | {
            "enrolled": True,
            "registered": True,
            "active": True,
            "stake_wei": self.stake_wei,
            "chain_height": now_ms // 12_000,
            "keys": [possession(self.key, self.world.network, self.node_id)],
        }
        return from_event(topics.REGISTRATIONS, event | self.kind.registration, self.world.roles["control-plane"])

    def _benchmarks(self, now_ms: int) -> Iterator[Emission]:
        for profile in self.profiles:
            event = self._fact(now_ms, now_ms) | {
                "profile_id": profile["profile_id"],
                "model_id": profile["model_id"],
                "outcome": "passed",
                "throughput_mtok_per_s": self.throughput[profile["model_id"]],
                "first_token_ms_p50": 120,
                "report_sha256": bytes(self.key.verify_key).hex(),
            }
            yield from_event(topics.BENCHMARKS, event, self.world.roles["observer"])

    def _route(self, now_ms: int) -> Emission:
        unhealthy = self.kind.route_unhealthy(now_ms - self.start_ms)
        event = self._fact(now_ms, now_ms) | {
            "broker_id": "broker-1",
            "state": "unhealthy" if unhealthy else "healthy",
            "public_inference_allowed": True,
        }
        return from_event(topics.ROUTE_HEALTH, event, self.world.roles["broker"])

    def _hold(self, now_ms: int) -> Emission:
        reason = "maintenance of the host" if self.held else "maintenance is over"
        event = self._fact(now_ms, now_ms) | {"held": self.held, "reason": reason, "actor": "operator@demo"}
        return from_event(topics.HOLDS, event, self.world.roles["operator"])

    def _beat(self, now_ms: int) -> Emission:
        elapsed_ms = now_ms - self.start_ms
        queue = {"queue_health": "blocked"} if self.kind.queue_blocked(elapsed_ms) else {}
        self.seq += 1
        self.last_beat = self._fact(self.seq, now_ms) | {
            "boot": self.boot,
            "state": "draining" if self.kind.draining(elapsed_ms) else "online",
            "agent_version": "1.0.0",
            "profiles": [profile | queue for profile in self.profiles],
        }
        sent = from_event(topics.HEARTBEATS, self.last_beat, self.key)
        self.first_beat = self.first_beat or sent
        return sent

    def _attack(self, now_ms: int, overheard: Emission) -> Emission:
        if self.kind.attack == "replay":
            return overheard
        if self.kind.attack == "equivocate":
            return from_event(topics.HEARTBEATS, self.last_beat | {"agent_version": "0.9.9"}, self.key)
        forged = self.last_beat | {"seq": self.seq + 1, "sent_at_ms": now_ms, "state": "offline"}
        impostor = self.world.node_key("impostor")
        sealed = from_event(topics.HEARTBEATS, forged, impostor)
        return sealed._replace(value=sealed.value.replace(_keyid(impostor), _keyid(self.key)))


def _keyid(key: SigningKey) -> bytes:
    return keyid(bytes(key.verify_key)).encode()


def _profiles(rng: random.Random, kind: Kind) -> list[dict[str, Any]]:
    """One or two profiles of different models, with the kind's claims on top."""
    return [_profile(f"p{i}", model, rng) | kind.profile for i, model in enumerate(rng.sample(_MODELS, rng.choice((1, 1, 1, 2))))]


def _profile(profile_id: str, model: tuple[str, int, int, int], rng: random.Random) -> dict[str, Any]:
    model_id, price, _, context_tokens_max = model
    tier = rng.choice(tuple(_RUNTIMES))
    return {
        "profile_id": profile_id,
        "model_id": model_id,
        "status": "installed",
        "runtime_kind": rng.choice(_RUNTIMES[tier]),
        "runtime_reachable": True,
        "route_tier": tier,
        "network_eligible": True,
        "benchmark_verified": True,
        "paid_route_eligible": True,
        "queue_health": "healthy",
        "price_wei_per_mtok": str(price * rng.randint(80, 120) * 10**10),
        "context_tokens_max": context_tokens_max,
    }
