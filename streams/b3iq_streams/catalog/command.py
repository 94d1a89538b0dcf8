"""`catalog`: serve what may be publicly known of a network; `catalog keys`: the API keys of callers who have calls routed."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from b3iq_schemas.policy import RootTrust
from b3iq_streams import keys as key_files
from b3iq_streams.catalog import apikeys, serving
from b3iq_streams.catalog.app import create_app
from b3iq_streams.catalog.cli_keys import keys
from b3iq_streams.catalog.gateway import Gateway
from b3iq_streams.catalog.hub import HubSettings
from b3iq_streams.catalog.live import LiveSettings
from b3iq_streams.catalog.opening import clock, opened
from b3iq_streams.cli_options import bound_option, kafka_options, log_options, path_option, trust_option
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import publisher
from b3iq_streams.observability import logs
from b3iq_streams.router.log import CALLERS_VARIABLE, DecisionLog, caller_secret
from b3iq_streams.router.partition import ViewSettings
from b3iq_streams.settings import KafkaSettings

DECISION_WAIT_S = 5.0
"""How long a caller is kept waiting for its decision to be in the log."""


class Routing(NamedTuple):
    """What it takes to route calls: the router's key file, the file of API keys, the secret for caller hashes, calls a second."""

    router_key: Path
    api_keys: Path
    secret: str
    rate: int


class Serving(click.Group):
    """A group whose command without a name is `serve`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options without a command are those of `serve`."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Serving, no_args_is_help=False)
def command() -> None:
    """Serve the public catalog: models, readiness, changes. Without a command, `serve` (see `serve --help`)."""


command.add_command(keys)


@command.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="0: any free port.")
@bound_option("Oldest view to make claims from.")
@click.option("--relaxed", is_flag=True, help="Accept records that the broker did not stamp (embedded broker).")
@path_option(
    "--router-key", help=f"Router key file: with --api-keys and {CALLERS_VARIABLE}, serve /v1/route and log each decision."
)
@path_option("--api-keys", help="File of API keys (see `catalog keys`).")
@click.option("--rate", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Calls a second of each API key.")
@click.option("--readers-max", type=click.IntRange(1, 500), default=200, show_default=True, help="Readers of changes at once.")
@click.option("--cors-origin", "cors_origins", multiple=True, metavar="ORIGIN", help="Web page allowed to read; may be repeated.")
@log_options("warning")
@kafka_options
@trust_option
@click.pass_context
def serve(
    ctx: click.Context,
    *,
    kafka: KafkaSettings,
    trust: RootTrust,
    host: str,
    port: int,
    bound_ms: int,
    relaxed: bool,
    router_key: Path | None,
    api_keys: Path | None,
    rate: int,
    readers_max: int,
    cors_origins: tuple[str, ...],
    log_level: str,
    log_format: str | None,
) -> None:
    """Follow eligibility, and answer what anybody may ask about it, until SIGTERM or Ctrl-C."""
    routing = _routing(router_key, api_keys, rate)
    listening = serving.listen(host, port)
    serving.quiet()
    view, live = ViewSettings(bound_ms=bound_ms, stamped=not relaxed), LiveSettings(HubSettings(readers_max))
    with listening:
        begin_log = partial(logs.configure, log_level, log_format)
        ended = asyncio.run(_serve(kafka, trust, view, live, routing, listening, cors_origins, begin_log))
    if ended is signal.SIGINT:
        raise KeyboardInterrupt


def _routing(router_key: Path | None, api_keys: Path | None, rate: int) -> Routing | None:
    if router_key is None and api_keys is None:
        return None
    if router_key is None or api_keys is None:
        raise UserError("to route calls give both --router-key and --api-keys")
    return Routing(router_key, api_keys, caller_secret(), rate)


async def _serve(
    kafka: KafkaSettings,
    trust: RootTrust,
    view: ViewSettings,
    settings: LiveSettings,
    routing: Routing | None,
    listening: socket.socket,
    cors_origins: Sequence[str],
    begin_log: Callable[[], None],
) -> signal.Signals:
    async with AsyncExitStack() as stack:
        held, decisions = None, None
        if routing is not None:
            held, key = apikeys.load(routing.api_keys), key_files.load(routing.router_key)
            quick = kafka.model_copy(update={"delivery_s": min(kafka.delivery_s, DECISION_WAIT_S)})
            decisions = DecisionLog(await stack.enter_async_context(publisher(quick)), key, routing.secret.encode())
        client, live = await stack.enter_async_context(opened(kafka, trust, view, settings, decisions))
        begin_log()  # only now: what cannot begin is one line, not a log
        gateway = Gateway(apikeys.ApiKeys(held), client.pick, clock, routing.rate) if routing and held else None
        click.echo(f"catalog of {trust.network} on {serving.address_of(listening)}")
        return await serving.serve(create_app(live, gateway, cors_origins), listening, live.hub.close)
