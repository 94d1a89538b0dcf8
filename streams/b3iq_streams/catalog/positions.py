"""Where a reader of changes stands: per partition the epoch and how many of its changes were seen, as one line of text.

`0-41,1-39`: all of epoch 41 of partition 0, all of epoch 39 of partition 1. `0-41.2`: of epoch 41, its first two changes.
Any instance of the catalog understands it, because epochs have the same numbers everywhere.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

ALL = 2**31
TEXT_MAX = 32_768
_PART = re.compile(r"(\d{1,4})-(\d{1,16})(?:\.(\d{1,9}))?")


class Place(NamedTuple):
    """How far in one partition: `seen` changes of `epoch`, ALL once it is complete. Ordered."""

    epoch: int
    seen: int = ALL

    @property
    def text(self) -> str:
        """Epoch, and what was seen of it unless that is everything."""
        return str(self.epoch) if self.seen == ALL else f"{self.epoch}.{self.seen}"


Position = Mapping[int, Place]


def encode(places: Iterable[tuple[int, Place]]) -> str:
    """A position as text."""
    return ",".join(f"{partition}-{place.text}" for partition, place in places)


def decode(text: str) -> Position | None:
    """A position in text; None if it is not one, or names a partition twice."""
    if len(text) > TEXT_MAX:
        return None
    found: dict[int, Place] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None or int(match[1]) in found:
            return None
        found[int(match[1])] = Place(int(match[2]), ALL if match[3] is None else int(match[3]))
    return found
