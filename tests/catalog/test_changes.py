"""The stream of changes: nothing is lost or told twice, or the reader is told to look again; bounded, however slow one is."""

import asyncio
import random
from typing import Any

import orjson
import pytest

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.catalog.hub import HubSettings
from b3iq_streams.catalog.live import LiveSettings
from b3iq_streams.catalog.positions import Place, decode, encode
from b3iq_streams.catalog.stream import EventStream
from tests.catalog.lab import CatalogLab, ready
from tests.catalog.reading import Event, Reading, reading
from tests.chainlab import ChainLab, decision
from tests.factory import T0
from tests.shells.router_lab import BOUND_MS, drive


def bounded(**bounds: Any) -> LiveSettings:
    """Small bounds, so that they are met."""
    return LiveSettings(HubSettings(**bounds))


def flip(lab: CatalogLab, *names: str, eligible: bool = True, partition: int = 0) -> None:
    """One epoch that changes these profiles."""
    lab.epoch(*(decision(name, eligible) for name in names), partition=partition)


async def changes(reader: Reading, count: int) -> list[Event]:
    """The next changes."""
    return [await reader.next_of("change", "reset", "lagged") for _ in range(count)]


def told(events: list[Event]) -> list[tuple[str, str]]:
    """Who and what."""
    return [(event.data["node_id"], event.data["what"]) for event in events]


async def test_a_change_as_it_happens() -> None:
    """Every field of the contract, and the position after it."""
    lab = ready(2)
    async with reading(lab.app) as reader:
        status = await reader.next()
        assert ("status", "0-1,1-1", True) == (status.name, status.id, status.data["ready"])
        assert "partitions" not in status.data
        flip(lab, "a/p", eligible=False, partition=1)
        event = await reader.next()
    assert event == Event(
        "change",
        "0-1,1-2",
        {
            "at_ms": T0, "partition": 1, "epoch": 2, "node_id": "a", "profile_id": "p", "what": "changed",
            "codes": ["heartbeat_stale"], "eligible": False,
            "gates": dict.fromkeys(("route", "protocol", "runtime", "policy"), "pass") | {"node": "fail"},
            "model_id": decision()["model_id"], "route_tier": "network_beta",
        },
    )  # fmt: skip
    assert ("text/event-stream; charset=utf-8", "no-store") == (reader.headers["content-type"], reader.headers["cache-control"])
    assert "content-length" not in reader.headers


async def test_resuming_in_the_middle_of_an_epoch() -> None:
    """After any event, a new connection goes on with the next one: none is lost, none is repeated."""
    lab = ready(2)
    async with reading(lab.app) as reader:
        await reader.next_of("status")
        flip(lab, "a/p", "b/p", "c/p")
        flip(lab, "d/p", partition=1)
        whole = await changes(reader, 4)
    assert ["0-2.1,1-1", "0-2.2,1-1", "0-2,1-1", "0-2,1-2"] == [event.id for event in whole]
    for seen in range(1, 5):
        place = whole[seen - 1].id
        for query, headers in (
            (f"since={place}", {}),
            ("", {"last-event-id": place}),
            ("since=0-1,1-1", {"last-event-id": place}),
        ):
            async with reading(lab.app, query, headers) as reader:
                assert ("status", "") == (await reader.next())[:2] if seen < 4 else True
                assert whole[seen:] == await changes(reader, 4 - seen)
                assert await reader.quiet()


@pytest.mark.parametrize("seed", range(6))
async def test_any_interleaving_of_changes_and_losses(seed: int) -> None:
    """A reader that is cut off again and again hears every change once and in order, until the ring forgets one of them."""
    rng, lab = random.Random(seed), ready(2, bounded(events_max=64))
    place = "0-1,1-1"
    expected: list[str] = []
    heard: list[str] = []
    state: dict[str, bool] = {}
    for _ in range(40):
        for _ in range(rng.randint(0, 3)):
            partition = rng.randint(0, 1)
            names = rng.sample([f"{partition}{letter}/p" for letter in "abcd"], rng.randint(0, 3))
            made = {name: not state.get(name, False) for name in names}
            state |= made
            lab.epoch(*(decision(name, eligible) for name, eligible in made.items()), partition=partition)
            expected += [name.partition("/")[0] for name in names]
        async with reading(lab.app, "", {"last-event-id": place}) as reader:
            for _ in range(rng.randint(0, min(4, len(expected) - len(heard)))):
                event = await reader.next_of("change", "reset")
                heard.append(event.data["node_id"])
                place = event.id
    async with reading(lab.app, f"since={place}") as reader:
        heard += [event.data["node_id"] for event in await changes(reader, len(expected) - len(heard))]
        assert await reader.quiet()
    assert expected == heard


