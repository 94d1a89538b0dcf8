"""The Faust app at module level, for Faust's own command line."""

from pathlib import Path
from tempfile import gettempdir

from b3iq_streams.processor.app import build_app
from b3iq_streams.processor.settings import ProcessorSettings
from tests.kafka.shell_worker import CountingOwner

app = build_app(ProcessorSettings("127.0.0.1:9092", datadir=Path(gettempdir()) / "b3iq-shell-app", web_port=6066), CountingOwner)
