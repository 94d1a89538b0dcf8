"""`demo`: everything on this machine, to watch or as one line of counts."""

import asyncio
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click
import orjson

from b3iq_streams.catalog import serving
from b3iq_streams.cli_options import kafka_config_option
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.demo.ending import end
from b3iq_streams.demo.ground import Ground, ground
from b3iq_streams.demo.keep import keep_log, prepare
from b3iq_streams.demo.lines import Lines
from b3iq_streams.demo.parts import KEYS, Display, opened
from b3iq_streams.demo.play import play
from b3iq_streams.demo.summary import Plan, Summary
from b3iq_streams.demo.worker import ProcessorDied
from b3iq_streams.world import World

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals(NamedTuple):
    """What signals ask for. The first ends the demo in order (`stop`), a second one skips the recount (`hurry`)."""

    playing: asyncio.Event
    """Set once there is something to end in order; before that, a signal ends everything at once."""
    stop: asyncio.Event
    hurry: asyncio.Event


@click.command()
@click.option("--seconds", type=click.FloatRange(5, 86_400), help="End after about so long; without it, Ctrl-C ends it.")
@click.option("--nodes", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed gives the same fleet and callers.")
@click.option("--json", "as_json", is_flag=True, help="Only the line of counts on stdout, progress on stderr.")
@click.option("--bootstrap", metavar="HOST:PORT", help="Use this Kafka instead of an embedded broker.")
@kafka_config_option
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="Where to serve the catalog's page.  [default: any free port]"
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="At the end, write the log to DIR/archive and the trust file to DIR/trust.json, for `audit`.",
)
@click.pass_context
def command(
    ctx: click.Context, *, seconds: float | None, nodes: int, seed: int, as_json: bool, bootstrap: str | None,
    kafka_config: Path | None, port: int, keep: Path | None,
) -> None:  # fmt: skip
    """Run everything on this machine: broker, processor, router, catalog, a fleet in all kinds of trouble, paid calls.

    Kills the processor once, to show that the router closes and opens again. Ends with one line of JSON: what was
    counted, and whether a recount of the log from nothing agrees. With --seconds, an outage is seen to its end.
    """
    began_ms = monotonic_ms()
    plan = Plan(nodes, seed, seconds)
    if keep is not None:
        prepare(keep)
    serving.quiet()
    with (
        serving.listen("127.0.0.1", port) as listening,
        ground(bootstrap, kafka_config) as on,
        TemporaryDirectory(prefix="b3iq-demo-") as name,
    ):
        directory = Path(name)
        world = World.generate(f"b3iq-demo-{secrets.token_hex(4)}")
        world.save(directory / KEYS)
        try:
            summary = asyncio.run(_run(plan, on, world, directory, listening, as_json, began_ms, keep))
        except ProcessorDied as died:
            click.echo("\n".join(["last lines of the processor's log:", *died.log]), err=True)
            raise
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    click.echo(orjson.dumps(summary.data))
    for failure in summary.failures:
        click.echo(failure, err=True)
    ctx.exit(1 if summary.failures else 0)


async def _run(
    plan: Plan,
    on: Ground,
    world: World,
    directory: Path,
    listening: socket.socket,
    as_json: bool,
    began_ms: int,
    keep: Path | None,
) -> Summary:
    async with _signals() as wanted:
        with _display(as_json) as display:
            async with opened(on, world, directory, listening, display, began_ms) as parts:
                wanted.playing.set()
                stopped = await play(parts, plan, wanted.stop)
                found = await end(parts, stopped, wanted.hurry)
                if keep is not None and not wanted.hurry.is_set():
                    await keep_log(parts, keep)
    broker = "embedded" if on.embedded else on.kafka.bootstrap
    return Summary(plan, broker, stopped, parts.elapsed_ms, parts.tally, parts.tail, parts.outage, found)


def _display(as_json: bool) -> AbstractContextManager[Display]:
    if as_json or not sys.stdout.isatty():
        return Lines(lambda line: click.echo(line, err=as_json))
    from b3iq_streams.demo.screen import Screen

    return Screen()


@asynccontextmanager
async def _signals() -> AsyncIterator[Signals]:
    """Signals to stop, for the length of the block; afterwards they do what they did before."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    wanted = Signals(asyncio.Event(), asyncio.Event(), asyncio.Event())
    assert main is not None

    def received() -> None:
        if wanted.stop.is_set():
            wanted.hurry.set()
        elif wanted.playing.is_set():
            wanted.stop.set()
        else:
            main.cancel()

    for number in STOPPING:
        loop.add_signal_handler(number, received)
    try:
        yield wanted
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
