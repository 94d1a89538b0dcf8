"""`audit verify`: every partition verified over several processes, with a progress bar, and one report."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import INPUTS
from b3iq_streams.audit import options, parallel
from b3iq_streams.audit.options import json_option, processes_option, range_options, source_options
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.verify import Plan, Report, verify
from b3iq_streams.audit.verify_text import as_data, as_text, verdict
from b3iq_streams.errors import UserError

CODES = {"equal": options.EQUAL, "different": options.DIFFERENT, "expired": options.EXPIRED}


@click.command("verify")
@range_options
@click.option("--resume", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Save the fold here, and go on from what is saved here.")  # fmt: skip
@processes_option
@json_option
@source_options
@click.pass_context
def command(
    ctx: click.Context, *, origin: Origin, trust: RootTrust, from_ms: int, to_ms: int, resume: Path | None,
    processes: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Fold every epoch again from the inputs and compare with what is recorded, byte for byte.

    Exit code 0: equal. 1: different. 3: the evidence is not kept any more.
    """
    if resume is not None:
        _make(resume)
    reports = run(origin, Plan(trust, from_ms, to_ms, resume), processes, quiet=as_json)
    click.echo(orjson.dumps(as_data(reports)) if as_json else as_text(reports))
    ctx.exit(CODES[verdict(reports)])


def run(origin: Origin, plan: Plan, processes: int | None = None, quiet: bool = True) -> list[Report]:
    """Verify every partition; reports in their order."""
    with _progress(origin, quiet) as advance:
        return parallel.run(verify, range(origin.partitions), (origin, plan), processes, advance)


@contextmanager
def _progress(origin: Origin, quiet: bool) -> Iterator[Any]:
    """A bar on stderr, if somebody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda partition, records: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = sum(bounds.end - bounds.start for place, bounds in origin.bounds.items() if place.topic in INPUTS)
    columns = TextColumn("folding again"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda partition, records: bar.advance(task, records)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--resume {directory}: {error.strerror}") from None
