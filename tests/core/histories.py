"""Whole histories of a partition, drawn from one `random.Random`: Hypothesis drives it, or a seed does.

Signatures are a keyed hash instead of Ed25519 (the core takes `verify` as a parameter): as unforgeable for these tests,
and a hundred times cheaper. Everything else about a record is what `tests.factory` makes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.envelope import pae, seal
from b3iq_streams.core.records import CREATE_TIME, LOG_APPEND_TIME, Record
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, Outcome, step
from tests import factory
from tests.factory import SIGNER, T0

NODES = ("node-1", "node-2")
PROFILES = ("p0", "p1")
MODELS = ("model-a", "model-b")
UNKNOWN_WORD = "never_seen_before"
DAMAGES = ("signature", "key", "network", "canonical", "extra", "missing", "create_time", "empty", "type", "huge", "stranger")
"""Ways to spoil a record so that it must count for nothing."""
FLAWS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((topics.REGISTRATIONS, {name: False}) for name in ("enrolled", "registered", "active")),
    (topics.REGISTRATIONS, {"stake_wei": "999"}),
    (topics.REGISTRATIONS, {"keys": []}),
    *((topics.ROUTE_HEALTH, {"state": word}) for word in ("unhealthy", "withdrawn", UNKNOWN_WORD)),
    (topics.ROUTE_HEALTH, {"public_inference_allowed": False}),
    *((topics.BENCHMARKS, {"outcome": word}) for word in ("failed", UNKNOWN_WORD)),
    (topics.BENCHMARKS, {"model_id": MODELS[1]}),
    *((topics.HEARTBEATS, {"state": word}) for word in ("offline", "draining", UNKNOWN_WORD)),
    (topics.HEARTBEATS, {"profiles": []}),
    (topics.HEARTBEATS, {"model_id": MODELS[1]}),
    (topics.HEARTBEATS, {"runtime_reachable": False}),
    *((topics.HEARTBEATS, {name: False}) for name in ("network_eligible", "benchmark_verified", "paid_route_eligible")),
    *((topics.HEARTBEATS, {"status": word}) for word in ("ready_to_install", "runtime_missing", "hardware_unsupported", "x")),
    *((topics.HEARTBEATS, {"route_tier": word}) for word in ("local_convenience", "datacenter_optimized", "unknown", "x")),
    *((topics.HEARTBEATS, {"runtime_kind": word}) for word in ("ollama", "x")),
    *((topics.HEARTBEATS, {"queue_health": word}) for word in ("degraded", "blocked", "unhealthy", "x")),
)
"""One thing wrong, on one topic; a field of a profile where the heartbeat has none of that name."""


class Entry(NamedTuple):
    """One record as its sender meant it: the event, who signed, the broker's time, and how it was spoiled if at all."""

    topic: str
    event: dict[str, Any]
    at_ms: int
    signers: tuple[str, ...]
    damage: str = ""


@dataclass
class Moment:
    """One epoch: what arrived, per topic in log order, and the moment it judges at."""

    at_ms: int
    arrived: dict[str, list[Entry]] = field(default_factory=lambda: {name: [] for name in topics.INPUTS})


History = list[Moment]


def fake_sign(public_key: bytes, message: bytes) -> bytes:
    """64 bytes that only `fake_verify` with the same key and message accepts."""
    return hashlib.sha512(public_key + message).digest()


def fake_verify(public_key: bytes, message: bytes, sig: bytes) -> bool:
    """The `verify` that belongs to `fake_sign`."""
    return sig == fake_sign(public_key, message)


@lru_cache(maxsize=4096)
def raw_public(name: str) -> bytes:
    """Raw public key of the signer with this name."""
    return bytes.fromhex(factory.public(name))


@lru_cache(maxsize=4096)
def _possession(node_id: str, signer: str) -> tuple[str, str]:
    entry = factory.node_key(node_id, signer)
    return entry["public_key"], entry["proof"]


