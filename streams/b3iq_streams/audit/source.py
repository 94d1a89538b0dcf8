"""Where an audit reads from: one interface for live topics and archives. What it gives is bytes and offsets, never opinions.

An `Origin` says where the records are and how far they go, and is small enough to be handed to another process, which
opens a `Source` of its own from it. All sources of one origin give the same records, however far the log has grown since.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from b3iq_schemas import topics
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import InputsGone
from b3iq_streams.kafka.connection import Place

AUDITED: tuple[str, ...] = (topics.ELIGIBILITY_CHANGES, *topics.INPUTS, topics.DEAD_LETTERS, topics.ROUTING_DECISIONS)
"""The topics an audit reads. The chain's end must be asked first: then every input that it names is there."""


class Bounds(NamedTuple):
    """What there is of one partition: the oldest offset kept, and the next offset after the last one."""

    start: int
    end: int


class Source(Protocol):
    """An open origin. One thread at a time."""

    def read(self, place: Place, first: int, last: int) -> Iterator[Sequence[Record]]:
        """Records with first ≤ offset < last, in offset order, in batches; several readings may be under way at once.

        Raises UserError when the records cannot be had.
        """


class Origin(Protocol):
    """A network's records: how many partitions its node-keyed topics have, and the bounds of every partition."""

    @property
    def partitions(self) -> int:
        """P: of the inputs and the chain."""

    @property
    def bounds(self) -> Mapping[Place, Bounds]:
        """Every partition of every audited topic that exists."""

    @property
    def stamped(self) -> bool:
        """Whether the broker stamps records (LogAppendTime); False only for the embedded broker of the demo."""

    def open(self) -> AbstractContextManager[Source]:
        """Open it, in whatever process."""


class Cursor:
    """Reads one partition forwards in pieces, keeping what a batch brought too early; going back starts again."""

    def __init__(self, source: Source, place: Place, bounds: Bounds) -> None:
        self._source, self._place, self._bounds = source, place, bounds
        self._batches: Iterator[Sequence[Record]] = iter(())
        self._left: Sequence[Record] = ()
        self._at = 0
        self._position = -1

    def take(self, first: int, last: int) -> list[Record]:
        """The records with first ≤ offset < last. Raises InputsGone unless all of them are there."""
        start, end = self._bounds
        if first < start or last > end:
            raise InputsGone(self._place.topic, first, last, expired=first < start)
        if first != self._position:
            self._batches = iter(self._source.read(self._place, first, end))
            self._left, self._at = (), 0
        found: list[Record] = []
        while len(found) < last - first:
            if self._at == len(self._left):
                self._left, self._at = next(self._batches, ()), 0
                if not self._left:
                    break
            upto = min(len(self._left), self._at + last - first - len(found))
            found += self._left[self._at : upto]
            self._at = upto
        self._position = last
        if len(found) != last - first or found[-1].offset != last - 1 or found[0].offset != first:
            raise InputsGone(self._place.topic, first, last, expired=False)
        return found
