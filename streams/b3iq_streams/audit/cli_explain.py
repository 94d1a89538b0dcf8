"""`audit explain`: why a profile was eligible at a moment, or was not."""

import re
from collections.abc import Callable

import click
import orjson

from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit import options
from b3iq_streams.audit.options import Function, json_option, operator_option, source_options
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.story.explain import explain as find
from b3iq_streams.audit.story.explain_text import as_data, as_text
from b3iq_streams.audit.story.history import check_ids
from b3iq_streams.audit.times import MOMENT

COLOURS = {"✓": "green", "✗": "red", "?": "yellow"}
_SIGN = re.compile(r"^( *)([✓✗?])(?= )", re.MULTILINE)


def _node(ctx: click.Context, param: click.Parameter, value: str) -> str:
    check_ids(value)
    return value


def _profile(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    check_ids("any", value)
    return value


node_argument = click.argument("node_id", metavar="NODE", callback=_node)


def profile_argument(required: bool) -> Callable[[Function], Function]:
    """The argument PROFILE; the command gets it as `profile_id`."""
    metavar = "PROFILE" if required else "[PROFILE]"
    return click.argument("profile_id", metavar=metavar, required=required, callback=_profile)


@click.command("explain")
@node_argument
@profile_argument(required=True)
@click.option("--at", "at_ms", type=MOMENT, default=None, metavar="TIME",
              help="ISO 8601 with a zone, or epoch ms.  [default: the last epoch]")  # fmt: skip
@json_option
@operator_option
@source_options
@click.pass_context
def explain(
    ctx: click.Context, *, node_id: str, profile_id: str, at_ms: int | None, as_json: bool, operator: bool, origin: Origin,
    trust: RootTrust,
) -> None:  # fmt: skip
    """Why a profile of a node was eligible at a time, or was not.

    Shows every check with the record behind it, and the smallest set of facts that would have made the profile eligible.

    Exit code 0: explained, whatever the verdict. 1: the log recorded something else than the fold gives. 3: the evidence is
    not kept any more.
    """
    found = find(origin, trust, node_id, profile_id, at_ms)
    click.echo(orjson.dumps(as_data(found, operator)) if as_json else coloured(as_text(found, operator)))
    ctx.exit(options.DIFFERENT if found.differences else options.EQUAL)


def coloured(text: str) -> str:
    """Signs of checks in colour; on anything but a terminal `click.echo` takes the colours out again."""
    return _SIGN.sub(lambda found: found[1] + click.style(found[2], fg=COLOURS[found[2]]), text)
