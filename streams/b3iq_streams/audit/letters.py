"""Whether every refused record has its dead letter, with the code of the epoch that refused it.

Letters are written before the mark, and at least once; so they are read along with the epochs, a little ahead.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from b3iq_schemas import topics
from b3iq_streams.audit.source import Bounds
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.admit import Refused
from b3iq_streams.core.chain import Head
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place

Named = tuple[str, int, str]
"""Topic and offset of a refused record of this partition, and the code."""


class Letters:
    """The dead letters of one partition's records. `owed` = refused records whose letter was not seen yet."""

    def __init__(self, walk: Walk, notes: dict[str, Any] | None = None) -> None:
        self._walk = walk
        count = sum(place.topic == topics.DEAD_LETTERS for place in walk.origin.bounds)
        self._place = Place(topics.DEAD_LETTERS, walk.partition % count) if count else None
        self._bounds = walk.origin.bounds[self._place] if self._place else Bounds(0, 0)
        self.owed: set[Named] = {(row[0], row[1], row[2]) for row in notes["owed"]} if notes else set()
        self._early: set[Named] = {(row[0], row[1], row[2]) for row in notes["early"]} if notes else set()
        self._position = max(self._bounds.start, notes["position"] if notes else 0)
        self._since_ms = notes["since_ms"] if notes else 0
        self._records = self._read()
        self._next = next(self._records, None)
        if self._bounds.start > 0 and notes is None:
            self._since_ms = self._next.timestamp_ms if self._next else 2**53

    def _read(self) -> Iterator[Record]:
        if self._place is not None and self._position < self._bounds.end:
            for batch in self._walk.source.read(self._place, self._position, self._bounds.end):
                yield from batch

    def expect(self, refused: tuple[Refused, ...], head: Head) -> None:
        """An epoch refused these records; records older than the oldest letter kept are owed nothing."""
        wanted = {(item.record.topic, item.record.offset, item.code.value) for item in refused
                  if head.logged_at_ms > self._since_ms}  # fmt: skip
        until_ms = head.logged_at_ms + 2 * self._walk.chain.skew_ms
        while self._next is not None and self._next.timestamp_ms <= until_ms:
            self._take(self._next)
            self._position = self._next.offset + 1
            self._next = next(self._records, None)
        self.owed |= wanted
        self.owed, self._early = self.owed - self._early, {
            letter for letter in self._early if letter[1] >= head.cut.get(letter[0], 0)
        }  # fmt: skip

    def _take(self, record: Record) -> None:
        try:
            letter = orjson.loads(record.value or b"")
            named = (letter["topic"], letter["offset"], letter["code"])
            mine = letter["partition"] == self._walk.partition
        except (ValueError, KeyError, TypeError):
            return
        if mine and all(type(part) is kind for part, kind in zip(named, (str, int, str), strict=True)):
            if named in self.owed:
                self.owed.discard(named)
            else:
                self._early.add(named)

    def as_notes(self) -> dict[str, Any]:
        """As plain data, to be saved."""
        return {"owed": sorted(self.owed), "early": sorted(self._early), "position": self._position, "since_ms": self._since_ms}
