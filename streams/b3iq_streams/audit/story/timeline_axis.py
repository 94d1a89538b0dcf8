"""A stretch of time as a horizontal axis in UTC: where a moment lies, in per cent, and which ticks to label. Draws nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

_SECOND, _MINUTE, _HOUR, _DAY, _MONTH = 1_000, 60_000, 3_600_000, 86_400_000, 28 * 86_400_000
STEPS_MS = (
    *(n * _SECOND for n in (1, 2, 5, 10, 15, 30)), *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)), *(n * _DAY for n in (1, 2, 4, 7, 14, 28, 91, 364)),
)  # fmt: skip
"""Steps that people count in."""
TICKS_MAX = 9


class Tick(NamedTuple):
    """A labelled moment; `major` ones stay when there is little room."""

    at_ms: int
    label: str
    major: bool


class Axis(NamedTuple):
    """[from_ms, until_ms] over the whole width."""

    from_ms: int
    until_ms: int

    def at(self, moment_ms: int) -> float:
        """Where a moment lies, in per cent of the width; what is outside lies at the edge."""
        length_ms = max(1, self.until_ms - self.from_ms)
        return round(min(100.0, max(0.0, (moment_ms - self.from_ms) * 100 / length_ms)), 4)

    @property
    def ticks(self) -> list[Tick]:
        """Round moments within, at most TICKS_MAX of them; every other one is major."""
        length_ms = max(1, self.until_ms - self.from_ms)
        years = -(-length_ms // (STEPS_MS[-1] * (TICKS_MAX - 1)))
        step_ms = next((step for step in STEPS_MS if length_ms // step < TICKS_MAX), STEPS_MS[-1] * years)
        return list(self._every(step_ms))

    def _every(self, step_ms: int) -> Iterator[Tick]:
        day = clock(self.from_ms)[:10]
        for number, at_ms in enumerate(range(-(-self.from_ms // step_ms) * step_ms, self.until_ms + 1, step_ms)):
            date, _, time = clock(at_ms).partition(" ")
            yield Tick(at_ms, self._label(date, time, step_ms, date != day and at_ms % _DAY == 0), number % 2 == 0)

    def _label(self, date: str, time: str, step_ms: int, new_day: bool) -> str:
        if step_ms >= _MONTH:
            return date
        if step_ms >= _DAY or new_day:
            return date[5:]
        return time if step_ms < _MINUTE else time[:5]


def clock(at_ms: int) -> str:
    """A moment in UTC to the second, with milliseconds only where there are some; the number where it has no date."""
    try:
        moment = datetime.fromtimestamp(at_ms // 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(at_ms)
    return f"{moment:%Y-%m-%d %H:%M:%S}" + (f".{at_ms % 1_000:03d}" if at_ms % 1_000 else "")
