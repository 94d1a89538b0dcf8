"""Who may do what with consumer groups and with the cluster itself, and who gets in at all.

Group requests go straight to the group's coordinator, so that each is denied by itself and not because an earlier one was.
"""

import asyncio
import contextlib
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import JoinGroupRequest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from b3iq_schemas.topics import HEARTBEATS, PRINCIPALS, Principal
from b3iq_streams import kafka
from b3iq_streams.kafka import KafkaRefused
from b3iq_streams.processor.names import GROUP
from b3iq_streams.settings import KafkaSettings
from tests.kafka.secured import Certificates, Cluster
from tests.kafka.support import admin_client
from tests.kafka.test_secured_matrix import MATRIX, answers, does

# what asking looks like when it is allowed: nothing wrong, a member id to come back with, a group that has members
ALLOWED = (
    "NoError", "MemberIdRequired", "UnknownMemberIdError", "InconsistentGroupProtocolError", "NonEmptyGroupError",
    "GroupIdNotFoundError",
)  # fmt: skip
DENIED = ("GroupAuthorizationFailedError", "TopicAuthorizationFailedError")
OTHERS = ("b3iq-audit", "b3iq-processor-2")
"""Groups that nobody has, one of them with the processor's name as its beginning."""


async def coordinator(client: AIOKafkaAdminClient, group: str) -> int:
    """The broker that a group is kept by; the first who asks has the topic made that groups are kept in."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(GroupCoordinatorNotAvailableError):
                return int(await client.find_coordinator(group))
            await asyncio.sleep(0.1)


async def asked(client: AIOKafkaAdminClient, node: int, group: str) -> str:
    """What is allowed with a group: f find its coordinator, j join, c commit, o read committed offsets, x delete it."""

    async def code(request: Any) -> Any:
        return await client._client.send(node, request)  # the public client hides which request was denied

    joining = JoinGroupRequest(group, 10_000, 10_000, "", None, "consumer", [("range", b"")])
    codes = {
        "f": (await code(FindCoordinatorRequest(group, 0))).error_code,
        "j": (await code(joining)).error_code,
        "c": (await code(OffsetCommitRequest(group, -1, "", -1, [(HEARTBEATS, [(0, 0, "")])]))).topics[0][1][0][1],
        "o": (await code(OffsetFetchRequest(group, [(HEARTBEATS, [0])]))).error_code,
        "x": (await code(DeleteGroupsRequest([group]))).results[0][1],
    }
    said = {letter: for_code(number).__name__ for letter, number in codes.items()}
    assert set() == set(said.values()) - {*ALLOWED, *DENIED}, said
    return "".join(letter for letter, name in said.items() if name in ALLOWED) or "-"


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_a_group_is_the_processors_alone(prepared: Cluster, principal: Principal) -> None:
    """The processor joins its group, commits and reads its offsets, and has no other; nobody else may touch any, nor look."""
    found = {}
    async with admin_client(prepared.settings()) as known, admin_client(prepared.settings(principal)) as client:
        for group in (GROUP, *OTHERS):
            found[group] = await asked(client, await coordinator(known, group), group)
    assert {GROUP: "fjco" if principal == "processor" else "-", **dict.fromkeys(OTHERS, "-")} == found


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_the_cluster_is_the_administrators_as_far_as_the_table_says(prepared: Cluster, principal: Principal) -> None:
    """Rules are seen and made by the administrator alone; nobody makes other topics, or looks
    at or changes a broker."""
    admin = AdminClient(prepared.settings(principal).librdkafka | {"log_level": 0})
    mine = (ResourceType.TOPIC, HEARTBEATS, ResourcePatternType.LITERAL, "User:node", "*")
    rule = AclBinding(*mine, AclOperation.WRITE, AclPermissionType.ALLOW)  # one that there is: making it changes nothing
    change = ConfigEntry("log.cleaner.threads", "1", incremental_operation=AlterConfigOpType.SET)
    broker = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[change])
    found = (
        {"rules seen": await sees_rules(prepared.settings(principal))}
        | answers(admin.create_acls([rule]), lambda _: "rule made")
        | answers(admin.create_topics([NewTopic("another", 1, 3)], validate_only=True), lambda _: "other topic made")
        | answers(admin.describe_configs([ConfigResource(ResourceType.BROKER, "1")]), lambda _: "broker seen")
        | answers(admin.incremental_alter_configs([broker], validate_only=True), lambda _: "broker changed")
    )
    assert (["rule made", "rules seen"] if principal == "admin" else []) == sorted(name for name, yes in found.items() if yes)


async def sees_rules(settings: KafkaSettings) -> bool:
    """Whether the access rules are told. Not asked with librdkafka, which takes the denial for an empty list."""
    async with kafka.admin(settings) as admin:
        try:
            return bool(await admin.acls())
        except KafkaRefused as refused:
            if not refused.forbidden:
                raise
            return False


@pytest.mark.parametrize("principal", ["node", "router"])
def test_a_certificate_is_a_name(prepared: Cluster, principal: Principal) -> None:
    """Who connects with a certificate may do what the principal of its common name may, and nothing more."""
    pem = prepared.certificates.issue(principal)
    assert " ".join(MATRIX[principal].split()) == does(by_certificate(prepared, pem.cert, pem.key))


def test_a_certificate_of_nobody_opens_nothing(prepared: Cluster) -> None:
    """A genuine certificate with a name that is in no rule may do nothing."""
    pem = prepared.certificates.issue("nobody")
    assert {"-"} == set(does(by_certificate(prepared, pem.cert, pem.key)).split())


async def test_anonymous_is_refused(prepared: Cluster, tmp_path: Any) -> None:
    """Neither listener lets anybody in without a name: not without TLS, not without a user, not without a certificate."""
    tls = {"security_protocol": "SSL", "tls_ca": prepared.secured.authority}
    nobody = (
        {"bootstrap": prepared.kafka.bootstrap},
        {"bootstrap": prepared.kafka.bootstrap, **tls},
        {"bootstrap": prepared.kafka.tls_bootstrap},
        {"bootstrap": prepared.kafka.tls_bootstrap, **tls},
    )
    for given in nobody:
        with pytest.raises(KafkaRefused):
            async with kafka.admin(KafkaSettings.model_validate(given)):
                pass
    stranger = Certificates(tmp_path, "other").issue("router")
    with pytest.raises(KafkaRefused):
        async with kafka.admin(by_certificate(prepared, stranger.cert, stranger.key)):
            pass


def by_certificate(cluster: Cluster, cert: Any, key: Any) -> KafkaSettings:
    """How the owner of a certificate connects."""
    given = {"security_protocol": "SSL", "tls_ca": cluster.secured.authority, "tls_cert": cert, "tls_key": key}
    return KafkaSettings.model_validate({"bootstrap": cluster.kafka.tls_bootstrap, **given})
