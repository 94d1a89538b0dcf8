"""What operators do, on a real broker: make the topics, publish a policy, emit facts, and run the simulated fleet.

Topic names are fixed, so these tests need a broker of their own.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from b3iq_schemas.envelope import verify
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import BENCHMARKS, HEARTBEATS, HOLDS, INPUTS, POLICIES, REGISTRATIONS, ROUTE_HEALTH, TOPICS
from b3iq_streams import kafka as clients
from b3iq_streams import keys, topics_admin
from b3iq_streams.cli import run
from b3iq_streams.clock import now_ms
from b3iq_streams.core.admit import Scope
from b3iq_streams.core.records import LOG_APPEND_TIME, Record
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from b3iq_streams.devkafka import KafkaStartError, LocalKafka
from b3iq_streams.embedded import EmbeddedBroker
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Layout, Place
from b3iq_streams.keys import possession
from b3iq_streams.settings import KafkaSettings
from b3iq_streams.world import World, demo_policy, sign_policy
from tests.factory import benchmark_event, heartbeat_event, hold_event, registration_event, route_event
from tests.kafka.support import raised

PARTITIONS = 3
APPLY = ("topics", "apply", "--partitions", str(PARTITIONS), "--replication-factor", "1")


@pytest.fixture(scope="module")
def settings() -> Iterator[KafkaSettings]:
    """A broker of this module's own, empty at first."""
    local = LocalKafka()
    try:
        local.start()
    except KafkaStartError as error:
        pytest.fail(f"The tests need a Kafka broker and could not start one: {error}", pytrace=False)
    try:
        yield KafkaSettings(bootstrap=local.bootstrap)
    finally:
        local.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world and its directory."""
    directory = tmp_path_factory.mktemp("world") / "w"
    made = World.generate()
    made.save(directory)
    return made, directory


@pytest.fixture
def command(settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that names the broker, as in a container."""
    monkeypatch.setenv("B3IQ_BOOTSTRAP", settings.bootstrap)


async def alter(settings: KafkaSettings, topic: str, **changes: str) -> None:
    """Change settings of a topic behind the operators' back; the others stay."""
    async with clients.admin(settings) as admin:
        own = {key: value for key, (value, mine) in (await admin.configs([topic]))[topic].items() if mine}
        await admin.replace_configs(topic, own | {key.replace("_", "."): value for key, value in changes.items()})


async def everything(settings: KafkaSettings, topic: str) -> list[Record]:
    """All records of a topic."""
    async with clients.source(settings) as source:
        return await source.read(topic)


