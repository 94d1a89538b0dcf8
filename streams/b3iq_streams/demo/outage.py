"""What the router did while there was no processor: when it closed, and when it opened again. Reads no clock."""

from collections import Counter
from collections.abc import Sequence

from b3iq_schemas.codes import RouteRefusal


class Outage:
    """One kill of the processor, observed. Closed = every partition says no; opened again = none does any more."""

    def __init__(self, killed_at_ms: int) -> None:
        self.killed_at_ms = killed_at_ms
        self.closed_at_ms: int | None = None
        self.reopened_at_ms: int | None = None
        self.code = ""

    def observe(self, states: Sequence[RouteRefusal | None], at_ms: int) -> None:
        """What each partition of the view says at a moment."""
        refusals = [state for state in states if state is not None]
        if self.closed_at_ms is None:
            if len(refusals) == len(states):
                self.closed_at_ms = at_ms
                self.code = Counter(refusals).most_common(1)[0][0].value
        elif self.reopened_at_ms is None and not refusals:
            self.reopened_at_ms = at_ms

    @property
    def closed(self) -> bool:
        """Whether the router closed because of it."""
        return self.closed_at_ms is not None and self.code == RouteRefusal.PROCESSOR_LAG

    @property
    def over(self) -> bool:
        """Whether it closed, and opened again."""
        return self.closed and self.reopened_at_ms is not None

    def as_data(self) -> dict[str, int | str | None]:
        """For the summary; times after the kill are None while they have not come."""

        def after_ms(at_ms: int | None) -> int | None:
            return None if at_ms is None else at_ms - self.killed_at_ms

        return {
            "killed_at_ms": self.killed_at_ms,
            "closed_after_ms": after_ms(self.closed_at_ms),
            "reopened_after_ms": after_ms(self.reopened_at_ms),
            "code": self.code or None,
        }
