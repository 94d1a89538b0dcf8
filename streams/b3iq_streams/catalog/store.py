"""What the catalog shows of every key that the view holds, and nothing of any other: fed by the same accepted epochs.

A partition that starts again begins with nothing here, as it does in the view. Says what a key's last decision was, never
whether that still counts (`standing.py`).
"""

from collections.abc import Mapping
from typing import NamedTuple

from b3iq_streams.catalog.census import Census
from b3iq_streams.catalog.history import History
from b3iq_streams.catalog.index import Index
from b3iq_streams.catalog.models import Past
from b3iq_streams.catalog.rows import Row, read_decision, showable
from b3iq_streams.router.partition import Flip, Step
from b3iq_streams.router.supply import Candidate
from b3iq_streams.router.view import RouterView


class Happened(NamedTuple):
    """A change of a key that was known before. `row` as it is now; as it was, where the key is gone."""

    row: Row
    past: Past
    gone: bool


class Part:
    """The rows of one partition, for as long as the view goes on with the same entries. None: a key that is not shown."""

    __slots__ = ("caught_up", "entries", "rows", "whole")

    def __init__(self, entries: Mapping[str, Candidate]) -> None:
        self.entries = entries
        self.rows: dict[str, Row | None] = {}
        self.caught_up = False
        """Whether the view has been synced since it began with these entries."""
        self.whole = False
        """Whether it was read from the first epoch on, so that a key not met before is new."""


class Store:
    """The rows of every partition of a view. `version` moves whenever the list of models could."""

    def __init__(self, view: RouterView) -> None:
        self._view = view
        self.index, self.census, self.history = Index(), Census(), History()
        self.version = 0
        self._parts = [Part(view.entries(partition)) for partition in range(len(view.parts))]

    def sync(self) -> bool:
        """Forget partitions that the view began anew; whether there was one. To be called before anything is shown."""
        stale = [p for p, part in enumerate(self._parts) if part.entries is not self._view.entries(p)]
        for partition in stale:
            self._drop(partition)
        return bool(stale)

    def caught_up(self) -> bool:
        """Take note of partitions that are synced from now on; whether there was one."""
        fresh = [part for p, part in enumerate(self._parts) if not part.caught_up and self._view.parts[p].synced]
        for part in fresh:
            part.caught_up = True
        return bool(fresh)

    def follows(self, partition: int) -> bool:
        """Whether changes of the partition are news, not its past being read."""
        return self._parts[partition].caught_up

    def absorb(self, step: Step) -> list[Happened]:
        """Take an accepted epoch that the view has taken; what it changed about keys whose state before is known."""
        self.sync()
        part = self._parts[step.partition]
        part.whole = part.whole or step.accepted.head.epoch == 1
        before = {flip.key: part.rows.get(flip.key) for flip in step.flips}
        known = {key for key in before if part.caught_up or part.whole or key in part.rows}
        for value in step.accepted.changes:
            self._take(part, value)
        if len(part.rows) != len(part.entries):
            self._reconcile(part)
        return [
            self._happened(step, flip, row, part)
            for flip in step.flips
            if flip.key in known and (row := part.rows.get(flip.key) or before[flip.key])
        ]

    def rows_of(self, partition: int) -> Mapping[str, Row | None]:
        """The rows of a partition by key."""
        return self._parts[partition].rows

    def _happened(self, step: Step, flip: Flip, row: Row, part: Part) -> Happened:
        head, (node_id, profile_id, partition) = step.accepted.head, row.id
        past = Past(at_ms=head.resolved_at_ms, profile_id=profile_id, what=flip.what, codes=flip.codes, epoch=head.epoch)
        self.history.add(node_id, partition, past)
        return Happened(row, past, flip.key not in part.rows)

    def _take(self, part: Part, value: bytes) -> None:
        decision = read_decision(value)
        if decision is None:
            return
        key = f"{decision.node_id}/{decision.profile_id}"
        candidate = part.entries.get(key)
        if candidate is None:
            return
        row = Row(candidate, decision, value) if showable(candidate) else None
        self._put(part, key, row)

    def _put(self, part: Part, key: str, row: Row | None) -> None:
        old = part.rows.get(key)
        part.rows[key] = row
        if _listed(old) != _listed(row):
            self.version += 1
        if row is not None:
            self.census.add(row)
        if old is not None:
            self.census.remove(old)
        if old is not None and row is not None:
            self.index.replace(old, row)
        elif row is not None:
            self.index.add(row)
        elif old is not None:
            self.index.remove(old)

    def _reconcile(self, part: Part) -> None:
        for key in [key for key in part.rows if key not in part.entries]:
            self._put(part, key, None)
            del part.rows[key]

    def _drop(self, partition: int) -> None:
        part = self._parts[partition]
        for key in list(part.rows):
            self._put(part, key, None)
        self.history.drop(partition)
        self._parts[partition] = Part(self._view.entries(partition))
        self.version += 1


def _listed(row: Row | None) -> tuple[object, ...] | None:
    """What of a row decides about the list of models."""
    if row is None or not row.candidate.eligible:
        return None
    candidate = row.candidate
    return candidate.model_id, candidate.valid_until_ms, candidate.benchmarked_at_ms
