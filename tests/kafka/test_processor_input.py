"""Whatever is written into the inputs, by anyone, or no longer written: the stream goes on, and nothing is granted by it."""

import secrets
import signal
from collections import Counter
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from b3iq_schemas.codes import Refusal, RouteRefusal
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, HEARTBEATS, INPUTS
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.kafka import Place, publisher
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.partition import ViewSettings
from tests.kafka.load import Load
from tests.kafka.network import TIMES, Network, Worker, until
from tests.kafka.poison import UNREACHABLE, Mixer, Poison
from tests.kafka.recount import finish, read_all
from tests.kafka.support import raised
from tests.kafka.witness import Witness
from tests.shells.router_lab import request

FLOOD = 20_000
GROWTH_MIB_MAX = 250
BOUND_MS = 3_000


async def swallow(network: Network, witness: Witness) -> list[tuple[Poison, int, int]]:
    """Write the good records and then every bad one; each bad one with the partition and offset where it stands."""
    mixer = Mixer(network.world, network.partitions, now_ms())
    placed = []
    async with publisher(network.settings) as out:
        for record in mixer.good():
            await out.publish([record])
            await witness.caught_up()
        for poison in mixer.all():
            at = await (await out.send(poison.topic, poison.key, poison.value, poison.partition))  # type: ignore[arg-type] # None, too
            placed.append((poison, at.partition, at.offset))
    return placed


async def test_poison_of_every_kind(network: Network) -> None:
    """Each bad record becomes a dead letter with its code and coordinates; the good ones between them are admitted."""
    async with Witness(network).watching() as witness:
        async with Load(network, nodes=8, scenario="healthy", junk=False).running():
            worker = network.worker()
            placed = await swallow(network, witness)
            await witness.progress()
        found = await finish(network, witness)
    assert set(Refusal) - UNREACHABLE == {poison.code for poison, _, _ in placed}
    letters = {place: codes for evidence in await read_all(network) for place, codes in evidence.letters.items()}
    wrong = [
        (poison.code, poison.topic, poison.value and poison.value[:60], told)
        for poison, partition, offset in placed
        if {poison.code.value} != (told := {letter["code"] for letter in letters.get((poison.topic, partition, offset), [])})
    ]
    assert [] == wrong
    assert Counter(poison.code.value for poison, _, _ in placed) == sum((Counter(part.refused) for part in found), Counter())
    assert 8 <= sum(part.eligible for part in found)
    assert [] == raised(worker.log)
    assert '"level": "error"' not in worker.log


def memory_mib(worker: Worker, what: str) -> int:
    """`VmRSS` now, or `VmHWM`, the most it ever was."""
    with open(f"/proc/{worker.process.pid}/status") as status:
        (line,) = (line for line in status if line.startswith(what))
    return int(line.split()[1]) // 1024


