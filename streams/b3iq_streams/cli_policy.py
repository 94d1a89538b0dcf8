"""`policy`: a template, k of n signatures one after the other, publication to every partition, and what is in force."""

import asyncio
import time
from pathlib import Path

import click
import orjson
from pydantic import ValidationError

from b3iq_schemas.envelope import keyid
from b3iq_schemas.policy import RootTrust
from b3iq_streams import keys as key_files
from b3iq_streams import policies
from b3iq_streams.cli_options import kafka_options, path_option, read, trust_option, write
from b3iq_streams.clock import now_ms
from b3iq_streams.errors import UserError, first_problem
from b3iq_streams.policies import PartitionPolicies
from b3iq_streams.policy_log import publish_revision, read_log
from b3iq_streams.settings import KafkaSettings

_RELAXED = click.option("--relaxed", is_flag=True, help="Accept records that the broker did not stamp (embedded broker).")


@click.group(no_args_is_help=False)
def policy() -> None:
    """Write, sign, publish and look at policy revisions."""


@policy.command()
@click.option("--network", required=True, help="The network's id.")
@click.option("--revision", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--role", "roles", multiple=True, metavar="ROLE=HEX", help=f"A public key; repeatable. {', '.join(policies.ROLES)}."
)
def new(network: str, revision: int, roles: tuple[str, ...]) -> None:
    """Print a sound revision to edit, then sign."""
    made = policies.template(network, revision, _roles(roles), now_ms())
    click.echo(orjson.dumps(made.model_dump(mode="json"), option=orjson.OPT_INDENT_2))


def _roles(given: tuple[str, ...]) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    for item in given:
        role, equals, key = item.partition("=")
        if not equals or role.replace("_", "-") not in policies.ROLES:
            raise UserError(f"--role {item[:80]}: expected ROLE=HEX with one of {', '.join(policies.ROLES)}")
        roles.setdefault(role.replace("_", "-"), []).append(key)
    return roles


@policy.command()
@click.option("--network", required=True, help="The network's id.")
@click.option("--root", "roots", multiple=True, required=True, metavar="HEX", help="A root's public key; repeatable.")
@click.option("--threshold", type=int, required=True, help="How many roots must sign a revision.")
@click.option(
    "--processor", "processors", multiple=True, metavar="HEX", help="A processor's key for before any policy; repeatable."
)
@click.option("--generation", type=int, default=1, show_default=True, help="Raised when the topics are made anew.")
def trust(network: str, roots: tuple[str, ...], threshold: int, processors: tuple[str, ...], generation: int) -> None:
    """Print a trust file: what every shell is configured with."""
    try:
        made = RootTrust(network=network, generation=generation, roots=roots, threshold=threshold, genesis_processors=processors)
    except ValidationError as error:
        raise UserError(f"no trust file can be made of this: {first_problem(error)}") from None
    click.echo(orjson.dumps(made.model_dump(mode="json"), option=orjson.OPT_INDENT_2))


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@path_option("--key", required=True, help="A root's key file.")
@path_option("--out", help="The envelope; may be FILE itself. Standard output without it.")
def sign(file: Path, key: Path, out: Path | None) -> None:
    """Sign a policy, or add a signature to an envelope. Works offline; each root does it in turn."""
    root = key_files.load(key)
    try:
        signed = policies.add_signature(read(file, "policy"), root)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    if out is None:
        click.echo(signed)
        return
    write(out, signed)
    click.echo(f"{out}: {len(orjson.loads(signed)['signatures'])} signatures, the last by {keyid(bytes(root.verify_key))}")


@policy.command()
@click.argument("envelope", type=click.Path(path_type=Path))
@trust_option
@_RELAXED
@kafka_options
def publish(envelope: Path, trust: RootTrust, relaxed: bool, kafka: KafkaSettings) -> None:
    """Write a revision to every partition, if the processors would accept it."""
    signed = read(envelope, "envelope")
    revision, written = asyncio.run(publish_revision(signed, trust, kafka, stamped=not relaxed))
    click.echo(f"revision {revision} is published on partitions {', '.join(map(str, written))}")


@policy.command()
@trust_option
@_RELAXED
@kafka_options
def show(trust: RootTrust, relaxed: bool, kafka: KafkaSettings) -> None:
    """Show which revision is in force on each partition, and what was refused there. Exit 1 unless all have the newest."""
    log = asyncio.run(read_log(trust, kafka, stamped=not relaxed))
    newest = max((held.revision for held in log.values()), default=0)
    for partition, held in sorted(log.items()):
        click.echo(f"partition {partition}: {_words(held)}")
    lacking = [str(partition) for partition, held in sorted(log.items()) if held.revision < newest]
    if lacking:
        click.echo(f"revision {newest} is missing on partitions {', '.join(lacking)}: publish it again")
    if lacking or not newest:
        raise click.exceptions.Exit(1)
    click.echo(f"revision {newest} is in force on every partition")


def _words(held: PartitionPolicies) -> str:
    if held.rules is None:
        words = "no revision in force"
    else:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(held.rules.proof.logged_at_ms / 1_000))
        words = f"revision {held.revision}, logged {when}, sha256 {held.rules.proof.sha256[:16]}"
    refused = ", ".join(f"offset {item.record.offset} {item.code}" for item in held.refused[-3:])
    return f"{words}; refused: {len(held.refused)} ({refused})" if held.refused else words
