"""The local Kafka is a real one: it stamps times, keeps data over stops and crashes, and never outlives its parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from b3iq_streams.devkafka import LocalKafka
from tests.kafka.support import Endpoint, create_topic, unique_network

LOG_APPEND_TIME = 1
COMMAND = [sys.executable, "-m", "b3iq_streams.devkafka"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


async def append(bootstrap: str, topic: str, *values: bytes) -> None:
    """Append values to partition 0 and wait for every acknowledgement."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def read(bootstrap: str, topic: str) -> list[bytes | None]:
    """Read partition 0 from its beginning to its end."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        return [(await consumer.getone()).value for _ in range(end)]


async def test_the_broker_stamps_the_time(kafka: Endpoint) -> None:
    """On a LogAppendTime topic the broker's time replaces the sender's, in the acknowledgement and in the log."""
    topic = unique_network()
    await create_topic(kafka.bootstrap, topic, message_timestamp_type="LogAppendTime")
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        sent = await producer.send_and_wait(topic, b"fact", partition=0, timestamp_ms=1)
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        record = await consumer.getone()
    assert (LOG_APPEND_TIME, sent.timestamp) == (record.timestamp_type, record.timestamp)
    assert record.timestamp > 1_600_000_000_000


async def test_a_restart_keeps_data_and_address(private_kafka: LocalKafka) -> None:
    """After a clean restart the same address serves what was stored before."""
    before = private_kafka.bootstrap
    await create_topic(before, "kept")
    await append(before, "kept", b"one")
    private_kafka.restart()
    await append(before, "kept", b"two")
    assert await read(private_kafka.bootstrap, "kept") == [b"one", b"two"]


async def test_a_crash_keeps_acknowledged_data(private_kafka: LocalKafka) -> None:
    """What was acknowledged before a SIGKILL is there when the broker comes back."""
    await create_topic(private_kafka.bootstrap, "kept")
    await append(private_kafka.bootstrap, "kept", b"one", b"two")
    private_kafka.kill()
    private_kafka.start()
    assert await read(private_kafka.bootstrap, "kept") == [b"one", b"two"]


async def test_a_suspended_broker_goes_on_where_it_was(private_kafka: LocalKafka) -> None:
    """A frozen broker resumes with its connections and its data."""
    await create_topic(private_kafka.bootstrap, "kept")
    async with AIOKafkaProducer(bootstrap_servers=private_kafka.bootstrap) as producer:
        await producer.send_and_wait("kept", b"one", partition=0)
        private_kafka.suspend()
        late = await producer.send("kept", b"two", partition=0)
        assert not late.done()
        private_kafka.resume()
        await late
    assert await read(private_kafka.bootstrap, "kept") == [b"one", b"two"]


@pytest.fixture
def foreground() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The foreground command, started and ready, with the port it serves."""
    with subprocess.Popen(COMMAND, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("bootstrap: 127.0.0.1:"), process.stderr and process.stderr.read()
        yield process, int(line.rpartition(":")[2])
        process.kill()


def test_the_command_stops_when_asked(foreground: tuple[subprocess.Popen[str], int]) -> None:
    """SIGTERM ends the foreground command with exit code 0, nothing more to say, and the broker with it."""
    process, port = foreground
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0
    assert closes(port)


def test_the_broker_dies_with_its_parent(foreground: tuple[subprocess.Popen[str], int]) -> None:
    """A parent that is killed cannot clean up, and still leaves no broker behind."""
    process, port = foreground
    process.kill()
    process.wait()
    assert closes(port)


def test_a_missing_java_is_one_sentence() -> None:
    """Without Java the command says so on one line and exits with 2."""
    bare = {key: value for key, value in ENVIRONMENT.items() if key != "JAVA_HOME"} | {"PATH": "/nowhere"}
    done = subprocess.run(COMMAND, env=bare, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "Java 17+ was not found" in done.stderr


def closes(port: int) -> bool:
    """Wait up to ten seconds until nothing listens on a port."""
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return True
        time.sleep(0.1)
    return False
