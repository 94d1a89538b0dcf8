"""Walks the chain of one partition, folding every accepted epoch again from the inputs of a source."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from b3iq_schemas import envelope, topics
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.source import Bounds, Cursor, Origin, Source
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import ChainId, Ignored
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import Refolded, Refolding
from b3iq_streams.kafka.connection import Place

NOTHING = Bounds(0, 0)


class Seen(NamedTuple):
    """A mark on the chain: an epoch that counts, folded again, or one that does not count, and why."""

    record: Record
    verdict: Refolded | Ignored


class Walk:
    """One partition, from the beginning on; iterate over it once.

    After an epoch was yielded, `refolding.state` and `refolding.head` stand on it.
    """

    def __init__(
        self, origin: Origin, source: Source, trust: RootTrust, partition: int, verify: Verify = envelope.verify
    ) -> None:
        self.origin, self.source, self.partition = origin, source, partition
        self.chain = ChainId(trust, partition, origin.partitions, trust.skew_ms)
        self.scope = Scope(trust, partition, origin.partitions, origin.stamped)
        self.book = PolicyBook(self.scope, verify)
        for batch in self._read(topics.POLICIES):
            for record in batch:
                self.book.feed(record)
        self._cursors = {
            topic: Cursor(source, Place(topic, partition), self.bounds(topic)) for topic in topics.INPUTS
        }  # fmt: skip
        self.refolding = Refolding(self.chain, self.scope, verify, self.book, self.inputs)

    def bounds(self, topic: str) -> Bounds:
        """What there is of a topic's partition."""
        return self.origin.bounds.get(Place(topic, self.partition), NOTHING)

    def inputs(self, topic: str, first: int, last: int) -> Sequence[Record]:
        """Records of an input of this partition; raises InputsGone when some are missing."""
        return self._cursors[topic].take(first, last)

    def record(self, topic: str, offset: int) -> Record | None:
        """One record of this partition; None if it is not there (any more)."""
        start, end = self.bounds(topic)
        if not start <= offset < end:
            return None
        for batch in self.source.read(Place(topic, self.partition), offset, offset + 1):
            for record in batch:
                return record if record.offset == offset else None
        return None

    def __iter__(self) -> Iterator[Seen]:
        for batch in self._read(topics.ELIGIBILITY_CHANGES, self.refolding.reader.position):
            for record in batch:
                if (verdict := self.refolding.feed(record)) is not None:
                    yield Seen(record, verdict)

    def _read(self, topic: str, first: int = 0) -> Iterator[Sequence[Record]]:
        start, end = self.bounds(topic)
        first = max(start, first)
        if first < end:
            yield from self.source.read(Place(topic, self.partition), first, end)
