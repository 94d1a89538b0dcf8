"""The agent's life: what it sends in which order, through which failures, and that nothing local is ever in it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from nacl.signing import SigningKey

from b3iq_schemas.envelope import parse
from b3iq_schemas.events import PROFILES_MAX, Heartbeat
from b3iq_schemas.ids import INT_MAX
from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams import keys
from b3iq_streams.clock import now_ms
from b3iq_streams.emit import Emission, from_event
from b3iq_streams.kafka import BATCH_BYTES_MAX, BrokerUnavailable, KafkaRefused, NotAdmitted
from b3iq_streams.node import agent as agents
from b3iq_streams.node import inventory as inventories
from b3iq_streams.node import sequence as sequences
from b3iq_streams.node.agent import Agent, Pace
from b3iq_streams.node.beat import compose
from b3iq_streams.node.identity import Identity
from b3iq_streams.node.link import Link
from b3iq_streams.node.pace import Backoff
from b3iq_streams.node.probe import Observed
from b3iq_streams.node.sequence import Place, Sequence
from b3iq_streams.security import SecurityError
from b3iq_streams.settings import KafkaSettings
from tests.node.runtimes import VLLM, Answer, Served, inventory_text, serving

RECORD_OVERHEAD_BYTES = 200
"""More than a batch of one record adds to its key and value."""


class World:
    """An agent with a stand-in runtime, on a broker that does as it is told."""

    def __init__(self, directory: Path, runtime: Served) -> None:
        self.directory, self.runtime = directory, runtime
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        self.sent: list[Emission] = []
        self.tries = 0
        self.refuses: Callable[[str], Exception | None] = lambda state: None
        self.then: Callable[[Heartbeat], Awaitable[None]] = self.nothing
        self.begins: list[Exception] = []
        self.file = directory / "sequence.json"
        keys.save(SigningKey.generate(), directory / "k.json")
        token = directory / "token"
        token.touch(0o600)
        token.write_text("s3cret-token")
        (directory / "i.toml").write_text(
            inventory_text(runtime.url, served_as="local-alias", more=f'token_file = "{token}"', profile_id="p0")
        )

    async def nothing(self, beat: Heartbeat) -> None:
        """What happens after a heartbeat unless told otherwise."""

    async def send(self, emission: Emission) -> str | None:
        """In the place of `Link.send`: checks that the number is on disk, whatever becomes of the heartbeat."""
        self.tries += 1
        beat = beat_in(emission)
        kept = orjson.loads(self.file.read_bytes())
        assert (beat.boot, beat.seq) <= (kept["boot"], kept["reserved"]), "sent before it was written down"
        self.sent.append(emission)
        if error := self.refuses(beat.state):
            raise error
        await self.then(beat)
        return None

    @asynccontextmanager
    async def source(self, *_: object, **__: object) -> AsyncIterator[None]:
        """In the place of a reader of the log."""
        if self.begins:
            raise self.begins.pop(0)
        yield None

    async def run(self, drain_s: float = 0.05, probe_timeout_s: float = 1) -> bool:
        """The agent's whole life."""
        inventory = inventories.load(self.directory / "i.toml")
        sequence = Sequence(self.file, inventory.network, inventory.node_id)
        pace = Pace(0.02, drain_s, probe_timeout_s)
        agent = Agent(inventory, Identity(self.directory / "k.json"), sequence, pace, KafkaSettings(bootstrap="127.0.0.1:9"))
        return await agent.run(self.stop, self.hurry)

    @property
    def beats(self) -> list[Heartbeat]:
        """What was sent, acknowledged or not."""
        return [beat_in(emission) for emission in self.sent]

    @property
    def states(self) -> list[str]:
        """The states in order, each run of equal ones once."""
        states = [beat.state for beat in self.beats]
        return [state for i, state in enumerate(states) if i == 0 or states[i - 1] != state]

    def stop_after(self, count: int) -> None:
        """Ask the agent to end when it has sent so many."""

        async def then(beat: Heartbeat) -> None:
            if beat.state == "online" and len(self.sent) >= count:
                asyncio.get_running_loop().call_soon(self.stop.set)

        self.then = then


