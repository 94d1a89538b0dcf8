"""What a network's nodes, roles and vandals say while a test runs. It knows nothing of workers."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import INPUTS
from b3iq_streams import kafka
from b3iq_streams.clock import now_ms
from b3iq_streams.emit import Emission
from b3iq_streams.fleet import FIRST_ATTACK_MS, Fleet
from b3iq_streams.kafka import Place, Placed
from tests.kafka.network import Network

TICK_S = 0.1
JUNK = b"not an envelope"


class Load:
    """A fleet that speaks, with junk on every topic in between, until it is told to stop."""

    def __init__(self, network: Network, *, nodes: int = 36, rate: float = 2.0, scenario: str = "all", junk: bool = True) -> None:
        start_ms = now_ms() - FIRST_ATTACK_MS
        self.fleet = Fleet(network.world, nodes=nodes, start_ms=start_ms, rate=rate, scenario=scenario)
        self._network, self._junk, self._muted = network, junk, set[Place]()
        self.sent = 0
        self.acknowledged: list[tuple[Emission, Placed]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Speak for the length of a block; what was sent is acknowledged when it ends."""
        async with kafka.publisher(self._network.settings) as publisher:
            await self._say(publisher, self.fleet.bootstrap(now_ms()))
            over = asyncio.Event()
            task = asyncio.create_task(self._speak(publisher, over))
            try:
                yield self
            finally:
                over.set()
                await task

    def mute(self, *places: Place) -> None:
        """Say nothing on these from now on; none: say everything again."""
        self._muted = self._muted | set(places) if places else set()

    async def _speak(self, publisher: kafka.Publisher, over: asyncio.Event) -> None:
        while not over.is_set():
            emissions = [*self.fleet.tick(now_ms()), *self._rubbish()]
            said = [emission for emission in emissions if self._audible(emission)]
            await self._say(publisher, said)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), TICK_S)

    async def _say(self, publisher: kafka.Publisher, said: list[Emission]) -> None:
        self.acknowledged += zip(said, await publisher.publish(said), strict=True)
        self.sent = len(self.acknowledged)

    def _audible(self, emission: Emission) -> bool:
        return Place(emission.topic, partition_for(emission.key, self._network.partitions)) not in self._muted

    def _rubbish(self) -> list[Emission]:
        return [Emission(secrets.choice(INPUTS), secrets.token_hex(8).encode(), JUNK)] if self._junk else []
