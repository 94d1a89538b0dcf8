"""Reading a stretch of the log: all of it, or an error; held without a broker, whose silence takes long."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from b3iq_streams.core.records import Record
from b3iq_streams.kafka import BrokerUnavailable, Place, Source
from b3iq_streams.kafka.reading import SILENT_POLLS_MAX

PLACE = Place("heartbeats", 0)


class Log:
    """A consumer of one partition with records at these offsets; before each fetch it stays silent for some polls."""

    def __init__(self, offsets: list[int], end: int, silent: int) -> None:
        self._offsets, self._end, self._silent, self._polls, self._position = offsets, end, silent, 0, 0

    def assign(self, _: object) -> None:
        """There is one partition."""

    def seek(self, _: TopicPartition, offset: int) -> None:
        """Where to begin."""
        self._position = offset

    async def position(self, _: TopicPartition) -> int:
        """What would be read next."""
        return self._position

    async def getmany(self, **_: object) -> dict[TopicPartition, list[Any]]:
        """One record at most; after the last one, the position moves past what holds none."""
        self._polls += 1
        if self._polls % (self._silent + 1):
            return {}
        ahead = [offset for offset in self._offsets if offset >= self._position]
        self._position = ahead[0] + 1 if ahead else self._end
        fields = {"topic": PLACE.topic, "partition": 0, "key": b"k", "value": b"v", "timestamp": 0, "timestamp_type": 1}
        return {TopicPartition(*PLACE): [SimpleNamespace(**fields, offset=offset) for offset in ahead[:1]]}


async def stretch(log: Log, first: int, last: int) -> list[Record]:
    """What is read of it."""
    return [record async for record in Source(log).stretch(PLACE, first, last)]


@pytest.mark.parametrize(("first", "last", "expected"), [(0, 10, [0, 1, 5, 8]), (1, 8, [1, 5]), (6, 8, []), (9, 10, [])])
async def test_a_slow_broker_hides_nothing(first: int, last: int, expected: list[int]) -> None:
    """However long it is silent in between, and whichever offsets hold no record, what is there is read."""
    found = await stretch(Log([0, 1, 5, 8], 10, SILENT_POLLS_MAX - 1), first, last)
    assert expected == [record.offset for record in found]


async def test_a_silent_broker_is_an_error() -> None:
    """Half of a stretch is never taken for the whole."""
    with pytest.raises(BrokerUnavailable, match="heartbeats/0: nothing came for 30 s"):
        await stretch(Log([0, 1], 10, SILENT_POLLS_MAX), 0, 10)
