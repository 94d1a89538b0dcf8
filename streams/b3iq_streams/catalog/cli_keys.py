"""`catalog keys`: make, list and revoke the API keys of callers. A key is printed once, and only its hash is kept."""

from pathlib import Path

import click

from b3iq_streams.catalog import apikeys
from b3iq_streams.cli_options import path_option
from b3iq_streams.errors import UserError

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group(no_args_is_help=False)
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@path_option("--out", required=True, help="The file of hashes; made if it is not there.")
@click.option("--name", required=True, help="What people call the key.")
@click.option("--model", "models", multiple=True, help="A model it may ask for; may be repeated.  [default: any]")
@click.option("--tier", "tiers", multiple=True, help="A route tier it may ask for; may be repeated.  [default: any]")
def new(out: Path, name: str, models: tuple[str, ...], tiers: tuple[str, ...]) -> None:
    """Make a key and print it; it cannot be shown again."""
    held = apikeys.load(out).keys if out.exists() else ()
    if any(entry.name == name for entry in held):
        raise UserError(f"{out} has a key named {name} already")
    key, entry = apikeys.new_key(name, models or None, tiers or None)
    apikeys.save(apikeys.KeyFile(keys=(*held, entry)), out)
    click.echo(key)


@keys.command("list")
@_FILE
def list_keys(file: Path) -> None:
    """Print names and scopes."""
    for entry in apikeys.load(file).keys:
        models, tiers = (", ".join(scope) if scope is not None else "any" for scope in (entry.models, entry.tiers))
        click.echo(f"{entry.name}  models: {models}  tiers: {tiers}")


@keys.command()
@_FILE
@click.argument("name")
def revoke(file: Path, name: str) -> None:
    """Take a key out of the file; a catalog that runs must be started again to know."""
    held = apikeys.load(file).keys
    left = tuple(entry for entry in held if entry.name != name)
    if len(left) == len(held):
        raise UserError(f"{file} has no key named {name}")
    apikeys.save(apikeys.KeyFile(keys=left), file)
