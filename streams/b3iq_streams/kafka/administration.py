"""Topics and their settings: look, create, change, delete; and the members of a group. What topics should be is not known here
(`topics_admin.py`)."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, NamedTuple

import stamina
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest
from aiokafka.protocol.metadata import MetadataRequest

from b3iq_streams.kafka.connection import REQUEST_TIMEOUT_MS, KafkaRefused, connect, translated
from b3iq_streams.settings import KafkaSettings

HEARSAY_S = 10.0
"""By then every broker has heard of what another one has acknowledged."""
_TOPIC_OVERRIDE = 1
"""Kafka's config source of a setting made on the topic itself."""

Operation = Literal["Read", "Write", "Create", "Delete", "Alter", "Describe", "ClusterAction", "DescribeConfigs", "AlterConfigs"]
_RESOURCES: dict[str, int] = {"topic": 2, "group": 3, "cluster": 4}
_OPERATIONS: dict[str, int] = {
    "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "ClusterAction": 9, "DescribeConfigs": 10,
    "AlterConfigs": 11,
}  # fmt: skip
_ANY, _LITERAL, _ALLOW, _ANYWHERE = 1, 3, 3, "*"


class Acl(NamedTuple):
    """One rule that allows one operation, from any host."""

    principal: str
    resource: str
    name: str
    operation: str

    def __str__(self) -> str:
        return f"{self.principal} {self.operation} on {self.resource} {self.name}"


class Layout(NamedTuple):
    """A topic as the cluster has it."""

    partitions: int
    replication_factor: int


class Admin:
    """Topics and their settings, as one cluster has them."""

    def __init__(self, client: AIOKafkaAdminClient) -> None:
        self._client = client

    async def layouts(self, names: Sequence[str], ask_by_name: bool = False) -> dict[str, Layout]:
        """The topics that any broker shows, of those named, with the least that one of them says: each hears a little later
        what was made or deleted. Asking by name makes some brokers create what is missing."""
        found: dict[str, Layout] = {}
        for topic in await self._shown(list(names) if ask_by_name else None):
            if topic["topic"] in names and topic["partitions"]:
                seen = Layout(len(topic["partitions"]), min(len(p["replicas"]) for p in topic["partitions"]))
                found[topic["topic"]] = min(seen, found.get(topic["topic"], seen))
        return found

    async def _shown(self, names: list[str] | None) -> list[dict[str, Any]]:
        """What each broker that answers has to say of topics; raises KafkaRefused if none does."""
        shown: list[dict[str, Any]] = []
        failed: KafkaError | None = None
        nodes = [broker.nodeId for broker in self._client._client.cluster.brokers()]  # the public client asks any one of them
        with translated("listing topics"):
            for node in nodes:
                try:
                    answer = await self._client._send_request(MetadataRequest(names), node)
                except KafkaError as error:
                    failed = error
                else:
                    shown += answer.to_object()["topics"]
            if failed and not shown:
                raise failed
        return shown

    async def configs(self, names: Iterable[str]) -> dict[str, dict[str, tuple[str, bool]]]:
        """Every setting of each topic: its value, and whether it was made on the topic itself. A broker that has not heard of a
        topic yet is given `HEARSAY_S` to do so."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        with translated("reading topic settings"), _described():
            async for attempt in stamina.retry_context(
                UnknownTopicOrPartitionError, attempts=None, timeout=HEARSAY_S, wait_max=0.5
            ):
                with attempt:
                    return _settings_of(await self._client.describe_configs(resources))
        raise AssertionError("a retry ends with an answer or an error")

    async def create(self, name: str, layout: Layout, config: Mapping[str, str]) -> None:
        """Create a topic."""
        topic = NewTopic(name, layout.partitions, layout.replication_factor, topic_configs=dict(config))
        with translated(f"creating {name}"):
            answer = await self._client.create_topics([topic])
            for _, code, message in answer.topic_errors:
                _check(code, message)

    async def replace_configs(self, name: str, config: Mapping[str, str]) -> None:
        """Make these the settings of a topic; whatever is not among them falls back to the broker's default."""
        with translated(f"changing {name}"):
            (answer,) = await self._client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(config))])
            for code, message, *_ in answer.resources:
                _check(code, message)

    async def grow(self, name: str, partitions: int) -> None:
        """Add partitions to a topic, up to that many; what it holds stays where it is."""
        with translated(f"adding partitions to {name}"):
            await self._client.create_partitions({name: NewPartitions(partitions)})

    async def delete(self, name: str) -> None:
        """Delete a topic with everything in it; the brokers do it a little later."""
        with translated(f"deleting {name}"):
            answer = await self._client.delete_topics([name])
            for _, code in answer.topic_error_codes:
                _check(code, None)

    async def members(self, group: str) -> int:
        """How many members a consumer group has; static ones count until their session ends."""
        with translated(f"asking for the members of {group}"):
            (answer,) = await self._client.describe_consumer_groups([group])
            ((code, _, state, _, _, members, *_),) = answer.groups
            _check(code, None)
        return len(members) if state not in ("Empty", "Dead") else 0

    async def acls(self) -> set[Acl]:
        """Every rule that the cluster has; one that is not of our kind (a prefix, a host, a denial) says so in its name."""
        request = DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY)  # null is any
        with translated("reading access rules"):
            answer = await self._client._send_request(request)  # this client has no method for it, its protocol does
            _check(answer.error_code, answer.error_message)
        return {_acl(kind, name, pattern, *rule) for kind, name, pattern, rules in answer.resources for rule in rules}

    async def create_acl(self, acl: Acl) -> None:
        """Make one rule; making it again changes nothing."""
        resource, operation = _RESOURCES[acl.resource], _OPERATIONS[acl.operation]
        request = CreateAclsRequest(resource, acl.name, _LITERAL, acl.principal, _ANYWHERE, operation, _ALLOW)
        with translated(f"allowing {acl}"):
            answer = await self._client._send_request(request)
            for code, message in answer.creation_responses:
                _check(code, message)


def _acl(kind: int, name: str, pattern: int, principal: str, host: str, operation: int, permission: int) -> Acl:
    resource = next((known for known, code in _RESOURCES.items() if code == kind), f"resource type {kind}")
    allowed = next((known for known, code in _OPERATIONS.items() if code == operation), f"operation {operation}")
    limits = ("" if permission == _ALLOW else " denied", "" if host == _ANYWHERE else f" from {host}")
    return Acl(principal, resource, name if pattern == _LITERAL else f"{name}*", f"{allowed}{''.join(limits)}")


def _settings_of(answers: Iterable[Any]) -> dict[str, dict[str, tuple[str, bool]]]:
    found = {}
    for code, message, _, name, entries in (resource for answer in answers for resource in answer.resources):
        _check(code, message)
        found[name] = {entry[0]: (entry[1], entry[3] == _TOPIC_OVERRIDE) for entry in entries}
    return found


@contextmanager
def _described() -> Iterator[None]:
    try:
        yield
    except IncompatibleBrokerVersion:
        raise KafkaRefused(
            "this broker cannot tell its topics' settings, as the embedded one cannot; --relaxed skips them"
        ) from None


def _check(code: int, message: str | None) -> None:
    if code:
        error = for_code(code)
        raise error(message) if message else error()


@asynccontextmanager
async def admin(settings: KafkaSettings) -> AsyncIterator[Admin]:
    """A connected admin client for the length of a block."""
    client = AIOKafkaAdminClient(**settings.client, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await connect(client, settings)
        yield Admin(client)
    finally:
        await client.close()
