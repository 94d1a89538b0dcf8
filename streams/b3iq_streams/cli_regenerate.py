"""`topics regenerate`: more partitions, as a new generation of the network."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click

from b3iq_schemas.policy import RootTrust
from b3iq_streams import keys as key_files
from b3iq_streams.cli_options import kafka_options, path_option, trust_option
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Place
from b3iq_streams.processor.names import GROUP, changelog
from b3iq_streams.regenerate import Change
from b3iq_streams.regenerate import regenerate as run
from b3iq_streams.settings import KafkaSettings


@click.command()
@click.option("--partitions", type=click.IntRange(2, 1_000), required=True, help="How many there shall be: more than now.")
@path_option("--operator-key", required=True, help="Signs the holds in force again, where they now belong.")
@path_option("--out-trust", required=True, help="The new trust file; written last.")
@click.option("--archive", type=click.Path(path_type=Path), metavar="DIR", help="What `audit export` wrote; must be complete.")
@click.option("--discard-history", is_flag=True, help="Without an archive: the old generation can never be audited again.")
@click.option("--group", default=GROUP, show_default=True, help="Consumer group of the processors.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@kafka_options
@trust_option
def regenerate(
    *,
    partitions: int,
    operator_key: Path,
    out_trust: Path,
    archive: Path | None,
    discard_history: bool,
    group: str,
    dry_run: bool,
    kafka: KafkaSettings,
    trust: RootTrust,
) -> None:
    """Give a stopped network more partitions: a new generation, in which every policy and every hold in force is kept.

    Nodes are closed until their senders have spoken again. Run it again after an end at any point, with the same options.
    """
    if (archive is None) == (not discard_history):
        raise UserError("give either --archive DIR or --discard-history")
    archived = None if archive is None else lambda: _archived(archive, trust)
    change = Change(trust, out_trust, partitions, (group, changelog(group)), key_files.load(operator_key), archived)
    asyncio.run(run(change, kafka, click.echo, dry_run))


def _archived(directory: Path, trust: RootTrust) -> Mapping[Place, int]:
    from b3iq_streams.audit.archive.manifest import load  # only with an archive

    manifest = load(directory)
    if (manifest.network, manifest.generation) != (trust.network, trust.generation):
        raise UserError(f"{directory} is an archive of {manifest.network}, generation {manifest.generation}")
    return {log.place: log.next for log in manifest.logs}
