"""Which decisions were logged twice: the ids of all of them, sorted on disk. Does not say which of two is the true one."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from b3iq_streams.audit.spool import Row

_TABLE = """
CREATE TABLE told (id TEXT, logged_at_ms INT, partition INT, offset INT, payload TEXT, decided_at_ms INT, data TEXT)
"""
_NUMBERED = """
SELECT *, row_number() OVER again AS number, first_value(payload) OVER again AS first
FROM told WINDOW again AS (PARTITION BY id ORDER BY logged_at_ms, partition, offset)
"""


class Repeat(NamedTuple):
    """A decision whose id was logged before. `same`: with the same payload, so that it is only a copy."""

    partition: int
    offset: int
    same: bool


def repeats(path: Path, rows: Iterable[Row]) -> Iterator[Repeat]:
    """Every decision but the first of each id, by partition and offset.

    A row: decision id, log time, partition, offset, SHA-256 of the payload. `path` = where to sort.
    """
    query = f"SELECT partition, offset, payload = first FROM ({_NUMBERED}) WHERE number > 1 ORDER BY partition, offset"  # noqa: S608 (no input)
    with closing(_filled(path, ((*row, 0, "") for row in rows))) as database:
        for partition, offset, same in database.execute(query):
            yield Repeat(partition, offset, bool(same))


def first_of_each(path: Path, rows: Iterable[Row]) -> Iterator[str]:
    """The `data` of the first decision of each id, by the moment at which it was decided.

    A row: decision id, log time, partition, offset, SHA-256 of the payload, moment, data. `path` = where to sort.
    """
    query = f"SELECT data FROM ({_NUMBERED}) WHERE number = 1 ORDER BY decided_at_ms, partition, offset"  # noqa: S608 (no input)
    with closing(_filled(path, rows)) as database:
        for (data,) in database.execute(query):
            yield data


def _filled(path: Path, rows: Iterable[Sequence[Any]]) -> sqlite3.Connection:
    """A database that is gone with its directory: it need not survive a crash."""
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
        database.execute(f"PRAGMA {pragma}")
    database.execute(_TABLE)
    database.execute("BEGIN")
    database.executemany("INSERT INTO told VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.execute("COMMIT")
    return database
