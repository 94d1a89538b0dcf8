"""The embedded broker does what the demo stands on, and lacks what the demo must not count on."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from b3iq_streams.embedded import PARTITIONS, EmbeddedBroker

CREATE_TIME = 0


@pytest.fixture
def bootstrap() -> Iterator[str]:
    """The address of a fresh embedded broker with one topic, `facts`."""
    with EmbeddedBroker(["facts"]) as broker:
        yield broker.bootstrap


@pytest.mark.parametrize("idempotent", [False, True])
async def test_acknowledged_offsets_are_where_the_records_are(bootstrap: str, *, idempotent: bool) -> None:
    """A batch's acknowledged base offset is the offset at which a reader finds its first record."""
    partition = TopicPartition("facts", 2)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=idempotent, acks="all") as producer:
        await producer.send_and_wait("facts", b"first", partition=2)
        batch = producer.create_batch()
        for value in (b"a", b"b", b"c"):
            batch.append(key=b"k", value=value, timestamp=None)
        acknowledged = await (await producer.send_batch(batch, "facts", partition=2))
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, acknowledged.offset)
        assert [(await consumer.getone()).value for _ in range(3)] == [b"a", b"b", b"c"]
        assert {partition: 4} == await consumer.end_offsets([partition])
        assert {partition: 0} == await consumer.beginning_offsets([partition])


async def test_times_are_the_senders(bootstrap: str) -> None:
    """There is no LogAppendTime here, so the admission check for it has to be relaxed."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait("facts", b"v", partition=0, timestamp_ms=7)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition("facts", 0)])
        record = await consumer.getone()
    assert (record.timestamp_type, record.timestamp) == (CREATE_TIME, 7)


async def test_a_group_of_one_resumes_from_its_commit(bootstrap: str) -> None:
    """A lone member gets every partition, and its successor starts at the committed offsets."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for partition in range(PARTITIONS):
            await producer.send_and_wait("facts", b"old", partition=partition)
        async with group_member(bootstrap) as first:
            assert set(range(PARTITIONS)) == {(await first.getone()).partition for _ in range(PARTITIONS)}
            await first.commit()
        await producer.send_and_wait("facts", b"new", partition=1)
        async with group_member(bootstrap) as second:
            assert (await second.getone()).value == b"new"


async def test_a_partition_forgets_beyond_five_mebibytes(bootstrap: str) -> None:
    """Old records are dropped by size, so a reader far behind is told that its offset is gone."""
    partition = TopicPartition("facts", 0)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await asyncio.gather(*[await producer.send("facts", bytes(1_000), partition=0) for _ in range(6_000)])
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none") as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        with pytest.raises(OffsetOutOfRangeError):
            await consumer.getone()
        assert (await consumer.beginning_offsets([partition]))[partition] > 0


def group_member(bootstrap: str) -> AIOKafkaConsumer:
    """A consumer in the one group these tests use."""
    return AIOKafkaConsumer(
        "facts", bootstrap_servers=bootstrap, group_id="g", auto_offset_reset="earliest", enable_auto_commit=False
    )
