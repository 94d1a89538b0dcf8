"""Ends the process: on anything unexpected, without committing, and when a partition makes no progress.

Restarting is the supervisor's work, and a restart is always safe. So nothing here tries to repair anything.
"""

import functools
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from b3iq_streams.processor.exits import note_exit

EXIT_CODE = 70
_noted_in: list[Path] = []
"""The data directory of this process, for the note of its exit; `die` may be called from anywhere, even another thread."""

log = logging.getLogger(__name__)


def note_exits_in(datadir: Path) -> None:
    """From now on an exit leaves its note there."""
    _noted_in[:] = [datadir]


def die(code: str, detail: str) -> NoReturn:
    """Say why in one line, and end the process at once: no cleanup, no commit."""
    try:
        log.critical("%s: %s", code, " ".join(detail.split())[:2_000], extra={"code": code})
        for datadir in _noted_in:
            note_exit(datadir, code)
        logging.shutdown()
    finally:  # whatever goes wrong while saying so
        os._exit(EXIT_CODE)


def die_of(error: BaseException) -> NoReturn:
    """End the process because of an exception nobody expected."""
    log.critical("unexpected", exc_info=error)
    die("unexpected", repr(error))


def fatal(callback: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """`callback`, ending the process when it raises: Faust only logs what its callbacks raise, or not even that."""

    @functools.wraps(callback)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            await callback(*args, **kwargs)
        except Exception as error:
            die_of(error)

    return guarded


class Vital(NamedTuple):
    """How one thing is doing: `beats` grows with every finished epoch, before the first one with every step of the
    recovery; `live` once the first one is in the log."""

    what: str
    beats: int
    live: bool


class Watchdog(threading.Thread):
    """Counts seconds in which something made no progress.

    A thread, since it must notice an event loop that hangs. It counts its own wake-ups and reads no clock, so a process
    that was stopped as a whole gets the chance to find out properly that its partitions are gone.
    """

    def __init__(self, vitals: Callable[[], Iterable[Vital]], *, stall_s: int, recovery_s: int) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._vitals = vitals
        self._limits = {True: stall_s, False: recovery_s}
        self._silent: dict[Vital, int] = {}
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(1):
            self._silent = {vital: self._silent.get(vital, -1) + 1 for vital in self._vitals()}
            for vital, seconds in self._silent.items():
                if seconds >= self._limits[vital.live]:
                    die("stalled", f"{vital.what} made no progress for {seconds} s")

    def stop(self) -> None:
        self._over.set()
