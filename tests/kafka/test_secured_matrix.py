"""Who may do what on a secured cluster, found out by doing it: every principal, every topic, every operation.

The table below is written by hand, not drawn from the product's. librdkafka does what is asked, so that neither the access
rules nor a client of the product can hide what a broker says.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from b3iq_schemas.topics import PRINCIPALS, TOPICS, Principal
from b3iq_streams import acls, kafka
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.settings import KafkaSettings
from tests.kafka.secured import Cluster

PATIENCE_S = 30
COLUMNS = ("policies", "registrations", "holds", "benchmarks", "route-health", "heartbeats", "eligibility-changes",
           "routing-decisions", "dead-letters", "b3iq-processor-checkpoint-changelog")  # fmt: skip
# W write, R read, D describe, C create, S read settings, A alter settings,
# P add partitions, T truncate, X delete, - nothing
MATRIX: Mapping[Principal, str] = {
    "root":          "WRD  -    -    -    -    -    -     -    -    -",
    "control-plane": "-    WD   -    -    -    -    -     -    -    -",
    "operator":      "-    -    WD   -    -    -    -     -    -    -",
    "observer":      "-    -    -    WD   -    -    -     -    -    -",
    "broker":        "-    -    -    -    WD   -    -     -    -    -",
    "node":          "-    -    -    -    -    WD   -     -    -    -",
    "processor":     "RDS  RDS  RDS  RDS  RDS  RDS  WRDS  DS   WDS  WRDS",
    "router":        "RD   -    -    -    -    -    RD    WD   -    -",
    "catalog":       "RD   -    -    -    -    -    RD    -    -    -",
    "auditor":       "RD   RD   RD   RD   RD   RD   RD    RD   RD   -",
    "admin":         "DCSA DCSA DCSA DCSA DCSA DCSA DCSA  DCSA DCSA DCSA",
}  # fmt: skip
DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)  # fmt: skip
Verdicts = dict[str, bool]


def allowed(error: KafkaError | None) -> bool:
    """What a broker's answer says about access; anything that is neither success nor a denial is a failure of the test."""
    assert error is None or error.code() in (*DENIED, KafkaError.TOPIC_ALREADY_EXISTS), error
    return error is None or error.code() not in DENIED


def answers(futures: Mapping[Any, "Future[Any]"], name: Callable[[Any], str]) -> Verdicts:
    """The verdict of each request of an administrator's client."""
    found = {}
    for of, future in futures.items():
        error: KafkaError | None = None
        try:
            future.result(PATIENCE_S)
        except KafkaException as failed:
            error = failed.args[0]
        found[name(of)] = allowed(error)
    return found


def write(settings: dict[str, Any]) -> Verdicts:
    """Append a record to each topic."""
    found: Verdicts = {}

    def delivered(error: KafkaError | None, message: Message) -> None:
        found[str(message.topic())] = allowed(error)

    producer = Producer(settings | {"acks": "all", "message.timeout.ms": PATIENCE_S * 1_000})
    for name in TOPICS:
        producer.produce(name, b"v", b"k", partition=0, on_delivery=delivered)
    assert producer.flush(PATIENCE_S) == 0
    return found


def read(settings: dict[str, Any], seen: Verdicts) -> Verdicts:
    """Fetch the first record of each topic that can be seen: whoever may read one may see it, says Kafka."""
    found = {name: False for name, visible in seen.items() if not visible}
    if len(found) == len(TOPICS):
        return found
    consumer = Consumer(settings | {"group.id": "no-group", "enable.auto.commit": False})
    consumer.assign([TopicPartition(name, 0, 0) for name in TOPICS if name not in found])
    until_ms = monotonic_ms() + PATIENCE_S * 1_000
    while len(found) < len(TOPICS) and monotonic_ms() < until_ms:
        for message in consumer.consume(100, timeout=0.2):
            if message.topic() is not None:  # else it is about the group, which librdkafka looks up and nobody here needs
                found.setdefault(str(message.topic()), allowed(message.error()))
    consumer.close()
    return found


def administer(settings: dict[str, Any]) -> dict[str, Verdicts]:
    """What an administrator's client can ask for, by letter; what may be truncated is among what can be seen, says Kafka."""
    admin, names = AdminClient(settings), list(TOPICS)
    change = ConfigEntry("segment.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    changes = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[change]) for name in names]
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    seen = answers(admin.describe_topics(TopicCollection(names)), str)
    ends = [TopicPartition(name, 0, 1) for name, visible in seen.items() if visible]
    truncated = answers(admin.delete_records(ends), lambda place: str(place.topic)) if ends else {}
    return {
        "D": seen,
        "C": answers(admin.create_topics([NewTopic(name, 1, 3) for name in names], validate_only=True), str),
        "S": answers(admin.describe_configs(resources), lambda resource: str(resource.name)),
        "A": answers(admin.incremental_alter_configs(changes, validate_only=True), lambda resource: str(resource.name)),
        "P": answers(admin.create_partitions([NewPartitions(name, 2) for name in names], validate_only=True), str),
        "T": dict.fromkeys(names, False) | truncated,
        "X": answers(admin.delete_topics(names, operation_timeout=PATIENCE_S), str),
    }


def does(connection: KafkaSettings) -> str:
    """What whoever connects so turns out to be allowed, as the table writes it."""
    settings = connection.librdkafka | {"log_level": 0}
    found = {"W": write(settings), **administer(settings)}
    found["R"] = read(settings, found["D"])
    assert {len(TOPICS)} == {len(verdicts) for verdicts in found.values()}
    return " ".join("".join(letter for letter in "WRDCSAXPT" if found[letter][name]) or "-" for name in COLUMNS)


def test_the_table_is_whole() -> None:
    """Every principal has a row and every topic a column."""
    assert set(PRINCIPALS) == set(MATRIX)
    assert list(TOPICS) == list(COLUMNS)


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_a_principal_may_do_what_the_table_says(prepared: Cluster, principal: Principal) -> None:
    """Each operation on each topic, with the principal's own password, is allowed or denied exactly as written."""
    assert " ".join(MATRIX[principal].split()) == does(prepared.settings(principal))


@pytest.mark.parametrize("name", TOPICS)
async def test_the_writer_of_a_topic_publishes(prepared: Cluster, name: str) -> None:
    """The product's idempotent producer needs no more than that its role may write."""
    async with kafka.publisher(prepared.settings(TOPICS[name].writer)) as publisher:
        (placed,) = await publisher.publish([(name, b"k", b"v")])
    assert placed.offset > 0


async def test_rules_are_made_once_and_excess_is_told(prepared: Cluster) -> None:
    """A second run has nothing to do; a rule that gives a role more is named, and left to whoever made it."""
    async with kafka.admin(prepared.settings("admin")) as admin:
        assert [] == await acls.apply(admin, acls.names())
        excess = kafka.Acl("User:node", "topic", "eligibility-changes", "Describe")
        await admin.create_acl(excess)
        try:
            assert [f"not in the table, and left as it is: {excess}"] == await acls.apply(admin, acls.names())
        finally:
            _remove(prepared, excess)
        assert [] == await acls.apply(admin, acls.names())


def _remove(prepared: Cluster, rule: kafka.Acl) -> None:
    on = (ResourceType.TOPIC, rule.name, ResourcePatternType.LITERAL, rule.principal, "*")
    exactly = AclBindingFilter(*on, AclOperation[rule.operation.upper()], AclPermissionType.ALLOW)
    admin = AdminClient(prepared.settings().librdkafka)
    for future in admin.delete_acls([exactly]).values():
        future.result(PATIENCE_S)