@pytest.mark.parametrize(
    "since",
    ["0-0,1-1", "0-1,1-1", "0-9,1-1", "0-1", "0-1,1-1,2-1", "1-1", "nonsense", "0-1,0-1", "0-1,1-1.", "0--1,1-1", "9" * 40_000],
)
async def test_what_cannot_be_resumed_is_a_reset(since: str) -> None:
    """Too old, ahead of what is known here, of other partitions, or no position at all."""
    lab = ready(2)
    flip(lab, "a/p")
    lab.live.hub.skip(0, 2)
    async with reading(lab.app, "", {"last-event-id": since}) as reader:
        if len(since) > 32_768:
            await reader.end()
            assert 400 == reader.status
            return
        assert "status" == (await reader.next()).name
        assert Event("reset", "0-2,1-1", {}) == await reader.next()
        flip(lab, "b/p")
        assert [("b", "opened")] == told(await changes(reader, 1))


async def test_a_ring_that_forgot_is_a_reset() -> None:
    """A position is good for as long as everything after it is kept."""
    lab = ready(settings=bounded(events_max=3))
    for name in "abcd":
        flip(lab, f"{name}/p")
    async with reading(lab.app, "since=0-2") as reader:
        assert [("b", "opened"), ("c", "opened"), ("d", "opened")] == told(await changes(reader, 3))
    flip(lab, "e/p")
    async with reading(lab.app, "since=0-2") as reader:
        assert "reset" == (await reader.next_of("change", "reset")).name


async def test_a_ring_that_forgot_half_an_epoch() -> None:
    """Whoever has seen the forgotten half can resume, whoever has not cannot."""
    lab = ready(settings=bounded(events_max=2))
    flip(lab, "a/p", "b/p", "c/p")
    for since, expected in (("0-2.1", "change"), ("0-1", "reset"), ("0-2.2", "change")):
        async with reading(lab.app, f"since={since}") as reader:
            assert expected == (await reader.next_of("change", "reset")).name


@pytest.mark.parametrize("since", ["x", "0-1,", "0-1;1-1", "-", "0-1.1.1"])
async def test_a_since_that_is_no_position_is_refused(since: str) -> None:
    """Who writes an address by hand is told; a browser that resumes gets a reset instead."""
    reader = Reading(ready().app, f"since={since}")
    await reader.end()
    assert 400 == reader.status


async def test_a_slow_reader_is_told_and_ends() -> None:
    """Who takes nothing while the ring goes round gets `lagged`, and the answer ends; other readers are not touched."""
    lab = ready(settings=bounded(events_max=4))
    async with reading(lab.app) as quick, reading(lab.app) as slow:
        await quick.next_of("status")
        await slow.next_of("status")
        slow.taking.clear()
        for turn in range(30):
            flip(lab, "a/p", eligible=turn % 2 == 0)
            assert 1 == len(await changes(quick, 1))
        slow.taking.set()
        names = [event.name for event in await slow.end() if event.name != "status"]
        assert "lagged" == names[-1]
        assert len(names) < 10
        assert 1 == lab.live.hub.readers


async def test_a_reader_that_takes_nothing_at_all_is_given_up() -> None:
    """Its place is free again although it never closed its connection."""
    lab = ready()
    reader = lab.live.hub.open(None, resuming=False)
    response = EventStream(reader, send_s=0.01)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] != "http.response.start":
            await asyncio.Event().wait()

    await asyncio.wait_for(response({"type": "http"}, receive, send), 5)
    assert 0 == lab.live.hub.readers


async def test_readers_are_counted_and_limited() -> None:
    """One too many is 503 with its own code; one that leaves makes room."""
    lab = ready(settings=bounded(readers_max=2))
    async with reading(lab.app) as first, reading(lab.app) as second:
        await first.next_of("status")
        await second.next_of("status")
        third = Reading(lab.app)
        await third.end()
        assert (503, "5") == (third.status, third.headers["retry-after"])
        assert "too_many_readers" == orjson.loads(third.body)["error"]["code"]
        first.leave()
        await first.end()
        async with reading(lab.app) as fourth:
            assert "status" == (await fourth.next()).name
    assert 0 == lab.live.hub.readers


async def test_memory_does_not_grow_with_readers_or_time() -> None:
    """Many readers who take nothing share one ring of bounded size."""
    lab = ready(settings=bounded(events_max=8, bytes_max=2_000))
    readers = [lab.live.hub.open(None, resuming=False) for _ in range(200)]
    for turn in range(500):
        flip(lab, "a/p", eligible=turn % 2 == 0)
    hub = lab.live.hub
    assert len(hub._ring) <= 8
    assert sum(len(entry.frame) for entry in hub._ring) == hub._ring_bytes <= 2_000
    assert {"_hub", "_since", "_end_at_open", "_next", "_era", "_status_number", "_news", "_closed"} >= vars(readers[0]).keys()


