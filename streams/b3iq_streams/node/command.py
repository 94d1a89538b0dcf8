"""`node`: what a host operator runs. `run` publishes heartbeats, `probe` looks at runtimes, `check` explains, `rotate` rekeys."""

import asyncio
import logging
import signal
from pathlib import Path

import click
import orjson

from b3iq_schemas.envelope import keyid
from b3iq_schemas.policy import RootTrust
from b3iq_streams import keys as key_files
from b3iq_streams.cli_options import (
    bound_option,
    kafka_config_option,
    kafka_options,
    log_options,
    path_option,
    trust_option,
    view_timeout_option,
)
from b3iq_streams.errors import UserError
from b3iq_streams.node import check as checks
from b3iq_streams.node import inventory as inventories
from b3iq_streams.node import rotation
from b3iq_streams.node.agent import Agent, Pace
from b3iq_streams.node.check_text import as_text
from b3iq_streams.node.identity import Identity
from b3iq_streams.node.instance import default_root, sole_instance
from b3iq_streams.node.probe import Observed, Prober
from b3iq_streams.node.registered import last_registration
from b3iq_streams.node.sequence import Sequence
from b3iq_streams.observability import logs
from b3iq_streams.router.partition import ViewSettings
from b3iq_streams.settings import KafkaSettings, TrustSettings, load

_INVENTORY = path_option("--inventory", required=True, help="What this host offers, and where its runtimes are (TOML).")
_KEY = path_option("--key", required=True, help="The node's key file, sealed or not.")
_RELAXED = click.option("--relaxed", is_flag=True, help="Accept a broker that does not stamp records (embedded broker).")
_PROBE_TIMEOUT = click.option(
    "--probe-timeout", "probe_timeout_s", type=click.FloatRange(0.1, 60), default=3, show_default=True, metavar="SECONDS",
    help="How long a runtime may take to answer.",
)  # fmt: skip


@click.group(no_args_is_help=False)
def command() -> None:
    """Speak for a GPU host: heartbeats, probes, explanations, key rotation."""


@command.command(short_help="Publish heartbeats until told to end.")
@_INVENTORY
@_KEY
@path_option(
    "--state", envvar="B3IQ_NODE_STATE", help="Directory for sequence and lock.  [env: B3IQ_NODE_STATE; ~/.local/state/b3iq-node]"
)
@click.option(
    "--interval", "interval_s", type=click.FloatRange(0.2, 300), default=10, show_default=True, metavar="SECONDS",
    help="Time between heartbeats; keep it under a third of the policy's heartbeat_ttl_ms.",
)  # fmt: skip
@click.option(
    "--drain", "drain_s", type=click.FloatRange(0, 3_600), default=15, show_default=True, metavar="SECONDS",
    help="How long to say `draining` on SIGTERM before `offline`.",
)  # fmt: skip
@_PROBE_TIMEOUT
@_RELAXED
@log_options("info")
@kafka_options
@click.pass_context
def run(
    ctx: click.Context,
    *,
    inventory: Path,
    key: Path,
    state: Path | None,
    interval_s: float,
    drain_s: float,
    probe_timeout_s: float,
    relaxed: bool,
    log_level: str,
    log_format: str | None,
    kafka: KafkaSettings,
) -> None:
    """Publish heartbeats until SIGTERM or Ctrl-C; then drain, say offline, and end.

    A second signal skips the draining and leaves `offline` two seconds; a third kills. Exit code 0 if `offline` was
    acknowledged, 1 if not.
    """
    offered = inventories.load(inventory)
    with sole_instance(state or default_root(), offered.network, offered.node_id) as directory:
        sequence = Sequence(directory / "sequence.json", offered.network, offered.node_id)
        pace = Pace(interval_s, drain_s, probe_timeout_s)
        agent = Agent(offered, Identity(key), sequence, pace, kafka, stamped=not relaxed)
        _log_own_lines(log_level, log_format)
        ctx.exit(0 if asyncio.run(_run(agent)) else 1)


async def _run(agent: Agent) -> bool:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop, signals = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)

    def asked() -> None:
        if stop.is_set():
            hurry.set()
            for number in signals:
                loop.remove_signal_handler(number)
        stop.set()

    for number in signals:
        loop.add_signal_handler(number, asked)
    return await agent.run(stop, hurry)


