"""Appends batches, in order, each acknowledged before the next is sent; a batch that fits is one atomic append."""

from collections.abc import Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from b3iq_schemas.topics import DEAD_LETTERS, ELIGIBILITY_CHANGES
from b3iq_streams.clock import now_ms
from b3iq_streams.core.actions import Appended
from b3iq_streams.core.records import Outgoing
from b3iq_streams.processor.names import changelog
from b3iq_streams.processor.settings import ProcessorSettings


class WriteError(Exception):
    """The broker acknowledged something that does not say where the records are."""


class Written(NamedTuple):
    """Where one batch landed. `timestamp_ms` is None where the broker did not stamp it."""

    first: int
    records: int
    timestamp_ms: int | None


class Writer:
    """One idempotent producer for all partitions of a worker."""

    def __init__(self, producer: AIOKafkaProducer, settings: ProcessorSettings) -> None:
        self._producer = producer
        self._changelog = changelog(settings.group)
        self._stamped = settings.log_append_time
        self._letter_partitions = 0

    async def epoch(self, partition: int, changes: tuple[Outgoing, ...], mark: Outgoing) -> Appended:
        """Append the changes, then their mark: as one batch if that fits, else the mark only after all changes."""
        sent_at_ms = now_ms()
        written = await self._append_then(ELIGIBILITY_CHANGES, partition, changes, mark)
        last = written[-1]
        stamp = last.timestamp_ms if self._stamped else None
        return Appended(written[0].first, last.first + last.records - 1, sent_at_ms if stamp is None else stamp)

    async def checkpoint(self, partition: int, nodes: tuple[Outgoing, ...], head: Outgoing) -> list[Written]:
        """Write node records, then the head, to the table's changelog."""
        return await self._append_then(self._changelog, partition, nodes, head)

    async def letters(self, partition: int, letters: tuple[Outgoing, ...]) -> None:
        """Put refused records aside, on one partition, whichever number the topic has."""
        if not self._letter_partitions:
            self._letter_partitions = len(await self._producer.partitions_for(DEAD_LETTERS))
        await self._append(DEAD_LETTERS, partition % self._letter_partitions, letters)

    async def _append_then(self, topic: str, partition: int, body: tuple[Outgoing, ...], last: Outgoing) -> list[Written]:
        batches = self._pack((*body, last))
        if len(batches) == 1:
            return [await self._send(topic, partition, batches[0])]
        return [*await self._append(topic, partition, body), *await self._append(topic, partition, (last,))]

    async def _append(self, topic: str, partition: int, records: Iterable[Outgoing]) -> list[Written]:
        return [await self._send(topic, partition, batch) for batch in self._pack(records)]

    def _pack(self, records: Iterable[Outgoing]) -> list[BatchBuilder]:
        batches: list[BatchBuilder] = []
        for key, value in records:
            if not batches or batches[-1].append(timestamp=None, key=key, value=value) is None:
                batches.append(self._producer.create_batch())
                batches[-1].append(timestamp=None, key=key, value=value)
        return batches

    async def _send(self, topic: str, partition: int, batch: BatchBuilder) -> Written:
        count = batch.record_count()
        acknowledged = await (await self._producer.send_batch(batch, topic, partition=partition))
        if acknowledged.offset < 0:
            raise WriteError(f"{topic}-{partition}: acknowledged without an offset")
        stamp = acknowledged.timestamp if acknowledged.timestamp_type == 1 else None
        return Written(acknowledged.offset, count, stamp)
