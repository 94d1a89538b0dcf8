"""The note that a process leaves when it ends itself: an exited process cannot be asked, its successor can.

One small JSON file in the data directory: `{code: [how often, when last in ms]}`. Best effort: it never keeps a process alive.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import orjson

from b3iq_streams.cli_options import write
from b3iq_streams.clock import now_ms
from b3iq_streams.errors import UserError
from b3iq_streams.observability.metrics import PROCESSOR, bounded

FILE = "exits.json"
BYTES_MAX = 64 * 1024
_BOUND = next(metric for metric in PROCESSOR if metric.name == "b3iq_exits").labels["code"]
log = logging.getLogger(__name__)


class Exits(NamedTuple):
    """How often processes with this data directory ended themselves by a code, and when the last one did."""

    number: int
    last_at_ms: int


def read_exits(datadir: Path) -> dict[str, Exits]:
    """The note by code; nothing when there is none, or none that can be read."""
    try:
        with (datadir / FILE).open("rb") as file:
            noted = orjson.loads(file.read(BYTES_MAX))
        return {bounded(_BOUND, code): Exits(max(0, int(count)), max(0, int(at))) for code, (count, at) in noted.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError):
        log.warning("the note of earlier exits cannot be read, a new one begins")
        return {}


def note_exit(datadir: Path, code: str) -> None:
    """Count an exit; a full disk must not keep a process from ending."""
    noted = read_exits(datadir)
    known = bounded(_BOUND, code)
    noted[known] = Exits(noted.get(known, Exits(0, 0)).number + 1, now_ms())
    try:
        write(datadir / FILE, orjson.dumps({code: tuple(exits) for code, exits in noted.items()}))
    except (UserError, OSError):
        log.warning("the note of this exit could not be written")
