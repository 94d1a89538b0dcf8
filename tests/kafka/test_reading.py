"""Reading a log as a real broker keeps it: with offsets that hold no record, at its end, too."""

import asyncio

from aiokafka import AIOKafkaProducer

from b3iq_streams.kafka import Place, source
from b3iq_streams.settings import KafkaSettings
from tests.kafka.support import Endpoint, create_topic


async def test_the_end_of_a_transaction_is_no_record_and_no_silence(kafka: Endpoint) -> None:
    """Anybody may write with transactions, whose markers take offsets: what is before them is read, and nothing is waited for."""
    topic = "transacted"
    await create_topic(kafka.bootstrap, topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="one") as producer:
        for value in (b"one", b"two"):
            async with producer.transaction():
                await producer.send_and_wait(topic, value, b"k", partition=0)
    settings = KafkaSettings(bootstrap=kafka.bootstrap)
    async with asyncio.timeout(20), source(settings) as reader:
        (last,) = (await reader.end_offsets([Place(topic, 0)])).values()
        found = [(record.offset, record.value) async for record in reader.stretch(Place(topic, 0), 0, last)]
        assert [] == [record async for record in reader.stretch(Place(topic, 0), last - 1, last)]
        assert [b"one", b"two"] == [record.value for record in await reader.read(topic)]
    assert (4, [(0, b"one"), (2, b"two")]) == (last, found)
