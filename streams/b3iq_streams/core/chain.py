"""Which epochs count: the reader's acceptance, one piece of code for processor, router, catalog and audit.

Rules A1–A5 of the protocol: the first complete, well signed mark that extends the head becomes the head; everything else
on the topic is ignored, the same by every reader, because nothing outside the log's order is consulted. Does no I/O,
keeps no view (what a decision means to a reader is the reader's), and never raises on hostile bytes.
"""

import hashlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

from pydantic import ValidationError

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, parse_canonical, sha256_hex
from b3iq_schemas.eligibility import MARK_KEY, MARK_V1, Mark
from b3iq_schemas.envelope import Envelope, EnvelopeError, parse
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.records import Record

BUFFER_BYTES_MAX = 256 * 1024 * 1024
"""Changes kept since the last accepted mark. When over it, the oldest attempt is dropped: by log order, so by all readers
alike; an honest attempt is the newest when its mark arrives."""


CHANGE_OVERHEAD_BYTES = 512
"""What a buffered change counts beside its value, so that many tiny ones do not hold much more memory than they count."""


class Anchor(NamedTuple):
    """Apply the accepted epochs after this one, and you hold every live key (P6). Genesis: offset -1, epoch 0."""

    offset: int
    epoch: int
    digest: str


class Head(NamedTuple):
    """The last accepted epoch. `logged_at_ms` is the mark's own LogAppendTime, `keyid` who signed it."""

    offset: int
    epoch: int
    digest: str
    resolved_at_ms: int
    policy_revision: int
    cut: Mapping[str, int]
    anchor: Anchor
    logged_at_ms: int = 0
    keyid: str = ""

    @property
    def here(self) -> Anchor:
        """This epoch as an anchor."""
        return Anchor(self.offset, self.epoch, self.digest)


class Accepted(NamedTuple):
    """An epoch that counts: its mark and the exact values of its changes in order."""

    head: Head
    mark: Mark
    changes: tuple[bytes, ...]


class Reason(StrEnum):
    """Why a record on the chain was ignored. Losing, duplicated and replayed epochs are normal."""

    MALFORMED = "malformed"
    OTHER_CHAIN = "other_chain"
    NOT_NEXT = "not_next"
    INCOMPLETE = "incomplete"
    FROM_THE_FUTURE = "from_the_future"
    KEY_NOT_LISTED = "key_not_listed"
    BAD_SIGNATURE = "bad_signature"


class Ignored(NamedTuple):
    """A mark that does not count, and why; `attempt` is empty where it could not be read."""

    reason: Reason
    attempt: str = ""


