"""The export of one partition number: every topic's records that the archive lacks, and which rows of the chain count.

Rows of the chain after the last accepted mark are left for the next export: their fate is not known yet, and from an accepted
mark a reader can go on with nothing in its hands (A5). So is a chain that begins late and has no usable anchor yet.
Writes files only: the manifest is the caller's, and until it names them they are not part of the archive.
"""

from collections.abc import Iterator
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.archive.fates import Fates
from b3iq_streams.audit.archive.manifest import Chain, File, Log, Mark
from b3iq_streams.audit.archive.origin import ArchiveOrigin, ArchiveSource
from b3iq_streams.audit.archive.writer import PartitionWriter, Sizes
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.source import AUDITED, Origin, Source
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import ChainId, ChainReader, Head, head_at
from b3iq_streams.core.late import first_anchor
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place


class Task(NamedTuple):
    """What every job of an export is given; `archive` = what there is so far."""

    origin: Origin
    trust: RootTrust
    archive: ArchiveOrigin
    sizes: Sizes
    verify: Verify


class Appended(NamedTuple):
    """What was written of one partition number. `waiting` = records of the chain left for the next export."""

    logs: tuple[Log, ...]
    files: tuple[File, ...]
    chain: Chain | None
    waiting: int


class Span(NamedTuple):
    """One partition: where the archive of it begins, the offset it lacks next, and where the log ends."""

    place: Place
    start: int
    first: int
    end: int


def span(task: Task, place: Place) -> Span:
    """What to export of a partition."""
    start, end = task.origin.bounds[place]
    known = task.archive.bounds.get(place)
    return Span(place, known.start, known.end, end) if known else Span(place, start, start, end)


def append(desk: Desk, task: Task) -> Appended:
    """A job for `parallel.run`. Raises UserError when the log is not the one that was archived, or lacks records."""
    with task.origin.open() as source:
        appending = _Appending(desk, task, source)
        chain, waiting = task.archive.manifest.chain(desk.partition), 0
        for topic in sorted(AUDITED):
            if (place := Place(topic, desk.partition)) not in task.origin.bounds:
                continue
            if topic == topics.ELIGIBILITY_CHANGES:
                chain, waiting = appending.chain(span(task, place))
            else:
                appending.plain(span(task, place))
        return Appended(tuple(appending.logs), tuple(appending.files), chain, waiting)


class _Appending:
    """The job under way."""

    def __init__(self, desk: Desk, task: Task, source: Source) -> None:
        self.desk, self.task, self.source = desk, task, source
        self.archived = ArchiveSource(task.archive.directory, task.archive.manifest)
        self.id = ChainId(task.trust, desk.partition, task.origin.partitions, task.trust.skew_ms)
        self.logs: list[Log] = []
        self.files: list[File] = []

    def plain(self, span: Span) -> None:
        """Add what there is."""
        writer = PartitionWriter(self.task.archive.directory, span.place, self.task.sizes)
        following = span.first
        for record in self.fresh(span):
            writer.add(record)
            following = record.offset + 1
        self.finish(span, writer, following)

    def chain(self, span: Span) -> tuple[Chain | None, int]:
        """Add what is decided. Returns what is known of the chain then, and how many records wait."""
        known = self.reader(span)
        if known is None:
            self.finish(span, None, span.first)
            return None, span.end - span.first
        since, reader = known
        fates = Fates(_each(self.source, span.place, reader.position, span.end), reader)
        writer, following = PartitionWriter(self.task.archive.directory, span.place, self.task.sizes), span.first
        for record in self.fresh(span):
            if not fates.known(record.offset):
                break
            writer.add(record, fates.of(record))
            following = record.offset + 1
        self.finish(span, writer, following)
        head = reader.head
        found = Chain(partition=span.place.partition, since=since, head=_mark(head), resolved_at_ms=head.resolved_at_ms)
        return found, span.end - following

    def reader(self, span: Span) -> tuple[Mark, ChainReader] | None:
        """Since which epoch it is known what counts, and a reader on the last one archived; None if no anchor is left."""
        book = self.book(Place(topics.POLICIES, span.place.partition))
        before, since = self.task.archive.manifest.chain(span.place.partition), None
        if before is not None:
            since, head = before.since, self.resumed(span.place, before)
        elif span.first == 0:
            head = self.id.genesis_head()
        else:
            log = _each(self.source, span.place, span.first, span.end)
            anchor = first_anchor(log, self.at(span.place), self.id, book, self.task.verify, span.first)
            if anchor is None:
                return None
            head = anchor[0]
        return since or _mark(head), ChainReader(self.id, head, book.processors_of, self.task.verify)

    def resumed(self, place: Place, before: Chain) -> Head:
        """The head that an archive ends with. Raises UserError if it does not hold it."""
        if before.head.epoch == 0:
            return self.id.genesis_head()
        for record in _each(self.archived, place, before.head.offset, before.head.offset + 1):
            if (head := head_at(record, before.head.digest, self.id)) is not None:
                return head
        raise UserError(f"the archive of {place.topic}/{place.partition} does not end with the epoch its manifest names")

    def book(self, place: Place) -> PolicyBook:
        """The policies of the partition: those archived, then the others."""
        task = self.task
        book = PolicyBook(Scope(task.trust, place.partition, task.origin.partitions, task.origin.stamped), task.verify)
        if place in task.origin.bounds:
            _, start, first, end = span(task, place)
            for record in (*_each(self.archived, place, start, first), *_each(self.source, place, first, end)):
                book.feed(record)
        return book

    def at(self, place: Place) -> "_At":
        """Single records of the log."""
        return _At(self.source, place, self.task.origin.bounds[place].end)

    def fresh(self, span: Span) -> Iterator[Record]:
        """The records that the archive lacks, each one of them, once it is sure that it is the same log."""
        self.compare(span)
        expected = span.first
        for batch in self.source.read(span.place, span.first, span.end) if span.first < span.end else ():
            for record in batch:
                if record.offset != expected:
                    raise UserError(f"{_name(span.place)}: offset {expected} is not in the log")
                yield record
                expected += 1
            self.desk.done(len(batch))
            if self.desk.stopped:
                return
        if expected < span.end:
            raise UserError(f"{_name(span.place)}: offset {expected} is not in the log")

    def compare(self, span: Span) -> None:
        """The last record archived must be the log's, if the log still has it."""
        offset = span.first - 1
        if offset < max(span.start, self.task.origin.bounds[span.place].start):
            return
        archived, found = (list(_each(source, span.place, offset, offset + 1)) for source in (self.archived, self.source))
        if archived != found:
            raise UserError(f"{_name(span.place)}: offset {offset} is not the record that was archived: this is another log")

    def finish(self, span: Span, writer: PartitionWriter | None, following: int) -> None:
        """Note what the archive will hold."""
        topic, partition = span.place
        self.files += writer.finish() if writer else []
        self.logs.append(Log(topic=topic, partition=partition, start=span.start, next=following))


class _At:
    """The record at an offset, or None."""

    def __init__(self, source: Source, place: Place, end: int) -> None:
        self._source, self._place, self._end = source, place, end

    def __call__(self, offset: int) -> Record | None:
        found = _each(self._source, self._place, offset, offset + 1) if offset < self._end else iter(())
        return next(found, None)


def _each(source: Source, place: Place, first: int, last: int) -> Iterator[Record]:
    if first < last:
        for batch in source.read(place, first, last):
            yield from batch


def _mark(head: Head) -> Mark:
    return Mark(offset=head.offset, epoch=head.epoch, digest=head.digest)


def _name(place: Place) -> str:
    return f"{place.topic}/{place.partition}"