def listed_key(node_id: str, signer: str) -> dict[str, str]:
    """A registered key entry with its (real) proof of possession."""
    public_key, proof = _possession(node_id, signer)
    return {"public_key": public_key, "proof": proof}


def record_of(entry: Entry, offset: int) -> Record:
    """The entry as it stands in the log."""
    event, damage = dict(entry.event), entry.damage
    subject = str(event.get("revision", 1)) if entry.topic == topics.POLICIES else event.get("node_id", NODES[0])
    if damage == "network":
        event["network"] = "othernet"
    if damage == "extra":
        event["surprise"] = 1
    if damage == "missing":
        del event[sorted(event)[offset % len(event)]]
    payload = canonical(event)
    if damage == "canonical":
        payload += b" "
    kind = factory.PAYLOAD_TYPE[topics.HOLDS if entry.topic != topics.HOLDS else topics.BENCHMARKS]
    kind = kind if damage == "type" else factory.PAYLOAD_TYPE[entry.topic]
    signers = ("stranger", "stranger2") if damage == "stranger" else entry.signers
    message = pae(kind, payload)
    sigs = {raw_public(name): fake_sign(raw_public(name), message + (b"!" if damage == "signature" else b"")) for name in signers}
    value: bytes = seal(kind, payload, sigs)
    if damage == "empty":
        value = b""
    if damage == "huge":
        value += b" " * topics.INPUT_BYTES_MAX
    key = b"another" if damage == "key" else subject.encode()
    return Record(entry.topic, 0, offset, key, value, entry.at_ms, CREATE_TIME if damage == "create_time" else LOG_APPEND_TIME)


def records_of(history: History) -> Iterator[tuple[int, dict[str, list[Record]]]]:
    """The history as it stands in the log: per epoch its moment and its records per topic, offsets counted per topic."""
    ends = dict.fromkeys(topics.INPUTS, 0)
    for moment in history:
        records = {}
        for name, arrived in moment.arrived.items():
            records[name] = [record_of(entry, ends[name] + i) for i, entry in enumerate(arrived)]
            ends[name] += len(arrived)
        yield moment.at_ms, records


def fold(history: History) -> Iterator[tuple[PartitionState, Outcome]]:
    """Fold a history; after each epoch the (one, growing) state and the epoch's outcome, already absorbed."""
    state = PartitionState()
    for at_ms, records in records_of(history):
        outcome = step(state, Epoch(at_ms, records), factory.SCOPE, fake_verify)
        state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        yield state, outcome


