"""Walks the chain of one partition, folding every accepted epoch again from the inputs of a source."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from b3iq_schemas import envelope, topics
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Bounds, Cursor, Origin, Source
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainId, Head, Ignored
from b3iq_streams.core.late import LateStart, first_anchor
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import Refolded, Refolding
from b3iq_streams.kafka.connection import Place

NOTHING = Bounds(0, 0)


class Seen(NamedTuple):
    """A mark on the chain: an epoch that counts, folded again, or one that does not count, and why."""

    record: Record
    verdict: Refolded | Ignored


class Walk:
    """One partition, from the beginning on, or from where its logs still allow it; iterate over it once.

    After an epoch was yielded, `refolding.state` and `refolding.head` stand on it. Iterating raises EvidenceExpired when
    nothing can be re-folded any more.
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
        self.earliest_ms: int | None = None if self._truncated else 0
        """The earliest moment that can be answered: 0 if the logs reach back to the beginning, None until it is found."""

    def bounds(self, topic: str) -> Bounds:
        """What there is of a topic's partition."""
        return self.origin.bounds.get(Place(topic, self.partition), NOTHING)

    def inputs(self, topic: str, first: int, last: int) -> Sequence[Record]:
        """Records of an input of this partition; raises InputsGone when some are missing."""
        return self._cursors[topic].take(first, last)

    @property
    def unfolded(self) -> int:
        """How many input records lie after the cut of the last epoch that was folded."""
        cut = self.refolding.head.cut
        return sum(max(0, self.bounds(topic).end - cut.get(topic, 0)) for topic in topics.INPUTS)

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
        return self.until(FAR_FUTURE_MS)

    def until(self, to_ms: int) -> Iterator[Seen]:
        """The marks up to the last epoch resolved at or before `to_ms`; later ones are not folded."""
        if self.earliest_ms is None:
            self._start_late()
        for record in self._chain(self.refolding.reader.position):
            verdict = self.refolding.reader.feed(record)
            if isinstance(verdict, Accepted):
                if verdict.head.resolved_at_ms > to_ms:
                    return
                yield Seen(record, self.refolding.fold(verdict))
            elif verdict is not None:
                yield Seen(record, verdict)

    @property
    def _truncated(self) -> bool:
        return any(self.bounds(topic).start > 0 for topic in (topics.ELIGIBILITY_CHANGES, *topics.INPUTS))

    def _start_late(self) -> None:
        """Find where a re-fold can begin. Raises EvidenceExpired if it can nowhere."""
        start = self.bounds(topics.ELIGIBILITY_CHANGES).start
        found: tuple[Head, int] | None = self.chain.genesis_head(), -1
        if start > 0:
            found = first_anchor(self._chain(start), self._mark, self.chain, self.book, self.refolding.verify, start)
        if found is None:
            raise EvidenceExpired(f"partition {self.partition}: no anchor is left on the chain", None)
        starts = {topic: self.bounds(topic).start for topic in topics.INPUTS}
        late = LateStart(self.chain, self.scope, self.refolding.verify, self.book, *found, starts)
        for record in self._chain(late.reader.position):
            late.feed(record)
            if late.ready:
                late.settle(self.refolding, self.inputs)
                self.earliest_ms = self.refolding.head.resolved_at_ms
                return
        raise EvidenceExpired(f"partition {self.partition}: inputs of its last epochs are gone", None)

    def _mark(self, offset: int) -> Record | None:
        return self.record(topics.ELIGIBILITY_CHANGES, offset)

    def _chain(self, first: int) -> Iterator[Record]:
        for batch in self._read(topics.ELIGIBILITY_CHANGES, first):
            yield from batch

    def _read(self, topic: str, first: int = 0) -> Iterator[Sequence[Record]]:
        start, end = self.bounds(topic)
        first = max(start, first)
        if first < end:
            yield from self.source.read(Place(topic, self.partition), first, end)
