"""`fleet`: the simulated fleet in real time against a broker, until Ctrl-C or for some seconds."""

import asyncio
from collections import Counter
from pathlib import Path

import click

from b3iq_streams import kafka as kafka_clients
from b3iq_streams.cli_options import kafka_options
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.errors import UserError
from b3iq_streams.fleet import Fleet
from b3iq_streams.fleet_kinds import SCENARIOS
from b3iq_streams.policy_log import ensure_demo_policy
from b3iq_streams.settings import KafkaSettings
from b3iq_streams.world import TRUST_FILE, World

TICK_S = 0.1


@click.command()
@click.option("--nodes", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--rate", type=float, default=1.0, show_default=True, help="Heartbeats per second and node.")
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed gives the same fleet.")
@click.option("--scenario", type=click.Choice(list(SCENARIOS)), default="all", show_default=True)
@click.option("--seconds", type=float, help="Stop after so long; without it, Ctrl-C stops.")
@click.option("--keys", "keys_dir", type=click.Path(path_type=Path), metavar="DIR", help="A directory with every key of a world.")
@click.option("--dev-world", type=click.Path(path_type=Path), metavar="DIR", help="The same, but made if it is not there.")
@click.option("--relaxed", is_flag=True, help="Accept a broker that does not stamp records (embedded broker).")
@kafka_options
def fleet(
    nodes: int,
    rate: float,
    seed: int,
    scenario: str,
    seconds: float | None,
    keys_dir: Path | None,
    dev_world: Path | None,
    relaxed: bool,
    kafka: KafkaSettings,
) -> None:
    """Simulate a fleet of nodes, well and in every kind of trouble, against a broker.

    Publishes the demo's policy if none is in force. For development: whoever has the directory has every key.
    """
    if not 0.01 <= rate <= 100:
        raise UserError("--rate must be from 0.01 to 100")
    if seconds is not None and not seconds >= 0:
        raise UserError("--seconds must not be negative")
    world = _world(keys_dir, dev_world)
    simulated = Fleet(world, nodes=nodes, start_ms=now_ms(), seed=seed, rate=rate, scenario=scenario)
    counts = Counter(kind.name for kind in simulated.kinds.values())
    for kind in {kind.name: kind for kind in simulated.kinds.values()}.values():
        click.echo(f"{counts[kind.name]:6} {kind.name}: {kind.story}")
    sent = asyncio.run(_run(world, simulated, seconds, kafka, stamped=not relaxed))
    click.echo(f"{sent} records sent")


def _world(keys_dir: Path | None, dev_world: Path | None) -> World:
    if (keys_dir is None) == (dev_world is None):
        raise UserError("give either --keys DIR or --dev-world DIR")
    if keys_dir is not None:
        return World.load(keys_dir)
    assert dev_world is not None
    trust = dev_world / TRUST_FILE
    if trust.exists():
        click.echo(f"world of {dev_world}, trust file {trust}")
        return World.load(dev_world)
    world = World.generate()
    world.save(dev_world)
    click.echo(f"made every key of network {world.network} in {dev_world}, trust file {trust}")
    return world


async def _run(world: World, simulated: Fleet, seconds: float | None, kafka: KafkaSettings, stamped: bool) -> int:
    click.echo(await ensure_demo_policy(world, kafka, stamped))
    async with kafka_clients.publisher(kafka) as publisher:
        sent = len(await publisher.publish(simulated.bootstrap(now_ms())))
        click.echo(f"{sent} registrations, benchmarks and routes sent; heartbeats follow")
        until_ms = None if seconds is None else monotonic_ms() + seconds * 1_000
        while until_ms is None or monotonic_ms() < until_ms:
            sent += len(await publisher.publish(simulated.tick(now_ms())))
            await asyncio.sleep(TICK_S)
    return sent
