"""Workers join, leave, die and sleep while the fleet speaks; who owns a partition is told by the key that signs its marks."""

import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from b3iq_streams.processor.guard import EXIT_CODE
from tests.kafka.load import Load
from tests.kafka.network import SECOND, Network, until
from tests.kafka.recount import finish
from tests.kafka.witness import Witness

FIRST = "processor"
SESSION_MS = 3_000


async def owned(network: Network, witness: Witness, **counts: int) -> None:
    """Wait until each key owns so many partitions, named by `first` and `second`."""
    wanted = sorted([network.keyid(FIRST)] * counts.get("first", 0) + [network.keyid(SECOND)] * counts.get("second", 0))
    logs = "\n".join(worker.log[-1_000:] for worker in network.workers)
    await until(lambda: wanted == sorted(head.keyid for head in witness.heads), f"partitions owned {counts}; {logs}")


@pytest.mark.parametrize("network", [4], indirect=True)
async def test_workers_join_and_leave_under_load(network: Network) -> None:
    """One joins, the first leaves properly, another joins and its peer is killed: every partition goes on."""
    async with Witness(network).watching() as witness:
        async with Load(network).running():
            first = network.worker("a", static=False, session_timeout_ms=SESSION_MS)
            await owned(network, witness, first=4)
            second = network.worker("b", key=SECOND, static=False, session_timeout_ms=SESSION_MS)
            await owned(network, witness, first=2, second=2)
            await first.stop()
            await owned(network, witness, second=4)
            network.worker("c", static=False, session_timeout_ms=SESSION_MS)
            await owned(network, witness, first=2, second=2)
            second.signal(signal.SIGKILL)
            await owned(network, witness, first=4)
            await witness.progress()
        await finish(network, witness)


@pytest.mark.parametrize("network", [3], indirect=True)
async def test_a_worker_that_slept_wakes_as_a_zombie(network: Network) -> None:
    """Stopped for longer than its session, it finds out by itself that it was deposed, and the chain does not break."""
    async with Witness(network).watching() as witness:
        async with Load(network).running():
            zombie = network.worker("a", static=False, session_timeout_ms=SESSION_MS)
            await witness.progress()
            zombie.signal(signal.SIGSTOP)
            network.worker("b", key=SECOND, static=False, session_timeout_ms=SESSION_MS)
            await owned(network, witness, second=3)
            zombie.signal(signal.SIGCONT)
            assert await zombie.ends() == EXIT_CODE, zombie.log[-2_000:]
            await owned(network, witness, second=3)
            await witness.progress()
        await finish(network, witness)


@pytest.mark.parametrize("network", [3], indirect=True)
async def test_two_workers_fall_asleep_in_turn(network: Network) -> None:
    """Whoever wakes up in the middle of the other's recovery wins some races and loses others; a supervisor starts them anew."""
    async with Witness(network).watching() as witness:
        async with Load(network).running():
            options: dict[str, Any] = {"static": False, "session_timeout_ms": SESSION_MS}
            first = partial(network.worker, "a", **options)
            second = partial(network.worker, "b", key=SECOND, **options)
            async with AsyncExitStack() as stack:
                pair = []
                for start in (first, second):  # one after the other, since only the first one's key is listed at genesis
                    pair.append(await stack.enter_async_context(network.supervised(start)))
                    await witness.progress()
                for turn in range(2):
                    (sleeper,) = pair[turn % 2]
                    sleeper.signal(signal.SIGSTOP)
                    await witness.progress(1)  # for which the other has to take over
                    sleeper.signal(signal.SIGCONT)
                    await witness.progress(1)
                await witness.progress()
                await witness.caught_up()
        await finish(network, witness)
    assert {0, EXIT_CODE} == {worker.process.returncode for worker in network.workers}
