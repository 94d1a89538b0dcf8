"""Compares this machine's clock with the broker's, from what acknowledgements say. Pure."""

WARN_MS = 1_000
"""From so far off on, a person should look: routers tolerate half of it, admission by the demo's policy a minute."""


def skew_ms(before_ms: int, logged_at_ms: int, after_ms: int) -> int:
    """How far this clock is ahead of the broker's at least; negative: behind. 0 if the append may lie between both moments."""
    if logged_at_ms < before_ms:
        return before_ms - logged_at_ms
    return min(0, after_ms - logged_at_ms)


class SkewWatch:
    """Tells when a skew begins and when it is over, and nothing in between."""

    def __init__(self) -> None:
        self._off = False

    def look(self, before_ms: int, logged_at_ms: int, after_ms: int) -> str | None:
        """What to tell, if there is something new."""
        found_ms = skew_ms(before_ms, logged_at_ms, after_ms)
        off = abs(found_ms) >= WARN_MS
        if off == self._off:
            return None
        self._off = off
        if not off:
            return "the clock agrees with the broker's again"
        side = "ahead of" if found_ms > 0 else "behind"
        return f"this clock is {abs(found_ms)} ms {side} the broker's: heartbeats too far off are refused, so set up NTP"
