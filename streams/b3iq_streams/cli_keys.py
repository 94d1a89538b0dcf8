"""`keys`: make a key file, look at one, prove that one has it."""

from pathlib import Path

import click
import orjson
from nacl.signing import SigningKey
from pydantic import TypeAdapter, ValidationError

from b3iq_schemas.envelope import keyid
from b3iq_schemas.ids import NetworkId, NodeId
from b3iq_streams import keys as key_files
from b3iq_streams import passphrases
from b3iq_streams.cli_options import path_option
from b3iq_streams.errors import UserError

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group(no_args_is_help=False)
def keys() -> None:
    """Make and look at Ed25519 key files."""


@keys.command()
@path_option("--out", default=Path("b3iq-key.json"), show_default=True, help="Where to write it; never overwrites.")
@click.option("--encrypt", is_flag=True, help="Seal it under a passphrase: asked for, or from B3IQ_KEY_PASSPHRASE_FILE.")
def new(out: Path, encrypt: bool) -> None:
    """Make a key, in a file that only you can read."""
    key = SigningKey.generate()
    key_files.save(key, out, passphrases.ask(out, new=True) if encrypt else None)
    _print(key)


@keys.command()
@FILE
def show(file: Path) -> None:
    """Print the public half of a key file."""
    _print(key_files.load(file))


@keys.command()
@FILE
@click.option("--network", required=True, help="The network's id.")
@click.option("--node", required=True, help="The node's id.")
def prove(file: Path, network: str, node: str) -> None:
    """Print a registration's entry for a node's key, with its proof of possession."""
    for option, kind, given in (("--network", NetworkId, network), ("--node", NodeId, node)):
        try:
            TypeAdapter(kind).validate_python(given)
        except ValidationError:
            raise UserError(f"{option} {given!r} is not an id of that kind") from None
    click.echo(orjson.dumps(key_files.possession(key_files.load(file), network, node)))


def _print(key: SigningKey) -> None:
    click.echo(f"keyid       {keyid(bytes(key.verify_key))}")
    click.echo(f"public key  {key_files.public_hex(key)}")
