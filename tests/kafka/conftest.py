"""The broker under test: the one given, else a container, else a local Kafka. A missing one fails, never skips."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from b3iq_schemas.topics import TOPICS
from b3iq_streams.devkafka import KafkaStartError, LocalKafka
from b3iq_streams.kafka import publisher
from tests.kafka.network import Network
from tests.kafka.secured import Certificates, Cluster
from tests.kafka.support import Endpoint

# A container should behave as `LocalKafka` does where tests would notice.
CONTAINER_SETTINGS = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
}


@pytest.fixture(scope="session")
def kafka() -> Iterator[Endpoint]:
    """One broker for the whole run."""
    if given := os.environ.get("B3IQ_TEST_BOOTSTRAP"):
        _require_answer(given)
        yield Endpoint(given)
    elif _docker_answers():
        yield from _container()
    else:
        with _local_kafka() as local:
            yield Endpoint(local.bootstrap)


@pytest.fixture
def private_kafka() -> Iterator[LocalKafka]:
    """A broker of the test's own, to stop, kill and freeze."""
    with _local_kafka() as local:
        yield local


@pytest.fixture(scope="session")
def owned_kafka() -> Iterator[LocalKafka]:
    """A broker whose topics each test may take away and make anew; nobody else's, whatever broker is given."""
    with _local_kafka() as local:
        yield local


@pytest.fixture
async def network(owned_kafka: LocalKafka, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Network]:
    """A network of the test's own, of two partitions unless parametrized; its workers do not outlive the test."""
    made = await Network.create(owned_kafka.bootstrap, tmp_path, getattr(request, "param", 2))
    yield made
    for worker in made.workers:
        worker.remove()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers with TLS, users and access rules, for those tests that ask for them."""
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    made = certificates.secured()
    with _local_kafka(nodes=3, secured=made, start_timeout_s=120) as local:
        yield Cluster(local, made, certificates)


@pytest.fixture(scope="module")
def prepared(secured: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The same with topics of one partition, a record on each, and the access rules."""
    asyncio.run(_prepare(secured, tmp_path_factory.mktemp("prepared")))
    return secured


async def _prepare(cluster: Cluster, directory: Path) -> None:
    await Network.on_secured(cluster, directory, 1)
    async with publisher(cluster.settings()) as opened:
        await opened.publish([(name, b"k", b"v") for name in TOPICS])


@contextmanager
def _local_kafka(**settings: Any) -> Iterator[LocalKafka]:
    """Start one in such a way that a machine without Java or Maven reads one sentence instead of a traceback."""
    local = LocalKafka(**settings)
    problem = ""
    try:
        local.start()
    except KafkaStartError as error:
        problem = str(error)
    if problem:  # outside the handler, so that the report is the sentence alone
        pytest.fail(f"The tests need a Kafka broker and could not start one: {problem}", pytrace=False)
    try:
        yield local
    finally:
        local.stop()


def _require_answer(bootstrap: str) -> None:
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    problem = ""
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem:
        pytest.fail(f"B3IQ_TEST_BOOTSTRAP names {bootstrap}, where nothing answers: {problem}", pytrace=False)


def _docker_answers() -> bool:
    """Ask the engine, not the client: a machine may well have `docker` and no engine behind it."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "version"], capture_output=True, check=False).returncode == 0


def _container() -> Iterator[Endpoint]:
    from testcontainers.community.kafka import KafkaContainer  # only where there is an engine: the import is slow

    container = KafkaContainer().with_kraft()
    for name, value in CONTAINER_SETTINGS.items():
        container.with_env(name, value)
    with container:
        yield Endpoint(container.get_bootstrap_server())
