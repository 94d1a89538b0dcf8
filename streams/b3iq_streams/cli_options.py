"""What several commands share: options that become settings, reading and writing files, printing."""

import os
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from b3iq_streams.errors import UserError
from b3iq_streams.settings import KafkaSettings, TrustSettings, load

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "console")

Function = TypeVar("Function", bound=Callable[..., Any])


kafka_config_option = click.option(
    "--kafka-config", type=click.Path(path_type=Path), metavar="FILE",
    help="Settings, such as how to be known by Kafka (docs/security.md).  [env: B3IQ_KAFKA_CONFIG]",
)  # fmt: skip


def kafka_options(command: Function) -> Function:
    """Adds --bootstrap, --wait and --kafka-config; the command gets them as `kafka`."""

    @click.option("--bootstrap", metavar="HOST:PORT", help="Kafka, several with commas.  [env: B3IQ_BOOTSTRAP]")
    @click.option(
        "--wait", "wait_s", type=float, metavar="SECONDS", help="How long to keep trying to connect.  [env: B3IQ_WAIT_S; 10]"
    )
    @kafka_config_option
    @wraps(command)
    def wrapped(*args: Any, bootstrap: str | None, wait_s: float | None, kafka_config: Path | None, **rest: Any) -> Any:
        kafka = load(KafkaSettings, bootstrap=bootstrap, wait_s=wait_s, kafka_config=kafka_config)
        return command(*args, kafka=kafka, **rest)

    return wrapped  # type: ignore[return-value]


def trust_option(command: Function) -> Function:
    """Adds --trust; the command gets the loaded RootTrust as `trust`."""

    @click.option(
        "--trust", type=click.Path(path_type=Path), metavar="FILE", help="Trust file: roots, threshold.  [env: B3IQ_TRUST]"
    )
    @wraps(command)
    def wrapped(*args: Any, trust: Path | None, **rest: Any) -> Any:
        return command(*args, trust=load(TrustSettings, trust=trust).load(), **rest)

    return wrapped  # type: ignore[return-value]


def log_options(level: str) -> Callable[[Function], Function]:
    """Adds --log-level and --log-format; the command gets `log_level` and `log_format`, the latter None for what fits stderr."""

    def options(command: Function) -> Function:
        formats = click.option("--log-format", type=click.Choice(LOG_FORMATS), help="[default: console on a terminal, else json]")
        return click.option("--log-level", type=click.Choice(LOG_LEVELS), default=level, show_default=True)(formats(command))

    return options


def bound_option(text: str) -> Callable[[Function], Function]:
    """Adds --bound, the age in ms of the oldest view that is believed; the command gets it as `bound_ms`."""
    return click.option(
        "--bound", "bound_ms", type=click.IntRange(min=1), default=3_000, show_default=True, metavar="MS", help=text
    )


view_timeout_option = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), default=10, show_default=True, metavar="SECONDS",
    help="How long to wait for a complete view.",
)  # fmt: skip


def path_option(flag: str, **settings: Any) -> Callable[[Function], Function]:
    """An option that takes a path; whether it exists is found out by opening it."""
    return click.option(flag, type=click.Path(path_type=Path), metavar="FILE", **settings)


def read(path: Path, what: str) -> bytes:
    """A file's bytes, or UserError naming what it should have been."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror}") from None


def make_directory(path: Path, what: str) -> None:
    """Make a directory unless it is there; UserError, beginning with `what`, if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror}") from None


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: after a crash there is the old one or the new one, never half of one."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
