"""No way to Kafka that takes other settings than the rest: every command, and every client that the source makes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import b3iq_streams
from b3iq_streams import cli

SOURCE = Path(b3iq_streams.__file__).parent
CLIENTS = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "Consumer", "Producer", "AdminClient"}
TOLD_BY = (".client", ".security", ".librdkafka")
NOT_A_CONNECTION = {"embedded.py"}
"""Its producer is the handle that owns librdkafka's mock cluster, and connects to nothing else."""


def commands(group: click.Group = cli.cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command there is, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join((*path, name)), command


def options(command: click.Command) -> set[str]:
    """The long names of its options."""
    return {name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts}


COMMANDS = dict(commands())
CONNECTING = [name for name, command in COMMANDS.items() if "--bootstrap" in options(command)]


@pytest.mark.parametrize("name", CONNECTING)
def test_whoever_takes_an_address_takes_how_to_be_known_there(name: str) -> None:
    """With --bootstrap comes --kafka-config; the environment works for both."""
    assert "--kafka-config" in options(COMMANDS[name])


def test_the_commands_that_connect_are_known() -> None:
    """The walk finds those that are sure to connect, so that it cannot pass by finding nothing."""
    assert {"processor", "emit", "fleet", "demo", "router pick", "router watch", "topics apply", "topics check", "node run",
            "node check", "node rotate", "policy publish", "audit verify", "topics regenerate"} <= set(CONNECTING)  # fmt: skip


def test_no_secret_is_an_argument() -> None:
    """Everybody on a machine may read the arguments of its processes: secrets come from files and the environment."""
    telling = [(name, option) for name, command in COMMANDS.items() for option in options(command)
               if any(word in option for word in ("secret", "password", "passphrase", "token-"))]  # fmt: skip
    assert [] == [(name, option) for name, option in telling if not option.endswith("-file")]


def clients() -> Iterator[tuple[str, str]]:
    """Where a client of Kafka is made, and with what."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name in NOT_A_CONNECTION:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLIENTS:
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.func.id}", ast.unparse(node)


def test_every_client_is_made_from_the_settings() -> None:
    """None is told an address alone."""
    made = dict(clients())
    assert {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "Consumer"} == {where.split()[1] for where in made}
    assert [] == [where for where, call in made.items() if not any(word in call for word in TOLD_BY)]
