"""The demo without a terminal: a line when something happens, and one every few seconds."""

from collections.abc import Callable

from b3iq_streams.demo.callers import ALLOWED
from b3iq_streams.demo.tally import Picture

EVERY_MS = 3_000


class Lines:
    """Writes plain lines. `write` prints one."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._next_ms = EVERY_MS

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to undo."""

    def say(self, elapsed_ms: int, text: str) -> None:
        """What the demo does now."""
        self._write(f"{elapsed_ms / 1_000:6.1f} s  {text}")

    def show(self, picture: Picture) -> None:
        """A line now and then."""
        if picture.elapsed_ms < self._next_ms:
            return
        self._next_ms = picture.elapsed_ms + EVERY_MS
        self._write(f"{picture.elapsed_ms / 1_000:6.1f} s  {status(picture)}")


def status(picture: Picture) -> str:
    """The moment in one line."""
    allowed, refused = picture.calls.get(ALLOWED, 0), sum(picture.calls.values()) - picture.calls.get(ALLOWED, 0)
    closed = {lane.refusal for lane in picture.lanes if lane.refusal is not None}
    lags = [lane.lag_ms for lane in picture.lanes if lane.lag_ms is not None]
    view = f"closed: {' '.join(sorted(closed))}" if closed else f"resolved lag up to {max(lags, default=0)} ms"
    return (
        f"{picture.events} facts, {sum(picture.refused_facts.values())} refused; {picture.eligible} of {picture.profiles} "
        f"profiles eligible; calls {allowed} allowed, {refused} refused; {view}"
    )
