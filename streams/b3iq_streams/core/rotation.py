"""The anchor (P6): a true statement about confirmed epochs, moved forward by publishing every live key again in rotation.

A candidate is a confirmed epoch; once every key that lived at it was published after it, in confirmed epochs, it becomes
the anchor and the head the next candidate. So an anchor is never older than two refresh periods.
"""

from collections.abc import Callable, Iterable
from math import ceil

from b3iq_streams.core.chain import Head

KEYS_PER_EPOCH_MAX = 500


class Rotation:
    """Which keys are due to be published again, and how far the anchor has come."""

    def __init__(self, head: Head, live: Iterable[str]) -> None:
        self.anchor = head.anchor
        self._candidate = head.here
        self._pending = dict.fromkeys(live)
        self._total = len(self._pending)
        self._since_ms = head.resolved_at_ms

    def due(self, resolved_at_ms: int, period_ms: int) -> list[str]:
        """The keys to publish again in an epoch at this moment, so that a whole round takes about one period."""
        elapsed = min(1.0, max(0, resolved_at_ms - self._since_ms) / max(1, period_ms))
        done = self._total - len(self._pending)
        count = min(KEYS_PER_EPOCH_MAX, ceil(self._total * elapsed) - done)
        return [key for key, _ in zip(self._pending, range(count), strict=False)]

    def confirm(self, head: Head, own: bool, published: Iterable[str], live: Callable[[], Iterable[str]]) -> None:
        """An epoch was accepted that published these keys; `live` is asked for only when a round ends."""
        if not own and head.anchor.epoch > self.anchor.epoch:
            self.anchor = head.anchor
        for key in published:
            self._pending.pop(key, None)
        if not self._pending:
            self._turn(head, live)

    def _turn(self, head: Head, live: Callable[[], Iterable[str]]) -> None:
        if self._candidate.epoch >= self.anchor.epoch:
            self.anchor = self._candidate
        self._candidate = head.here
        self._pending = dict.fromkeys(live())
        self._total = len(self._pending)
        self._since_ms = head.resolved_at_ms
