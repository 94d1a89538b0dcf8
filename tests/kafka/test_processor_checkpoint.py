"""Somebody writes over the checkpoint while the worker is down: it is a cache, so the worker says so and rebuilds."""

import signal
from collections.abc import Callable, Mapping

import orjson
import pytest

from b3iq_streams import kafka
from b3iq_streams.core.image import HEAD_KEY
from b3iq_streams.core.records import Record
from b3iq_streams.processor.names import changelog
from tests.kafka.load import Load
from tests.kafka.network import Network
from tests.kafka.recount import contents, finish
from tests.kafka.witness import Witness

Written = list[tuple[bytes, bytes | None]]
Vandal = Callable[[list[Record]], Written]


def node_of(history: list[Record]) -> tuple[bytes, list[bytes]]:
    """The node whose record was written most often, and what was written."""
    found: dict[bytes, list[bytes]] = {}
    for record in history:
        if record.key != HEAD_KEY and record.value is not None:
            found.setdefault(record.key or b"", []).append(record.value)
    return max(found.items(), key=lambda item: len(item[1]))


def heads_of(history: list[Record]) -> list[bytes]:
    """Every head that was written."""
    return [record.value or b"" for record in history if record.key == HEAD_KEY]


def garbage_head(history: list[Record]) -> Written:
    """Bytes that are no head."""
    return [(HEAD_KEY, b"\x00\xff garbage")]


def strange_head(history: list[Record]) -> Written:
    """JSON that is no head."""
    return [(HEAD_KEY, orjson.dumps({"offset": 1}))]


def garbage_node(history: list[Record]) -> Written:
    """A record that is no node's state."""
    return [(node_of(history)[0], b"7 {not json")]


def node_without_epoch(history: list[Record]) -> Written:
    """A record without its epoch."""
    return [(node_of(history)[0], b"[]")]


def old_node(history: list[Record]) -> Written:
    """What a zombie wrote of the node long ago."""
    key, values = node_of(history)
    return [(key, values[0])]


def lost_node(history: list[Record]) -> Written:
    """A tombstone."""
    return [(node_of(history)[0], None)]


def granting_node(history: list[Record]) -> Written:
    """A state that grants whatever it says, as of the same epoch."""
    tampered = {
        record.key or b"": record.value.replace(b'eligible\\":false', b'eligible\\":true').replace(b"false", b"true")
        for record in history
        if record.key != HEAD_KEY and record.value is not None
    }
    return list(tampered.items())


def invented_head(history: list[Record]) -> Written:
    """A head that never stood in the log."""
    offset, epoch, _, rules = orjson.loads(heads_of(history)[-1])
    return [(HEAD_KEY, orjson.dumps([offset, epoch, "ab" * 32, rules]))]


UNREADABLE: Mapping[Vandal, str] = {
    garbage_head: "checkpoint_unreadable",
    strange_head: "checkpoint_unreadable",
    garbage_node: "checkpoint_unreadable",
    node_without_epoch: "checkpoint_unreadable",
}
UNTRUE: Mapping[Vandal, str] = {
    old_node: "checkpoint_void",
    lost_node: "checkpoint_void",
    granting_node: "checkpoint_void",
    invented_head: "checkpoint_head_not_in_log",
}


async def vandalize(network: Network, vandals: list[Vandal]) -> None:
    """Let each of them write into one partition."""
    topic = changelog(network.group)
    stored = await contents(network, [topic])
    async with kafka.publisher(network.settings) as publisher:
        for partition, vandal in enumerate(vandals):
            for key, value in vandal(stored[topic, partition]):
                await (await publisher.send(topic, key, value, partition))  # type: ignore[arg-type] # None: a tombstone


@pytest.mark.parametrize("network", [4], indirect=True)
@pytest.mark.parametrize("damage", [UNREADABLE, UNTRUE], ids=["unreadable", "untrue"])
async def test_a_checkpoint_that_is_wrong_is_rebuilt_loudly(network: Network, damage: Mapping[Vandal, str]) -> None:
    """One kind of damage per partition: each raises its alarm, and what is told afterwards is what would have been told."""
    async with Witness(network).watching() as witness:
        async with Load(network).running():
            first = network.worker()
            await witness.progress(12)
            first.signal(signal.SIGKILL)
            await first.ends()
            await vandalize(network, list(damage))
            second = network.worker()
            await witness.progress()
        await finish(network, witness)
    for partition, (vandal, code) in enumerate(damage.items()):
        assert f"partition {partition}: {code}" in second.log, f"{vandal.__name__}: {second.log}"


@pytest.mark.parametrize("network", [3], indirect=True)
async def test_an_older_checkpoint_over_a_newer_one(network: Network) -> None:
    """A zombie's whole checkpoint, its head alone, or its nodes and a torn end: late, and nothing is lost."""

    def older(history: list[Record]) -> Written:
        middle = [i for i, record in enumerate(history) if record.key == HEAD_KEY][1]
        return [(record.key or b"", record.value) for record in history[: middle + 1]]

    def older_head(history: list[Record]) -> Written:
        return [(HEAD_KEY, heads_of(history)[1])]

    def older_nodes(history: list[Record]) -> Written:
        return [item for item in older(history) if item[0] != HEAD_KEY]

    async with Witness(network).watching() as witness:
        async with Load(network).running():
            first = network.worker()
            await witness.progress(12)
            first.signal(signal.SIGKILL)
            await first.ends()
            await vandalize(network, [older, older_head, older_nodes])
            network.worker()
            await witness.progress()
        await finish(network, witness)
