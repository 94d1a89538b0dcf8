"""An archive as a source: the records that `audit export` wrote, read back exactly from its Parquet files.

Reads a group of rows at a time, and only the columns that make records. Believes the manifest about where records are, and
checks neither digests nor signatures: that is `inspection.py`.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from b3iq_streams.audit.archive import manifest as manifests
from b3iq_streams.audit.archive.manifest import File, Manifest
from b3iq_streams.audit.archive.rows import RAW, read_records
from b3iq_streams.audit.source import Bounds
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place

GROUPS_KEPT = 4
"""Who asks for single records asks for others near them."""
BROKEN: tuple[type[Exception], ...] = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, MemoryError)
"""What reading a damaged Parquet file raises."""


@dataclass(frozen=True)
class ArchiveOrigin:
    """The records of an archive, as its manifest says."""

    directory: Path
    manifest: Manifest

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The archive in a directory. Raises UserError when it has no sound manifest."""
        return cls(directory, manifests.load(directory))

    @property
    def partitions(self) -> int:
        """P: of the inputs and the chain."""
        return self.manifest.partitions

    @cached_property
    def bounds(self) -> Mapping[Place, Bounds]:
        """Every partition of every topic that is in the archive."""
        return self.manifest.bounds

    @property
    def stamped(self) -> bool:
        """Whether the broker stamped the records."""
        return self.manifest.stamped

    @contextmanager
    def open(self) -> Iterator["ArchiveSource"]:
        """Files are opened when something is read."""
        yield ArchiveSource(self.directory, self.manifest)


class ArchiveSource:
    """Reads the files that a manifest names."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory, self._files = directory, manifest.by_place
        self._kept = lru_cache(GROUPS_KEPT)(self._group)

    def read(self, place: Place, first: int, last: int) -> Iterator[Sequence[Record]]:
        """Records with first ≤ offset < last, a group of rows at a time.

        Raises UserError for a file that is missing or broken.
        """
        files = self._files.get(place, ())
        at = max(0, bisect_right(files, first, key=lambda file: file.first) - 1)
        for file in files[at:]:
            if file.first >= last:
                return
            yield from self._read(file, first, last)

    def _read(self, file: File, first: int, last: int) -> Iterator[Sequence[Record]]:
        with opened(self._directory / file.path) as parquet:
            for group in range(parquet.num_row_groups):
                low, high = _offsets(parquet.metadata.row_group(group))
                if high < first or low >= last:
                    continue
                if first <= low and high < last:
                    yield _records(parquet, group, file.place)
                else:
                    yield [record for record in self._kept(file.path, group, file.place) if first <= record.offset < last]

    def _group(self, path: Path, group: int, place: Place) -> list[Record]:
        with opened(self._directory / path) as parquet:
            return _records(parquet, group, place)


def _records(parquet: Any, group: int, place: Place) -> list[Record]:
    return read_records(parquet.read_row_group(group, columns=list(RAW), use_threads=False), place)


@contextmanager
def opened(path: Path, checked: bool = True) -> Iterator[Any]:
    """A Parquet file, open; what goes wrong with it is a UserError. `checked`: pages are held against their checksums."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=checked) as parquet:
            yield parquet
    except FileNotFoundError:
        raise UserError(f"archive file {path} is missing") from None
    except BROKEN as error:
        raise UserError(f"archive file {path} cannot be read: {str(error)[:200] or type(error).__name__}") from None


def _offsets(group: Any) -> tuple[int, int]:
    """The lowest and the highest offset of a group of rows, as it says."""
    for column in range(group.num_columns):
        found = group.column(column)
        if found.path_in_schema == "offset" and found.statistics is not None and found.statistics.has_min_max:
            return found.statistics.min, found.statistics.max
    return 0, 2**63 - 1
