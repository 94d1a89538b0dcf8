"""The only place that reads clocks. Whatever needs a time is handed one; only shells call these."""

import time


def now_ms() -> int:
    """Wall clock: milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """A clock that never goes back, for measuring how long something took."""
    return time.monotonic_ns() // 1_000_000
