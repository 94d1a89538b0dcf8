"""`topics`: make a cluster's topics and access rules what the table says, or say what differs."""

import asyncio

import click
import orjson

from b3iq_schemas.topics import TOPICS
from b3iq_streams import acls as access
from b3iq_streams import kafka as kafka_clients
from b3iq_streams import topics_admin
from b3iq_streams.cli_options import kafka_options
from b3iq_streams.cli_regenerate import regenerate
from b3iq_streams.errors import UserError
from b3iq_streams.settings import KafkaSettings

_PARTITIONS = "Partitions of every topic; another number takes a new generation (`topics regenerate`)."
_COUNT = click.IntRange(1, 1_000)

_principals = click.option(
    "--principal", "principals", multiple=True, metavar="ROLE=NAME", help="The Kafka user of a role, if it is not ROLE."
)


@click.group(no_args_is_help=False)
def topics() -> None:
    """Create and check the topics."""


topics.add_command(regenerate)


@topics.command()
@click.option("--partitions", type=_COUNT, default=12, show_default=True, help=_PARTITIONS)
@click.option("--replication-factor", type=click.IntRange(1, 32), default=3, show_default=True, help="Replicas of new topics.")
@click.option("--acls", is_flag=True, help="Also allow each role what it needs (see `topics acls`).")
@_principals
@kafka_options
def apply(partitions: int, replication_factor: int, acls: bool, principals: tuple[str, ...], kafka: KafkaSettings) -> None:
    """Create what is missing and correct settings that differ. Never deletes, never repartitions."""
    if principals and not acls:
        raise UserError("--principal says nothing without --acls")
    named = access.names(principals) if acls else None
    for line in asyncio.run(_apply(kafka_clients.Layout(partitions, replication_factor), named, kafka)) or ["nothing to do"]:
        click.echo(line)


@topics.command()
@click.option("--format", "form", type=click.Choice(("text", "json", "table")), default="text", show_default=True, 
              help="Lines for kafka-acls.sh, a list of objects, or a table in Markdown.")  # fmt: skip
@click.option("--for-regenerate", is_flag=True, help="Instead what the administrator needs while `topics regenerate` runs.")
@click.option("--remove", is_flag=True, help="Lines that take the rules away.")
@_principals
def acls(form: str, for_regenerate: bool, remove: bool, principals: tuple[str, ...]) -> None:
    """Print the access rules of the table: one principal per role."""
    if remove and form != "text":
        raise UserError(f"--remove is about lines for kafka-acls.sh, and --format {form} has none")
    if for_regenerate and form == "table":
        raise UserError("--format table is about the table: leave out --for-regenerate")
    named = access.names(principals)
    wanted = (access.to_regenerate if for_regenerate else access.wanted)(named)
    if form == "table":
        click.echo(access.table(named), nl=False)
    elif form == "json":
        click.echo(orjson.dumps([acl._asdict() for acl in wanted], option=orjson.OPT_INDENT_2))
    else:
        click.echo(access.script(wanted, remove), nl=False)


@topics.command()
@click.option("--partitions", type=_COUNT, help="Also demand this number of partitions.")
@click.option("--relaxed", is_flag=True, help="Skip the settings, for a broker that cannot tell them (embedded broker).")
@kafka_options
def check(partitions: int | None, relaxed: bool, kafka: KafkaSettings) -> None:
    """Print every difference; exit 0 if there is none, else 1."""
    found = asyncio.run(_differences(partitions, relaxed, kafka))
    for difference in found:
        click.echo(difference)
    if relaxed:
        click.echo("settings were not checked (--relaxed): nothing says that times are the broker's or that history is kept")
    if found:
        raise click.exceptions.Exit(1)
    click.echo(f"{len(TOPICS)} topics are as they should be")


async def _apply(layout: kafka_clients.Layout, principals: access.Names | None, kafka: KafkaSettings) -> list[str]:
    async with kafka_clients.admin(kafka) as admin:
        done = await access.apply(admin, principals) if principals is not None else []  # first: no topic is ever open
        return done + await topics_admin.apply(admin, layout)


async def _differences(partitions: int | None, relaxed: bool, kafka: KafkaSettings) -> list[topics_admin.Difference]:
    async with kafka_clients.admin(kafka) as admin:
        return await topics_admin.differences(admin, partitions=partitions, relaxed=relaxed)
