"""What operators do with a processor that was stopped: restore it from the topics alone, upgrade its fold."""

import asyncio
import shutil

from aiokafka.admin import AIOKafkaAdminClient

from b3iq_schemas.topics import CHECKPOINT, ELIGIBILITY_CHANGES, TOPICS
from b3iq_streams import kafka
from b3iq_streams.core.chain import read_mark
from b3iq_streams.kafka import Layout
from b3iq_streams.processor.names import changelog
from tests.kafka.load import Load
from tests.kafka.network import PATIENCE_S, Network, until
from tests.kafka.recount import contents, finish
from tests.kafka.support import admin_client
from tests.kafka.witness import Witness


async def lose_everything_but_the_topics(network: Network) -> None:
    """What a burnt down machine, a deleted group and a deleted checkpoint leave behind."""
    shutil.rmtree(network.directory / "worker")
    name = changelog(network.group)
    async with kafka.admin(network.settings) as admin, admin_client(network.settings.bootstrap) as client:
        await _forget(client, network.group)
        await admin.delete(name)
        async with asyncio.timeout(PATIENCE_S):
            while await admin.layouts((name,)):  # noqa: ASYNC110  a remote condition
                await asyncio.sleep(0.05)
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


async def test_another_fold_takes_over_after_a_clean_stop(network: Network) -> None:
    """It believes no checkpoint of another fold: it rebuilds from the inputs, says so on the chain, and goes on from there."""
    async with Witness(network).watching() as witness, Load(network).running():
        first = network.worker(static=False)
        await witness.progress(5)
        await first.stop()
        ended = witness.epochs
        second = network.worker(static=False, fold=2)
        await until(
            lambda: all(a > b + 2 for a, b in zip(witness.epochs, ended, strict=True)), f"the chain goes on; {second.log}"
        )
        await second.stop()
    for partition, log in (await contents(network, [ELIGIBILITY_CHANGES])).items():
        read = [mark for mark, _ in filter(None, (read_mark(record.value or b"") for record in log if record.key == b"~mark"))]
        after = [mark for mark in read if mark.fold == 2]
        assert [True, False] == [mark.rebuilt is not None for mark in after[:2]], partition
        assert "recorded_by_another_fold" in second.log