async def test_silence_is_broken() -> None:
    """A comment, when nothing else was sent for a while."""
    lab = ready(settings=bounded(keep_alive_s=0.01))
    async with reading(lab.app) as reader:
        await reader.next_of("status")
        assert [Event("", "", None)] * 2 == [await reader.next(), await reader.next()]


async def test_status_is_told_when_it_is_news() -> None:
    """What can be claimed at the next tick; times once a second; nothing else for five seconds."""
    lab = ready()
    async with reading(lab.app) as reader:
        await reader.next_of("status")
        lab.pass_ms(200)
        assert await reader.quiet()
        assert [] == reader._events
        lab.pass_ms(800)
        assert T0 + 1_000 == (await reader.next()).data["resolved_at_ms"]
        lab.pass_ms(BOUND_MS, idle=False)
        lab.pass_ms(1, idle=False)
        status = (await reader.next_of("status")).data
        assert (False, "processor_lag", None) == (status["ready"], status["code"], status["eligible"])
        for _ in range(9):
            lab.pass_ms(1_000, idle=False)
        told_ms = [event.data["now_ms"] for event in [await reader.next()]]
        assert [T0 + 1_000 + BOUND_MS + 1 + 5_000] == told_ms


async def test_a_change_while_claims_are_withheld() -> None:
    """It is told, without a claim."""
    lab = ready(2)
    async with reading(lab.app) as reader:
        await reader.next_of("status")
        lab.view.parts[1].lost(RouteRefusal.VIEW_NOT_SYNCED)
        flip(lab, "a/p")
        (event,) = await changes(reader, 1)
    assert ("opened", None) == (event.data["what"], event.data["eligible"])


async def test_a_key_that_is_gone() -> None:
    """A decision that cannot be read closes its key; of the gates nothing is known any more."""
    lab = ready()
    flip(lab, "a/p")
    async with reading(lab.app) as reader:
        await reader.next_of("status")
        lab.epoch(decision("a/p") | {"model_id": 7})
        (event,) = await changes(reader, 1)
    assert ("closed", ["decision_unreadable"], False) == (event.data["what"], event.data["codes"], event.data["eligible"])
    assert {"unknown"} == set(event.data["gates"].values())


async def test_readers_look_again_when_the_view_began_anew() -> None:
    """A reset at once, and one more when the partition has caught up; no change of the log's past is told as news."""
    lab = ready(2)
    flip(lab, "a/p")
    flip(lab, "b/p", partition=1)
    async with reading(lab.app) as reader:
        await reader.next_of("status")
        chain = lab.chains[0] = ChainLab(0, 2)
        chain.policy_revision = 1
        chain.epoch(decision("x/p"), at_ms=T0)
        lab.view.parts[0].lost(RouteRefusal.VIEW_NOT_SYNCED, restart=True)
        number, search = lab.view.search(0)
        lab.view.start(0, number, drive(search, chain.records))
        lab.live.tick()
        assert "0-0,1-2" == (await reader.next_of("change", "reset")).id
        lab.feed()
        lab.live.tick()
        event = await reader.next_of("change", "reset")
        assert ("reset", "0-1,1-2") == (event.name, event.id)
        flip(lab, "b/p", eligible=False, partition=1)
        assert [("b", "closed")] == told(await changes(reader, 1))
    async with reading(lab.app, "since=0-1,1-2") as reader:
        assert [("b", "closed")] == told(await changes(reader, 1))


async def test_the_past_is_not_news() -> None:
    """While the catalog starts, what it reads of the log is told to nobody; then readers are told to look again."""
    lab = CatalogLab()
    lab.policy()
    lab.chains[0].policy_revision = 1
    lab.chains[0].epoch(decision("a/p"), at_ms=T0)
    async with reading(lab.app) as reader:
        assert not (await reader.next()).data["ready"]
        lab.boot()
        lab.live.tick()
        event = await reader.next_of("change", "reset")
        assert ("reset", "0-1") == (event.name, event.id)
        assert (await reader.next_of("status")).data["ready"]
        assert await reader.quiet()


async def test_the_end_of_the_catalog_is_the_end_of_every_reader() -> None:
    """Properly: the answer is complete."""
    lab = ready()
    async with reading(lab.app) as first, reading(lab.app) as second:
        await first.next_of("status")
        await second.next_of("status")
        lab.live.hub.close()
        assert [[], []] == [await first.end(), await second.end()]


def test_positions_read_what_they_write() -> None:
    """Text and back."""
    position = {0: Place(41), 1: Place(39, 2), 1023: Place(0)}
    assert position == decode(encode(position.items()))
    assert "0-41,1-39.2,1023-0" == encode(position.items())
