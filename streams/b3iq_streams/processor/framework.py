"""The one place that imports Faust, and names what of it the shell builds on.

Importing Faust reads the command line and takes any `--datadir` or `--loop` there for its own, so it sees none.
"""

import logging
import sys

_argv, sys.argv = sys.argv, sys.argv[:1]
try:
    from faust.app import App
    from faust.auth import SASLCredentials, SSLCredentials
    from faust.events import Event
    from faust.stores.base import Store
    from faust.tables.table import Table
    from faust.transport.drivers import aiokafka as driver
    from faust.types import TP, ConsumerMessage
    from faust.worker import Worker
    from mode import Service
finally:
    sys.argv = _argv

FAUST_LOG = logging.getLogger("faust")
"""Where Faust's services log; else those we derive would log under our names, at our level."""

__all__ = [
    "FAUST_LOG",
    "TP",
    "App",
    "ConsumerMessage",
    "Event",
    "SASLCredentials",
    "SSLCredentials",
    "Service",
    "Store",
    "Table",
    "Worker",
    "driver",
]
