"""`codes` and `schemas`: the contract, for people and for other languages."""

from pathlib import Path

import click

from b3iq_schemas.codes import LEAVES, NETWORK_CODES, REFUSAL_MEANING, ROUTE_REFUSAL_MEANING
from b3iq_streams.errors import UserError


@click.command()
@click.argument("code", required=False)
def codes(code: str | None) -> None:
    """Explain a code, or list them all: why a profile is not eligible, a record refused, a call not routed."""
    table = _table()
    if code is None:
        width = max(map(len, table))
        for name, lines in table.items():
            click.echo(f"{name:{width}}  {lines[0]}")
        return
    if code not in table:
        raise UserError(f"no code {code[:64]!r} is known: run `b3iq-streams codes` for all of them")
    click.echo(code + (" (one of the network's own codes)" if code in NETWORK_CODES else ""))
    for line in table[code]:
        click.echo(f"  {line}")


def _table() -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for leaf in LEAVES.values():
        lines = [f"not eligible ({leaf.gate} gate, {leaf.state}): {leaf.condition}", f"next: {leaf.next_action}"]
        table.setdefault(leaf.code, []).extend(lines)
    for refusal, meaning in REFUSAL_MEANING.items():
        table.setdefault(refusal, []).append(f"record refused: {meaning}")
    for answer, (status, meaning) in ROUTE_REFUSAL_MEANING.items():
        table.setdefault(answer, []).append(f"router says no (HTTP {status}): {meaning}")
    return table


@click.group(no_args_is_help=False)
def schemas() -> None:
    """Export the contract for other languages."""


@schemas.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def export(directory: Path) -> None:
    """Write the schemas of every event, envelope and topic into a directory."""
    from b3iq_schemas import export as exporter

    exporter.write(directory)
    click.echo(f"written to {directory}")
