"""The conversation between a partition owner and its driver: each action and what the driver answers.

The owner (`owner.py`) is a generator: it yields one action, the driver performs it *to its end* (every acknowledgement
awaited) and sends the answer back. Whatever goes wrong in the driver ends the owner: nothing is ever half answered.
This file holds the vocabulary only; the order of the conversation is the owner's.

| action | answer |
|---|---|
| `ReadChain` | `ChainBatch` |
| `ReadInputs` | `InputBatch` |
| `TakeIntake` | `Intake` |
| `WriteLetters` | `None`, once all are acknowledged |
| `Append` | `Appended`, once all are acknowledged |
| `WriteCheckpoint` | `None`, once all are acknowledged |
| `Commit` | `bool`: False when the group refuses (deposed) |
| `Confirmed`, `Notice` | `None` |
| `Exit` | never answered: the driver ends the process |
"""

from collections.abc import Mapping
from typing import NamedTuple

from b3iq_streams.core.admit import Opened
from b3iq_streams.core.chain import Head
from b3iq_streams.core.records import Outgoing, Record


class ReadChain(NamedTuple):
    """Read `eligibility-changes` of this partition from `offset` on, as far as it goes, in one bounded batch."""

    offset: int


class ChainBatch(NamedTuple):
    """`records` in offset order; `position` = next offset to read (control records and gaps are skipped over);
    `start`, `end` = the partition's log start and end offsets, asked *before* the records were read.

    Records may be empty; the driver may wait a little for records when `offset` < `end`, never when it is at the end.
    An `offset` below `start` is answered from `start` on.
    """

    records: tuple[Record, ...]
    position: int
    start: int
    end: int


class ReadInputs(NamedTuple):
    """Read `[first, last)` of one input topic of this partition, wholly (re-folding a recorded epoch)."""

    topic: str
    first: int
    last: int


class InputBatch(NamedTuple):
    """`start` = the log start offset of the topic's partition: records below it are gone.
    `end` = its end offset; a request beyond it means the topic was truncated or re-created."""

    records: tuple[Record, ...]
    start: int
    end: int


class TakeIntake(NamedTuple):
    """What the next epoch is made of: everything from `positions` on that is there, bounded by the driver's budget.

    The driver, in this order (P2): reads the clock, asks the end offset of every input on a connection of its own,
    consumes up to them as far as its budget goes. When nothing has come it answers within the idle period.
    """

    positions: Mapping[str, int]


class Intake(NamedTuple):
    """`clock_ms` was read first, `ends` asked after it; `records` per topic in offset order, contiguous from the asked
    position; `positions` = next offset per topic, after the records (control records and gaps skipped over);
    `starts` = log start offsets; `stop` = finish: after this epoch checkpoint, commit and return."""

    clock_ms: int
    starts: Mapping[str, int]
    ends: Mapping[str, int]
    records: Mapping[str, tuple[Record | Opened, ...]]
    positions: Mapping[str, int]
    stop: bool = False


class WriteLetters(NamedTuple):
    """Append to `dead-letters` (any partition)."""

    letters: tuple[Outgoing, ...]


class Append(NamedTuple):
    """Append to `eligibility-changes`, this partition: first `changes`, await all; then `mark`, await it.
    Idempotent producer; one batch while it fits (then the order is the batch's)."""

    changes: tuple[Outgoing, ...]
    mark: Outgoing


class Appended(NamedTuple):
    """`first_offset` = offset of the first record appended, `mark_offset` of the mark,
    `timestamp_ms` = LogAppendTime of the mark as acknowledged."""

    first_offset: int
    mark_offset: int
    timestamp_ms: int


class WriteCheckpoint(NamedTuple):
    """Write node records (value None = tombstone), await all; then the head record, await it."""

    nodes: tuple[Outgoing, ...]
    head: Outgoing


class Commit(NamedTuple):
    """Commit consumer group offsets: next offset per input topic, this partition."""

    cut: Mapping[str, int]


class Confirmed(NamedTuple):
    """An epoch was seen accepted in the log. `own` = proposed by this owner; counts are of what it folded;
    `codes` = leaf codes among the changes (`eligible` for those that opened), `eligible` = profiles eligible after it, `lost` =
    profiles that were eligible before it and are not after it, whatever opened meanwhile."""

    head: Head
    own: bool
    admitted: Mapping[str, int]
    refused: Mapping[str, int]
    changes: int
    refreshed: int
    codes: Mapping[str, int]
    eligible: int
    lost: int


class Notice(NamedTuple):
    """Something worth a log line, a metric or an alarm. `level`: info, warning, alarm."""

    level: str
    code: str
    detail: str


class Checkpoint(NamedTuple):
    """A restored checkpoint image of one partition, as stored: the head record's value, node records by node id."""

    head: bytes | None
    nodes: Mapping[str, bytes]


class Exit(NamedTuple):
    """End the process without committing; the supervisor restarts it."""

    code: str
    detail: str


Action = ReadChain | ReadInputs | TakeIntake | WriteLetters | Append | WriteCheckpoint | Commit | Confirmed | Notice | Exit
Answer = ChainBatch | InputBatch | Intake | Appended | bool | None
