"""`processor`: one worker. Checks what it was told and what the cluster has before it starts; then it runs until stopped."""

import asyncio
from pathlib import Path

import click

from b3iq_schemas.policy import RootTrust
from b3iq_streams import keys as key_files
from b3iq_streams.cli_options import kafka_options, log_options, make_directory, path_option, trust_option
from b3iq_streams.errors import UserError
from b3iq_streams.observability import logs, tracing
from b3iq_streams.processor.names import GROUP
from b3iq_streams.processor.preflight import check_cluster
from b3iq_streams.processor.settings import ProcessorSettings
from b3iq_streams.settings import KafkaSettings


@click.command()
@path_option("--key", multiple=True, required=True, help="Processor key file; several while keys rotate.")
@path_option("--datadir", default=Path("data"), show_default=True, help="Where Faust keeps its own files; no state of ours.")
@click.option("--group", default=GROUP, show_default=True, help="Consumer group of the workers that share the partitions.")
@click.option("--instance", help="Static member name: after a quick restart the worker gets its partitions back.")
@click.option("--web-host", default="127.0.0.1", show_default=True, help="Where the web server listens.")
@click.option("--web-port", type=click.IntRange(0, 65_535), help="Serve health, metrics and tables; 0: any free port.")
@click.option("--session-timeout-ms", type=click.IntRange(3_000, 300_000), default=10_000, show_default=True)
@click.option("--checkpoint-every-ms", type=click.IntRange(100, 600_000), default=5_000, show_default=True)
@click.option("--relaxed", is_flag=True, help="Accept a broker that does not stamp records (embedded broker).")
@log_options("info")
@kafka_options
@trust_option
def command(
    *,
    kafka: KafkaSettings,
    trust: RootTrust,
    key: tuple[Path, ...],
    datadir: Path,
    group: str,
    instance: str | None,
    web_host: str,
    web_port: int | None,
    session_timeout_ms: int,
    checkpoint_every_ms: int,
    relaxed: bool,
    log_level: str,
    log_format: str | None,
) -> None:
    """Fold facts into eligibility, as one worker of a group."""
    signers = [key_files.load(path) for path in key]
    if web_port == 0 and instance is not None:
        raise UserError("--instance needs a --web-port that stays the same, or none")
    make_directory(datadir, "--datadir")
    spans = [tracing.Spans(tracing.otlp_exporter())] if tracing.wanted() else []
    web = None if web_port is None else (web_host, web_port)
    partitions = asyncio.run(check_cluster(kafka, trust, signers, relaxed, web))
    logs.configure(log_level, log_format)
    settings = ProcessorSettings(
        bootstrap=kafka.bootstrap,
        security=kafka.aiokafka_security,
        group=group,
        instance=instance,
        datadir=datadir,
        web_host=web_host,
        web_port=web_port,
        session_timeout_ms=session_timeout_ms,
        log_append_time=not relaxed,
        standby_replicas=0 if relaxed else 1,
    )
    # Only now: importing Faust takes a second, and a mistake should be reported at once.
    from b3iq_streams.processor.app import run_worker
    from b3iq_streams.processor.exits import read_exits
    from b3iq_streams.processor.metrics import Metrics
    from b3iq_streams.processor.observer import Observers
    from b3iq_streams.processor.owners import Owners
    from b3iq_streams.processor.pages import add_pages

    metrics = Metrics(read_exits(datadir))
    owners = Owners(trust, partitions, signers, checkpoint_every_ms=checkpoint_every_ms, require_log_append_time=not relaxed)
    run_worker(
        settings,
        owners.make,
        preverify=metrics.timed(owners.open_batch),
        observer=Observers((metrics, *spans)),
        configure=lambda app: add_pages(app, metrics),
    )
