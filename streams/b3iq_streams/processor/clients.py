"""Kafka clients of our own, beside the one Faust runs: consumers without a group, and the idempotent producer."""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from b3iq_streams.processor.settings import ProcessorSettings

REQUEST_TIMEOUT_MS = 10_000
METADATA_RETRY_S = 0.1
FETCH_WAIT_MS = 10
"""These consumers read below ends they have asked, so a fetch has nothing to wait for."""


class ConfigurationError(Exception):
    """The topics on the broker are not what the processor needs."""


async def open_consumer(settings: ProcessorSettings, topics: Iterable[str]) -> AIOKafkaConsumer:
    """A started consumer without a group, which knows the leaders of `topics` and reads where it is told."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        **settings.security,
    )
    await consumer.start()
    # Without this it would learn of them one by one, each after a failed request and a pause.
    await consumer._client.set_topics(topics)
    return consumer


def new_producer(settings: ProcessorSettings) -> AIOKafkaProducer:
    """Idempotent and uncompressed: what is acknowledged is in the log once, in order, in the size we counted."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap,
        enable_idempotence=True,
        acks="all",
        compression_type=None,
        linger_ms=0,
        max_batch_size=settings.batch_bytes,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **settings.security,
    )
    _pace(producer.client)
    return producer


def _pace(client: Any) -> None:
    """Let a moment pass before the same topics are looked up again.

    While a partition has no leader, aiokafka's producer asks for one as soon as it got an answer, or none: thousands of
    times a second, for as long as the broker is away, and each time it logs that it failed.
    """
    look_up, last = client._metadata_update, frozenset[str]()

    async def paced(cluster: Any, topics: Iterable[str] | None) -> Any:
        nonlocal last
        again, last = last, frozenset(topics or ())
        if again == last:
            await asyncio.sleep(METADATA_RETRY_S)
        return await look_up(cluster, topics)

    client._metadata_update = paced


async def partition_count(settings: ProcessorSettings, topics: tuple[str, ...]) -> int:
    """The one number of partitions that all `topics` share; co-partitioning rests on it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap, **settings.security)
    await admin.start()
    try:
        described = await admin.describe_topics(list(topics))
    finally:
        await admin.close()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    missing = sorted(topic for topic in topics if not counts.get(topic))
    if missing:
        raise ConfigurationError(f"topics are missing: {', '.join(missing)}")
    if len(set(counts.values())) > 1:
        raise ConfigurationError(f"topics must have the same number of partitions: {counts}")
    return counts[topics[0]]
