"""How long to wait: between heartbeats, and after failures. No clock; chance comes from the operating system.

stamina, which retries elsewhere, cannot do this: its exponent overflows after a thousand tries, and an agent tries for days.
"""

from secrets import SystemRandom

JITTER = 0.1
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
_random = SystemRandom()


def interval(interval_s: float) -> float:
    """The time from one heartbeat to the next: up to a tenth shorter, so that a fleet does not send in step."""
    return interval_s * _random.uniform(1 - JITTER, 1)


class Backoff:
    """Waits that double up to a minute, each shortened by up to half; without end. After a success take a new one."""

    def __init__(self) -> None:
        self._upper_s = RETRY_FIRST_S

    def next(self) -> float:
        """How long to wait after one more failure."""
        wait_s = self._upper_s * _random.uniform(0.5, 1)
        self._upper_s = min(RETRY_MAX_S, 2 * self._upper_s)
        return wait_s
