"""What the tests on a real broker share: where it is, a network of one's own, and topics as those tests need them."""

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from b3iq_streams.settings import KafkaSettings


@dataclass(frozen=True)
class Endpoint:
    """A broker that the tests use and do not own."""

    bootstrap: str


def unique_network() -> str:
    """Name a network that no other test uses: topic names are fixed, so tests on one broker are kept apart by it."""
    return f"test-{secrets.token_hex(6)}"


def free_port() -> int:
    """A port of loopback on which nothing listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raised(log: str) -> list[str]:
    """Lines that tell of an error with where it was raised: a structured line has `frames`, the interpreter says `Traceback`."""
    return [line for line in log.splitlines() if "Traceback (" in line or '"frames": [' in line or " frames=[" in line]


@asynccontextmanager
async def admin_client(where: str | KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open an admin client for the length of a block."""
    known = {"bootstrap_servers": where} if isinstance(where, str) else where.client
    client = AIOKafkaAdminClient(**known)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create_topic(bootstrap: str, name: str, *, partitions: int = 1, **config: str) -> None:
    """Create one topic; settings are spelled with underscores, as in `message_timestamp_type="LogAppendTime"`."""
    settings = {key.replace("_", "."): value for key, value in config.items()}
    async with admin_client(bootstrap) as client:
        await client.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
