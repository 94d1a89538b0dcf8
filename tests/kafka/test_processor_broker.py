"""The broker goes away under load; whatever the worker does about it, a supervisor starts it again and the log is whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from b3iq_streams.devkafka import LocalKafka
from b3iq_streams.processor.guard import EXIT_CODE
from tests.kafka.load import Load
from tests.kafka.network import Network
from tests.kafka.recount import finish
from tests.kafka.witness import Witness

FREEZE_S = 3
UNREACHABLE = 2
"""The exit code of a worker that is started while no broker answers."""
LINES_MAX = 3_000
"""A worker may complain about a broker that is away, but not fill a disk."""


def restart(broker: LocalKafka) -> None:
    """Stop it properly and start it again."""
    broker.restart()


def crash(broker: LocalKafka) -> None:
    """Kill it and start it again."""
    broker.kill()
    broker.start()


@pytest.fixture
async def exposed(private_kafka: LocalKafka, tmp_path: Path) -> AsyncIterator[Network]:
    """A network on a broker that nobody else uses."""
    made = await Network.create(private_kafka.bootstrap, tmp_path, 2)
    yield made
    for worker in made.workers:
        worker.remove()


@pytest.mark.parametrize("fault", [restart, crash])
async def test_a_broker_that_comes_back(exposed: Network, private_kafka: LocalKafka, fault: Callable[[LocalKafka], None]) -> None:
    """Restarted or killed while the fleet speaks: nothing acknowledged is lost, and the chain goes on where it was."""
    async with Witness(exposed).watching() as witness:
        async with exposed.supervised(exposed.worker):
            async with Load(exposed).running():
                await witness.progress()
                await asyncio.to_thread(fault, private_kafka)
                await witness.progress()
            await witness.caught_up()
        await finish(exposed, witness)
    assert {0, EXIT_CODE, UNREACHABLE} >= {worker.process.returncode for worker in exposed.workers}
    assert all(len(worker.log.splitlines()) < LINES_MAX for worker in exposed.workers)


async def test_a_broker_that_freezes(exposed: Network, private_kafka: LocalKafka) -> None:
    """For three seconds nothing answers; no claim is made about that time, and the worker goes on."""
    async with Witness(exposed).watching() as witness:
        async with Load(exposed).running():
            worker = exposed.worker()
            await witness.progress()
            private_kafka.suspend()
            await asyncio.sleep(FREEZE_S)  # the fault itself
            private_kafka.resume()
            await witness.progress()
        assert worker.running
        await finish(exposed, witness)
