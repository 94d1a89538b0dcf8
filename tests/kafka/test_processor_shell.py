"""The processor's shell on a real Kafka, with a stub owner that counts records per key."""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from b3iq_schemas.topics import DEAD_LETTERS, HEARTBEATS, HOLDS
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.devkafka import LocalKafka
from b3iq_streams.processor.guard import EXIT_CODE
from b3iq_streams.processor.names import TABLE, changelog
from tests.kafka.shell_support import (
    PARTITIONS,
    ROOT,
    WorkerProcess,
    committed,
    contents,
    create_topics,
    fetch,
    publish,
    wait_for,
)

Start = Callable[..., WorkerProcess]


@pytest.fixture(scope="module")
def broker() -> Iterator[LocalKafka]:
    """A broker of this module's own: topic names are fixed, and a worker owns all of them."""
    with LocalKafka() as local:
        yield local


@pytest.fixture
async def group(broker: LocalKafka) -> str:
    """A group with its changelog; whatever earlier tests left in the chain is the past it has to fold."""
    name = f"shell-{secrets.token_hex(4)}"
    await create_topics(broker.bootstrap, name)
    return name


@pytest.fixture
async def start(broker: LocalKafka, group: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Start workers of the group; none survives the test."""
    workers: list[WorkerProcess] = []

    def begin(**options: Any) -> WorkerProcess:
        worker = WorkerProcess.start(broker.bootstrap, group, tmp_path / f"worker-{len(workers)}", **options)
        workers.append(worker)
        return worker

    yield begin
    for worker in workers:
        worker.end()


def keys(count: int) -> list[str]:
    """Keys that no other test uses."""
    tag = secrets.token_hex(4)
    return [f"{tag}-{number}" for number in range(count)]


def look_into(value: bytes | None) -> Any:
    """A node record's state."""
    return json.loads((value or b"").partition(b" ")[2])


async def counted(bootstrap: str, group: str) -> Counter[str]:
    """What the group's checkpoint says was counted."""
    found = await contents(bootstrap, changelog(group))
    return Counter({key: look_into(values[-1])["count"] for key, values in found.items() if not key.startswith("~")})


async def test_folds_everything_and_commits_when_told_to_stop(broker: LocalKafka, group: str, start: Start) -> None:
    """Every record of every topic is folded once; SIGTERM finishes, checkpoints, commits, and exits with 0."""
    names = keys(50)
    await publish(broker.bootstrap, [(name, b"x") for name in names for _ in range(4)])
    worker = start()
    worker.wait_live(PARTITIONS)
    await publish(broker.bootstrap, [(name, b"x") for name in names], topic=HOLDS)
    await publish(broker.bootstrap, [(names[0], b"poison")])
    wait_for(lambda: sum(int(item["detail"]) for item in worker.of("folded")) >= 251, "all records folded")
    worker.signal(signal.SIGTERM)
    assert worker.exit_code() == 0

    got = await counted(broker.bootstrap, group)
    assert {name: got[name] for name in names} == {name: 5 + (name == names[0]) for name in names}
    assert b"poison" in (await contents(broker.bootstrap, DEAD_LETTERS))[names[0]]
    offsets = await committed(broker.bootstrap, group, HEARTBEATS)
    cuts = [json.loads(value or b"{}") for value in (await contents(broker.bootstrap, changelog(group)))["~head"]]
    assert set(offsets) == set(range(PARTITIONS))
    assert all(any(cut["cut"][HEARTBEATS] == offset for cut in cuts) for offset in offsets.values())


async def test_a_kill_loses_nothing_and_the_checkpoint_comes_back(broker: LocalKafka, group: str, start: Start) -> None:
    """After SIGKILL the image is restored, the tail of the chain re-folded, and no record counts twice."""
    names = keys(100)
    first = start(instance="static-1", session_timeout_ms=10_000, idle_epoch_ms=200)
    first.wait_live(PARTITIONS)
    await publish(broker.bootstrap, [(name, b"x") for name in names])
    wait_for(lambda: len(first.of("checkpoint")) > 3 * PARTITIONS, "checkpoints")
    first.signal(signal.SIGKILL)
    first.exit_code()
    await publish(broker.bootstrap, [(name, b"x") for name in names])

    killed_at_ms = monotonic_ms()
    second = start(instance="static-1", session_timeout_ms=10_000)
    second.wait_live(PARTITIONS)
    assert monotonic_ms() - killed_at_ms < 8_000
    assert all(not item["detail"].startswith("0 ") for item in second.of("restored"))
    second.signal(signal.SIGTERM)
    assert second.exit_code() == 0
    got = await counted(broker.bootstrap, group)
    assert {name: got[name] for name in names} == dict.fromkeys(names, 2)


async def test_two_workers_share_and_take_over(broker: LocalKafka, group: str, start: Start) -> None:
    """Partitions move when a worker joins, leaves, or dies; nothing is lost or counted twice on the way."""
    names = keys(100)
    sent = 0

    async def publish_round() -> None:
        nonlocal sent
        await publish(broker.bootstrap, [(name, b"x") for name in names])
        sent += 1

    first = start()
    first.wait_live(PARTITIONS)
    await publish_round()
    second = start()
    wait_for(lambda: len(first.partitions()) == 2 and len(second.partitions()) == 2, "two partitions each")
    assert first.partitions() | second.partitions() == set(range(PARTITIONS))
    await publish_round()
    second.signal(signal.SIGTERM)
    assert second.exit_code() == 0
    first.wait_live(PARTITIONS)
    await publish_round()
    third = start()
    wait_for(lambda: len(first.partitions()) == 2 and len(third.partitions()) == 2, "two partitions each, again")
    first.signal(signal.SIGKILL)
    await publish_round()
    third.wait_live(PARTITIONS)
    third.signal(signal.SIGTERM)
    assert third.exit_code() == 0
    got = await counted(broker.bootstrap, group)
    assert {name: got[name] for name in names} == dict.fromkeys(names, sent)


async def test_a_zombie_is_refused_and_exits(broker: LocalKafka, group: str, start: Start) -> None:
    """A worker that was stopped until its partitions moved finds out by its refused commit, and ends."""
    names = keys(40)
    zombie = start()
    zombie.wait_live(PARTITIONS)
    zombie.signal(signal.SIGSTOP)
    heir = start()
    heir.wait_live(PARTITIONS)
    await publish(broker.bootstrap, [(name, b"x") for name in names])
    zombie.signal(signal.SIGCONT)
    assert zombie.exit_code() == EXIT_CODE
    heir.wait_live(PARTITIONS)
    heir.signal(signal.SIGTERM)
    assert heir.exit_code() == 0
    got = await counted(broker.bootstrap, group)
    assert {name: got[name] for name in names} == dict.fromkeys(names, 1)


async def test_table_and_router_answer_on_every_worker(broker: LocalKafka, group: str, start: Start) -> None:
    """A key of any partition can be looked up on any worker, which routes to the owner."""
    names = keys(40)
    first, second = start(web_port=17_301), start(web_port=17_302)
    wait_for(lambda: len(first.partitions()) == 2 and len(second.partitions()) == 2, "two partitions each")
    await publish(broker.bootstrap, [(name, b"x") for name in names])

    def look(port: int, name: str) -> Any:
        try:
            return fetch(f"http://127.0.0.1:{port}/table/{TABLE}/{name}/")[1]
        except HTTPError:
            return {"state": None}

    def complete(port: int) -> bool:
        return all(look(port, name)["state"] == {"count": 1} for name in names)

    await asyncio.to_thread(wait_for, lambda: complete(17_301) and complete(17_302), "every key on every worker")
    owners = {fetch(f"http://127.0.0.1:17301/router/{TABLE}/{name}/")[1] for name in names}
    assert owners == {"http://127.0.0.1:17301", "http://127.0.0.1:17302"}


@pytest.mark.parametrize("fault", ["crash", "hang"])
async def test_anything_unexpected_ends_the_process(broker: LocalKafka, group: str, start: Start, fault: str) -> None:
    """An exception in the owner, or an owner that does not come back: exit without a commit."""
    (name,) = keys(1)
    worker = start(stall_ms=3_000)
    worker.wait_live(PARTITIONS)
    await publish(broker.bootstrap, [(name, f"{fault} {worker.process.pid}".encode())])
    assert worker.exit_code() == EXIT_CODE
    assert worker.of("released") == []


def test_fausts_command_line_knows_agent_and_table() -> None:
    """`faust agents` and `faust tables` work on the app."""
    for command, wanted in (("agents", "owner"), ("tables", TABLE)):
        run = [sys.executable, "-m", "faust", "-A", "tests.kafka.shell_app", command]
        shown = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
        assert wanted in shown.stdout, shown.stderr