def beat_in(emission: Emission) -> Heartbeat:
    """The heartbeat in a record."""
    return Heartbeat.model_validate_json(parse(emission.value).payload)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An agent, and everything it lives with."""
    models: dict[str, Any] = {"object": "list", "data": [{"id": "local-alias", "max_model_len": 4_096}]}
    with serving(VLLM | {"/v1/models": Answer(orjson.dumps(models))}) as runtime:
        world = World(tmp_path, runtime)

        async def highest(*_: object) -> int | None:
            return None

        async def send(_: object, emission: Emission) -> str | None:
            return await world.send(emission)

        monkeypatch.setattr(sequences, "BLOCK", 1)
        monkeypatch.setattr(Link, "send", send)
        monkeypatch.setattr(agents, "source", world.source)
        monkeypatch.setattr(agents, "highest_boot", highest)
        monkeypatch.setattr(agents, "registered_since_ms", highest)
        monkeypatch.setattr(Backoff, "next", lambda _: 0.0)
        yield world


async def test_online_draining_offline(world: World) -> None:
    """Asked to end it says `draining`, then `offline` once, and every heartbeat has a number of its own, in order."""
    world.stop_after(3)
    assert await world.run()
    assert ["online", "draining", "offline"] == world.states
    places = [(beat.boot, beat.seq) for beat in world.beats]
    assert sorted(set(places)) == places
    assert 1 == [beat.state for beat in world.beats].count("offline")


async def test_nothing_local_is_ever_sent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whether its runtime answers, hangs, redirects or is gone: no address, port, path, token, local name or reason is in
    the bytes of any record, and the runtime's token is not in the log."""
    caplog.set_level(logging.DEBUG)
    bad = [Answer(b"", 302, {"Location": world.runtime.url}), Answer(b"<html>"), Answer(b"", 500), Answer(b"{}", delay_s=30)]

    async def then(beat: Heartbeat) -> None:
        if "installed" not in {sent.profiles[0].status for sent in world.beats}:
            return  # a busy machine may need more than one probe to hear its runtime in time
        if bad:
            world.runtime.answers["/version"] = bad.pop()
        elif beat.state == "online":
            asyncio.get_running_loop().call_soon(world.stop.set)

    world.then = then
    await world.run(probe_timeout_s=0.3)
    statuses = {beat.profiles[0].status for beat in world.beats}
    assert {"installed", "runtime_missing"} == statuses
    port = world.runtime.url.rpartition(":")[2]
    private = ("127.0.0.1", port, "http", "local-alias", "s3cret", str(world.directory), "/v1", "redirect", "answer", "main")
    for emission in world.sent:
        said = emission.key + parse(emission.value).payload
        assert [] == [word for word in private if word.encode() in said.replace(str(beat_in(emission).sent_at_ms).encode(), b"")]
    assert "s3cret" not in caplog.text
    assert bytes(keys.load(world.directory / "k.json")).hex() not in caplog.text


async def test_a_failed_delivery_is_followed_by_a_new_number(world: World) -> None:
    """What was not acknowledged is never sent again: each try has its own number, without end."""
    world.refuses = lambda state: KafkaRefused("not acknowledged") if world.tries <= 50 else None
    world.stop_after(53)
    assert await world.run()
    places = [(beat.boot, beat.seq) for beat in world.beats]
    assert sorted(set(places)) == places
    assert len(places) > 53


async def test_a_hanging_runtime_delays_no_goodbye(world: World) -> None:
    """A runtime that ends together with its agent keeps it from saying neither `draining` nor `offline`."""

    async def then(beat: Heartbeat) -> None:
        if beat.state == "online":
            world.runtime.answers["/version"] = Answer(b"", delay_s=30)
            asyncio.get_running_loop().call_later(0.1, world.stop.set)

    world.then = then
    async with asyncio.timeout(10):
        assert await world.run(probe_timeout_s=60)
    assert ["online", "draining", "offline"] == world.states


