"""`audit export`: the topics, or another archive, into an archive of Parquet files; what is there already is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from b3iq_schemas import topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.policy import RootTrust
from b3iq_streams import keys
from b3iq_streams.audit.archive.exporting import Exported
from b3iq_streams.audit.archive.exporting import export as export_archive
from b3iq_streams.audit.archive.manifest import Log
from b3iq_streams.audit.options import json_option, processes_option, source_options
from b3iq_streams.audit.source import AUDITED, Origin
from b3iq_streams.cli_options import path_option

RANGES_MAX = 4
"""How many partitions' offsets a line of text shows."""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@source_options
@path_option("--key", help="Sign the manifest with this key.")
@processes_option
@json_option
def export(directory: Path, origin: Origin, trust: RootTrust, key: Path | None, processes: int | None, as_json: bool) -> None:
    """Write all audited topics to DIR, an archive of Parquet files; into one that is there, only what it lacks.

    The archive holds everything that the topics hold: what is not public in them is not public in it. Exit code 3: records
    between the archive's end and the log's beginning are gone.
    """
    done = export_archive(origin, trust, directory, keys.load(key) if key else None, processes)
    if as_json:
        click.echo(orjson.dumps(_plain(done, key is not None)))
        return
    for line in _lines(done, key is not None):
        click.echo(line)


def _plain(done: Exported, signed: bool) -> dict[str, Any]:
    manifest, before = done.after, done.before.bounds
    return {
        "network": manifest.network,
        "generation": manifest.generation,
        "new_records": done.new_records,
        "records": _count(manifest.logs),
        "files": len(manifest.files),
        "oldest_ms": manifest.oldest_ms,
        "newest_ms": manifest.newest_ms,
        "manifest_sha256": sha256_hex(manifest.raw),
        "signed": signed,
        "logs": [
            {"topic": log.topic, "partition": log.partition, "start": log.start, "next": log.next,
             "new_records": log.next - (before[log.place].end if log.place in before else log.start)}
            for log in manifest.logs
        ],
        "chains": [
            {"partition": chain.partition, "known_since_epoch": chain.since.epoch, "last_epoch": chain.head.epoch,
             "resolved_at_ms": chain.resolved_at_ms}
            for chain in manifest.chains
        ],
        "waiting": [{"partition": partition, "records": count} for partition, count in sorted(done.waiting.items())],
    }  # fmt: skip


def _lines(done: Exported, signed: bool) -> Iterator[str]:
    manifest = done.after
    for topic in AUDITED:
        logs = [log for log in manifest.logs if log.topic == topic]
        ranges = [f"{log.start}–{log.next - 1}" if log.next > log.start else "none" for log in logs]
        more = ["…"] if len(ranges) > RANGES_MAX else []
        count = f"{len(logs)} partition{'' if len(logs) == 1 else 's'}"
        yield f"{topic:<20} {_count(logs):>10} records in {count}: offsets {', '.join([*ranges[:RANGES_MAX], *more])}"
    for partition, waiting in sorted(done.waiting.items()):
        yield f"{topics.ELIGIBILITY_CHANGES}/{partition}: {waiting} records wait until it is known whether they count"
    for chain in manifest.chains:
        if chain.since.epoch:
            yield (
                f"{topics.ELIGIBILITY_CHANGES}/{chain.partition}: which records count is known after epoch {chain.since.epoch}, "
                f"from offset {chain.since.offset + 1} on"
            )
    files = f"{len(manifest.files)} files{', signed' if signed else ''}"
    new = f"{done.new_records} new" if done.new_records else "nothing new"
    yield f"{'total':<20} {_count(manifest.logs):>10} records in {files}; {new}"


def _count(logs: list[Log] | tuple[Log, ...]) -> int:
    return sum(log.next - log.start for log in logs)
