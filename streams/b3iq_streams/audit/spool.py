"""Rows put aside on disk, so that memory does not grow with the log: written by jobs, read in order by whoever merges them.

A row is a list of plain JSON values; named tuples inside it come back as lists. No file stays open between two pieces, so there
may be thousands. Judges nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

Row = list[Any]
PIECE_BYTES = 32 * 1024


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for spools that only this user can read, gone afterwards."""
    with TemporaryDirectory(prefix="b3iq-audit-") as name:
        yield Path(name)


class Spool:
    """Appends rows to a file; there is no file without rows. `close` writes what is still in memory."""

    def __init__(self, path: Path) -> None:
        self._path, self._lines, self._bytes = path, list[bytes](), 0

    def put(self, row: Sequence[Any]) -> None:
        """Append a row."""
        line = orjson.dumps(tuple(row), default=tuple) + b"\n"
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= PIECE_BYTES:
            self.close()

    def close(self) -> None:
        """Write what is still in memory; more rows may follow."""
        if self._lines:
            with self._path.open("ab") as file:
                file.writelines(self._lines)
            self._lines, self._bytes = [], 0


def close_all(spools: Iterable[Spool]) -> None:
    """Close each of them."""
    for spool in spools:
        spool.close()


def rows(path: Path) -> Iterator[Row]:
    """The rows of a file in the order in which they were put; none if there is no file."""
    position = 0
    while path.exists():
        with path.open("rb") as file:
            file.seek(position)
            lines = file.readlines(PIECE_BYTES)
            position = file.tell()
        if not lines:
            return
        yield from map(orjson.loads, lines)
