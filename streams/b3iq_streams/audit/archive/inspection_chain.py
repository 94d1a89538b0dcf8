"""The chain of an archive: which rows count is judged again, from the archive's own records, and compared with its manifest."""

from collections.abc import Iterator

from b3iq_schemas import topics
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.archive.fates import Fate, Fates
from b3iq_streams.audit.archive.finding import Finding
from b3iq_streams.audit.archive.manifest import Chain
from b3iq_streams.audit.archive.origin import ArchiveOrigin, ArchiveSource
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import ChainId, ChainReader, Head, head_at
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place


class ChainCheck:
    """One partition's chain; asked for each record in order, then finished."""

    def __init__(self, origin: ArchiveOrigin, source: ArchiveSource, trust: RootTrust, partition: int, verify: Verify) -> None:
        self.place = Place(topics.ELIGIBILITY_CHANGES, partition)
        self.bounds, self.chain = origin.bounds[self.place], origin.manifest.chain(partition)
        self._source = source
        self._id = ChainId(trust, partition, origin.partitions, trust.skew_ms)
        self._fates: Fates | None = None
        if self.chain is not None and (head := self._since(self.chain)) is not None:
            policies = Place(topics.POLICIES, partition)
            book = PolicyBook(Scope(trust, partition, origin.partitions, origin.stamped), verify)
            for record in _readable(source, policies, *origin.bounds.get(policies, (0, 0))):
                book.feed(record)
            ahead = _readable(source, self.place, head.offset + 1, self.bounds.end)
            self._fates = Fates(ahead, ChainReader(self._id, head, book.processors_of, verify))

    def __call__(self, record: Record) -> Fate | None:
        """The epoch that a record is part of."""
        return self._fates.of(record) if self._fates else None

    def finish(self) -> Iterator[Finding]:
        """What the manifest says of the chain."""
        chain, (start, end) = self.chain, self.bounds
        if chain is None:
            if end > start:
                yield Finding(*self.place, start, "chain is not in the manifest", "", "")
            return
        if self._fates is None or (chain.since.epoch > 0) != (start > 0):
            since = f"epoch {chain.since.epoch} at offset {chain.since.offset}, {chain.since.digest}"
            yield Finding(*self.place, start, "epoch since which the chain is known", since, "")
            return
        self._fates.known(end)
        head = self._fates.reader.head
        recorded = (chain.head.offset, chain.head.epoch, chain.head.digest, chain.resolved_at_ms)
        found = (head.offset, head.epoch, head.digest, head.resolved_at_ms)
        if recorded != found:
            yield Finding(*self.place, max(found[0], 0), "last accepted epoch", _words(*recorded), _words(*found))
        if end != max(chain.head.offset + 1, start):
            yield Finding(*self.place, end - 1, "end of the chain", str(end), str(chain.head.offset + 1))

    def _since(self, chain: Chain) -> Head | None:
        if chain.since.epoch == 0:
            genesis = self._id.genesis_head()
            return genesis if (chain.since.offset, chain.since.digest) == (genesis.offset, genesis.digest) else None
        for record in _readable(self._source, self.place, chain.since.offset, chain.since.offset + 1):
            return head_at(record, chain.since.digest, self._id)
        return None


def _readable(source: ArchiveSource, place: Place, first: int, last: int) -> Iterator[Record]:
    """Records up to the first file that cannot be read, which is found elsewhere."""
    try:
        for batch in source.read(place, first, last) if first < last else ():
            yield from batch
    except UserError:
        return


def _words(offset: int, epoch: int, digest: str, resolved_at_ms: int) -> str:
    return f"epoch {epoch} at offset {offset}, resolved at {resolved_at_ms}, {digest}"
