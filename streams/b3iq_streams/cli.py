"""`b3iq-streams`: one table of commands, each imported only when it is called, and one way to fail.

Every mistake is one line on stderr and exit code 2; Ctrl-C exits with 130, a closed pipe with 141, both silently. What is
left is a bug: one line and exit code 1, with its traceback if B3IQ_DEBUG is set.
"""

import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import click
from stamina.instrumentation import LoggingOnRetryHook, set_on_retry_hooks

from b3iq_streams.errors import UserError

NAME = "b3iq-streams"
MESSAGE_MAX = 500


class Entry(NamedTuple):
    """Where a command lives (`module:attribute`) and its one-line help, so that `--help` imports nothing."""

    target: str
    help: str


COMMANDS: dict[str, Entry] = {
    "audit": Entry("b3iq_streams.audit.command:command", "Replay past decisions, explain them, ask what if."),
    "catalog": Entry("b3iq_streams.catalog.command:command", "Serve models, readiness and changes over HTTP, and the page."),
    "codes": Entry("b3iq_streams.cli_contract:codes", "Explain a code, or list them all."),
    "demo": Entry("b3iq_streams.demo.command:command", "Run everything on this machine, with a simulated fleet."),
    "emit": Entry("b3iq_streams.cli_emit:emit", "Sign facts, given as lines of JSON, and append them."),
    "fleet": Entry("b3iq_streams.cli_fleet:fleet", "Simulate a fleet of nodes against a broker."),
    "keys": Entry("b3iq_streams.cli_keys:keys", "Make and look at Ed25519 key files."),
    "node": Entry("b3iq_streams.node.command:command", "Speak for a GPU host: heartbeats, probes, explanations."),
    "observability": Entry("b3iq_streams.observability.command:command", "Dashboard and alert rules, drawn from the metrics."),
    "policy": Entry("b3iq_streams.cli_policy:policy", "Write, sign, publish and look at policy revisions."),
    "processor": Entry("b3iq_streams.processor.command:command", "Run a worker that folds facts into eligibility."),
    "router": Entry("b3iq_streams.router.command:command", "Follow eligibility as a router does."),
    "schemas": Entry("b3iq_streams.cli_contract:schemas", "Export the contract for other languages."),
    "topics": Entry("b3iq_streams.cli_topics:topics", "Create and check the topics."),
}
"""Every command; adding one is adding a line here."""

EXTRAS = {
    "fastapi": "catalog",
    "faust": "processor",
    "mode": "processor",
    "prometheus_client": "processor",
    "confluent_kafka": "demo",
    "duckdb": "audit",
    "pyarrow": "audit",
    "pyrate_limiter": "catalog",
    "rich": "demo",
    "sortedcontainers": "catalog",
    "starlette": "catalog",
    "uvicorn": "catalog",
}
"""Which extra brings a package that the base install lacks."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not before."""

    def __init__(self, entries: Mapping[str, Entry], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table."""
        return sorted(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if the table does not have it."""
        if cmd_name not in self._entries:
            return None
        module, _, attribute = self._entries[cmd_name].target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with the help of the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._entries[name].help) for name in self.list_commands(ctx)])


cli = LazyGroup(
    COMMANDS,
    name=NAME,
    help="Signed facts about GPU hosts in, explained eligibility for paid traffic out.",
    no_args_is_help=False,
    params=[click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, help="Show the version and exit.",
                         callback=lambda ctx, _, wanted: _show_version(ctx) if wanted else None)],
)  # fmt: skip


def _show_version(ctx: click.Context) -> None:
    from importlib.metadata import version

    click.echo(f"{NAME} {version(NAME)}")
    ctx.exit()


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every failure is reported here and nowhere else."""
    _quiet_libraries()
    try:
        with cli.make_context(NAME, list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it flushes
        return 141
    except Exception as error:
        return _report(error)
    return 0


def _report(error: Exception) -> int:
    message = explain(error)
    if message is None:
        if os.environ.get("B3IQ_DEBUG"):
            raise error
        message = f"internal error: {type(error).__name__}: {error} (set B3IQ_DEBUG=1 for the traceback)"
        code = 1
    else:
        code = 2
    line = " ".join(message.split())
    click.echo(f"{NAME}: {line if len(line) <= MESSAGE_MAX else line[: MESSAGE_MAX - 1] + '…'}", err=True)
    return code


def explain(error: Exception) -> str | None:
    """A mistake in words; None for what is a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message()} (see {error.ctx.command_path} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package in EXTRAS:
            return f"this needs the package {package}: run pip install '{NAME}[{EXTRAS[package]}]'"
        return f"this installation lacks the module {error.name}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None


def _quiet_libraries() -> None:
    """Log lines of libraries go where a command sends them, and never to stderr by themselves."""
    set_on_retry_hooks([LoggingOnRetryHook])  # not to structlog, which prints to stdout unless told otherwise
    for name in ("aiokafka", "asyncio", "stamina"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    ours = logging.getLogger("b3iq_streams.kafka")
    ours.addHandler(logging.StreamHandler() if sys.stderr.isatty() else logging.NullHandler())


if __name__ == "__main__":
    main()
