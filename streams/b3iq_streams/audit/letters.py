"""Whether every refused record has its dead letter, byte for byte, as the epoch that refused it must have written it.

Letters are written before the mark, and at least once; so they are read along with the epochs, a little ahead.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from b3iq_schemas import topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_streams.audit.source import Bounds
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.admit import Refused
from b3iq_streams.core.chain import Head
from b3iq_streams.core.proposal import letter_record
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place

Named = tuple[str, int, str]
"""Topic and offset of a refused record of this partition, and the SHA-256 of its letter."""


class Letters:
    """The dead letters of one partition's records. `owed` = letters that were not seen yet, with their codes."""

    def __init__(self, walk: Walk, notes: dict[str, Any] | None = None) -> None:
        self._walk = walk
        count = sum(place.topic == topics.DEAD_LETTERS for place in walk.origin.bounds)
        self._place = Place(topics.DEAD_LETTERS, walk.partition % count) if count else None
        self._bounds = walk.origin.bounds[self._place] if self._place else Bounds(0, 0)
        self.owed: dict[Named, str] = {(row[0], row[1], row[2]): row[3] for row in notes["owed"]} if notes else {}
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
        for item in refused if head.logged_at_ms > self._since_ms else ():
            letter = letter_record(item).value or b""
            self.owed[item.record.topic, item.record.offset, sha256_hex(letter)] = item.code.value
        until_ms = head.logged_at_ms + 2 * self._walk.chain.skew_ms
        while self._next is not None and self._next.timestamp_ms <= until_ms:
            self._take(self._next)
            self._position = self._next.offset + 1
            self._next = next(self._records, None)
        self.owed = {named: code for named, code in self.owed.items() if named not in self._early}
        self._early = {named for named in self._early if named[1] >= head.cut.get(named[0], 0)}

    def _take(self, record: Record) -> None:
        try:
            letter = orjson.loads(record.value or b"")
            named = (letter["topic"], letter["offset"], sha256_hex(record.value or b""))
            mine = letter["partition"] == self._walk.partition
        except (ValueError, KeyError, TypeError):
            return
        if mine and type(named[0]) is str and type(named[1]) is int and self.owed.pop(named, None) is None:
            self._early.add(named)

    def as_notes(self) -> dict[str, Any]:
        """As plain data, to be saved."""
        return {
            "owed": [[*named, code] for named, code in sorted(self.owed.items())],
            "early": sorted(self._early), "position": self._position, "since_ms": self._since_ms,
        }  # fmt: skip
