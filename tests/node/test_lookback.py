"""How far an agent looks back in the log, and what it takes for a sign that there is nothing to find."""

from collections.abc import AsyncIterator, Iterable

import pytest

from b3iq_schemas.topics import HEARTBEATS, REGISTRATIONS
from b3iq_streams.core.records import Record
from b3iq_streams.kafka import Place
from b3iq_streams.node.lookback import look_back, registered_since_ms

NODE = "node-1"
BEATS, LISTED = Place(HEARTBEATS, 0), Place(REGISTRATIONS, 0)


class Log:
    """A source of one partition a topic: keys of records, logged a second after another; it notes what was read."""

    def __init__(self, **keys: list[str]) -> None:
        self._keys = keys
        self.read: set[int] = set()

    async def partitions(self, topic: str) -> list[Place]:
        """One, if there is such a topic."""
        return [Place(topic, 0)] if topic in self._keys else []

    async def start_offsets(self, places: Iterable[Place]) -> dict[Place, int]:
        """Nothing was deleted."""
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: Iterable[Place]) -> dict[Place, int]:
        """One after the last."""
        return {place: len(self._keys[place.topic]) for place in places}

    async def offset_at(self, _: Place, at_ms: int) -> int:
        """By the second."""
        return -(-at_ms // 1_000)

    async def stretch(self, place: Place, first: int, last: int) -> AsyncIterator[Record]:
        """All of it."""
        for offset in range(first, last):
            self.read.add(offset)
            key = self._keys[place.topic][offset].encode()
            yield Record(place.topic, 0, offset, key, b"", offset * 1_000, 1)


@pytest.mark.parametrize(
    ("keys", "since_ms"),
    [([], None), (["other"], None), (["other", NODE, "other", NODE], 1_000)],
    ids=["empty", "others", "mine"],
)
async def test_a_node_is_registered_since_its_first_registration(keys: list[str], since_ms: int | None) -> None:
    """The oldest one that is kept; none, if the topic has none of this node."""
    assert since_ms == await registered_since_ms(Log(registrations=keys), NODE)  # type: ignore[arg-type]  # a stand-in


async def test_what_may_not_be_seen_is_no_sign() -> None:
    """A topic that is hidden from this user says nothing of when the node was registered."""
    assert 0 == await registered_since_ms(Log(), NODE)  # type: ignore[arg-type]  # a stand-in


async def test_nothing_older_than_the_registration_is_read() -> None:
    """A new node among the heartbeats of others does not read all that is kept of them."""
    log = Log(heartbeats=["other"] * 5_000)
    assert [] == await look_back(log, BEATS, NODE, lambda record: record, since_ms=4_990_000)  # type: ignore[arg-type]  # a stand-in
    assert set(range(4_990, 5_000)) == log.read


async def test_the_newest_is_found_wherever_it_is() -> None:
    """Without limits the last record of the node is found, also if it is the log's first."""
    log = Log(heartbeats=[NODE, *["other"] * 5_000])
    (found,) = await look_back(log, BEATS, NODE, lambda record: record.offset)  # type: ignore[arg-type]  # a stand-in
    assert 0 == found
