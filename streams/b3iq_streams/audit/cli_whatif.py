"""`audit whatif`: what another policy would have changed, and a gate for changes of policy."""

from pathlib import Path

import click
import orjson

from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit import options
from b3iq_streams.audit.options import json_option, processes_option, range_options, source_options
from b3iq_streams.audit.routing.codes import Limits
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.whatif.text import as_data, as_text
from b3iq_streams.audit.whatif.whatif import read_candidate
from b3iq_streams.audit.whatif.whatif import whatif as replay
from b3iq_streams.cli_options import read
from b3iq_streams.errors import UserError


@click.command("whatif")
@click.argument("policy_file", type=click.Path(path_type=Path), metavar="POLICY_FILE")
@range_options
@click.option("--max-flips", type=click.IntRange(0), default=None, metavar="N", help="Exit code 1 if more profiles flip.")
@processes_option
@json_option
@source_options
@click.pass_context
def whatif(
    ctx: click.Context, *, policy_file: Path, origin: Origin, trust: RootTrust, from_ms: int, to_ms: int,
    max_flips: int | None, processes: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Replay with another policy in force, from --from to --to: which profiles flip, which paid requests would change.

    POLICY_FILE is a policy as `policy new` writes it, signed or not. Exit code 0: told. 1: more than --max-flips profiles flip.
    3: the evidence is not kept any more.
    """
    try:
        candidate = read_candidate(read(policy_file, "policy"), trust)
    except UserError as error:
        raise UserError(f"{policy_file}: {error}") from None
    report = replay(origin, trust, candidate, Limits(trust.skew_ms, from_ms=from_ms, to_ms=to_ms), processes)
    click.echo(orjson.dumps(as_data(report)) if as_json else as_text(report))
    ctx.exit(options.DIFFERENT if max_flips is not None and len(report.flips) > max_flips else options.EQUAL)
