"""A worker is killed between any two of its writes, and at any moment; the next one goes on as if nothing had happened."""

import asyncio
import random
import signal
from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson
import pytest

from b3iq_schemas.eligibility import MARK_KEY
from b3iq_schemas.topics import INPUTS
from b3iq_streams.core.chain import Head
from b3iq_streams.core.image import HEAD_KEY
from b3iq_streams.processor.names import changelog
from tests.kafka.crashing_worker import WINDOWS
from tests.kafka.load import Load
from tests.kafka.network import Network
from tests.kafka.recount import Evidence, contents, finish, read_all
from tests.kafka.support import admin_client
from tests.kafka.witness import Witness

SMALL_BATCH = 4_000
NTH = {"letters": 6, "change": 4, "changes": 3, "mark": 3, "nodes": 3, "checkpoint": 3, "commit": 6}


class Remains(NamedTuple):
    """What a dead worker left of one partition: its logs, the epochs of its checkpoint, what it committed."""

    evidence: Evidence
    node_epoch: int
    head_epoch: int
    committed: Mapping[str, int]

    @property
    def head(self) -> Head:
        """The last accepted epoch."""
        return self.evidence.recount.head

    @property
    def cuts(self) -> list[Mapping[str, int]]:
        """The cut of every accepted epoch, the beginning included."""
        return [dict.fromkeys(INPUTS, 0), *(accepted.mark.cut for accepted in self.evidence.accepted)]

    def committed_checkpoint(self) -> bool:
        """Whether what the checkpoint's head stands for is what was committed last."""
        return self.committed == self.cuts[self.head_epoch]

    def orphaned_changes(self) -> bool:
        """Changes of an attempt whose mark never came."""
        return any(record.key != MARK_KEY for record in self.evidence.log[self.head.offset + 1 :])

    def orphaned_letters(self) -> bool:
        """Letters for records that no accepted epoch has folded."""
        return any(offset >= self.head.cut[topic] for topic, _, offset in self.evidence.letters)


TRACES: Mapping[str, Callable[[Remains], bool]] = {
    "letters": Remains.orphaned_letters,
    "change": Remains.orphaned_changes,
    "changes": Remains.orphaned_changes,
    "mark": lambda left: left.evidence.accepted[-1].mark.state_sha256 is not None and left.head_epoch < left.head.epoch,
    "nodes": lambda left: left.node_epoch > left.head_epoch,
    "checkpoint": lambda left: left.head_epoch > 0 and not left.committed_checkpoint(),
    "commit": lambda left: left.head_epoch > 0 and left.committed_checkpoint(),
}
"""How the logs show that a worker died in a window."""


async def read_remains(network: Network) -> list[Remains]:
    """Look at what is left of every partition."""
    stored = await contents(network, [changelog(network.group)])
    async with admin_client(network.settings.bootstrap) as client:
        offsets = await client.list_consumer_group_offsets(network.group)
    found = []
    for partition, evidence in enumerate(await read_all(network)):
        records = stored[changelog(network.group), partition]
        heads = [orjson.loads(record.value or b"")[1] for record in records if record.key == HEAD_KEY]
        nodes = [int((record.value or b"").partition(b" ")[0]) for record in records if record.key != HEAD_KEY]
        committed = {place.topic: at.offset for place, at in offsets.items() if place.partition == partition}
        found.append(Remains(evidence, max(nodes, default=0), max(heads, default=0), committed))
    return found


@pytest.mark.parametrize("window", WINDOWS)
async def test_a_kill_between_two_writes(network: Network, window: str) -> None:
    """In whichever window the worker dies, the next one loses nothing, repeats nothing, and commits accepted cuts only."""
    async with Witness(network).watching() as witness:
        async with Load(network).running():
            doomed = network.worker(crash=(window, NTH[window]), batch_bytes=SMALL_BATCH)
            assert -signal.SIGKILL == await doomed.ends()
            remains = await read_remains(network)
            assert any(map(TRACES[window], remains))
            for left in remains:
                assert not left.committed or left.committed in left.cuts
            network.worker(batch_bytes=SMALL_BATCH)
            await witness.progress()
        await finish(network, witness)


async def test_kills_at_random_under_load(network: Network) -> None:
    """Killed again and again, live or still recovering, while the fleet goes on speaking."""
    rng = random.Random(20)
    async with Witness(network).watching() as witness:
        async with Load(network).running():
            for turn in range(5):
                worker = network.worker()
                if turn % 3 != 2:
                    await witness.progress(1)
                await asyncio.sleep(rng.uniform(0.5, 2.0))  # any moment is as good
                worker.signal(signal.SIGKILL)
                assert -signal.SIGKILL == await worker.ends()
            network.worker()
            await witness.progress()
        found = await finish(network, witness)
    assert all(partition.refused for partition in found)
