"""A new generation on a secured cluster: the administrator needs rules of its own for it, and those suffice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBindingFilter, AclOperation, AclPermissionType  # its types do not re-export them
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import HOLDS, TOPICS
from b3iq_streams import acls, kafka, regenerate
from b3iq_streams.kafka import KafkaRefused
from b3iq_streams.processor.names import GROUP, changelog
from b3iq_streams.regenerate import Change
from tests.kafka.network import Network
from tests.kafka.secured import Cluster
from tests.kafka.test_generation import hold, say

PATIENCE_S = 30
IN_A_ROW = 20
NODE = next(f"node-{i}" for i in range(100) if partition_for(f"node-{i}".encode(), 2) == 1)
"""One that a second partition takes with it."""
EXTRA = acls.to_regenerate(acls.names())


@pytest.fixture
async def network(secured: Cluster, tmp_path: Path) -> AsyncIterator[Network]:
    """One partition, a node that is held; afterwards the administrator has no more than the table gives."""
    made = await Network.on_secured(secured, tmp_path, 1)
    await say(made, hold(made, NODE, True))
    await _groups_are_kept(secured)
    yield made
    rules = [
        AclBindingFilter(
            ResourceType[rule.resource.upper()], rule.name, ResourcePatternType.LITERAL, rule.principal, "*",
            AclOperation[rule.operation.upper()], AclPermissionType.ALLOW,
        )
        for rule in EXTRA
    ]  # fmt: skip
    client = AdminClient(secured.settings().librdkafka)  # by name: what nobody holds is taken apart under its requests
    for future in client.delete_acls(rules).values():
        future.result(PATIENCE_S)


async def _groups_are_kept(secured: Cluster) -> None:
    """The brokers make the topic of groups when somebody first asks for one: here no worker has."""
    async with asyncio.timeout(PATIENCE_S), kafka.admin(secured.settings()) as admin:
        while True:
            try:
                assert await admin.members(GROUP) == 0
            except KafkaRefused:
                await asyncio.sleep(0.2)
            else:
                return


async def _known(admin: kafka.Admin) -> None:
    """What the controller has taken reaches each broker a little later: wait until whoever is asked has it."""
    in_a_row = 0
    async with asyncio.timeout(PATIENCE_S):
        while in_a_row < IN_A_ROW:
            in_a_row = in_a_row + 1 if set(EXTRA) <= await admin.acls() else 0
            await asyncio.sleep(0.02)


async def test_the_administrator_makes_one_with_the_rules_for_it(secured: Cluster, network: Network) -> None:
    """Without them it is refused before anything is changed; with them it gets through, hold and policy kept."""
    change = Change(
        network.trust, network.directory / "next.json", 2, (network.group, changelog(network.group)),
        network.world.roles["operator"], None,
    )  # fmt: skip
    said: list[str] = []
    with pytest.raises(KafkaRefused, match="members of b3iq-processor: Kafka's access rules do not allow it"):
        await regenerate.regenerate(change, secured.settings("admin"), said.append)
    assert [] == said
    async with kafka.admin(secured.settings("admin")) as admin:
        for rule in EXTRA:
            await admin.create_acl(rule)
        await _known(admin)
    await regenerate.regenerate(change, secured.settings("admin"), said.append)
    assert change.out_trust.exists()
    async with kafka.admin(secured.settings("admin")) as admin:
        assert {2} == {layout.partitions for layout in (await admin.layouts(tuple(TOPICS))).values()}
    async with kafka.source(secured.settings("auditor")) as source:
        assert any(hold for hold in await source.read(HOLDS) if hold.partition == 1)
