"""How many: profiles per model and tier, those eligible at a moment, the freshest benchmark of a model, and past counts.

Counting costs the same however many there are, since what is eligible is kept in the order in which its evidence ends.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from sortedcontainers import SortedList

from b3iq_schemas.ids import INT_MAX
from b3iq_streams.catalog.rows import Row, RowId
from b3iq_streams.catalog.standing import Standing

POINTS_MAX = 60
GroupKey = tuple[str, str]


class Dated(NamedTuple):
    """A row by some moment of its candidate."""

    at_ms: int
    id: RowId


_LAST = RowId("\U0010ffff", "", 0)


class Group:
    """The rows of one model on one tier."""

    def __init__(self) -> None:
        self.total = 0
        self.ends: SortedList[Dated] = SortedList()
        """When the evidence of each eligible row ends."""
        self.points: deque[int] = deque(maxlen=POINTS_MAX)

    def eligible(self, standing: Standing) -> int:
        """How many the router would grant now."""
        return _beyond(self.ends, standing.until_ms) if standing.ready else 0


class Census:
    """Counts over all rows."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, Group] = {}
        self._ends: SortedList[Dated] = SortedList()
        self._benchmarks: dict[str, SortedList[Dated]] = {}

    def add(self, row: Row) -> None:
        """Count a row."""
        group, candidate = self._groups.get(row.group), row.candidate
        if group is None:
            group = self._groups[row.group] = Group()
        group.total += 1
        if candidate.eligible:
            end = Dated(candidate.valid_until_ms, row.id)
            group.ends.add(end)
            self._ends.add(end)
            self._benchmarks.setdefault(candidate.model_id, SortedList()).add(Dated(candidate.benchmarked_at_ms, row.id))

    def remove(self, row: Row) -> None:
        """Count it no longer."""
        group, candidate = self._groups[row.group], row.candidate
        group.total -= 1
        if candidate.eligible:
            end = Dated(candidate.valid_until_ms, row.id)
            group.ends.remove(end)
            self._ends.remove(end)
            benchmarks = self._benchmarks[candidate.model_id]
            benchmarks.remove(Dated(candidate.benchmarked_at_ms, row.id))
            if not benchmarks:
                del self._benchmarks[candidate.model_id]
        if group.total == 0:
            del self._groups[row.group]

    def groups(self) -> list[tuple[GroupKey, Group]]:
        """Every group, by model and tier."""
        return sorted(self._groups.items(), key=lambda item: item[0])

    def eligible(self, standing: Standing) -> int:
        """How many rows the router would grant now."""
        return _beyond(self._ends, standing.until_ms) if standing.ready else 0

    def freshest(self, model: str) -> Iterator[RowId]:
        """The ids of a model's eligible rows, the freshest benchmark first; some may have expired."""
        return (dated.id for dated in reversed(self._benchmarks.get(model, ())))

    def next_end_ms(self, standing: Standing) -> int:
        """When the next evidence ends of what is eligible now."""
        at = self._ends.bisect_right(Dated(standing.until_ms, _LAST))
        return self._ends[at].at_ms if at < len(self._ends) else INT_MAX

    def sample(self, standing: Standing) -> None:
        """Remember the counts of now; nothing while nothing can be claimed."""
        if standing.ready:
            for group in self._groups.values():
                group.points.append(group.eligible(standing))


def _beyond(ends: "SortedList[Dated]", until_ms: int) -> int:
    return len(ends) - int(ends.bisect_right(Dated(until_ms, _LAST)))
