"""The processor as a process of its own: started, killed, started again, stopped. Its log goes to a file."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from b3iq_streams.errors import UserError

STOP_S = 3.0
LAST_LINES = 15


class ProcessorDied(UserError):
    """The processor ended, and nobody here ended it. `log` = its last lines."""

    def __init__(self, code: int, log: Sequence[str]) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        super().__init__(f"the processor died ({how}): {log[-1] if log else 'it logged nothing'}")
        self.log = log


class Worker:
    """At most one process at a time; none is left when the block ends."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments, self._log = arguments, log
        self._process: asyncio.subprocess.Process | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises ProcessorDied when it ends by itself."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        await self.stop()
        for watch in self._watches:
            watch.cancel()
        if not self.died.cancel():
            self.died.exception()

    async def start(self) -> None:
        """Start a process. In a session of its own: a terminal's Ctrl-C is for the demo, which then stops it in order."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "b3iq_streams.cli", "processor", *self._arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        watch = asyncio.create_task(self._watch(self._process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def kill(self) -> None:
        """SIGKILL: it cannot finish anything."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help in time."""
        await self._end(signal.SIGTERM)

    @property
    def running(self) -> bool:
        """Whether there is a process that was not ended from here."""
        return self._process is not None and self._process.returncode is None

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if process is self._process and not self.died.done():
            self.died.set_exception(ProcessorDied(code, self.last_lines()))

    def last_lines(self) -> list[str]:
        """The end of its log."""
        return self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
