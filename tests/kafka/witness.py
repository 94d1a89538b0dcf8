"""Follows every log of a network while a test runs, as any reader does, so that tests can wait for what they mean."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from b3iq_schemas.envelope import verify
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, INPUTS, POLICIES
from b3iq_streams import kafka
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import ChainReader, Head
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Place
from tests.kafka.network import PATIENCE_S, Network, until


class Witness:
    """Follows every log of a network from its beginning, and accepts the chains as any reader does."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.records: dict[Place, list[Record]] = {place: [] for place in network.places}
        self._book = PolicyBook(network.scope(0), verify)
        self._readers = [
            ChainReader(chain, chain.genesis_head(), self._book.processors_of, verify)
            for chain in map(network.chain, range(network.partitions))
        ]

    @property
    def heads(self) -> list[Head]:
        """The last accepted epoch of each partition."""
        return [reader.head for reader in self._readers]

    @property
    def epochs(self) -> list[int]:
        """How many epochs each partition has."""
        return [head.epoch for head in self.heads]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["Witness"]:
        """Follow for the length of a block."""
        task = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def progress(self, epochs: int = 3, within_s: float = PATIENCE_S) -> None:
        """Wait until every partition has so many epochs more than now."""
        wanted = [epoch + epochs for epoch in self.epochs]
        await until(
            lambda: all(a >= b for a, b in zip(self.epochs, wanted, strict=True)),
            f"{epochs} more epochs; {self.network.workers[-1].log[-1_500:]}", within_s,
        )  # fmt: skip

    async def caught_up(self) -> None:
        """Wait until everything that is in the inputs now is folded."""
        async with kafka.source(self.network.settings) as source:
            ends = await source.end_offsets([place for place in self.network.places if place.topic in INPUTS])

        def folded() -> bool:
            return all(self.heads[partition].cut[topic] >= end for (topic, partition), end in ends.items())

        await until(folded, f"everything folded; {self.network.workers[-1].log[-1_500:]}")

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(UserError):
                async with kafka.source(self.network.settings) as source:
                    async for batch in source.follow({place: len(found) for place, found in self.records.items()}, 100):
                        self._take(batch)
            await asyncio.sleep(0.1)

    def _take(self, batch: list[Record]) -> None:
        for record in batch:
            self.records[Place(record.topic, record.partition)].append(record)
            if record.topic == POLICIES:
                self._book.feed(record)
        for partition, reader in enumerate(self._readers):
            for record in self.records[Place(ELIGIBILITY_CHANGES, partition)][reader.position :]:
                if self._book.processors_of(reader.head.policy_revision) is None:
                    break
                reader.feed(record)
