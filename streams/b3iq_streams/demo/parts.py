"""The running parts of a demo, opened in order and closed in the opposite one. What they do when is `play.py`'s."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from b3iq_streams import kafka
from b3iq_streams.catalog import serving
from b3iq_streams.catalog.app import create_app
from b3iq_streams.catalog.live import LiveSettings
from b3iq_streams.catalog.opening import opened as catalog_opened
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.demo import tail
from b3iq_streams.demo.ground import Ground, prepare
from b3iq_streams.demo.outage import Outage
from b3iq_streams.demo.tail import Tail
from b3iq_streams.demo.tally import Lane, Picture, Tally, blockers, gates
from b3iq_streams.demo.worker import Worker
from b3iq_streams.kafka import Publisher, Source
from b3iq_streams.policy_log import ensure_demo_policy
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.log import DecisionLog
from b3iq_streams.router.partition import ViewSettings
from b3iq_streams.router.supply import Candidate
from b3iq_streams.world import TRUST_FILE, World

KEYS = "world"
STEP_S = 0.05
SPARK_STEP_MS = 2_000
"""The page's sparklines remember two minutes: about as long as somebody watches a demo."""


class Display(Protocol):
    """Shows what happens."""

    def say(self, elapsed_ms: int, text: str) -> None:
        """What the demo does from now on."""

    def show(self, picture: Picture) -> None:
        """The moment, several times a second."""


@dataclass
class Parts:
    """Everything that `play` and `ending` act on."""

    on: Ground
    world: World
    display: Display
    worker: Worker
    publisher: Publisher
    gauge: Source
    """Asks where the log ends."""
    client: RouterClient
    tally: Tally
    tail: Tail
    following: asyncio.Task[None]
    serving: "asyncio.Task[None]"
    """The catalog, which ends with the demo and not before."""
    address: str
    """Where its page is."""
    began_ms: int
    doing: str = ""
    outage: Outage | None = None
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when nothing is to be sent any more."""

    @property
    def elapsed_ms(self) -> int:
        """Since the beginning."""
        return monotonic_ms() - self.began_ms

    def say(self, text: str) -> None:
        """Tell what the demo does now."""
        self.doing = text
        self.display.say(self.elapsed_ms, text)

    def entries(self) -> list[Candidate]:
        """What the router holds of every profile."""
        return [entry for part in self.client.view.parts for entry in part.entries.values()]

    def picture(self) -> Picture:
        """The moment."""
        entries, at_ms = self.entries(), now_ms()
        return Picture(
            elapsed_ms=self.elapsed_ms,
            doing=self.doing,
            address=self.address,
            profiles=len(entries),
            eligible=sum(entry.eligible for entry in entries),
            gates=gates(entries),
            blockers=blockers(entries),
            changes=list(self.tally.changes),
            calls=self.tally.calls,
            refused_facts=self.tail.letter_codes,
            events=self.tail.events,
            lanes=self._lanes(at_ms),
        )

    def _lanes(self, at_ms: int) -> Sequence[Lane]:
        states = self.client.view.states(at_ms, monotonic_ms())
        return [
            Lane(state, at_ms - part.head.resolved_at_ms if part.head.epoch else None)
            for part, state in zip(self.client.view.parts, states, strict=True)
        ]


@asynccontextmanager
async def opened(
    on: Ground, world: World, directory: Path, listening: socket.socket, display: Display, began_ms: int
) -> AsyncIterator[Parts]:
    """The parts, running: topics, policy, processor, router, catalog. Nobody sends or asks anything yet."""
    tally, log = Tally(), Tail()
    display.say(monotonic_ms() - began_ms, on.story)
    await prepare(on)
    policy = await ensure_demo_policy(world, on.kafka, on.stamped)
    display.say(monotonic_ms() - began_ms, policy)
    async with Worker(_arguments(on, directory), directory / "processor.log") as worker:
        await worker.start()
        async with kafka.source(on.kafka) as gauge, kafka.publisher(on.kafka) as publisher:
            log.begin(*await tail.bounds(gauge))
            decisions = DecisionLog(publisher, world.roles["router"], secrets.token_bytes(32))
            settings = ViewSettings(stamped=on.stamped)
            live_settings = LiveSettings(spark_step_ms=SPARK_STEP_MS)
            async with (
                catalog_opened(on.kafka, world.trust, settings, live_settings, decisions, tally.accepted) as (client, live),
                serving.running(create_app(live), listening, live.hub.close) as server,
            ):
                address = serving.address_of(listening)
                display.say(monotonic_ms() - began_ms, f"the catalog and its page are on {address}")
                following = asyncio.create_task(log.follow(on.kafka))
                try:
                    yield Parts(
                        on, world, display, worker, publisher, gauge, client, tally, log, following, server, address, began_ms
                    )
                finally:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)


def _arguments(on: Ground, directory: Path) -> list[str]:
    keys = directory / KEYS
    given = ["--bootstrap", on.kafka.bootstrap, "--trust", str(keys / TRUST_FILE), "--key", str(keys / "processor.json")]
    given += ["--datadir", str(directory / "faust"), "--log-level", "warning", "--session-timeout-ms", "3000"]
    if on.kafka.kafka_config is not None:
        given += ["--kafka-config", str(on.kafka.kafka_config)]
    return [*given, "--relaxed"] if on.embedded else [*given, "--instance", "demo"]


async def becomes(true: Callable[[], bool], patience_s: float) -> bool:
    """Wait until something holds; False if it does not in time."""
    until_ms = monotonic_ms() + patience_s * 1_000
    while not true():
        if monotonic_ms() > until_ms:
            return False
        await asyncio.sleep(STEP_S)
    return True
