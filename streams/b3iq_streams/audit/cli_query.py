"""`audit query`: the SQL examples on an archive, as a table, JSON or CSV."""

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from b3iq_streams.audit.archive.query import Table, examples, run
from b3iq_streams.audit.options import json_option
from b3iq_streams.errors import UserError

WIDTH_PIPED = 1_000
"""How wide a table may be where nobody's window limits it."""


@click.command()
@click.argument("name", required=False)
@click.option("--archive", type=click.Path(path_type=Path), metavar="DIR", help="The archive (see `audit export`).")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="CSV instead of text.")
def query(name: str | None, archive: Path | None, as_json: bool, as_csv: bool) -> None:
    """Run the query NAME on an archive; without NAME, list the queries.

    What senders wrote is taken as it stands: run `audit verify` on the archive first. Times are UTC.
    """
    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other: give one")
    if name is None:
        listed = Table(("name", "answers"), list(examples().items()))
        click.echo(_shown(listed, as_json, as_csv), nl=False)
        return
    if name in examples() and archive is None:
        raise UserError("--archive is missing: give the directory of an archive")
    click.echo(_shown(run(name, archive or Path()), as_json, as_csv), nl=False)


def _shown(table: Table, as_json: bool, as_csv: bool) -> str:
    rows = [tuple(map(_plain, row)) for row in table.rows]
    if as_json:
        return orjson.dumps([dict(zip(table.columns, row, strict=True)) for row in rows]).decode() + "\n"
    if as_csv:
        sheet = io.StringIO()
        lines = csv.writer(sheet, lineterminator="\n")
        lines.writerow(table.columns)
        lines.writerows([[_word(cell) for cell in row] for row in rows])
        return sheet.getvalue()
    return _grid(table.columns, rows)


def _grid(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for at, name in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[at], int | float | None) for row in rows)
        grid.add_column(name, justify="right" if numbers else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(_word(cell)) for cell in row))
    console = Console(width=WIDTH_PIPED, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(grid)
    return "".join(line.rstrip() + "\n" for line in captured.get().splitlines())


def _plain(cell: Any) -> Any:
    """A cell as JSON has it: moments in ISO 8601 with their zone, exact decimals as strings."""
    if isinstance(cell, datetime):
        return cell.isoformat(timespec="milliseconds") + "Z"
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell) if isinstance(cell, Decimal) else cell


def _word(cell: Any) -> str:
    if isinstance(cell, list):
        return " ".join(map(_word, cell))
    text = "" if cell is None else str(cell)
    return text if text.isprintable() else repr(text)