async def flood(network: Network) -> None:
    """Junk on every input, as fast as it goes: small and large; and forged changes on the chain."""
    small, large = secrets.token_bytes(1_000), secrets.token_bytes(50_000)
    async with AIOKafkaProducer(bootstrap_servers=network.settings.bootstrap, max_batch_size=60_000, linger_ms=5) as producer:
        for number in range(FLOOD):
            value = large if number % 40 == 0 else small
            await producer.send(INPUTS[number % len(INPUTS)], value, secrets.token_bytes(16))
        for number in range(FLOOD // 10):
            change = {"attempt": secrets.token_hex(16), "i": number, "refresh": False, "decision": small.hex()}
            await producer.send(ELIGIBILITY_CHANGES, orjson.dumps(change), b"node/p0")
        await producer.flush()


async def test_a_flood_of_junk_neither_stops_nor_fattens_it(network: Network) -> None:
    """20,000 bad records, every one with its letter; memory stays within the bounds of the inboxes; the good get through."""
    async with Witness(network).watching() as witness:
        async with Load(network, nodes=8, scenario="healthy").running():
            worker = network.worker()
            await witness.progress()
            before_mib = memory_mib(worker, "VmRSS")
            await flood(network)
            await witness.caught_up()
            grown_mib = memory_mib(worker, "VmHWM") - before_mib
        found = await finish(network, witness)
    assert FLOOD <= sum(part.refused["envelope_malformed"] for part in found)
    assert 8 <= sum(part.eligible for part in found)
    assert grown_mib < GROWTH_MIB_MAX


async def test_a_small_batch_that_unpacks_to_a_large_one_stays_out(network: Network) -> None:
    """The broker counts what a compressed batch unpacks to, so no bomb ever reaches a worker."""
    async with AIOKafkaProducer(
        bootstrap_servers=network.settings.bootstrap, compression_type="gzip", max_request_size=10**8, max_batch_size=10**8
    ) as producer:
        with pytest.raises(KafkaError):
            await producer.send_and_wait(HEARTBEATS, bytes(2 * 10**7), b"bomb")


class Seen(NamedTuple):
    """What a live router would dispatch to, per partition."""

    client: RouterClient
    load: Load

    def usable(self, partition: int) -> int:
        """How many profiles a caller whom nothing restricts could be sent to."""
        models = {profile["model_id"] for node in self.load.fleet.nodes for profile in node.profiles}
        view, at = self.client.view, (now_ms(), monotonic_ms())
        found = (item for model in models for item in view.candidates(request(model), *at))
        return sum(refusal is None and candidate.partition == partition for candidate, refusal in found)


def last_beat_ms(witness: Witness, partition: int) -> int:
    """When the last heartbeat of a partition was logged."""
    return witness.records[Place(HEARTBEATS, partition)][-1].timestamp_ms


async def test_an_input_that_falls_silent_closes_by_itself(network: Network) -> None:
    """One partition's heartbeats stop, then all, then the worker dies: each time the grants end within the stated bound."""
    load = Load(network, nodes=12, scenario="healthy", junk=False)
    async with Witness(network).watching() as witness:
        async with load.running(), RouterClient(network.settings, network.trust, ViewSettings(BOUND_MS)) as client:
            await fall_silent(network, witness, Seen(client, load))
        await finish(network, witness)
    await closed_by_time(network)


async def fall_silent(network: Network, witness: Witness, seen: Seen) -> None:
    """Heartbeats of one partition, then all, then the worker; after each the grants must be gone in time."""
    ttl_ms, slack_ms, load = TIMES["heartbeat_ttl_ms"], BOUND_MS + network.trust.skew_ms, seen.load
    worker = network.worker()
    await until(lambda: bool(seen.usable(0) and seen.usable(1)), "grants on both partitions")

    load.mute(Place(HEARTBEATS, 0))
    await until(lambda: not seen.usable(0), "the silent partition closed")
    assert now_ms() <= last_beat_ms(witness, 0) + ttl_ms + slack_ms
    assert seen.usable(1)
    load.mute(Place(HEARTBEATS, 1))
    await until(lambda: not seen.usable(1), "the other one closed")
    assert now_ms() <= last_beat_ms(witness, 1) + ttl_ms + slack_ms

    load.mute()
    await until(lambda: bool(seen.usable(0) and seen.usable(1)), "grants again")
    worker.signal(signal.SIGKILL)
    await worker.ends()
    load.mute(*(Place(HEARTBEATS, partition) for partition in range(network.partitions)))
    await until(lambda: not seen.usable(0) and not seen.usable(1), "a dead worker's grants closed")
    assert now_ms() <= max(head.resolved_at_ms for head in witness.heads) + slack_ms
    assert {RouteRefusal.PROCESSOR_LAG} == set(seen.client.view.states(now_ms(), monotonic_ms()))
    network.worker()
    await witness.progress(1)


async def closed_by_time(network: Network) -> None:
    """The chain says it, too: the last word on every profile is that its heartbeat is stale, since its last one ran out."""
    for evidence in await read_all(network):
        last: dict[str, Any] = {}
        for epoch in evidence.accepted:
            decisions = [orjson.loads(value)["decision"] for value in epoch.changes]
            last |= {f"{decision['node_id']}/{decision['profile_id']}": decision for decision in decisions}
        assert last
        ends_ms = evidence.inputs[HEARTBEATS][-1].timestamp_ms + TIMES["heartbeat_ttl_ms"]
        for decision in last.values():
            (failing,) = (item for item in decision["failing"] if item["code"] == "heartbeat_stale")
            assert failing["since_ms"] <= ends_ms
