"""One file of an archive against its entry in the manifest, and every row against the record it claims to be.

Everything beside the raw record is derived again and compared, column by column. Reads without the pages' checksums: the
file's own SHA-256 covers them, and a damaged value should be named, not only its page.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from b3iq_streams.audit.archive import columns
from b3iq_streams.audit.archive.fates import Fate
from b3iq_streams.audit.archive.finding import Finding, hidden, shown
from b3iq_streams.audit.archive.manifest import File
from b3iq_streams.audit.archive.origin import BROKEN, opened
from b3iq_streams.audit.archive.rows import read_records
from b3iq_streams.audit.archive.writer import file_sha256
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError

FateOf = Callable[[Record], Fate | None]
Content = Callable[[Record], Iterator[Finding]]
"""Judges what one record holds."""


def check_file(directory: Path, file: File, fate_of: FateOf | None, content: Content | None) -> Iterator[Finding]:
    """What is wrong with a file, its rows, and what they hold. `fate_of` is asked for each row of a chain, in order."""
    path = directory / file.path
    if not path.is_file():
        yield Finding(*file.place, file.first, "file is missing", str(file.path), "")
        return
    if (found := file_sha256(path)) != file.sha256:
        yield Finding(*file.place, file.first, "SHA-256 of the file", file.sha256, found)
    checking = _FileCheck(file, fate_of, content)
    try:
        with opened(path, checked=False) as parquet:
            yield from checking.schema(parquet.schema_arrow)
            for group in range(parquet.num_row_groups):
                yield from checking.group(parquet, group)
    except UserError as error:
        yield Finding(*file.place, checking.last + 1, "file cannot be read", "", str(error).replace(str(path), str(file.path)))
        return
    yield from checking.finish()


class _FileCheck:
    """A file under way."""

    def __init__(self, file: File, fate_of: FateOf | None, content: Content | None) -> None:
        self.file, self.fate_of, self.content = file, fate_of, content
        self.seen: set[int] = set()
        self.last = file.first - 1
        self.records, self.oldest_ms, self.newest_ms = 0, 2**63 - 1, -(2**63)
        self.digest = hashlib.sha256()
        self.broken = False

    def found(self, offset: int, what: str, recorded: str, found: str) -> Finding:
        return Finding(*self.file.place, offset, what, recorded, found)

    def schema(self, schema: Any) -> Iterator[Finding]:
        wanted = columns.schema(self.file.topic)
        if not schema.equals(wanted):
            names = [[f"{field.name}:{field.type}" for field in found] for found in (schema, wanted)]
            differing = [sorted(set(mine) - set(other)) for mine, other in (names, names[::-1])]
            yield self.found(self.file.first, "columns of the file", *(shown(", ".join(found)) for found in differing))

    def group(self, parquet: Any, group: int) -> Iterator[Finding]:
        """One group of rows; one that cannot be read is skipped."""
        try:
            table = parquet.read_row_group(group, use_threads=False)
            records = read_records(table, self.file.place)
        except BROKEN as error:
            count = parquet.metadata.row_group(group).num_rows
            self.broken = True
            yield self.found(self.last + 1, f"{count} records cannot be read", "", shown(str(error) or type(error).__name__))
            self.last += count
            return
        yield from self.sequence(records)
        yield from self.columns(table, records)
        for record in records if self.content else ():
            assert self.content is not None
            yield from self.content(record)

    def sequence(self, records: Sequence[Record]) -> Iterator[Finding]:
        """Every offset from the file's first to its last, each once, in order."""
        for record in records:
            offset, at_ms = record.offset, record.timestamp_ms
            self.records += 1
            self.oldest_ms, self.newest_ms = min(self.oldest_ms, at_ms), max(self.newest_ms, at_ms)
            if not self.file.first <= offset < self.file.next:
                yield self.found(offset, "record does not belong here", f"{self.file.first} to {self.file.next - 1}", str(offset))
                continue
            if offset in self.seen:
                yield self.found(offset, "record is there twice", "", "")
            elif offset < self.last:
                yield self.found(offset, "record is out of order", "", f"after {self.last}")
            self.seen.add(offset)
            self.last = offset

    def columns(self, table: Any, records: Sequence[Record]) -> Iterator[Finding]:
        """Every column that is not raw, derived again. A chain that broke shows as one finding, not as all that follows."""
        topic = self.file.topic
        fates = [self.fate_of(record) for record in records] if self.fate_of else ()
        derived = columns.table(topic, records, fates)
        self.digest.update(b"".join(derived.column("record_sha256").to_pylist()))
        for name in derived.column_names:
            if name not in table.column_names or table.schema.field(name).type != derived.schema.field(name).type:
                continue  # `schema` has said so
            stored, wanted = table.column(name).combine_chunks(), derived.column(name).combine_chunks()
            if stored.equals(wanted):
                continue
            differs = [at for at in range(len(records)) if not stored.slice(at, 1).equals(wanted.slice(at, 1))]
            for first, count in _runs(differs) if name in columns.FATE else ((at, 1) for at in differs):
                also = f", and of {count - 1} records after it" if count > 1 else ""
                show = _private if name in columns.PRIVATE else shown
                what = name if name == "record_sha256" else f"column {name}"
                yield self.found(records[first].offset, what + also, show(_cell(stored[first])), show(_cell(wanted[first])))

    def finish(self) -> Iterator[Finding]:
        """What the manifest says of the file."""
        file = self.file
        if self.broken:
            return
        yield from self.missing()
        for what, recorded, found in (
            ("number of records", file.records, self.records),
            ("oldest log time", file.oldest_ms, self.oldest_ms),
            ("newest log time", file.newest_ms, self.newest_ms),
            ("digest of the records", file.records_sha256, self.digest.hexdigest()),
        ):
            if recorded != found:
                yield self.found(file.first, what, str(recorded), str(found))

    def missing(self) -> Iterator[Finding]:
        """Stretches of offsets that never came."""
        expected = self.file.first
        for offset in (*sorted(self.seen), self.file.next):
            if offset > expected:
                yield self.found(expected, "records are missing", f"{expected} to {offset - 1}", "")
            expected = offset + 1


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of each stretch of consecutive numbers."""
    first = 0
    for at in range(1, len(positions) + 1):
        if at == len(positions) or positions[at] != positions[at - 1] + 1:
            yield positions[first], at - first
            first = at


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):  # no text, or no date
        return "unreadable"


def _private(value: Any) -> str:
    return hidden(None if value is None else orjson.dumps(value, default=str))