class PolicyUnknown(Exception):
    """The mark cannot be judged before policy revision `revision` is known; feed the record again after that."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"policy revision {revision} is not known yet")
        self.revision = revision


ProcessorsOf = Callable[[int], Mapping[str, bytes] | None]
"""Policy revision → processor keys by key id; None while the revision is unknown. Revision 0 is configuration."""


class ChainId(NamedTuple):
    """Which chain: network, generation, partition of how many, and σ, the most by which two clocks may differ."""

    trust: RootTrust
    partition: int
    partitions: int
    skew_ms: int

    @property
    def genesis(self) -> str:
        """The digest the first epoch extends: SHA-256 of (network, topic, generation, partition, P)."""
        trust = self.trust
        return sha256_hex(
            canonical([trust.network, topics.ELIGIBILITY_CHANGES, trust.generation, self.partition, self.partitions])
        )

    def owns(self, mark: Mark) -> bool:
        """Whether a mark says that it is of this chain."""
        return (mark.network, mark.generation, mark.partition) == (self.trust.network, self.trust.generation, self.partition)

    def genesis_head(self) -> Head:
        """The head before the first epoch."""
        anchor = Anchor(-1, 0, self.genesis)
        return Head(-1, 0, self.genesis, 0, 0, dict.fromkeys(topics.INPUTS, 0), anchor)


class ChainReader:
    """Feeds on the records of one partition of `eligibility-changes`, in offset order, from `head.offset` + 1 on.

    With `head` an anchor's head (cut unknown, resolved time 0) the same code bootstraps in the middle of the log (A6).
    """

    def __init__(self, chain: ChainId, head: Head, processors_of: ProcessorsOf, verify: Verify) -> None:
        self.chain, self.head = chain, head
        self.position = head.offset + 1
        self._processors_of, self._verify = processors_of, verify
        self._buffer = _Buffer()

    def feed(self, record: Record) -> Accepted | Ignored | None:
        """Take the next record: an accepted epoch, an ignored mark, or None for a change (buffered) or noise.

        Raises PolicyUnknown, having taken nothing, when acceptance depends on a revision that is not known yet.
        """
        if record.key != MARK_KEY:
            self.position = record.offset + 1
            self._buffer.put(record.value or b"")
            return None
        verdict = self._judge(record)
        self.position = record.offset + 1
        if isinstance(verdict, Accepted):
            self.head = verdict.head
            self._buffer = _Buffer()
        return verdict

    def _judge(self, record: Record) -> Accepted | Ignored:
        read = read_mark(record.value or b"")
        if read is None:
            return Ignored(Reason.MALFORMED)
        mark, sealed = read
        if refused := self._refusal(mark, sealed, record):
            return Ignored(refused, mark.attempt)
        changes = self._buffer.whole(mark)
        if changes is None:
            return Ignored(Reason.INCOMPLETE, mark.attempt)
        return Accepted(_head_of(mark, sealed, record), mark, changes)

    def _refusal(self, mark: Mark, sealed: Envelope, record: Record) -> Reason | None:
        head = self.head
        if not self.chain.owns(mark):
            return Reason.OTHER_CHAIN
        if mark.prev != head.digest or mark.epoch != head.epoch + 1:
            return Reason.NOT_NEXT
        if mark.resolved_at_ms > record.timestamp_ms + self.chain.skew_ms:
            return Reason.FROM_THE_FUTURE
        keys = self._processors_of(head.policy_revision)
        if keys is None:
            raise PolicyUnknown(head.policy_revision)
        signature = sealed.signatures[0]
        key = keys.get(signature.keyid)
        if key is None:
            return Reason.KEY_NOT_LISTED
        return None if self._verify(key, sealed.signed_bytes, signature.sig) else Reason.BAD_SIGNATURE


class _Buffer:
    """Changes since the last accepted mark, by attempt and index; two different bytes for one index void an attempt."""

    def __init__(self) -> None:
        self._attempts: dict[str, dict[int, bytes] | None] = {}
        self._sizes: dict[str, int] = {}
        self._total = 0

    def put(self, value: bytes) -> None:
        try:
            outer = parse_canonical(value)  # one spelling only, or readers in two languages could file it differently
            attempt, i = outer["attempt"], outer["i"]
        except (ValueError, KeyError, TypeError):
            return
        if type(attempt) is not str or len(attempt) != 32 or type(i) is not int:
            return
        known = self._attempts.setdefault(attempt, {})
        if known is None:
            return
        if known.setdefault(i, value) != value:
            self._attempts[attempt] = None  # void; its entry stays, so that nothing can make it whole again
            return
        self._sizes[attempt] = self._sizes.get(attempt, 0) + len(value) + CHANGE_OVERHEAD_BYTES
        self._total += len(value) + CHANGE_OVERHEAD_BYTES
        while self._total > BUFFER_BYTES_MAX:
            oldest = next(iter(self._attempts))
            del self._attempts[oldest]
            self._total -= self._sizes.pop(oldest, 0)

    def whole(self, mark: Mark) -> tuple[bytes, ...] | None:
        found = self._attempts.get(mark.attempt, {})
        if found is None or len(found) != mark.n or any(i not in found for i in range(mark.n)):
            return None
        values = tuple(found[i] for i in range(mark.n))
        return values if changes_sha256(values) == mark.changes_sha256 else None


def changes_sha256(values: tuple[bytes, ...]) -> str:
    """Hex SHA-256 over the exact change values, concatenated in order of their index."""
    whole = hashlib.sha256()
    for value in values:
        whole.update(value)
    return whole.hexdigest()


def read_mark(value: bytes) -> tuple[Mark, Envelope] | None:
    """The mark in a record's value, its signature not yet checked; None unless it is one, signed exactly once."""
    try:
        parse_canonical(value)
        sealed = parse(value)
        if sealed.payload_type != MARK_V1 or len(sealed.signatures) != 1:
            return None
        parse_canonical(sealed.payload)
        return Mark.model_validate_json(sealed.payload), sealed
    except (EnvelopeError, ValidationError, ValueError):
        return None


def _head_of(mark: Mark, sealed: Envelope, record: Record) -> Head:
    return Head(
        offset=record.offset,
        epoch=mark.epoch,
        digest=sha256_hex(sealed.payload),
        resolved_at_ms=mark.resolved_at_ms,
        policy_revision=mark.policy_revision,
        cut=mark.cut,
        anchor=Anchor(mark.anchor.offset, mark.anchor.epoch, mark.anchor.digest),
        logged_at_ms=record.timestamp_ms,
        keyid=sealed.signatures[0].keyid,
    )


def head_at(record: Record, digest: str, chain: ChainId) -> Head | None:
    """The head that a mark's record stands for, if it is one of this chain and its payload has this digest; whoever names
    the digest vouches for it.

    This is how a reader starts at an anchor, and an owner at its checkpoint, without judging what came before.
    """
    read = read_mark(record.value or b"") if record.key == MARK_KEY else None
    if read is None or not chain.owns(read[0]):
        return None
    head = _head_of(*read, record)
    return head if head.digest == digest else None
