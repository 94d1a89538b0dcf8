"""The signed frame of a bundle: policies by the roots, marks by the processors, and which epochs lie between them.

A mark is checked as a reader of the chain checks it, as far as a bundle allows: where the epoch before it is left out, its key
may be of any revision in between, and that it counts is claimed. Folds nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from b3iq_schemas import topics
from b3iq_schemas.canonical import parse_canonical, sha256_hex
from b3iq_schemas.eligibility import MARK_KEY, Mark
from b3iq_schemas.envelope import Envelope
from b3iq_streams.audit.bundle.contents import Bundle, EpochEntry, Fact, MarkEntry, decode
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import ChainId, Head, changes_sha256, head_at, read_mark
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import FOLD, Epoch, step


class Mismatch(Exception):
    """Where a bundle is not what it should be: part, coordinates, what differs, what it says, what was found."""

    def __init__(self, part: str, where: str, what: str, claimed: object, found: object) -> None:
        super().__init__(f"{part}, {where}: {what}: {claimed}, found {found}")
        self.part, self.where, self.what, self.claimed, self.found = part, where, what, str(claimed), str(found)


class Checked(NamedTuple):
    """A mark that was checked: the head it makes, its changes if they are shown, whether it extends the one before it."""

    head: Head
    mark: Mark
    changes: tuple[bytes, ...] | None
    linked: bool


class Frame(NamedTuple):
    """The signed frame: the epoch before the range (None: genesis) and the epochs of the range."""

    book: PolicyBook
    policies: tuple[Record, ...]
    start: Checked | None
    epochs: tuple[Checked, ...]


def check_frame(bundle: Bundle, chain: ChainId, scope: Scope, verify: Verify) -> Frame:
    """Check policies and marks. Raises Mismatch at the first thing that is wrong."""
    policies = _policies(bundle, scope, verify)
    book = PolicyBook(scope, verify)
    for record in policies:
        book.feed(record)
    marks = _Marks(bundle, chain, book, verify)
    start = marks.start(bundle.start.mark) if bundle.start else None
    epochs = tuple(marks.epoch(entry) for entry in bundle.epochs)
    cut = epochs[-1].head.cut.get(topics.POLICIES, 0)
    for record in policies[-1:]:
        if record.offset >= cut:
            raise Mismatch("policies", _at(record), "beyond the last epoch", record.offset, f"before {cut}")
    return Frame(book, policies, start, epochs)


def rules_until(policies: Sequence[Record], cut: int, scope: Scope, verify: Verify) -> Rules | None:
    """The rules that the policies below an offset make, as the fold makes them."""
    records = [record for record in policies if record.offset < cut]
    return step(PartitionState(), Epoch(0, {topics.POLICIES: records}), scope, verify).rules


def _policies(bundle: Bundle, scope: Scope, verify: Verify) -> tuple[Record, ...]:
    """Each revision signed by enough roots, each higher than the one before it, in the order of the log."""
    check_order("policies", bundle.policies, bundle.partition)
    records = tuple(entry.record for entry in bundle.policies)
    for entry, record in zip(bundle.policies, records, strict=True):
        if entry.topic != topics.POLICIES or entry.refused is not None:
            raise Mismatch("policies", _at(record), "an admitted policy", entry.topic, entry.refused or entry.topic)
    outcome = step(PartitionState(), Epoch(0, {topics.POLICIES: records}), scope, verify)
    for refused in outcome.refused:
        raise Mismatch("policies", _at(refused.record), "admission", "admitted", refused.code.value)
    return records


def check_order(part: str, entries: Sequence[Fact], partition: int) -> None:
    """Each record of one topic on the partition, each behind the one before it."""
    last = -1
    for entry in entries:
        place = f"{entry.topic} offset {entry.offset}"
        if entry.partition != partition:
            raise Mismatch(part, place, "partition", entry.partition, partition)
        if entry.offset <= last:
            raise Mismatch(part, place, "offset", entry.offset, f"after {last}")
        last = entry.offset


class _Marks:
    """Marks in order; `before` = the last one that was checked."""

    def __init__(self, bundle: Bundle, chain: ChainId, book: PolicyBook, verify: Verify) -> None:
        self.bundle, self.chain, self.book, self.verify = bundle, chain, book, verify
        self.revisions = [0, *(int(decode(entry.key)) for entry in bundle.policies)]
        self.before: Head | None = chain.genesis_head()

    def start(self, entry: MarkEntry) -> Checked:
        """The mark before the range; what is before it is not in the bundle."""
        self.before = None
        found = self._check(entry, None)
        if found.head.resolved_at_ms >= self.bundle.range.from_ms:
            self._fail(entry, "resolved before the range", found.head.resolved_at_ms, f"before {self.bundle.range.from_ms}")
        return found

    def epoch(self, entry: EpochEntry) -> Checked:
        """A mark of the range, and its changes."""
        changes = None if entry.changes is None else tuple(map(decode, entry.changes))
        found = self._check(entry.mark, changes)
        mark, asked = found.mark, self.bundle.range
        if not asked.from_ms <= mark.resolved_at_ms <= asked.to_ms:
            self._fail(entry.mark, "resolved in the range", mark.resolved_at_ms, f"{asked.from_ms} to {asked.to_ms}")
        if mark.rebuilt is not None:
            self._fail(entry.mark, "rebuilt", "a new segment of the fold begins here", "none within a bundle")
        if mark.fold != FOLD:
            self._fail(entry.mark, "version of the fold", mark.fold, FOLD)
        return found

    def _check(self, entry: MarkEntry, changes: tuple[bytes, ...] | None) -> Checked:
        record = Record(
            topics.ELIGIBILITY_CHANGES, entry.partition, entry.offset, MARK_KEY, decode(entry.value), entry.logged_at_ms
        )
        read = read_mark(record.value or b"")
        if read is None:
            raise Mismatch("epochs", _place(entry), "form", "not a mark", "a mark")
        mark, sealed = read
        head = head_at(record, sha256_hex(sealed.payload), self.chain)
        if head is None:
            expected = self.chain.trust.network, self.chain.trust.generation, self.chain.partition
            self._fail(entry, "network, generation, partition", (mark.network, mark.generation, mark.partition), expected)
        if entry.partition != self.chain.partition:
            self._fail(entry, "partition", entry.partition, self.chain.partition)
        linked = self._follows(entry, mark)
        self._signed(entry, mark, sealed)
        if changes is not None:
            self._covers(entry, mark, changes)
        self.before = head
        return Checked(head, mark, changes, linked)

    def _follows(self, entry: MarkEntry, mark: Mark) -> bool:
        """Whether it extends the mark before it; nothing may go back, and no mark may be from the future."""
        latest_ms = entry.logged_at_ms + self.chain.skew_ms
        if mark.resolved_at_ms > latest_ms:
            self._fail(entry, "resolved time", mark.resolved_at_ms, f"at most {latest_ms}")
        before = self.before
        if before is None:
            return False
        for what, later, earlier in (
            ("offset", entry.offset, before.offset + 1),
            ("epoch", mark.epoch, before.epoch + 1),
            ("resolved time", mark.resolved_at_ms, before.resolved_at_ms),
            ("policy revision", mark.policy_revision, before.policy_revision),
            *((f"cut of {topic}", mark.cut.get(topic, 0), before.cut.get(topic, 0)) for topic in topics.INPUTS),
        ):
            if later < earlier:
                self._fail(entry, what, later, f"at least {earlier}")
        if mark.epoch > before.epoch + 1:
            return False
        if mark.prev != before.digest:
            self._fail(entry, "the epoch that it extends", mark.prev, before.digest)
        return True

    def _signed(self, entry: MarkEntry, mark: Mark, sealed: Envelope) -> None:
        """By a processor of the revision that its parent names; where that is not known, of one in between."""
        signature, before = sealed.signatures[0], self.before
        low = 0 if before is None else before.policy_revision
        high = low if before is not None and mark.epoch == before.epoch + 1 else mark.policy_revision
        known = [self.book.processors_of(revision) or {} for revision in self.revisions if low <= revision <= high]
        keys = [keys[signature.keyid] for keys in known if signature.keyid in keys]
        if not keys:
            self._fail(entry, "key", signature.keyid, f"a processor key of policy revision {low} to {high}")
        if not self.verify(keys[0], sealed.signed_bytes, signature.sig):
            self._fail(entry, "signature", "does not verify", f"a signature by {signature.keyid}")

    def _covers(self, entry: MarkEntry, mark: Mark, changes: tuple[bytes, ...]) -> None:
        if len(changes) != mark.n:
            self._fail(entry, "number of changes", len(changes), mark.n)
        if (found := changes_sha256(changes)) != mark.changes_sha256:
            self._fail(entry, "hash of the changes", found, mark.changes_sha256)
        for i, value in enumerate(changes):
            try:
                outer = parse_canonical(value)
                named = outer["attempt"], outer["i"]
            except (ValueError, KeyError, TypeError):
                named = None, None
            if named != (mark.attempt, i):
                self._fail(entry, f"attempt and index of change {i}", named, (mark.attempt, i))

    def _fail(self, entry: MarkEntry, what: str, claimed: object, found: object) -> NoReturn:
        raise Mismatch("epochs", _place(entry), what, claimed, found)


def _place(entry: MarkEntry) -> str:
    return f"{topics.ELIGIBILITY_CHANGES} partition {entry.partition} offset {entry.offset}"


def _at(record: Record) -> str:
    return f"{record.topic} partition {record.partition} offset {record.offset}"
