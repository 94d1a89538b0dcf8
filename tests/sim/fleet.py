"""Who writes the inputs: nodes, control plane, brokers, operators and roots, and those who would like to be them.

Honest facts are always admissible (sequences grow, clocks are sound), so that the last honest word is the truth.
"""

from typing import Any

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.envelope import sign
from tests import factory
from tests.factory import PAYLOAD_TYPE
from tests.sim import crypto, knobs
from tests.sim.loop import Process
from tests.sim.world import Fact, World

MODEL = "model-a"


class Node:
    """One host and everybody who speaks about it."""

    def __init__(self, fleet: "Fleet", node_id: str, profiles: int) -> None:
        self.fleet, self.world, self.node_id = fleet, fleet.world, node_id
        self.profiles = [f"p{i}" for i in range(profiles)]
        self.seq, self.boot = 0, 1
        self.listed, self.signer = [node_id], node_id
        self.held = False

    def run(self) -> Process:
        """Register, then speak at irregular intervals until the calm ends."""
        rng, spawn = self.world.rng, self.world.loop.spawn
        yield rng.randint(0, 1_500)
        self.register()
        for profile_id in self.profiles:
            self.benchmark(profile_id)
        self.route()
        for speak, every_ms in ((self.register, 4_000), (self.route, 2_500), (self.hold, 3_500), (self.rotate, 6_000)):
            spawn(self.repeat(speak, every_ms))
        for profile_id in self.profiles:
            spawn(self.repeat(lambda profile_id=profile_id: self.benchmark(profile_id), 6_000))
        while not self.fleet.over:
            self.beat()
            yield rng.choice((0, 5_500, 2_000) if self.world.chance(0.06) else (700, 1_000, 1_400))

    def repeat(self, speak: Any, every_ms: int) -> Process:
        """Say something again and again, at irregular intervals, or fall silent for long."""
        while True:
            yield 15_000 if self.odd(7) else self.world.rng.randint(every_ms // 3, every_ms * 2)
            if self.fleet.over:
                return
            speak()

    def next_seq(self) -> int:
        """Always one more."""
        self.seq += 1
        return self.seq

    def sent_ms(self) -> int:
        """The sender's clock, which is nobody's business."""
        return self.world.now_ms + self.world.rng.randint(-400, 400)

    def odd(self, percent: int = 10) -> bool:
        """Whether something out of the ordinary is said."""
        return self.world.rng.randrange(100) < percent

    def register(self) -> None:
        """The control plane's word."""
        keys = [crypto.listed_key(self.node_id, name) for name in self.listed]
        event = factory.registration_event(self.node_id, self.sent_ms(), seq=self.next_seq(), keys=keys, active=not self.odd())
        self.world.put(topics.REGISTRATIONS, event)

    def rotate(self) -> None:
        """A new key is listed beside the old one, which signs until nobody can have missed that."""
        if len(self.listed) == 1 and self.odd(30):
            fresh = f"{self.node_id}-{self.seq}"
            self.listed = [self.listed[0], fresh]
            self.register()
            self.world.loop.spawn(self.switch(fresh), knobs.STALE_MS + 1_000)

    def switch(self, fresh: str) -> Process:
        """Sign with the new key, then have the old one dropped."""
        self.signer = fresh
        yield 1_500
        if not self.fleet.over:
            self.listed = [fresh]
            others = [fact for fact in self.world.equivocations if fact.event["node_id"] != self.node_id]
            self.world.equivocations = others  # dropping a key drops what it signed

    def benchmark(self, profile_id: str) -> None:
        """An observer's word."""
        event = factory.benchmark_event(
            self.node_id, self.sent_ms(), seq=self.next_seq(), profile_id=profile_id, model_id=MODEL,
            outcome="failed" if self.odd(5) else "passed",
        )  # fmt: skip
        self.world.put(topics.BENCHMARKS, event)

    def route(self) -> None:
        """The broker's word."""
        state = "unhealthy" if self.odd() else "healthy"
        self.world.put(topics.ROUTE_HEALTH, factory.route_event(self.node_id, self.sent_ms(), seq=self.next_seq(), state=state))

    def hold(self) -> None:
        """An operator pauses the node, or lets it go on."""
        if not self.held and not self.odd(35):
            return
        self.held = not self.held
        self.world.put(topics.HOLDS, factory.hold_event(self.node_id, self.sent_ms(), seq=self.next_seq(), held=self.held))

    def beat(self) -> Fact:
        """The node's own word; sometimes several at once, sometimes two under one number."""
        for _ in range(self.world.rng.choice((0,) * 19 + (12,))):
            self.world.put(topics.HEARTBEATS, self.beat_event(), (self.signer,))
        event = self.beat_event()
        fact = self.world.put(topics.HEARTBEATS, event, (self.signer,))
        if self.world.chance(self.world.faults.hostile):
            twin = event | {"agent_version": "6.6.6"}
            self.world.equivocations.append(self.world.put(topics.HEARTBEATS, twin, (self.signer,)))
            self.world.facts[topics.HEARTBEATS].pop()
        return fact

    def beat_event(self) -> dict[str, Any]:
        """What the node says of itself."""
        if self.odd(2):
            self.boot += 1
        listed = [name for name in self.profiles if not self.odd(4)]
        return factory.heartbeat_event(
            self.node_id, self.next_seq(), self.sent_ms(), boot=self.boot, state="offline" if self.odd(4) else "online",
            profiles=[factory.profile(name, model_id=MODEL) for name in listed],
        )  # fmt: skip


class Fleet:
    """All nodes, the roots' policy revisions, and hostile writers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.over = False
        self.revision = 0
        self.processors: tuple[str, ...] = knobs.PROCESSORS[:1]
        rng = world.rng
        self.nodes = [Node(self, f"node-{i}", rng.randint(1, 2)) for i in range(rng.randint(1, 3))]

    def start(self) -> None:
        """Have everybody begin."""
        spawn = self.world.loop.spawn
        spawn(self.rule())
        for node in self.nodes:
            spawn(node.run(), 1)
        spawn(self.attack())

    def rule(self) -> Process:
        """Policy revisions: processor keys rotate, times and tiers change; the last word allows the tier again."""
        rng, blocked = self.world.rng, False
        yield rng.choice((0, 0, 0, 1_200))
        while not self.over:
            self.revision += 1
            ttl_ms = rng.choice((4_000, 4_000, 3_000))
            event = knobs.policy(self.revision, self.world.now_ms, self.processors, heartbeat_ttl_ms=ttl_ms)
            if blocked:
                event["tiers"]["network_beta"]["paid"] = "blocked"  # type: ignore[index]
            self.world.put(topics.POLICIES, event)
            yield rng.randint(1_500, 9_000)
            blocked = not blocked and rng.random() < 0.25
            self.processors = self.next_processors()

    def next_processors(self) -> tuple[str, ...]:
        """One key, then both, then the other alone."""
        if len(self.processors) == 1:
            return knobs.PROCESSORS if self.world.rng.random() < 0.5 else self.processors
        return self.world.rng.choice((self.processors[1:], self.processors[:1], self.processors))

    def attack(self) -> Process:
        """Records nobody should believe: junk, forgeries by strangers, replays."""
        rng, world = self.world.rng, self.world
        while not self.over:
            yield rng.randint(100, 600)
            if not world.chance(4 * world.faults.hostile):
                continue
            log = world.inputs[rng.choice(topics.INPUTS)]
            what = rng.choice(("junk", "replay", "forgery", "keyless"))
            if what == "replay" and log.records:
                world.replay(log.topic)
            elif what == "forgery":
                self.forge()
            else:
                log.append(None if what == "keyless" else b"node-0", rng.choice((None, b"", b"junk", b"{}", b"\xff" * 40)))

    def forge(self) -> None:
        """A stranger lets a held node go on, or speaks as the node."""
        node = self.world.rng.choice(self.nodes)
        event = factory.hold_event(node.node_id, self.world.now_ms, seq=10**9, held=False)
        topic = topics.HOLDS
        if self.world.rng.random() < 0.5:
            topic, event = topics.HEARTBEATS, node.beat_event() | {"seq": node.seq + 500}
        value = sign(PAYLOAD_TYPE[topic], canonical(event), [crypto.key("stranger")])
        self.world.inputs[topic].append(node.node_id.encode(), value)
