"""Getting through to a broker, and its errors in words. Every client of this package is started here."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import stamina
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from b3iq_streams.errors import UserError
from b3iq_streams.kafka.diagnosis import refusal
from b3iq_streams.settings import KafkaSettings

REQUEST_TIMEOUT_MS = 30_000
UNSEEN = "does not exist, or may not be seen by this user: run `b3iq-streams topics apply`, or connect as another"
"""Of a topic that the brokers do not show: they hide what a user has no right on."""
_FORBIDDEN = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)
_log = logging.getLogger(__name__)


class BrokerUnavailable(UserError):
    """No broker answered in time."""


class KafkaRefused(UserError):
    """The broker answered with an error."""

    @property
    def forbidden(self) -> bool:
        """Whether the access rules of a topic are the reason."""
        return isinstance(self.__cause__, _FORBIDDEN)


class NotAdmitted(KafkaRefused):
    """A broker says for certain that it will never have this client as it is: a wrong password, certificate or protocol."""


class OffsetGone(UserError):
    """A position asked for is not in the log (any more)."""


class Place(NamedTuple):
    """One partition."""

    topic: str
    partition: int


class Startable(Protocol):
    """Any client of aiokafka."""

    async def start(self) -> None:
        """Connect, or raise."""


async def connect(client: Startable, settings: KafkaSettings, once: bool = False) -> None:
    """Start a client, again and again until it works, the time is up, or a broker says that it never will.

    `once`: a single try, for callers that wait between tries themselves.
    """
    tries = 0
    attempts = 1 if once else None
    try:
        async with asyncio.timeout(settings.wait_s):
            async for attempt in stamina.retry_context(_failed, attempts=attempts, timeout=None, wait_max=1.0, wait_jitter=0.1):
                with attempt:
                    tries = attempt.num
                    if tries == 2:
                        _log.warning("no Kafka broker at %s yet, connecting again for %g s", settings.bootstrap, settings.wait_s)
                    await _start(client, settings)
    except (TimeoutError, KafkaError, OSError):
        times = "once" if tries == 1 else f"{tries} times in {settings.wait_s:g} s"
        raise BrokerUnavailable(f"no Kafka broker answers at {settings.bootstrap}: tried to connect {times}") from None


async def _start(client: Startable, settings: KafkaSettings) -> None:
    try:
        await client.start()
    except _FORBIDDEN as error:  # such as an idempotent producer that may not write anywhere
        raise KafkaRefused(
            "connecting: Kafka's access rules allow nothing of the kind to this user (see `b3iq-streams topics acls`)"
        ) from error
    except (KafkaError, OSError):
        if certain := await refusal(settings):
            raise NotAdmitted(f"Kafka at {certain}") from None
        raise


def _failed(error: Exception) -> bool:
    return isinstance(error, KafkaError | OSError)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Kafka's errors as one line that says what was being done."""
    try:
        yield
    except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
        raise OffsetGone(f"{doing}: a position is not in the log any more") from error
    except _FORBIDDEN as error:
        raise KafkaRefused(
            f"{doing}: Kafka's access rules do not allow it to this user ({type(error).__name__}; see `b3iq-streams topics acls`)"
        ) from error
    except KafkaError as error:
        raise KafkaRefused(f"{doing}: {error or type(error).__name__}") from error
