"""Writes the records of one partition to files that never change again. Decides where they are cut, not which records come.

Where a file or a group of rows ends depends on the records alone, so that the same log gives the same files.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from b3iq_streams.audit.archive import columns
from b3iq_streams.audit.archive.disk import make_folder, publish, unfinished
from b3iq_streams.audit.archive.fates import Fate
from b3iq_streams.audit.archive.manifest import File, columns_path, file_path
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place

ROW_BYTES = 64
"""What a record counts beside its key, value and headers."""
_STATISTICS = ["partition", "offset", "logged_at"]
_REPEATING = [
    "keyids.list.element", "payload_type", "node_id", "profile_id", "kind", "model_id", "state", "code", "attempt",
    "route_tier", "runtime_kind", "price_wei_per_mtok", "stake_wei", "outcome", "agent_version", "first_code",
]  # fmt: skip
"""Columns worth a dictionary, where they exist."""


class Sizes(NamedTuple):
    """Where to cut: a group of rows, and a file, end with the record that fills them."""

    group_records: int = 5_000
    group_bytes: int = 16 * 1024 * 1024
    file_records: int = 100_000
    file_bytes: int = 512 * 1024 * 1024


class PartitionWriter:
    """Takes a partition's records in order, from `first` on; `finish` returns the files they are in."""

    def __init__(self, directory: Path, place: Place, sizes: Sizes) -> None:
        self.directory, self.place, self.sizes = directory, place, sizes
        self.files: list[File] = []
        self._rows: list[Record] = []
        self._fates: list[Fate | None] = []
        self._bytes = 0
        self._file: _OpenFile | None = None

    def add(self, record: Record, fate: Fate | None = None) -> None:
        """The next record."""
        self._rows.append(record)
        self._fates.append(fate)
        self._bytes += ROW_BYTES + len(record.key or b"") + len(record.value or b"")
        self._bytes += sum(len(name) + len(value or b"") for name, value in record.headers)
        if len(self._rows) == self.sizes.group_records or self._bytes >= self.sizes.group_bytes:
            self._write_group()

    def finish(self) -> list[File]:
        """Everything that was added, in files that have their names."""
        self._write_group()
        self._close()
        return self.files

    def _write_group(self) -> None:
        if not self._rows:
            return
        if self._file is None:
            self._file = _OpenFile(self.directory, self.place, self._rows[0].offset)
        file = self._file
        file.write(columns.table(self.place.topic, self._rows, self._fates), self._rows, self._bytes)
        self._rows, self._fates, self._bytes = [], [], 0
        if file.records >= self.sizes.file_records or file.bytes >= self.sizes.file_bytes:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self.files.append(self._file.close())
            self._file = None


class _OpenFile:
    """A file under way, under a name that nobody reads."""

    def __init__(self, directory: Path, place: Place, first: int) -> None:
        self._place, self._first = place, first
        self._path = directory / file_path(place, first)
        make_folder(self._path.parent)
        self._writer = writer(unfinished(self._path), place.topic)
        self._digest = hashlib.sha256()
        self._oldest_ms, self._newest_ms = 2**63 - 1, -(2**63)
        self.records = self.bytes = 0

    def write(self, table: Any, records: Sequence[Record], size: int) -> None:
        self._writer.write_table(table, row_group_size=len(records))
        self._digest.update(b"".join(table.column("record_sha256").to_pylist()))
        self._oldest_ms = min(self._oldest_ms, min(record.timestamp_ms for record in records))
        self._newest_ms = max(self._newest_ms, max(record.timestamp_ms for record in records))
        self.records += len(records)
        self.bytes += size

    def close(self) -> File:
        self._writer.close()
        publish(self._path)
        return File(
            topic=self._place.topic, partition=self._place.partition, first=self._first, next=self._first + self.records,
            records=self.records, oldest_ms=self._oldest_ms, newest_ms=self._newest_ms,
            sha256=file_sha256(self._path), records_sha256=self._digest.hexdigest(),
        )  # fmt: skip


def writer(path: Path, topic: str) -> Any:
    """A Parquet writer for a topic's files: small, with checksums per page, and with bounds only where readers skip by them."""
    schema = columns.schema(topic)
    repeating = [name for name in _REPEATING if name.partition(".")[0] in schema.names]
    return pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=repeating, write_page_checksum=True,
        write_statistics=_STATISTICS,
    )  # fmt: skip


def write_columns(directory: Path, topic: str) -> str:
    """Write a topic's empty file; returns its SHA-256."""
    path = directory / columns_path(topic)
    make_folder(path.parent)
    writer(unfinished(path), topic).close()
    publish(path)
    return file_sha256(path)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
