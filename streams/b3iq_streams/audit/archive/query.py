"""The SQL examples on an archive: DuckDB reads its Parquet files in place. Changes nothing, and reads nothing else."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from b3iq_streams.audit.archive.manifest import load
from b3iq_streams.errors import UserError

VIEWS = "views"
_NO_DOWNLOADS: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


class Table(NamedTuple):
    """The answer: names of the columns, and rows of plain values."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def examples() -> dict[str, str]:
    """Every example by name, with the line that says what it answers."""
    return {name: text(name).partition("\n")[0].removeprefix("-- ") for name in _names() if name != VIEWS}


def text(name: str) -> str:
    """The SQL of an example, or of the views that all of them share."""
    return (files("b3iq_streams.audit.archive") / "sql" / f"{name}.sql").read_text()


def run(name: str, archive: Path) -> Table:
    """Run an example on an archive. Raises UserError for a name that is none, or an archive that cannot be read."""
    if name not in examples():
        raise UserError(f"no query {name[:60]!r}; there are {', '.join(examples())}")
    load(archive)
    quoted = str(archive.resolve()).replace("'", "''")
    try:
        with duckdb.connect(config=_NO_DOWNLOADS) as connection:
            connection.execute(f"SET VARIABLE archive = '{quoted}'")
            connection.execute(f"SET allowed_directories = ['{quoted}']")
            connection.execute("SET enable_external_access = false")
            connection.execute(text(VIEWS))
            found = connection.execute(text(name))
            return Table(tuple(column[0] for column in found.description or ()), found.fetchall())
    except duckdb.Error as error:
        raise UserError(f"query {name} on {archive}: {str(error).partition(chr(10))[0]}") from None


def _names() -> Iterator[str]:
    for found in sorted((files("b3iq_streams.audit.archive") / "sql").iterdir(), key=lambda found: found.name):
        if found.name.endswith(".sql"):
            yield found.name.removesuffix(".sql")
