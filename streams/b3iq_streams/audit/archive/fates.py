"""Which rows of a chain count: the epoch that each record is an accepted part of, by the reader's own rules (A1–A5).

A change's fate is known only when the mark comes that makes its epoch whole. So one reading runs ahead to the next accepted
mark, and another asks, record by record; nothing is held but the epoch in between.
"""

from collections.abc import Iterator
from typing import NamedTuple

from b3iq_schemas.eligibility import MARK_KEY
from b3iq_streams.core.chain import Accepted, ChainReader, PolicyUnknown
from b3iq_streams.core.records import Record


class Fate(NamedTuple):
    """The accepted epoch that a record is part of."""

    epoch: int
    resolved_at_ms: int


class Fates:
    """Answers for the records of one chain in the order of the log.

    `reader` stands on the head before them, `ahead` gives them from the one after that head on. Records up to a `reader` that
    starts late have no fate: it cannot be known any more.
    """

    def __init__(self, ahead: Iterator[Record], reader: ChainReader) -> None:
        self.reader, self._ahead = reader, ahead
        self._upto = reader.head.offset
        self._pending: set[bytes] = set()
        self._fate: Fate | None = None
        self._over = False

    def known(self, offset: int) -> bool:
        """Whether the log goes as far as the accepted mark that decides on this offset."""
        while offset > self._upto and not self._over:
            self._advance()
        return offset <= self._upto

    def of(self, record: Record) -> Fate | None:
        """The epoch a record is part of; None if it counts for nothing. Of several copies of a change the first counts."""
        if not self.known(record.offset):
            return None
        if record.key == MARK_KEY:
            return self._fate if record.offset == self._upto else None
        value = record.value or b""
        if value not in self._pending:
            return None
        self._pending.discard(value)
        return self._fate

    def _advance(self) -> None:
        try:
            for record in self._ahead:
                verdict = self.reader.feed(record)
                if isinstance(verdict, Accepted):
                    self._upto, self._pending = verdict.head.offset, set(verdict.changes)
                    self._fate = Fate(verdict.head.epoch, verdict.head.resolved_at_ms)
                    return
        except PolicyUnknown:
            pass  # whether this mark counts cannot be known, nor anything after it
        self._over = True
