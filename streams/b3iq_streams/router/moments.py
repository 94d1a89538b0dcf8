"""Which moment it is for the router: wall clock that never goes back, checked against a clock that cannot jump."""

DRIFT_DIVISOR = 1_000
"""Wall clock and monotonic clock may drift apart by this fraction of the time between two looks (a slewed clock: 0.0005)."""


class Moments:
    """Remembers the last look at both clocks. The first look can only be believed."""

    def __init__(self, tolerance_ms: int) -> None:
        self.now_ms = 0
        self._tolerance_ms = tolerance_ms
        self._last: tuple[int, int] | None = None

    def observe(self, wall_ms: int, monotonic_ms: int) -> tuple[int, bool]:
        """The moment it is now, and whether the wall clock jumped since the last look."""
        jumped = False
        if self._last is not None:
            wall_passed_ms, passed_ms = wall_ms - self._last[0], monotonic_ms - self._last[1]
            jumped = abs(wall_passed_ms - passed_ms) > self._tolerance_ms + passed_ms // DRIFT_DIVISOR
        self._last = wall_ms, monotonic_ms
        if wall_ms > self.now_ms:
            self.now_ms = wall_ms
        return self.now_ms, jumped
