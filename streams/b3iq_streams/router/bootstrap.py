"""Where to start reading a partition of the chain (A6), as a conversation without I/O.

A generator: it yields what it needs to know of the log, the driver sends back the answer, and it returns a `Start`, or
None when the log holds no mark to start from yet. It vouches for nothing but the start; acceptance is `core.chain`'s.
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple

from b3iq_schemas import eligibility
from b3iq_schemas.eligibility import MARK_KEY, Mark
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.chain import ChainId, Head, head_at, read_mark
from b3iq_streams.core.records import Record

WINDOW_RECORDS = 500
WINDOW_RECORDS_MAX = 16_000


class AskBounds(NamedTuple):
    """Ask the broker for the partition's log start and end offsets."""


class Bounds(NamedTuple):
    """The answer: the first offset there is, and the next one to be written."""

    start: int
    end: int


class ReadRange(NamedTuple):
    """Read every record of the partition that there is in `[first, last)`; the answer is a tuple of them in order."""

    first: int
    last: int


class Start(NamedTuple):
    """Read on after `head`; complete only once the position is at `target`. `fresh`: with an empty view."""

    head: Head
    target: int
    fresh: bool


class Following(NamedTuple):
    """What a reader that is under way holds: its head's offset, and the next offset it would read."""

    head: Head
    position: int


Ask = AskBounds | ReadRange
Answer = Bounds | tuple[Record, ...]
Search = Generator[Ask, Answer, Start | None]


def find_start(chain: ChainId, keys: Mapping[str, bytes], verify: Verify, following: Following | None = None) -> Search:
    """The start of a partition's view, from the newest mark that is signed by one of `keys` and has a sound anchor.

    A reader that is under way goes on where it is, unless it read that mark and did not accept it, or the log was cut.
    """
    answer = yield AskBounds()
    assert isinstance(answer, Bounds)
    bounds, last, size = answer, answer.end, WINDOW_RECORDS
    unsound: set[eligibility.Anchor] = set()
    while last > bounds.start:
        first = max(bounds.start, last - size)
        for record, mark in (yield from _marks(first, last, chain, keys, verify)):
            if following and not _missed(following, record.offset, bounds):
                return Start(following.head, max(record.offset + 1, bounds.end), False)
            if mark.anchor in unsound:
                continue
            if head := (yield from _head_at(mark.anchor, record.offset, bounds, chain)):
                return Start(head, max(record.offset + 1, bounds.end), True)
            unsound.add(mark.anchor)
        last, size = first, min(2 * size, WINDOW_RECORDS_MAX)
    return Start(chain.genesis_head(), bounds.end, True) if bounds.start == 0 else None


def _missed(following: Following, offset: int, bounds: Bounds) -> bool:
    """Whether the reader read a newer mark than its head and did not accept it, or stands outside the log."""
    read_past = following.head.offset < offset < following.position
    return read_past or not bounds.start <= following.position <= bounds.end


def _marks(
    first: int, last: int, chain: ChainId, keys: Mapping[str, bytes], verify: Verify
) -> Generator[Ask, Answer, list[tuple[Record, Mark]]]:
    """The well signed marks in a stretch of the log, accepted or not, newest first."""
    records = yield ReadRange(first, last)
    found = [(record, _mark(record, chain, keys, verify)) for record in reversed(records) if isinstance(record, Record)]
    return [(record, mark) for record, mark in found if mark is not None]


def _mark(record: Record, chain: ChainId, keys: Mapping[str, bytes], verify: Verify) -> Mark | None:
    read = read_mark(record.value or b"") if record.key == MARK_KEY else None
    if read is None:
        return None
    mark, sealed = read
    if not chain.owns(mark):
        return None
    signature = sealed.signatures[0]
    key = keys.get(signature.keyid)
    return mark if key is not None and verify(key, sealed.signed_bytes, signature.sig) else None


def _head_at(anchor: eligibility.Anchor, before: int, bounds: Bounds, chain: ChainId) -> Generator[Ask, Answer, Head | None]:
    """The head that an anchor names, if the log still holds it and it is what the anchor says."""
    if anchor.offset < 0:
        genesis = chain.genesis_head()
        return genesis if bounds.start == 0 and (anchor.epoch, anchor.digest) == genesis.here[1:] else None
    if not bounds.start <= anchor.offset < before:
        return None
    for record in (yield ReadRange(anchor.offset, anchor.offset + 1)):
        head = head_at(record, anchor.digest, chain) if isinstance(record, Record) else None
        if head and head.here == tuple(anchor.model_dump().values()):
            return head
    return None
