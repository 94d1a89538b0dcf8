"""What the audit commands share: where to read from, whom to trust, ranges of time, and their exit codes."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from b3iq_streams.audit.expiry import EvidenceExpired as EvidenceExpired
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.times import FAR_FUTURE_MS, FAR_PAST_MS, MOMENT, show
from b3iq_streams.cli_options import kafka_config_option, trust_option
from b3iq_streams.errors import UserError
from b3iq_streams.settings import KafkaSettings, load

EQUAL, DIFFERENT, USAGE, EXPIRED = 0, 1, 2, 3
"""Exit codes of every audit command: as it should be; not as it should be; told something wrong; evidence expired."""
Function = TypeVar("Function", bound=Callable[..., Any])


def source_options(command: Function) -> Function:
    """Adds --archive, --bootstrap, --wait, --relaxed and --trust; the command gets `origin` and `trust`.

    EvidenceExpired becomes one line and exit code 3.
    """

    @click.option("--archive", type=click.Path(path_type=Path), metavar="DIR", help="Read an archive (see `audit export`).")
    @click.option("--bootstrap", metavar="HOST:PORT", help="Read Kafka, several with commas.  [env: B3IQ_BOOTSTRAP]")
    @click.option("--wait", "wait_s", type=float, metavar="SECONDS", help="How long to keep trying.  [env: B3IQ_WAIT_S; 10]")
    @kafka_config_option
    @click.option("--relaxed", is_flag=True, help="Accept records that the broker did not stamp (embedded broker).")
    @trust_option
    @click.pass_context
    @wraps(command)
    def wrapped(
        ctx: click.Context, /, *args: Any, archive: Path | None, bootstrap: str | None, wait_s: float | None,
        kafka_config: Path | None, relaxed: bool, **rest: Any,
    ) -> Any:  # fmt: skip
        if archive is not None and bootstrap is not None:
            raise UserError("--archive and --bootstrap exclude each other: give one")
        try:
            return command(*args, origin=_origin(archive, bootstrap, wait_s, kafka_config, relaxed), **rest)
        except EvidenceExpired as error:
            click.echo(str(error), err=True)
            ctx.exit(EXPIRED)

    return wrapped  # type: ignore[return-value]


def _origin(
    archive: Path | None, bootstrap: str | None, wait_s: float | None, kafka_config: Path | None, relaxed: bool
) -> Origin:
    if archive is not None:
        from b3iq_streams.audit.archive.origin import ArchiveOrigin  # only who reads one needs what reads it

        return ArchiveOrigin.load(archive)
    kafka = load(KafkaSettings, bootstrap=bootstrap, wait_s=wait_s, kafka_config=kafka_config)
    from b3iq_streams.audit.live import survey  # only who reads Kafka needs librdkafka, and a wrong setting is wrong without it

    return survey(kafka, stamped=not relaxed)


def range_options(command: Function) -> Function:
    """Adds --from and --to; the command gets `from_ms` and `to_ms`, both inclusive."""

    @click.option("--from", "from_ms", type=MOMENT, default=FAR_PAST_MS, metavar="TIME",
                  help="ISO 8601 with a zone, or epoch ms.  [default: the beginning]")  # fmt: skip
    @click.option("--to", "to_ms", type=MOMENT, default=FAR_FUTURE_MS, metavar="TIME", help="The same.  [default: the end]")
    @wraps(command)
    def wrapped(*args: Any, from_ms: int, to_ms: int, **rest: Any) -> Any:
        if from_ms > to_ms:
            raise UserError(f"--from {show(from_ms)} is after --to {show(to_ms)}")
        return command(*args, from_ms=from_ms, to_ms=to_ms, **rest)

    return wrapped  # type: ignore[return-value]


json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
operator_option = click.option("--operator", is_flag=True, help="Also what is not public: reasons and actors of holds.")
processes_option = click.option(
    "--processes", type=click.IntRange(1, 64), default=None, metavar="N", help="How many.  [default: one per core]"
)
