"""The processor's parts that need no broker: inboxes, budgets, the checkpoint image, the prober, the tenure's epochs."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition

from b3iq_schemas.topics import INPUTS
from b3iq_streams.core.actions import Intake
from b3iq_streams.core.records import Outgoing, Record
from b3iq_streams.processor import prober as prober_module
from b3iq_streams.processor.guard import Vital
from b3iq_streams.processor.inbox import Inbox, spend
from b3iq_streams.processor.prober import Prober
from b3iq_streams.processor.table import Image, readable
from b3iq_streams.processor.tenure import Epoch, Tenure


def records(first: int, last: int, size: int = 10) -> list[Record]:
    """Records of `[first, last)`."""
    return [Record("holds", 0, offset, b"k", b"x" * (size - 1), 0) for offset in range(first, last)]


def filled(first: int, last: int, size: int = 10) -> Inbox:
    """An inbox that holds `[first, last)`."""
    inbox = Inbox()
    inbox.restart(first, 0)
    inbox.add(records(first, last, size), last)
    return inbox


def offsets(taken: Iterable[Any]) -> list[int]:
    """The offsets of records."""
    return [record.offset for record in taken]


async def test_a_share_ends_at_the_asked_end_and_the_next_one_goes_on_there() -> None:
    """Nothing above the end offset is handed over, and nothing is lost between two shares."""
    inbox = filled(5, 15)
    count, _ = inbox.count_below(12, 100, 10_000)
    share = await inbox.take(count, 12)
    assert (list(range(5, 12)), 12) == (offsets(share.records), share.position)
    rest = await inbox.take(3, 15)
    assert ([12, 13, 14], 15, 0) == (offsets(rest.records), rest.position, inbox.bytes)


async def test_a_gap_moves_the_position_and_no_further_than_the_end() -> None:
    """Control records are skipped over, also where they are all there is."""
    inbox = filled(0, 3)
    inbox.add([], 5)
    assert 5 == (await inbox.take(3, 5)).position
    inbox.add(records(8, 9), 9)
    share = await inbox.take(0, 7)
    assert ((), 7) == (share.records, share.position)


async def test_an_inbox_follows_its_owner_within_reach_only() -> None:
    """An owner that folded somebody else's epoch goes on from there; one that stands elsewhere needs a seek."""
    inbox = filled(10, 20)
    assert not inbox.move_to(9)
    assert not inbox.move_to(21)
    assert inbox.move_to(15)
    assert [15, 16] == offsets((await inbox.take(2, 20)).records)


async def test_prepared_items_replace_the_records_they_were_made_of() -> None:
    """A batch is handed over as the threads made it, and not before they are done."""
    inbox = filled(0, 4)
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    inbox.await_prepared(0, done)
    share = asyncio.create_task(inbox.take(2, 4))
    await asyncio.sleep(0)
    assert not share.done()
    done.set_result([record._replace(key=b"prepared") for record in records(0, 4)])
    taken = [*(await share).records, *(await inbox.take(2, 4)).records]
    assert [b"prepared"] * 4 == [item.key for item in taken if isinstance(item, Record)]


def test_a_flood_on_one_topic_leaves_the_others_their_share() -> None:
    """Each topic gets an equal share of the budget; what nobody needs goes to whoever comes first."""
    flood, trickle = filled(0, 1_000), filled(0, 30)
    assert [70, 30] == spend([(flood, 1_000), (trickle, 30)], 100, 1 << 20)
    assert [30, 70] == spend([(trickle, 30), (flood, 1_000)], 100, 1 << 20)
    assert [5, 5] == spend([(flood, 1_000), (filled(0, 1_000), 1_000)], 100, 100)


def test_an_image_takes_every_offset_once_and_knows_where_somebody_else_wrote() -> None:
    """Old batches change nothing; after a foreign record the next restore begins before it."""
    image = Image()
    image.restore([Record("t", 0, 0, b"a", b"1", 0), Record("t", 0, 1, b"b", b"1", 0)])
    image.restore([Record("t", 0, 0, b"a", b"0", 0)])
    image.write([Outgoing(b"a", b"2")], first=2)
    assert ({b"a": b"2", b"b": b"1"}, 2) == (image.records, image.applied)
    image.write([Outgoing(b"b", None)], first=4)
    assert ({b"a": b"2"}, 2) == (image.records, image.applied)
    image.restore([Record("t", 0, 3, b"b", b"3", 0), Record("t", 0, 4, b"b", None, 0)])
    assert ({b"a": b"2"}, 4) == (image.records, image.applied)


def test_a_table_value_is_readable_whatever_it_is() -> None:
    """A node record is parsed; the head, or rubbish, is text."""
    assert {"epoch": 7, "state": {"a": 1}} == readable(b'7 {"a":1}')
    assert '[1,"x"]' == readable(b'[1,"x"]')
    assert "\ufffd" == readable(b"\xff")


class SlowBroker:
    """Answers end offsets when told to."""

    def __init__(self) -> None:
        self.asked: list[set[TopicPartition]] = []
        self.gate = asyncio.Event()

    async def end_offsets(self, places: set[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked.append(set(places))
        await self.gate.wait()
        return dict.fromkeys(places, len(self.asked))

    async def beginning_offsets(self, places: set[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)


async def test_whoever_asks_gets_a_clock_read_after_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request under way is not joined; those who wait behind it share the next one."""
    clock = iter(range(100, 200))
    monkeypatch.setattr(prober_module, "now_ms", lambda: next(clock))
    broker = SlowBroker()
    prober = Prober(broker)
    one, two, three = (TopicPartition("holds", partition) for partition in range(3))
    first = asyncio.create_task(prober.ask([one]))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(prober.ask([place])) for place in (two, three)]
    await asyncio.sleep(0.01)
    broker.gate.set()
    assert (100, {one: 1}) == ((await first).clock_ms, (await first).ends)
    assert {(101, 2)} == {(answer.clock_ms, answer.ends[two]) for answer in await asyncio.gather(*others)}
    assert [{one}, {two, three}] == broker.asked


async def test_an_epoch_is_performed_once_whoever_comes_first() -> None:
    """The agent and the drain may both reach for it."""

    class CountingEngine:
        count = 0

        async def advance(self, intake: Intake) -> None:
            self.count += 1

    engine: Any = CountingEngine()
    empty = dict.fromkeys(INPUTS, 0)
    epoch = Epoch(0, engine, Intake(0, empty, empty, {}, empty))
    await asyncio.gather(epoch.perform(), epoch.perform())
    assert 1 == engine.count
    assert epoch.done.done()


def test_an_inbox_takes_nothing_before_its_owner_said_where_it_stands() -> None:
    """What the group's committed offset brings in first is nobody's: no seek id of the consumer is that of a new inbox."""
    inbox = Inbox()
    assert inbox.seek_id is None
    assert not inbox.move_to(0)


async def test_a_long_recovery_is_no_hang() -> None:
    """Before the first epoch every step of the recovery is progress, so that only one that stands still is ended."""

    class Recovering:
        performed = 0

        async def advance(self, intake: Intake | None) -> None:
            await asyncio.Event().wait()

        async def abandon(self) -> None:
            pass

    engine: Any = Recovering()
    feed: Any = None  # never asked
    tenure = Tenure(3, engine, feed, flowing=engine.abandon, deliver=lambda _: None, on_live=lambda: None)
    assert tenure.vital == tenure.vital == Vital("partition 3", 0, False)
    engine.performed += 1
    assert tenure.vital == Vital("partition 3", 1, False)
    tenure.task.cancel()
    await asyncio.wait([tenure.task])
