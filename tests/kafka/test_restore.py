"""After the loss of everything but the topics: no data directory, no checkpoint, no committed offsets; and nothing is lost."""

import shutil

from aiokafka.admin import AIOKafkaAdminClient

from b3iq_schemas.topics import CHECKPOINT, TOPICS
from b3iq_streams import kafka
from b3iq_streams.kafka import Layout
from b3iq_streams.processor.names import changelog
from tests.kafka.load import Load
from tests.kafka.network import Network, until
from tests.kafka.recount import finish
from tests.kafka.support import admin_client
from tests.kafka.witness import Witness


async def lose_everything_but_the_topics(network: Network) -> None:
    """What a burnt down machine, a deleted group and a deleted checkpoint leave behind."""
    shutil.rmtree(network.directory / "worker")
    name = changelog(network.group)
    async with kafka.admin(network.settings) as admin, admin_client(network.settings.bootstrap) as client:
        await _forget(client, network.group)
        await admin.delete(name)
        left: set[str] = {name}

        async def look() -> None:
            left.clear()
            left.update(await admin.layouts((name,)))

        while left:
            await look()
        await admin.create(name, Layout(network.partitions, 1), TOPICS[CHECKPOINT].config)


async def _forget(client: AIOKafkaAdminClient, group: str) -> None:
    from aiokafka.protocol.admin import DeleteGroupsRequest

    coordinator = await client.find_coordinator(group)
    answer = await client._send_request(DeleteGroupsRequest([group]), coordinator)
    assert [(group, 0)] == [tuple(result) for result in answer.results]


async def test_everything_but_the_topics_is_lost(network: Network) -> None:
    """A new worker re-folds the chain from its first epoch, goes on where it ended, and the recount finds all equal."""
    async with Witness(network).watching() as witness:
        async with Load(network).running():
            first = network.worker(static=False)
            await witness.progress(12)
            await first.stop()
            ended = witness.epochs
            await lose_everything_but_the_topics(network)
            second = network.worker(static=False)
            await until(lambda: all(a > b for a, b in zip(witness.epochs, ended, strict=True)), "the chain goes on")
            await witness.progress()
        await finish(network, witness)
    assert "alarm" not in second.log.lower(), second.log
