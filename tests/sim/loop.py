"""Virtual time: processes are generators that yield how many milliseconds to sleep. Ties wake in order of falling asleep."""

import heapq
from collections.abc import Callable, Generator

Process = Generator[int, None, None]


class Loop:
    """Runs processes one step at a time; `now_ms` is real time, which nobody in the world can read."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._heap: list[tuple[int, int, Process]] = []
        self._count = 0

    def spawn(self, process: Process, after_ms: int = 0) -> None:
        """Start a process."""
        self._count += 1
        heapq.heappush(self._heap, (self.now_ms + after_ms, self._count, process))

    def later(self, after_ms: int, effect: Callable[[], object]) -> None:
        """Have something happen later."""
        self.spawn(_once(effect), after_ms)

    def run(self, until_ms: int, done: Callable[[], bool] = lambda: False) -> bool:
        """Run until a moment, or until something is done; says whether it was."""
        while self._heap and self._heap[0][0] <= until_ms:
            if done():
                return True
            self.now_ms, _, process = heapq.heappop(self._heap)
            delay_ms = next(process, None)
            if delay_ms is not None:
                self.spawn(process, max(0, delay_ms))
        self.now_ms = max(self.now_ms, until_ms)
        return done()


def _once(effect: Callable[[], object]) -> Process:
    effect()
    yield from ()