async def test_a_second_signal_skips_the_draining(world: World) -> None:
    """An hour of draining ends at once, and `offline` is still said."""

    async def then(beat: Heartbeat) -> None:
        (world.hurry if beat.state == "draining" else world.stop).set()

    world.then = then
    async with asyncio.timeout(10):
        assert await world.run(drain_s=3_600)
    assert "offline" == world.states[-1]


@pytest.mark.parametrize("hurried", [False, True])
async def test_a_goodbye_that_nobody_takes_is_bounded(hurried: bool, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent ends in time and says that it did not get through, sooner if a second signal comes in the middle of it."""
    monkeypatch.setattr(agents, "GOODBYE_S", 3_600 if hurried else 0.1)
    monkeypatch.setattr(agents, "HURRIED_S", 0.1)

    async def then(beat: Heartbeat) -> None:
        world.stop.set()
        if beat.state == "offline":
            asyncio.get_running_loop().call_soon(world.hurry.set)
            await asyncio.sleep(3_600)

    world.then = then
    async with asyncio.timeout(10):
        assert not await world.run(drain_s=0)


async def test_only_what_is_wrong_from_the_start_ends_it(world: World) -> None:
    """No broker at the start, and any refusal later, are waited out, a certificate that is just being replaced as well; a wrong
    password or certificate at the start is told at once."""
    later = {2: NotAdmitted("wrong password"), 3: SecurityError("not the key of the certificate")}
    world.begins = [BrokerUnavailable("no Kafka broker answers")]
    world.refuses = lambda state: later.get(world.tries)
    world.stop_after(5)
    assert await world.run()
    for error in later.values():
        world.begins = [error]
        with pytest.raises(type(error)):
            await world.run()


@pytest.mark.parametrize("kept", [False, True])
async def test_an_agent_that_may_not_read_goes_by_its_file(kept: bool, world: World) -> None:
    """Access rules that let it only write do not keep it from speaking; it leaves boots out, or begins with the time."""
    error = KafkaRefused("reading: not allowed")
    error.__cause__ = TopicAuthorizationFailedError()
    if kept:
        world.file.write_bytes(orjson.dumps({"network": "testnet", "node_id": "node-1", "boot": 7, "reserved": 64}))
    world.begins = [error]
    world.stop_after(1)
    before_s = now_ms() // 1_000
    assert await world.run()
    boot = world.beats[0].boot
    assert boot == 7 + sequences.UNSEEN_BOOTS if kept else boot >= before_s


async def test_asked_to_end_before_it_began(world: World) -> None:
    """An agent that has said nothing yet has nothing to take back."""
    world.stop.set()
    assert await world.run()
    assert [] == world.sent


def test_the_largest_heartbeat_fits_a_batch() -> None:
    """Whatever inventory is accepted, its heartbeats are no larger than the topic and the producer's batches allow."""
    offer = inventories.Offer(
        profile_id="p" * 64, model_id="m" * 128, runtime="main", route_tier="t" * 48, network_eligible=False,
        benchmark_verified=False, paid_route_eligible=False, price_wei_per_mtok="9" * 78, context_tokens_max=INT_MAX,
    )  # fmt: skip
    offers = tuple(offer.model_copy(update={"profile_id": f"{i:064}"}) for i in range(PROFILES_MAX))
    runtime = inventories.Runtime(kind="ollama", url="http://127.0.0.1:9")
    largest = inventories.Inventory(network="n" * 32, node_id="n" * 64, runtimes={"main": runtime}, profiles=offers)
    seen = Observed("hardware_unsupported", False, "unhealthy", INT_MAX, "")
    beat = compose(largest, {o.profile_id: seen for o in offers}, Place(INT_MAX, INT_MAX), "draining", INT_MAX)
    emission = from_event(HEARTBEATS, beat, SigningKey.generate())
    assert len(emission.key) + len(emission.value) + RECORD_OVERHEAD_BYTES < BATCH_BYTES_MAX