@pytest.mark.usefixtures("command")
class TestTopics:
    """`topics apply` and `topics check`, in this order on an empty broker."""

    def test_everything_is_missing_at_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`check` names each missing topic and exits with 1."""
        assert run(["topics", "check"]) == 1
        assert capsys.readouterr().out.count("the topic is missing") == len(TOPICS)

    def test_rules_need_a_broker_that_keeps_them(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without an authorizer `--acls` is refused in one line, and no topic is made that would be open to everybody."""
        assert run([*APPLY, "--acls"]) == 2
        out, error = capsys.readouterr()
        assert ("", 1) == (out, error.count("\n"))
        assert "No Authorizer is configured" in error
        assert run(["topics", "check"]) == 1
        assert capsys.readouterr().out.count("the topic is missing") == len(TOPICS)

    def test_apply_creates_and_then_has_nothing_to_do(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The first `apply` creates every topic, the second does nothing, and `check` is content."""
        assert run(APPLY) == 0
        assert capsys.readouterr().out.count("created ") == len(TOPICS)
        assert run(APPLY) == 0
        assert capsys.readouterr().out == "nothing to do\n"
        assert run(["topics", "check", "--partitions", str(PARTITIONS)]) == 0

    def test_other_partitions_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A topic is never repartitioned: `apply` refuses, `check` says so."""
        assert run(["topics", "apply", "--partitions", "5", "--replication-factor", "1"]) == 2
        assert "partitions is 3, should be 5" in capsys.readouterr().err
        assert run(["topics", "check", "--partitions", "5"]) == 1

    def test_too_many_replicas_are_one_line(self, settings: KafkaSettings) -> None:
        """What the broker itself refuses is told in a line."""

        async def create() -> None:
            async with clients.admin(settings) as admin:
                await admin.create("other", Layout(1, 3), {})

        with pytest.raises(clients.KafkaRefused, match="creating other"):
            asyncio.run(create())


@pytest.mark.usefixtures("command")
@pytest.mark.parametrize(
    ("topic", "changes", "said"),
    [
        (HEARTBEATS, {"message_timestamp_type": "CreateTime"}, "heartbeats: message.timestamp.type is CreateTime"),
        ("eligibility-changes", {"cleanup_policy": "compact"}, "compaction destroys history"),
        (HOLDS, {"retention_ms": "60000"}, "holds: retention.ms is 60000, should be -1"),
    ],
)
async def test_a_wrong_setting_is_named_and_corrected(
    topic: str, changes: dict[str, str], said: str, settings: KafkaSettings
) -> None:
    """`check` exits with 1 and names it; `apply` corrects it and leaves settings that are not ours alone."""
    program(settings, *APPLY)
    await alter(settings, topic, segment_ms="3600000", **changes)
    wrong = program(settings, "topics", "check")
    assert wrong.returncode == 1
    assert said in wrong.stdout
    assert wrong.stdout.count("\n") == 1
    async with clients.admin(settings) as admin:
        with pytest.raises(UserError, match="not as they must be") as refused:
            await topics_admin.require(admin)
    assert said in str(refused.value)
    assert program(settings, *APPLY).stdout.startswith(f"changed {topic}: ")
    assert program(settings, "topics", "check").returncode == 0
    async with clients.admin(settings) as admin:
        assert (await admin.configs([topic]))[topic]["segment.ms"] == ("3600000", True)


async def test_a_policy_reaches_every_partition(settings: KafkaSettings, world: tuple[World, Path], tmp_path: Path) -> None:
    """Signed by two roots in turn, published on each partition, shown as in force; a second time it is refused."""
    made, directory = world
    program(settings, *APPLY)
    plain, signed, trust = tmp_path / "policy.json", tmp_path / "signed.json", directory / "world.json"
    plain.write_bytes(orjson.dumps(demo_policy(made, now_ms()).model_dump(mode="json")))
    program(settings, "policy", "sign", str(plain), "--key", str(directory / "root-0.json"), "--out", str(signed))
    early = program(settings, "policy", "publish", str(signed), "--trust", str(trust))
    assert early.returncode == 2
    assert "threshold_unmet" in early.stderr
    assert program(settings, "policy", "show", "--trust", str(trust)).returncode == 1
    program(settings, "policy", "sign", str(signed), "--key", str(directory / "root-2.json"), "--out", str(signed))
    assert program(settings, "policy", "publish", str(signed), "--trust", str(trust)).returncode == 0
    records = await everything(settings, POLICIES)
    assert [(partition, b"1", signed.read_bytes()) for partition in range(PARTITIONS)] == sorted(
        (record.partition, record.key, record.value) for record in records
    )
    again = program(settings, "policy", "publish", str(signed), "--trust", str(trust))
    assert (again.returncode, "published already, on every partition" in again.stderr) == (2, True)
    shown = program(settings, "policy", "show", "--trust", str(trust))
    assert shown.returncode == 0
    assert "revision 1 is in force on every partition" in shown.stdout


async def test_what_is_emitted_is_admitted(settings: KafkaSettings, world: tuple[World, Path], tmp_path: Path) -> None:
    """One fact of each kind, from files and from a pipe, lands on its key's partition and makes the node eligible."""
    made, directory = world
    program(settings, *APPLY)
    for node_id in ("node-a", "node-b"):
        node_key = tmp_path / f"{node_id}.json"
        program(settings, "keys", "new", "--out", str(node_key))
        facts = emitted_facts(made, node_id, node_key)
        for kind, signer, event in facts:
            key = node_key if signer == "node" else directory / f"{signer}.json"
            done = program(settings, "emit", kind, "-", "--key", str(key), stdin=orjson.dumps(event) + b"\n")
            assert (done.returncode, done.stdout) == (0, "1 records sent\n")
        partition = partition_for(node_id.encode(), PARTITIONS)
        records: dict[str, list[Record]] = {name: [] for name in INPUTS}
        records[POLICIES] = [Record(POLICIES, partition, 0, b"1", sign_policy(made, demo_policy(made, now_ms())), now_ms())]
        for topic in (REGISTRATIONS, BENCHMARKS, ROUTE_HEALTH, HEARTBEATS, HOLDS):
            found = [record for record in await everything(settings, topic) if record.key == node_id.encode()]
            assert [(partition, LOG_APPEND_TIME)] == [(record.partition, record.timestamp_type) for record in found]
            records[topic] = found
        outcome = step(PartitionState(), Epoch(now_ms(), records), Scope(made.trust, partition, PARTITIONS), verify)
        assert outcome.refused == ()
        assert [change.eligible for change in outcome.changes] == [True]


def emitted_facts(world: World, node_id: str, node_key: Path) -> list[tuple[str, str, dict[str, object]]]:
    """Kind, signer and event of everything a node needs, without what `emit` fills in."""
    entry = possession(keys.load(node_key), world.network, node_id)
    mine = {"network": world.network, "node_id": node_id}
    facts: list[tuple[str, str, dict[str, object]]] = [
        ("registration", "control-plane", registration_event() | mine | {"keys": [entry]}),
        ("benchmark", "observer", benchmark_event() | mine),
        ("route-health", "broker", route_event() | mine),
        ("hold", "operator", hold_event() | mine | {"held": False}),
        ("heartbeat", "node", heartbeat_event() | mine),
    ]
    filled = {"sent_at_ms", "seq"}
    return [
        (
            kind,
            signer,
            {name: value for name, value in event.items() if name not in (filled if kind != "heartbeat" else {"sent_at_ms"})},
        )
        for kind, signer, event in facts
    ]


async def test_a_bad_line_ends_it(settings: KafkaSettings, world: tuple[World, Path], tmp_path: Path) -> None:
    """The lines before it are sent and counted, it is named by its number, and nothing after it is sent."""
    made, directory = world
    program(settings, *APPLY)
    good = {"network": made.network, "held": True, "reason": "r", "actor": "a"}
    lines = [orjson.dumps(good | {"node_id": f"line-{i}"}) for i in range(5)]
    lines[3] = b'{"network":'
    path = tmp_path / "holds.jsonl"
    path.write_bytes(b"\n".join(lines))
    done = program(settings, "emit", "hold", str(path), "--key", str(directory / "operator.json"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "line 4: not JSON" in done.stderr
    assert "(3 records were sent)" in done.stderr
    sent = sorted(record.key or b"" for record in await everything(settings, HOLDS))
    assert [b"line-0", b"line-1", b"line-2"] == [key for key in sent if key.startswith(b"line-")]


async def test_the_fleet_runs(settings: KafkaSettings, tmp_path: Path) -> None:
    """A new world makes its keys and its policy, and heartbeats of every node arrive in the broker's time."""
    program(settings, *APPLY)
    arguments = ("fleet", "--nodes", "6", "--seconds", "2", "--rate", "2")
    done = program(settings, *arguments, "--dev-world", str(tmp_path / "w"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "policy revision 1 published on 3 partitions" in done.stdout
    beats = [record for record in await everything(settings, HEARTBEATS) if (record.key or b"").startswith(b"node-")]
    assert {f"node-{i}".encode() for i in range(1, 7)} <= {record.key for record in beats}
    again = program(settings, *arguments, "--keys", str(tmp_path / "w"))
    assert "policy revision 1 is in force" in again.stdout


async def test_following_starts_where_it_is_told(settings: KafkaSettings) -> None:
    """A follower gets what was there and what comes; a position beyond the log is an error, not a jump."""
    program(settings, *APPLY)
    place = Place("dead-letters", 1)
    async with clients.publisher(settings) as publisher, clients.source(settings) as source:
        for value in (b"a", b"b", b"c"):
            await (await publisher.send("dead-letters", b"k", value, 1))
        end = (await source.end_offsets([place]))[place]
        seen: list[bytes | None] = []
        async for batch in source.follow({place: end - 2}):
            seen += [record.value for record in batch]
            if len(seen) == 2:
                await (await publisher.send("dead-letters", b"k", b"d", 1))
            if len(seen) >= 3:
                break
        assert [b"b", b"c", b"d"] == seen
        with pytest.raises(clients.OffsetGone):
            async for _ in source.follow({place: 10**6}):
                pass


async def test_sending_to_a_missing_topic_is_refused(settings: KafkaSettings) -> None:
    """A topic that does not exist is never created by sending to it."""
    async with clients.publisher(settings) as publisher:
        with pytest.raises(clients.KafkaRefused, match="does not exist"):
            await publisher.publish([("nowhere", b"k", b"v")])


async def test_a_refused_record_is_an_error(settings: KafkaSettings) -> None:
    """A delivery that the broker refuses is told, and what else was under way is still counted."""
    program(settings, *APPLY)
    async with clients.publisher(settings) as publisher:
        with pytest.raises(clients.KafkaRefused, match="1 of 2 records were not delivered"):
            await publisher.publish([(HEARTBEATS, b"k", bytes(70_000)), (HEARTBEATS, b"k", b"small")])


async def test_a_broker_that_went_away_is_told_in_time(private_kafka: LocalKafka) -> None:
    """A delivery that nobody acknowledges is an error within its time, and closing the publisher does not hang."""
    settings = KafkaSettings(bootstrap=private_kafka.bootstrap, delivery_s=1)
    program(settings, *APPLY)
    async with clients.publisher(settings) as publisher:
        await publisher.publish([(HOLDS, b"k", b"v")])
        private_kafka.kill()
        with pytest.raises(clients.KafkaRefused, match="not acknowledged within 1 s"):
            await publisher.publish([(HOLDS, b"k", b"v")])
    with pytest.raises(clients.BrokerUnavailable):
        async with clients.publisher(KafkaSettings(bootstrap=private_kafka.bootstrap, wait_s=0.5)):
            pass


def test_the_embedded_broker_is_checked_only_when_told_so() -> None:
    """A broker that cannot tell its settings passes with `--relaxed`, which says what was skipped, and not without."""
    with EmbeddedBroker(TOPICS) as broker:
        embedded = KafkaSettings(bootstrap=broker.bootstrap)
        strict = program(embedded, "topics", "check")
        assert (strict.returncode, strict.stderr.count("\n")) == (2, 1)
        assert "--relaxed" in strict.stderr
        relaxed = program(embedded, "topics", "check", "--relaxed")
        assert relaxed.returncode == 0
        assert "settings were not checked" in relaxed.stdout


def program(settings: KafkaSettings, *arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[str]":
    """Run the command line as a program of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "b3iq_streams.cli", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env={"B3IQ_BOOTSTRAP": settings.bootstrap, "PATH": "/usr/bin:/bin"},
    )
    told = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert [] == raised(told.stderr)
    return told
