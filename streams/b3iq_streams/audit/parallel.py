"""One job per partition over several processes: results in order, progress, and an end that can be asked for.

What a job returns depends on its arguments only, so the number of processes changes how long it takes and nothing else.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple, Protocol, TypeVar

Result = TypeVar("Result")
PER_TICK = 500


class Flag(Protocol):
    """An event of this process or of several."""

    def is_set(self) -> bool:
        """Whether it was set."""

    def set(self) -> None:
        """Set it."""


class Ticks(Protocol):
    """Where jobs say how far they are."""

    def put(self, item: tuple[int, int] | None, /) -> None:
        """(partition, records done since the last time)."""


class Desk(NamedTuple):
    """What a job may ask and say while it runs."""

    partition: int
    stop: Flag
    ticks: Ticks

    @property
    def stopped(self) -> bool:
        """Whether the user wants it to end: save, and return what there is."""
        return self.stop.is_set()

    def done(self, records: int) -> None:
        """So many records more are behind it."""
        self.ticks.put((self.partition, records))


Job = Callable[..., Result]
"""(desk, *arguments) → result. A function of a module, for it is called in another process."""
_worker: dict[str, Any] = {}


class _Shown:
    """Ticks of this process, shown at once."""

    def __init__(self, show: Callable[[int, int], None]) -> None:
        self._show = show

    def put(self, item: tuple[int, int] | None, /) -> None:
        if item is not None:
            self._show(*item)


def run(
    job: Job[Result], partitions: Sequence[int], arguments: tuple[Any, ...], processes: int | None = None,
    show: Callable[[int, int], None] = lambda partition, records: None,
) -> list[Result]:  # fmt: skip
    """Run a job for each of the partitions; results in the order of `partitions`.

    Ctrl-C asks the jobs to end: they save what they can, and KeyboardInterrupt is raised when they have.
    """
    count = min(processes or os.cpu_count() or 1, len(partitions))
    if count <= 1:
        return _here(job, partitions, arguments, show)
    context = get_context("spawn")
    stop, ticks = context.Event(), context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(ticks, show), daemon=True)
    listener.start()
    try:
        with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(stop, ticks)) as pool:
            futures = [pool.submit(_call, job, partition, arguments) for partition in partitions]
            return _collect(futures, stop)
    finally:
        ticks.put(None)
        listener.join()


def _here(
    job: Job[Result], partitions: Sequence[int], arguments: tuple[Any, ...], show: Callable[[int, int], None]
) -> list[Result]:
    stop, results = threading.Event(), []
    before = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if before is not None:
        signal.signal(signal.SIGINT, lambda _number, _frame: stop.set())
    try:
        for partition in partitions:
            results.append(job(Desk(partition, stop, _Shown(show)), *arguments))
            if stop.is_set():
                raise KeyboardInterrupt
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    return results


def _collect(futures: Sequence[Future[Result]], stop: Flag) -> list[Result]:
    try:
        return [future.result() for future in futures]
    except BaseException:
        stop.set()  # the others need not go on
        for future in futures:
            future.cancel()
        raise


def _listen(ticks: Any, show: Callable[[int, int], None]) -> None:
    while (item := ticks.get()) is not None:
        show(*item)


def _begin(stop: Flag, ticks: Ticks) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent asks for the end
    _worker.update(stop=stop, ticks=ticks)


def _call(job: Job[Result], partition: int, arguments: tuple[Any, ...]) -> Result:
    return job(Desk(partition, _worker["stop"], _worker["ticks"]), *arguments)
