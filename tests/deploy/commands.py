"""What deployment files run and set, against the real command line and the real settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pytest

from b3iq_streams.cli import cli
from b3iq_streams.settings import KafkaSettings, TrustSettings

ROOT = Path(__file__).parents[2]
SETTINGS = {f"B3IQ_{name.upper()}" for kind in (KafkaSettings, TrustSettings) for name in kind.model_fields}
"""Every variable that may be set."""


def parse(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> click.Context:
    """The command's context, as the command line makes it; raises what it would complain of."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    command: click.Command = cli
    rest = list(arguments)
    name: str | None = "b3iq-streams"
    while isinstance(command, click.Group):
        with command.make_context(name, rest) as context:
            rest = [*context._protected_args, *context.args]
            name, found, rest = command.resolve_command(context, rest)
        assert found is not None, f"no command {name}"
        command = found
    with command.make_context(name, rest) as context:
        return context