def _log_own_lines(level: str, form: str | None) -> None:
    """What the clients of Kafka and HTTP say of each connection would drown the agent's lines, and names local addresses."""
    logs.configure(level, form)
    for name in ("aiokafka", "httpx2", "httpcore2"):
        logging.getLogger(name).propagate = False


@command.command(short_help="Ask the runtimes what they serve, publish nothing.")
@_INVENTORY
@_PROBE_TIMEOUT
@click.option("--json", "as_json", is_flag=True, help="One line of JSON each.")
@click.pass_context
def probe(ctx: click.Context, *, inventory: Path, probe_timeout_s: float, as_json: bool) -> None:
    """Ask the runtimes what they serve, publish nothing: exit code 0 if every profile is installed, else 1."""
    offered = inventories.load(inventory)
    found = asyncio.run(Prober(offered, probe_timeout_s).look())
    for profile_id, seen in found.items():
        click.echo(orjson.dumps({"profile_id": profile_id, **seen._asdict()}) if as_json else _probed(profile_id, seen))
    ctx.exit(0 if all(seen.status == "installed" for seen in found.values()) else 1)


def _probed(profile_id: str, seen: Observed) -> str:
    reachable = "reachable" if seen.runtime_reachable else "unreachable"
    line = f"{profile_id}  {seen.status}, runtime {reachable}, queue {seen.queue_health}, context {seen.context_tokens_max}"
    return f"{line}\n  {seen.why}" if seen.why else line


@command.command(short_help="Explain why this node is or is not eligible.")
@_INVENTORY
@path_option("--key", help="The node's key file: also tell whether it is registered. A sealed one need not be opened.")
@bound_option("Oldest view to believe.")
@view_timeout_option
@_RELAXED
@kafka_options
@trust_option
@click.pass_context
def check(
    ctx: click.Context,
    *,
    inventory: Path,
    key: Path | None,
    bound_ms: int,
    timeout_s: float,
    relaxed: bool,
    kafka: KafkaSettings,
    trust: RootTrust,
) -> None:
    """Explain from the public topics why this node is or is not eligible.

    Exit code 0 if every profile is, and --key is registered, else 1.
    """
    offered = inventories.load(inventory)
    own = keyid(bytes.fromhex(key_files.read(key).public_key)) if key else None
    _same_network(offered, trust)
    view = ViewSettings(bound_ms=bound_ms, stamped=not relaxed)
    found = asyncio.run(checks.collect(offered, own, kafka, trust, view, timeout_s))
    click.echo(as_text(found))
    ctx.exit(0 if found.eligible and found.listed else 1)


def _same_network(offered: inventories.Inventory, trust: RootTrust) -> None:
    if offered.network != trust.network:
        raise UserError(f"the inventory is of network {offered.network}, the trust file of {trust.network}")


@command.command(short_help="Replace the key while the node stays eligible.")
@_INVENTORY
@_KEY
@click.option("--finish", is_flag=True, help="Second step: sign with the new key, if a registration lists it.")
@click.option("--bootstrap", metavar="HOST:PORT", help="Kafka, for --finish.  [env: B3IQ_BOOTSTRAP]")
@kafka_config_option
@path_option("--trust", help="Trust file, for --finish.  [env: B3IQ_TRUST]")
@_RELAXED
def rotate(
    *,
    inventory: Path,
    key: Path,
    finish: bool,
    bootstrap: str | None,
    kafka_config: Path | None,
    trust: Path | None,
    relaxed: bool,
) -> None:
    """Make the next key and print what the control plane needs; then, with --finish, put it in place of the old one."""
    offered = inventories.load(inventory)
    if not finish:
        click.echo(orjson.dumps({"keys": rotation.prepare(key, offered.network, offered.node_id)}))
        click.echo(f"made or found {rotation.beside(key, 'next')}; nothing signs with it yet", err=True)
        click.echo("next: have the control plane publish a registration with these keys, then run this with --finish", err=True)
        return
    kafka = load(KafkaSettings, bootstrap=bootstrap, kafka_config=kafka_config)
    trusted = load(TrustSettings, trust=trust).load()
    _same_network(offered, trusted)
    known = asyncio.run(last_registration(kafka, trusted, offered.node_id, stamped=not relaxed))
    public = rotation.finish(key, known.keys if known else {})
    click.echo(f"{key} is now key {public[:16]}; a running agent signs its next heartbeat with it")
    click.echo(
        f"next: once `node check` says eligible, have {rotation.beside(key, 'old')} dropped from the registration, then delete it"
    )