class Draw:
    """Draws a history. Mostly sound facts, so that eligibility is reached, lost and reached again."""

    def __init__(self, rng: Random, hold_down: dict[str, int] | None = None) -> None:
        self.rng = rng
        self.now_ms = T0
        self.revision = 0
        self.seq = 0
        self.boot = 1
        self.hold_down = hold_down or {
            "flips_max": rng.choice((1, 2, 3)),
            "window_ms": rng.choice((0, 5_000, 100_000)),
            "hold_ms": rng.choice((0, 7_000, 40_000)),
        }
        self.sent: list[Entry] = []
        self.pending: list[Entry] = []

    def chance(self, percent: int) -> bool:
        return self.rng.randint(1, 100) <= percent

    def history(self, moments_max: int = 14) -> History:
        """A policy, sound facts for every node, and then whatever happens."""
        rng = self.rng
        self.policy(usual=True)
        for node_id in NODES[: rng.randint(1, 2)]:
            self.registration(node_id, usual=True)
            self.route(node_id, usual=True)
            for profile_id in PROFILES:
                self.benchmark(node_id, profile_id, usual=True)
            self.heartbeat(node_id, usual=True)
        told, resolved_ms = [self.moment(self.now_ms)], self.now_ms
        for _ in range(rng.randint(1, moments_max)):
            self.now_ms += rng.choice((0, 1, 700, 700, 3_000, 3_000, 9_999, 10_000, 20_000, 45_000))
            for _ in range(rng.randint(0, 3)):
                self.anything()
            resolved_ms = max(resolved_ms, self.now_ms + rng.choice((-500, -1, 0, 0, 1, 2_000)))
            self.now_ms = max(self.now_ms, resolved_ms - 2_000)
            told.append(self.moment(resolved_ms))
        return told

    def moment(self, at_ms: int) -> Moment:
        moment, late = Moment(at_ms), set()
        if self.chance(10):
            late.add(self.rng.choice(topics.INPUTS))
        for entry in self.pending:
            if entry.topic not in late:
                moment.arrived[entry.topic].append(entry)
        self.pending = [entry for entry in self.pending if entry.topic in late]
        return moment

    def anything(self) -> None:
        rng, node_id = self.rng, self.rng.choice(NODES)
        often = ("beat", "flaw") * 4 + ("route", "registration", "benchmark", "heal") * 2
        what = rng.choice((*often, "hold", "policy", "again", "echo"))
        if what == "beat":
            self.heartbeat(node_id)
        elif what == "heal":
            self.heal(node_id)
        elif what == "flaw":
            self.flaw(node_id)
        elif what == "route":
            self.route(node_id)
        elif what == "benchmark":
            self.benchmark(node_id, rng.choice(PROFILES))
        elif what == "registration":
            self.registration(node_id)
        elif what == "hold":
            self.hold(node_id)
        elif what == "policy":
            self.policy()
        elif what == "again":
            self.put(rng.choice(self.sent)._replace(at_ms=self.now_ms))
        else:
            self.echo()

    def flaw(self, node_id: str) -> None:
        """Mostly a sound node, then exactly one thing wrong with it."""
        if self.chance(80):
            self.heal(node_id)
        topic, changes = self.rng.choice(FLAWS)
        make = {
            topics.REGISTRATIONS: lambda: factory.registration_event(node_id, self.now_ms, keys=[listed_key(node_id, node_id)]),
            topics.ROUTE_HEALTH: lambda: factory.route_event(node_id, self.now_ms),
            topics.BENCHMARKS: lambda: factory.benchmark_event(node_id, self.now_ms, model_id=MODELS[0]),
            topics.HEARTBEATS: lambda: factory.heartbeat_event(node_id, 0, self.now_ms, boot=self.boot, profiles=self.sound()),
        }
        event = make[topic]() | {"seq": self.next_seq()}
        if topic == topics.HEARTBEATS and changes.keys() <= event["profiles"][0].keys():
            event["profiles"][0] |= changes
        else:
            event |= changes
        self.fact(topic, event, (SIGNER.get(topic, node_id),))

    def sound(self) -> list[dict[str, Any]]:
        return [factory.profile(name, model_id=MODELS[0]) for name in PROFILES]

    def heal(self, node_id: str) -> None:
        """Everything sound about the node once more, so that the next thing wrong is the only one."""
        self.registration(node_id, usual=True)
        self.fact(topics.HOLDS, factory.hold_event(node_id, self.now_ms, seq=self.next_seq(), held=False), ("operator",))
        for profile_id in PROFILES:
            self.benchmark(node_id, profile_id, usual=True)
        self.route(node_id, usual=True)
        self.heartbeat(node_id, usual=True)

    def echo(self) -> None:
        """An earlier record's numbers with other content: equivocation, or a replay."""
        entry = self.rng.choice(self.sent)
        event = dict(entry.event)
        for name, value in (("state", "offline"), ("held", False), ("outcome", "failed"), ("active", False)):
            if name in event:
                event[name] = value
        self.put(entry._replace(event=event, at_ms=self.now_ms))

    def put(self, entry: Entry) -> None:
        if not entry.damage and self.chance(6):
            entry = entry._replace(damage=self.rng.choice(DAMAGES))
        elif entry.damage:
            entry = entry._replace(damage="")
        self.sent.append(entry)
        self.pending.append(entry)

    def word(self, usual: str, *others: str) -> str:
        """Mostly the usual word, else one of the others or one nobody knows."""
        return usual if self.chance(90) else self.rng.choice((*others, UNKNOWN_WORD))

    def flag(self) -> bool:
        return self.chance(88)

    def fact(self, topic: str, event: dict[str, Any], signers: tuple[str, ...]) -> None:
        at_ms = self.now_ms - (self.rng.choice((1, 400)) if self.chance(5) else 0)
        if self.chance(4):
            event["sent_at_ms"] = at_ms + self.rng.choice((-120_001, -120_000, 10_000, 10_001))
        if topic != topics.HEARTBEATS and self.chance(2):
            event["seq"] = at_ms + 10_001
        self.put(Entry(topic, event, at_ms, signers))

    def next_seq(self) -> int:
        self.seq += 1 if self.chance(95) else self.rng.choice((0, -1, 50, 900))
        self.seq = max(self.seq, 0)
        return self.seq

    def role(self, topic: str) -> tuple[str, ...]:
        name = SIGNER[topic]
        return (name,) if self.chance(88) else self.rng.choice(((f"{name}-2",), ("stranger", name), (f"{name}-2", name)))

    def heartbeat(self, node_id: str, usual: bool = False) -> None:
        rng = self.rng
        profiles = [self.profile(name, usual) for name in PROFILES if usual or self.chance(93)]
        changes: dict[str, Any] = {"profiles": profiles, "boot": self.boot}
        signer = node_id
        if not usual:
            changes["state"] = self.word("online", "offline", "draining")
            if self.chance(5):
                self.boot = changes["boot"] = self.boot + rng.choice((0, 1, 2, 1_000))
            elif self.chance(4):
                changes["boot"] = max(0, self.boot + rng.choice((-1, 1_001, 1_002)))
            signer = node_id if self.chance(85) else f"{node_id}-2"
        seq = self.next_seq() + (1_000_001 if self.chance(2) else 0)
        event = factory.heartbeat_event(node_id, seq, self.now_ms, **changes)
        if not usual and self.chance(40) and (last := [e for e in self.sent if e.topic == topics.HEARTBEATS]):
            event["profiles"] = last[-1].event["profiles"]
        self.fact(topics.HEARTBEATS, event, (signer,))

    def profile(self, profile_id: str, usual: bool) -> dict[str, Any]:
        if usual or self.chance(40):
            return factory.profile(profile_id, model_id=MODELS[0])
        return factory.profile(
            profile_id,
            model_id=MODELS[0] if self.chance(96) else MODELS[1],
            status=self.word("installed", "ready_to_install", "runtime_missing", "hardware_unsupported"),
            runtime_kind=self.word("vllm", "ollama", "sglang", "openai"),
            runtime_reachable=self.flag(),
            route_tier=self.word(
                "network_beta", "portable_local", "local_convenience", "datacenter_optimized", "fleet_orchestrated", "unknown"
            ),
            network_eligible=self.flag(),
            benchmark_verified=self.flag(),
            paid_route_eligible=self.flag(),
            queue_health=self.word("healthy", "degraded", "blocked", "unhealthy"),
            price_wei_per_mtok=self.rng.choice(("0", "5")),
        )

    def registration(self, node_id: str, usual: bool = False) -> None:
        signers = (node_id,) if usual or self.chance(60) else self.rng.choice(((node_id, f"{node_id}-2"), (f"{node_id}-2",), ()))
        keys = [listed_key(node_id, name) for name in signers]
        if keys and not usual and self.chance(8):
            keys[0] = keys[0] | {"proof": "ab" * 64}
        changes: dict[str, Any] = {"keys": keys, "seq": self.next_seq()}
        if not usual:
            changes |= {"enrolled": self.flag(), "registered": self.flag(), "active": self.flag()}
            changes["stake_wei"] = self.rng.choice(("5000", "5000", "5000", "1000", "999", "0", "9" * 78))
        event = factory.registration_event(node_id, self.now_ms, **changes)
        self.fact(topics.REGISTRATIONS, event, ("control_plane",) if usual else self.role(topics.REGISTRATIONS))

    def benchmark(self, node_id: str, profile_id: str, usual: bool = False) -> None:
        changes: dict[str, Any] = {"profile_id": profile_id, "model_id": MODELS[0], "seq": self.next_seq()}
        if not usual:
            changes["model_id"] = MODELS[0] if self.chance(92) else MODELS[1]
            changes["outcome"] = self.word("passed", "failed")
            changes["throughput_mtok_per_s"] = self.rng.choice((0, 1, 90_000))
        event = factory.benchmark_event(node_id, self.now_ms, **changes)
        self.fact(topics.BENCHMARKS, event, ("observer",) if usual else self.role(topics.BENCHMARKS))

    def route(self, node_id: str, usual: bool = False) -> None:
        changes: dict[str, Any] = {"seq": self.next_seq()}
        if not usual:
            changes |= {"state": self.word("healthy", "unhealthy", "withdrawn"), "public_inference_allowed": self.flag()}
        event = factory.route_event(node_id, self.now_ms, **changes)
        self.fact(topics.ROUTE_HEALTH, event, ("broker",) if usual else self.role(topics.ROUTE_HEALTH))

    def hold(self, node_id: str) -> None:
        event = factory.hold_event(node_id, self.now_ms, seq=self.next_seq(), held=self.chance(45))
        self.fact(topics.HOLDS, event, self.role(topics.HOLDS))

    def policy(self, usual: bool = False) -> None:
        rng = self.rng
        self.revision += 1 if usual or self.chance(90) else rng.choice((0, -1, 5))
        self.revision = max(self.revision, 1)
        event = factory.policy_event(
            revision=self.revision,
            sent_at_ms=self.now_ms,
            hold_down=self.hold_down,
            heartbeat_ttl_ms=rng.choice((30_000, 30_000, 10_000, 1)),
            route_health_ttl_ms=rng.choice((60_000, 60_000, 20_000)),
            registration_ttl_ms=rng.choice((3_600_000, 3_600_000, 90_000)),
            benchmark_ttl_ms=rng.choice((86_400_000, 86_400_000, 70_000)),
            equivocation_block_ms=rng.choice((15_000, 0, 100_000)),
        )
        if usual:
            event |= {"heartbeat_ttl_ms": 30_000}
        else:
            self.bend(event)
        signers = (
            ("root0", "root1")
            if usual or self.chance(85)
            else rng.choice((("root1", "root2"), ("root0",), ("root0", "stranger")))
        )
        self.put(Entry(topics.POLICIES, event, self.now_ms, signers, ""))

    def bend(self, event: dict[str, Any]) -> None:
        rng = self.rng
        event["stake_wei_min"] = rng.choice(("1000", "1000", "5000", "5001"))
        event["queue_states_passing"] = rng.choice((["healthy", "degraded"], ["healthy"]))
        role = rng.choice(factory.ROLES)
        names = rng.choice((("",), ("", "-2"), ("-2",), ("", "")))
        event["roles"][role] = [factory.public(role + name) for name in names]
        if self.chance(30):
            event["tiers"]["network_beta"] = {
                "paid": rng.choice(("future", "blocked", "allowed")),
                "runtimes": rng.choice((["vllm"], ["sglang"], [])),
            }
        if self.chance(20):
            event["tiers"].pop(rng.choice(sorted(event["tiers"])))


class Calm(Draw):
    """Draws only what is likely: no noise, nothing spoilt."""

    def chance(self, percent: int) -> bool:
        return percent >= 50


def seeded(seed: int, moments_max: int = 14) -> History:
    """The history of this seed; the same everywhere."""
    return Draw(Random(seed)).history(moments_max)
