"""An idempotent producer whose every delivery is awaited and checked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from b3iq_streams.core.records import LOG_APPEND_TIME
from b3iq_streams.kafka.connection import REQUEST_TIMEOUT_MS, UNSEEN, KafkaRefused, connect, translated
from b3iq_streams.settings import KafkaSettings

BATCH_BYTES_MAX = 60_000
"""The topics' limit applies to whole batches; above it a broker refuses every record of the batch."""
STOP_S = 3


class Placed(NamedTuple):
    """Where a delivered record stands; offset -1: delivered by an earlier try of the same send."""

    topic: str
    partition: int
    offset: int
    logged_at_ms: int | None = None
    """The broker's time of the append; None where the broker does not stamp records."""


class Publisher:
    """An idempotent producer. Partitions are murmur2 of the key unless told otherwise."""

    def __init__(self, producer: AIOKafkaProducer, delivery_s: float) -> None:
        self._producer, self._delivery_s = producer, delivery_s
        self._partitions: dict[str, int] = {}

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; asking never creates one."""
        if topic not in self._partitions:
            with translated(f"looking up {topic}"):
                cluster = await self._producer.client.fetch_all_metadata()
            if not (found := cluster.partitions_for_topic(topic)):
                raise KafkaRefused(f"topic {topic} {UNSEEN}")
            self._partitions[topic] = len(found)
        return self._partitions[topic]

    async def send(self, topic: str, key: bytes, value: bytes, partition: int | None = None) -> asyncio.Future[Placed]:
        """Hand a record over; what is returned must be awaited, for only then is it known to be in the log."""
        await self.partitions(topic)
        with translated(f"sending to {topic}"):
            sent = await self._producer.send(topic, value, key, partition=partition)
        return asyncio.ensure_future(self._delivered(topic, sent))

    async def publish(self, records: Iterable[tuple[str, bytes, bytes]]) -> list[Placed]:
        """Append (topic, key, value) records; returns when every one of them is acknowledged, raises if any is not."""
        sent: list[asyncio.Future[Placed]] = []
        try:
            for record in records:
                sent.append(await self.send(*record))  # one after the other: that is their order in the log
        finally:
            placed = await asyncio.gather(*sent, return_exceptions=True)
        lost = [result for result in placed if isinstance(result, BaseException)]
        if lost:
            raise KafkaRefused(f"{len(lost)} of {len(sent)} records were not delivered: {lost[0]}") from lost[0]
        return [result for result in placed if not isinstance(result, BaseException)]

    async def _delivered(self, topic: str, sent: asyncio.Future[Any]) -> Placed:
        """Wait for an acknowledgement, but not for ever: an idempotent producer would, while its broker is away."""
        try:
            async with asyncio.timeout(self._delivery_s):
                with translated(f"sending to {topic}"):
                    acknowledged = await asyncio.shield(sent)
        except TimeoutError:
            raise KafkaRefused(
                f"{topic}: not acknowledged within {self._delivery_s:g} s, so it may or may not be in the log"
            ) from None
        logged_at_ms = acknowledged.timestamp if acknowledged.timestamp_type == LOG_APPEND_TIME else None
        return Placed(topic, acknowledged.partition, acknowledged.offset, logged_at_ms)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Flush and disconnect; without a broker to flush to, only disconnect."""
    try:
        async with asyncio.timeout(STOP_S):
            await producer.stop()
    except TimeoutError:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await producer._sender.close()
        await producer.client.close()


@asynccontextmanager
async def publisher(settings: KafkaSettings, once: bool = False) -> AsyncIterator[Publisher]:
    """A connected publisher for the length of a block; `once`: after a single try to connect."""
    producer = AIOKafkaProducer(
        **settings.client,
        enable_idempotence=True,
        acks="all",
        compression_type=None,
        max_batch_size=BATCH_BYTES_MAX,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await connect(producer, settings, once)
        yield Publisher(producer, settings.delivery_s)
    finally:
        await _stop(producer)
