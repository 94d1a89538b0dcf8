"""Live topics as a source, read with librdkafka: it fetches on threads of its own while Python folds.

Reads without a group and commits nothing. How far the topics go is asked once; what is appended later is not read.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from b3iq_schemas.topics import ELIGIBILITY_CHANGES, INPUTS
from b3iq_streams.audit.source import AUDITED, Bounds
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import UNSEEN, BrokerUnavailable, KafkaRefused, OffsetGone, Place
from b3iq_streams.kafka.diagnosis import refusal
from b3iq_streams.settings import KafkaSettings

BATCH = 1_000
SILENCE_MS = 30_000
"""How long a broker may stay silent in the middle of a partition before the reading is given up."""
ASK_S = 10.0
_SETTINGS = {
    "group.id": "b3iq-audit",  # librdkafka wants one; nothing is ever committed under it
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_uncommitted",
    "fetch.wait.max.ms": 50,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16_384,
    "log_level": 0,
}


@dataclass(frozen=True)
class LiveOrigin:
    """The topics of a broker, as far as they went when they were surveyed."""

    settings: KafkaSettings
    bounds: Mapping[Place, Bounds]
    partitions: int
    stamped: bool

    @contextmanager
    def open(self) -> Iterator["LiveSource"]:
        """Connect when something is read."""
        yield LiveSource(self.settings)


class LiveSource:
    """Reads with one consumer per partition under way."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def read(self, place: Place, first: int, last: int) -> Iterator[Sequence[Record]]:
        """Records with first ≤ offset < last, in batches."""
        if first >= last:
            return
        consumer = _consumer(self._settings)
        try:
            consumer.assign([TopicPartition(place.topic, place.partition, first)])
            position = first
            while position < last:
                messages = _next(consumer, place, min(BATCH, last - position))
                records = [_record(message) for message in messages]
                position = records[-1].offset + 1
                yield [record for record in records if record.offset < last]
        finally:
            consumer.close()


def survey(settings: KafkaSettings, stamped: bool = True) -> LiveOrigin:
    """Ask a broker what there is. Raises UserError when nothing answers, or when it is not one of our networks."""
    consumer = _consumer(settings)
    try:
        found = _topics(consumer, settings)
        places = [Place(topic, partition) for topic in AUDITED for partition in range(found.get(topic, 0))]
        if not places:
            raise UserError(f"{settings.bootstrap} has none of the topics: is it the right broker? (see `topics check`)")
        counts = {topic: found.get(topic, 0) for topic in (ELIGIBILITY_CHANGES, *INPUTS)}
        if unseen := next((topic for topic, count in counts.items() if count == 0), None):
            raise UserError(f"topic {unseen} {UNSEEN}")
        if len(set(counts.values())) != 1:
            raise UserError("inputs and chain differ in their number of partitions (see `topics check`)")
        bounds = {place: Bounds(*_ask(consumer, place)) for place in places}
        return LiveOrigin(settings, bounds, counts[ELIGIBILITY_CHANGES], stamped)
    finally:
        consumer.close()


def _consumer(settings: KafkaSettings) -> Consumer:
    return Consumer(_SETTINGS | settings.librdkafka)


def _topics(consumer: Consumer, settings: KafkaSettings) -> dict[str, int]:
    """Partitions per topic; tries for as long as the settings say."""
    until_ms = monotonic_ms() + int(settings.wait_s * 1_000)
    while True:
        try:
            left_s = max(0.1, (until_ms - monotonic_ms()) / 1_000)
            metadata = consumer.list_topics(timeout=min(5.0, left_s))
            return {name: len(topic.partitions) for name, topic in metadata.topics.items()}
        except KafkaException as error:
            if certain := asyncio.run(refusal(settings)):
                raise KafkaRefused(f"Kafka at {certain}") from None
            if monotonic_ms() >= until_ms:
                raise BrokerUnavailable(
                    f"no Kafka broker answers at {settings.bootstrap} within {settings.wait_s:g} s"
                ) from error


def _ask(consumer: Consumer, place: Place) -> tuple[int, int]:
    try:
        start, end = consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), timeout=ASK_S)
    except KafkaException as error:
        raise KafkaRefused(f"asking for the end of {place.topic}/{place.partition}: {error.args[0].str()}") from error
    return start, end


def _next(consumer: Consumer, place: Place, count: int) -> list[Message]:
    until_ms = monotonic_ms() + SILENCE_MS
    while monotonic_ms() < until_ms:
        messages = consumer.consume(count, timeout=1.0)
        for message in messages:
            if (error := message.error()) is not None:
                _judge(error, place)
        if good := [message for message in messages if message.error() is None]:
            return good
    raise BrokerUnavailable(f"reading {place.topic}/{place.partition}: nothing came for {SILENCE_MS // 1_000} s")


def _judge(error: KafkaError, place: Place) -> None:
    """Let librdkafka try again where it does so by itself."""
    if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
        raise OffsetGone(f"reading {place.topic}/{place.partition}: a position is not in the log any more")
    if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return  # it looks for the group's coordinator, which nothing here needs: an auditor has no group
    if error.code() not in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._PARTITION_EOF):
        raise KafkaRefused(f"reading {place.topic}/{place.partition}: {error.str()}")


def _record(message: Any) -> Record:
    kind, stamp = message.timestamp()
    return Record(
        message.topic(), message.partition(), message.offset(), message.key(), message.value(), stamp, kind - 1,
        tuple(message.headers() or ()),
    )  # fmt: skip
