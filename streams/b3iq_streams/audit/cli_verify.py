"""`audit verify`: every partition verified over several processes, with a progress bar, and one report."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson

from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import INPUTS
from b3iq_streams.audit import options, parallel
from b3iq_streams.audit.archive.finding import Finding
from b3iq_streams.audit.options import json_option, processes_option, range_options, source_options
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.verify import Plan, Report, verify
from b3iq_streams.audit.verify_text import as_data, as_text, verdict
from b3iq_streams.cli_options import make_directory
from b3iq_streams.errors import UserError

FINDINGS_MAX = 20
CODES = {"equal": options.EQUAL, "different": options.DIFFERENT, "expired": options.EXPIRED}


@click.command("verify")
@range_options
@click.option("--resume", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Save the fold here, and go on from what is saved here.")  # fmt: skip
@click.option("--signer", metavar="HEX", help="Public key that must have signed the archive's manifest.")
@click.option("--fold-only", is_flag=True, help="Do not check an archive's files and records before folding.")
@processes_option
@json_option
@source_options
@click.pass_context
def command(
    ctx: click.Context, *, origin: Origin, trust: RootTrust, from_ms: int, to_ms: int, resume: Path | None,
    signer: str | None, fold_only: bool, processes: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Fold every epoch again from the inputs and compare with what is recorded, byte for byte.

    Exit code 0: equal. 1: different. 3: the evidence is not kept any more.
    """
    if resume is not None:
        make_directory(resume, "--resume")
    key = _key(signer)
    findings = [] if fold_only else inspect(origin, trust, key, processes)
    reports = [] if findings else run(origin, Plan(trust, from_ms, to_ms, resume), processes, quiet=as_json)
    click.echo(orjson.dumps(as_data(reports, findings)) if as_json else as_text(reports, findings))
    ctx.exit(CODES[verdict(reports, findings)])


def inspect(origin: Origin, trust: RootTrust, signer: bytes | None = None, processes: int | None = None) -> list[Finding]:
    """What is wrong with an archive, in order, the first of each partition number; nothing for live topics."""
    if not hasattr(origin, "manifest"):
        if signer is not None:
            raise UserError("--signer is about an archive: give --archive")
        return []
    from b3iq_streams.audit.archive import inspection  # only who reads an archive needs what reads it
    from b3iq_streams.audit.archive.origin import ArchiveOrigin

    assert isinstance(origin, ArchiveOrigin)
    found = list(inspection.check_manifest(origin, trust, signer))
    numbers = inspection.partition_numbers(origin)
    return found + [one for some in parallel.run(_inspect, numbers, (origin, trust), processes) for one in some]


def _inspect(desk: Desk, origin: Origin, trust: RootTrust) -> list[Finding]:
    from b3iq_streams.audit.archive import inspection  # as above
    from b3iq_streams.audit.archive.origin import ArchiveOrigin

    assert isinstance(origin, ArchiveOrigin)
    return list(islice(inspection.check_partition(origin, trust, desk.partition), FINDINGS_MAX))


def _key(signer: str | None) -> bytes | None:
    if signer is None:
        return None
    try:
        key = bytes.fromhex(signer)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UserError("--signer is not a public key: 64 hex digits are expected (see `keys show`)")
    return key


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
