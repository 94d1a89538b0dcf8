"""`audit timeline`: the history of a node, as text, as JSON, or as a picture."""

from pathlib import Path

import click
import orjson

from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit import options
from b3iq_streams.audit.cli_explain import node_argument, profile_argument
from b3iq_streams.audit.options import json_option, range_options, source_options
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.story.timeline import timeline as find
from b3iq_streams.audit.story.timeline_html import as_html
from b3iq_streams.audit.story.timeline_text import as_data, as_text
from b3iq_streams.cli_options import path_option, write


@click.command("timeline")
@node_argument
@profile_argument(required=False)
@range_options
@json_option
@path_option("--html", default=None, help="Also write a page with a picture; nothing in it is fetched from elsewhere.")
@source_options
@click.pass_context
def timeline(
    ctx: click.Context, *, node_id: str, profile_id: str | None, from_ms: int, to_ms: int, as_json: bool, html: Path | None,
    origin: Origin, trust: RootTrust,
) -> None:  # fmt: skip
    """The history of a node: when each of its profiles was eligible, what blocked it, and what was said of the node.

    Exit code 0: told. 1: the log recorded something else than the fold gives. 3: the evidence is not kept any more.
    """
    found = find(origin, trust, node_id, profile_id, from_ms, to_ms)
    if html is not None:
        write(html, as_html(found).encode())
    click.echo(orjson.dumps(as_data(found)) if as_json else as_text(found))
    ctx.exit(options.DIFFERENT if found.differences else options.EQUAL)
