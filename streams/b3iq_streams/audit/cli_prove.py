"""`audit prove` writes a node's bundle, `audit check-bundle` checks one on a machine that has nothing but the trust file."""

from pathlib import Path

import click
import orjson

from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.bundle.check import Result, check
from b3iq_streams.audit.bundle.contents import BUNDLE_BYTES_MAX
from b3iq_streams.audit.bundle.text import as_data, as_text
from b3iq_streams.audit.options import DIFFERENT, EQUAL, json_option, operator_option, range_options, source_options
from b3iq_streams.audit.source import Origin
from b3iq_streams.cli_options import path_option, read, trust_option, write
from b3iq_streams.errors import UserError


@click.command("prove")
@click.argument("node_id", metavar="NODE")
@range_options
@path_option("--out", help="Where to write the bundle.  [default: stdout]")
@operator_option
@source_options
@click.pass_context
def prove(
    ctx: click.Context, *, node_id: str, from_ms: int, to_ms: int, out: Path | None, operator: bool, origin: Origin,
    trust: RootTrust,
) -> None:  # fmt: skip
    """Bundle what is on record about NODE, so that its host can check it with `check-bundle`.

    Exit code 0: written, and it verifies. 1: written, but what is recorded does not follow from the records.
    3: the evidence is not kept any more.
    """
    from b3iq_streams.audit.bundle.prove import Ask, make_bundle  # who only checks a bundle needs none of it

    raw = make_bundle(origin, trust, Ask(node_id, from_ms, to_ms, operator))
    result = check(raw, trust)
    if out is None:
        click.get_binary_stream("stdout").write(raw)
    else:
        write(out, raw)
        click.echo(f"{out}: {len(raw):,} bytes\n{as_text(result)}")
    if not result.verified and out is None:
        click.echo(as_text(result), err=True)
    ctx.exit(code(result))


@click.command("check-bundle")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@trust_option
@click.pass_context
def check_bundle(ctx: click.Context, *, file: Path, as_json: bool, trust: RootTrust) -> None:
    """Check a bundle of `prove` with the trust file alone: signatures, and every decision folded again.

    Exit code 0: verified. 1: not, and the first difference is named. 2: not a bundle of this network.
    """
    raw = content(file)
    try:
        result = check(raw, trust)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    click.echo(orjson.dumps(as_data(result)) if as_json else as_text(result))
    ctx.exit(code(result))


def content(file: Path) -> bytes:
    """The file's bytes; raises UserError for what is too large to be a bundle."""
    try:
        if file.stat().st_size > BUNDLE_BYTES_MAX:
            raise UserError(f"{file}: not a bundle: larger than {BUNDLE_BYTES_MAX >> 20} MiB")
    except OSError as error:
        raise UserError(f"bundle {file}: {error.strerror}") from None
    return read(file, "bundle")


def code(result: Result) -> int:
    """The exit code that says it."""
    return EQUAL if result.verified else DIFFERENT
