"""What was fetched of one topic of one partition and not handed over yet: a contiguous stretch of the log."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from b3iq_streams.core.admit import Opened
from b3iq_streams.core.records import Record


class Share(NamedTuple):
    """Records taken out of an inbox, and where the next ones begin."""

    records: tuple[Record | Opened, ...]
    position: int


class Inbox:
    """Holds `[first, position)`. `seek_id` names the seek it was filled after; batches of another one are not its."""

    def __init__(self) -> None:
        self.seek_id: int | None = None  # nothing is ours before the owner has said where it stands
        self.position = -1
        self.records: deque[Record] = deque()
        self.bytes = 0
        self._first = -1
        self._coming: deque[tuple[int, asyncio.Future[Sequence[Record | Opened]]]] = deque()
        self._prepared: dict[int, Record | Opened] = {}

    def restart(self, position: int, seek_id: int) -> None:
        """Drop everything: the next batch continues at `position`, after the seek of this id."""
        self.seek_id, self._first, self.position, self.bytes = seek_id, position, position, 0
        self.records.clear()
        self._coming.clear()
        self._prepared.clear()

    def add(self, records: list[Record], position: int) -> None:
        """Append the next batch; `position` is where the fetch goes on, beyond gaps."""
        self.records += records
        self.bytes += sum(size_of(record) for record in records)
        self.position = position

    def await_prepared(self, first_offset: int, prepared: asyncio.Future[Sequence[Record | Opened]]) -> None:
        """Hand over what comes of the batch that begins at `first_offset` instead of its records."""
        self._coming.append((first_offset, prepared))

    def move_to(self, position: int) -> bool:
        """Drop what lies before `position`; False when it is not within reach and a seek is needed."""
        if not self._first <= position <= self.position:
            return False
        self._drop(position)
        return True

    def count_below(self, end: int, count: int, size: int) -> tuple[int, int]:
        """How many of the next records lie below `end` and fit within `count` records and `size` bytes; their bytes."""
        taken = total = 0
        for record in self.records:
            if taken >= count or record.offset >= end or total >= size:
                break
            taken += 1
            total += size_of(record)
        return taken, total

    async def take(self, count: int, end: int) -> Share:
        """Take the next `count` records, once they are prepared; the position goes no further than `end`."""
        taken = tuple(islice(self.records, count))
        after = taken[-1].offset + 1 if taken else self._first
        while self._coming and self._coming[0][0] < after:
            for item in await self._coming.popleft()[1]:
                self._prepared[(item.record if isinstance(item, Opened) else item).offset] = item
        share = tuple(self._prepared.get(record.offset, record) for record in taken)
        following = self.records[count].offset if count < len(self.records) else self.position
        position = max(after, min(following, end))
        self._drop(position)
        return Share(share, position)

    def _drop(self, position: int) -> None:
        self._first = position
        while self.records and self.records[0].offset < position:
            record = self.records.popleft()
            self.bytes -= size_of(record)
            self._prepared.pop(record.offset, None)


def size_of(record: Record) -> int:
    """Bytes of a record that count towards budgets."""
    return len(record.key or b"") + len(record.value or b"")


def spend(inboxes: Iterable[tuple[Inbox, int]], count: int, size: int) -> list[int]:
    """Split an intake's budget over `(inbox, end)` pairs: an equal share for each, what is left over in their order.

    So a flood on one topic delays the others by a bounded factor and never stops them.
    """
    pairs = list(inboxes)
    shares = [inbox.count_below(end, count // len(pairs), size // len(pairs)) for inbox, end in pairs]
    left, left_size = count - sum(taken for taken, _ in shares), size - sum(total for _, total in shares)
    result = []
    for (inbox, end), (taken, total) in zip(pairs, shares, strict=True):
        more, more_size = inbox.count_below(end, taken + left, total + max(left_size, 0))
        result.append(max(taken, more))
        left, left_size = left - max(more - taken, 0), left_size - max(more_size - total, 0)
    return result
