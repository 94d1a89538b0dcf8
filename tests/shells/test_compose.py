"""docker-compose.yml against the code: what it runs is what the command line accepts."""

from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from b3iq_streams.cli import cli

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image", "").startswith("b3iq-streams")}


def _resolve(arguments: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = cli
    while isinstance(command, click.Group) and arguments:
        with click.Context(command) as context:
            found = command.get_command(context, arguments[0])
        assert found is not None, f"no command {arguments[0]}"
        command, arguments = found, arguments[1:]
    return command, arguments


@pytest.mark.parametrize("service", OURS)
def test_the_command_line_accepts_what_the_service_runs(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each service's command names a real command, and its options parse."""
    command, rest = _resolve(list(OURS[service]["command"]))
    with command.make_context(service, rest, resilient_parsing=False):
        pass


def test_the_environment_is_the_one_that_settings_read() -> None:
    """Variables are spelt as the settings classes spell them."""
    assert {"B3IQ_BOOTSTRAP", "B3IQ_TRUST"} == set(COMPOSE["x-b3iq"]["environment"])


def test_kafka_is_a_real_one_in_kraft_mode_that_makes_no_topics_itself() -> None:
    """Topics come from the code's table, through `topics apply`, and from nowhere else."""
    environment = COMPOSE["services"]["kafka"]["environment"]
    assert "broker,controller" == environment["KAFKA_PROCESS_ROLES"]
    assert "false" == environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]
    assert ["topics", "apply"] == COMPOSE["services"]["topics"]["command"][:2]
    assert "service_completed_successfully" == COMPOSE["services"]["fleet"]["depends_on"]["topics"]["condition"]
