"""A worker that cannot do its work says why in one line and ends; it never starts on topics that would break its promises."""

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from b3iq_schemas.topics import DEAD_LETTERS, ELIGIBILITY_CHANGES, HEARTBEATS, HOLDS, POLICIES, TOPICS
from b3iq_streams import kafka, keys
from b3iq_streams.world import TRUST_FILE, World
from tests.kafka.network import ROOT, Network
from tests.kafka.support import admin_client, create_topic

Spoil = Callable[[Network], Awaitable[None]]


def changed(topic: str, **settings: str) -> Spoil:
    """A topic with other settings."""

    async def spoil(network: Network) -> None:
        async with kafka.admin(network.settings) as admin:
            own = {name: value for name, (value, mine) in (await admin.configs([topic]))[topic].items() if mine}
            await admin.replace_configs(topic, own | {name.replace("_", "."): value for name, value in settings.items()})

    return spoil


def missing(topic: str) -> Spoil:
    """A topic less."""

    async def spoil(network: Network) -> None:
        async with admin_client(network.settings.bootstrap) as client:
            await client.delete_topics([topic])

    return spoil


def repartitioned(topic: str) -> Spoil:
    """A topic with one partition more than the others."""

    async def spoil(network: Network) -> None:
        await missing(topic)(network)
        config = {name.replace(".", "_"): value for name, value in TOPICS[topic].config.items()}
        await create_topic(network.settings.bootstrap, topic, partitions=network.partitions + 1, **config)

    return spoil


def run(bootstrap: str, world: Path, key: Path, *more: str) -> tuple[int, str]:
    """The command to its end: exit code and what it said."""
    options = {"--bootstrap": bootstrap, "--trust": world / TRUST_FILE, "--key": key, "--datadir": world.parent / "data"}
    command = [sys.executable, "-m", "b3iq_streams.cli", "processor", *(str(part) for pair in options.items() for part in pair)]
    done = subprocess.run([*command, *more], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert "" == done.stdout
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (changed(HEARTBEATS, message_timestamp_type="CreateTime"), "heartbeats: message.timestamp.type is CreateTime"),
        (changed(ELIGIBILITY_CHANGES, cleanup_policy="compact"), "cleanup.policy is compact, should be delete: compaction"),
        (changed(POLICIES, retention_ms="3600000"), "policies: retention.ms is 3600000, should be -1"),
        (missing(DEAD_LETTERS), "dead-letters: the topic is missing"),
        (repartitioned(HOLDS), "holds: partitions is 3, should be 2"),
    ],
    ids=["CreateTime", "compacted", "policies expire", "missing", "partitions"],
)
async def test_topics_that_break_promises_are_refused(network: Network, spoil: Spoil, said: str) -> None:
    """Exit code 2 and one line that names the topic and the setting."""
    await spoil(network)
    world = network.directory / "world"
    code, line = run(network.settings.bootstrap, world, world / "processor.json")
    assert (2, 1) == (code, len(line.splitlines())), line
    assert said in line


def test_no_broker_is_one_line(tmp_path: Path) -> None:
    """The address, how often it was tried, exit code 2."""
    world = tmp_path / "world"
    World.generate().save(world)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        code, line = run(address, world, world / "processor.json", "--wait", "1")
    assert (2, 1) == (code, len(line.splitlines())), line
    assert f"no Kafka broker answers at {address}" in line


async def test_a_key_that_no_policy_lists_is_refused(network: Network) -> None:
    """Nobody would believe its marks, so it ends before it says or does anything else, and takes no partitions from others."""
    world, stranger = network.directory / "world", network.directory / "stranger.json"
    keys.save(network.world.node_key("stranger"), stranger)
    code, said = run(network.settings.bootstrap, world, stranger, "--group", network.group)
    assert (2, 1) == (code, len(said.splitlines())), said
    assert "processor_key_not_listed" in said


@pytest.mark.parametrize(("host", "reason"), [("127.0.0.1", "Address already in use"), ("nosuch.invalid", "not known")])
async def test_a_web_address_that_cannot_be_had_is_one_line(network: Network, host: str, reason: str) -> None:
    """Found out before anything else, exit code 2."""
    world = network.directory / "world"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = run(network.settings.bootstrap, world, world / "processor.json", "--web-host", host, "--web-port", str(port))
    assert (2, 1) == (code, len(line.splitlines())), line
    assert f"cannot listen on {host}:{port}" in line
    assert reason in line
