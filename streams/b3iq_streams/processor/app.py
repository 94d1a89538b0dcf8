"""Builds the Faust app of a processor worker, and runs it as a process."""

import asyncio
import gc
import logging
import socket
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

from b3iq_schemas.topics import ELIGIBILITY_CHANGES, HEARTBEATS, INPUTS
from b3iq_streams.processor.clients import ConfigurationError, partition_count
from b3iq_streams.processor.feed import Preverify
from b3iq_streams.processor.framework import FAUST_LOG, App, SASLCredentials, SSLCredentials, Worker
from b3iq_streams.processor.guard import die, die_of, fatal, note_exits_in
from b3iq_streams.processor.names import AGENT, TABLE, changelog
from b3iq_streams.processor.observer import Observer
from b3iq_streams.processor.settings import ProcessorSettings
from b3iq_streams.processor.shell import MakeOwner, Shell
from b3iq_streams.processor.table import CheckpointStore, CheckpointTable
from b3iq_streams.processor.tenure import Epoch
from b3iq_streams.processor.transport import Transport

REBALANCE_TIMEOUT_S = 30
NEVER_S = 86_400.0
GC_THRESHOLDS = (50_000, 20, 100)
"""The state is millions of long-lived tuples without cycles; the default would walk all of them again and again."""
DEFAULT_PORT = 6066


class ProcessorApp(App):
    """A Faust app that ends its process when any part of it crashes, instead of restarting parts or committing."""

    logger = FAUST_LOG
    shell: Shell

    def _crash(self, reason: BaseException) -> None:
        if not isinstance(reason, asyncio.CancelledError):  # how Faust's services end when they are stopped
            die_of(reason)


def build_app(
    settings: ProcessorSettings,
    make_owner: MakeOwner,
    *,
    preverify: Preverify | None = None,
    observer: Observer | None = None,
) -> ProcessorApp:
    """The app: one agent whose events are epochs, one table that holds the checkpoint; web and CLI are Faust's."""
    shell = Shell(settings, make_owner, preverify, observer or Observer())
    app = ProcessorApp(settings.group, **_faust_settings(settings))
    app.transport = app.producer_transport = Transport(app.conf.broker_consumer, app, shell)
    table = app.Table(
        TABLE, key_type=bytes, value_type=bytes, help="Checkpoint of the fold: one record per node, one head per partition."
    )

    @app.agent(_raw_topic(app, HEARTBEATS), name=AGENT, isolated_partitions=True)
    async def owner(stream: Any) -> None:
        """Folds one epoch of one partition: its records go in, decisions and a signed mark come out."""
        async for epoch in stream:
            await cast(Epoch, epoch).perform()

    for topic in INPUTS:
        if topic != HEARTBEATS:
            app.topics.add(_raw_topic(app, topic))
    app.shell = shell
    shell.attach(app, owner, lambda: cast(CheckpointStore, table.data))
    table.on_recover(fatal(shell.on_recovered))
    app.on_partitions_revoked.connect(fatal(shell.release))
    app.on_before_shutdown.connect(fatal(shell.shut_down))
    return app


def run_worker(
    settings: ProcessorSettings,
    make_owner: MakeOwner,
    *,
    preverify: Preverify | None = None,
    observer: Observer | None = None,
    configure: Callable[[ProcessorApp], None] | None = None,
) -> NoReturn:
    """Run one worker until it is told to stop (exit code 0), or until anything unexpected (another code).

    `configure` may add to the app before it starts: pages, for example.
    """
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    note_exits_in(settings.datadir)
    gc.set_threshold(*GC_THRESHOLDS)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        topics = (*INPUTS, ELIGIBILITY_CHANGES, changelog(settings.group))
        loop.run_until_complete(partition_count(settings, topics))
        app = build_app(settings, make_owner, preverify=preverify, observer=observer)
        if configure is not None:
            configure(app)
    except ConfigurationError as error:
        die("configuration", str(error))
    except Exception as error:
        die_of(error)
    worker = Worker(app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    app.shell.watch()
    worker.execute_from_commandline()


def _raw_topic(app: App, name: str) -> Any:
    """A topic whose records stay bytes, and whose offsets Faust does not count."""
    return app.topic(name, key_type=bytes, value_type=bytes, acks=False)


def _faust_settings(settings: ProcessorSettings) -> dict[str, Any]:
    settings.datadir.mkdir(parents=True, exist_ok=True)
    url, port = _address(settings)
    return {
        "broker": ";".join(f"kafka://{server.strip()}" for server in settings.bootstrap.split(",")),
        "broker_credentials": _credentials(settings.security),
        "consumer_group_instance_id": settings.instance,
        "broker_session_timeout": settings.session_timeout_ms / 1_000,
        "broker_heartbeat_interval": settings.heartbeat_interval_ms / 1_000,
        "broker_rebalance_timeout": REBALANCE_TIMEOUT_S,
        "broker_commit_interval": NEVER_S,
        "broker_max_poll_records": settings.inbox_records,
        "consumer_auto_offset_reset": "earliest",
        "store": "memory://",
        "Table": CheckpointTable,
        "table_standby_replicas": settings.standby_replicas,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "autodiscover": False,
        "datadir": settings.datadir,
        "web_enabled": settings.web_port is not None,
        "web_bind": settings.web_host,
        "web_host": settings.web_host,
        "web_port": port,
        "canonical_url": url,
    }


def _credentials(security: Mapping[str, Any]) -> SASLCredentials | SSLCredentials | None:
    context = security.get("ssl_context")
    if "sasl_mechanism" in security:
        return SASLCredentials(
            username=security.get("sasl_plain_username"),
            password=security.get("sasl_plain_password"),
            mechanism=security["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None


def _address(settings: ProcessorSettings) -> tuple[str, int]:
    """The URL by which the group knows this worker, and its port; the URL names it also where nobody serves it.

    A static member that comes back is handed its old assignment with its old URL in it, and Faust insists on that URL.
    """
    if settings.web_port is None:
        return f"http://{settings.instance or uuid.uuid4()}", DEFAULT_PORT
    if settings.web_port == 0 and settings.instance is not None:
        raise ConfigurationError("a static member needs a web port of its own that stays the same, or none")
    port = settings.web_port or _free_port(settings.web_host)
    return f"http://{settings.web_host}:{port}", port


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
