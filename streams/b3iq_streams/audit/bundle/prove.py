"""Makes the bundle of a node for a range of time out of a log: gathers, and judges nothing; `bundle_check.py` judges.

Reads the node's partition once, forwards. Memory grows with what the bundle will hold; beyond the limits below it stops and
says so. While a range has few epochs all their marks are kept, so that each links to the one before it and none can be left
out unseen; of a longer one, only those that folded policies or records of the node, or published something about it (with
the first and the last): leaving out the others changes nothing that the fold gives.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import ValidationError

from b3iq_schemas import envelope, topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.eligibility import Decision
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.bundle import prove_routing
from b3iq_streams.audit.bundle.contents import FORMAT, Content, Entry, EpochEntry, MarkEntry, Range, Start, encode, seal
from b3iq_streams.audit.bundle.fold import about
from b3iq_streams.audit.bundle.parts import Summary
from b3iq_streams.audit.bundle.prove_public import entry
from b3iq_streams.audit.bundle.prove_records import opening_state, policies, signers
from b3iq_streams.audit.bundle.prove_walk import Own, OwnWalk
from b3iq_streams.audit.bundle.summary import Decided, standing, summarise
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.story.history import check_ids
from b3iq_streams.audit.times import show
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.chain import Accepted
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError


class Ask(NamedTuple):
    """What to prove: a node, epochs resolved from `from_ms` to `to_ms`, and whether for operators only."""

    node_id: str
    from_ms: int
    to_ms: int
    operator: bool = False


class Limits(NamedTuple):
    """How much a bundle may hold: epochs that are all kept, records of the node, bytes of records and changes."""

    linked_epochs: int = 10_000
    records: int = 50_000
    content_bytes: int = 48 * 1024 * 1024


LIMITS = Limits()


def make_bundle(origin: Origin, trust: RootTrust, ask: Ask, limits: Limits = LIMITS, verify: Verify = envelope.verify) -> bytes:
    """The bundle, as the bytes of its file.

    Raises EvidenceExpired when the range begins before what is kept, UserError when it holds no epoch or too much.
    """
    check_ids(ask.node_id)
    with origin.open() as source:
        walk = OwnWalk(origin, source, trust, ask.node_id, verify)
        found = _Gathering(walk, ask, limits)
        found.run()
        rules = found.last.rules
        asked = Range(from_ms=ask.from_ms, to_ms=ask.to_ms)
        keys = prove_routing.router_keys(rules)
        content = Content(
            format=FORMAT, network=trust.network, generation=trust.generation, partition=walk.partition,
            partitions=origin.partitions, stamped=origin.stamped, operator=ask.operator, node_id=ask.node_id, range=asked,
            policies=policies(walk, found.last.accepted.head, ask.operator),
            start=_start(walk, found.start, ask.operator),
            epochs=tuple(map(_epoch, found.kept())),
            records=tuple(sorted(found.records, key=lambda entry: (topics.INPUTS.index(entry.topic), entry.offset))),
            routing=prove_routing.count(origin, source, ask.node_id, asked, trust.network, keys, verify),
            summary=found.summary(),
        )  # fmt: skip
    return seal(content)


class _Kept(NamedTuple):
    """An epoch of the range."""

    record: Record
    accepted: Accepted
    concerned: bool
    published: bool


class _Gathering:
    """What the bundle will hold, while the partition is walked."""

    def __init__(self, walk: OwnWalk, ask: Ask, limits: Limits) -> None:
        self.walk, self.ask, self.limits = walk, ask, limits
        self.start: Own | None = None
        self.epochs: list[_Kept] = []
        self.records: list[Entry] = []
        self._last: Own | None = None
        self._thinned = False
        self._bytes = 0
        self._clear_ms: int | None = -1 if walk.whole else None
        """From after this moment on everything that decisions on the node rest on is kept; None: not yet."""

    @property
    def last(self) -> Own:
        """The last epoch of the range."""
        assert self._last is not None
        return self._last

    def run(self) -> None:
        """Walk through the range; of logs that begin late, on to where the node can be answered for."""
        from_ms, to_ms, at_ms = self.ask.from_ms, self.ask.to_ms, 0
        for own in self.walk.epochs(to_ms):
            beyond = own.accepted.head.resolved_at_ms > to_ms
            if beyond and self._clear_ms is not None:
                break
            at_ms = own.accepted.head.resolved_at_ms
            if own.doubtful:
                self._clear_ms = None
            elif self._clear_ms is None:
                self._clear_ms = at_ms
            if at_ms < from_ms:
                self.start = own
            elif not beyond and self._clear_ms is not None and self._clear_ms < from_ms:
                self._take(own)
        if self._clear_ms is None or self._clear_ms >= from_ms:
            what = f"partition {self.walk.partition}: records that decisions on {self.ask.node_id} rest on are gone"
            raise EvidenceExpired(what, None if self._clear_ms is None else self._clear_ms + 1)
        if self._last is None:
            raise UserError(
                f"partition {self.walk.partition} resolved no epoch from {show(from_ms)} to {show(to_ms)}"
                + (f": its last one before that was at {show(at_ms)}" if at_ms else "")
            )

    def _take(self, own: Own) -> None:
        accepted = own.accepted
        if accepted.mark.rebuilt is not None:
            at_ms = accepted.head.resolved_at_ms
            raise UserError(
                f"partition {self.walk.partition} was rebuilt from its inputs at {show(at_ms)}, and a bundle cannot reach "
                f"across that: end before it (--to {at_ms - 1}), or start after it (--from {at_ms + 1})"
            )
        self._last = own
        scope, verify = self.walk.scope, self.walk.refolding.verify
        for record, refused in own.records:
            self._grow(len(record.value or b""), own)
            self.records.append(entry(record, refused, signers(record, own.rules, own.node, scope), verify, self.ask.operator))
        if own.published:
            self._grow(sum(map(len, accepted.changes)), own)
        else:
            accepted = accepted._replace(changes=())
        if own.concerned:
            self._grow(len(own.record.value or b""), own)
        if not self._thinned or own.concerned:
            self.epochs.append(_Kept(own.record, accepted, own.concerned, own.published))
        if not self._thinned and len(self.epochs) > self.limits.linked_epochs:
            self._thinned = True
            self.epochs = self.epochs[:1] + [kept for kept in self.epochs[1:] if kept.concerned]

    def _grow(self, size: int, own: Own) -> None:
        self._bytes += size
        if self._bytes > self.limits.content_bytes or len(self.records) >= self.limits.records:
            raise UserError(
                f"the bundle would be too large: {len(self.records):,} records and {self._bytes >> 20} MiB by "
                f"{show(own.accepted.head.resolved_at_ms)}; narrow the range"
            )

    def kept(self) -> Iterator[_Kept]:
        """The epochs that go into the bundle; the last of the range always does."""
        yield from self.epochs
        if self.epochs[-1].record.offset != self.last.record.offset:
            last = self.last
            yield _Kept(last.record, last.accepted._replace(changes=()), False, False)

    def summary(self) -> Summary:
        """What the decisions say."""
        decided = [found for kept in self.epochs if kept.published for found in _decided(kept.accepted, self.ask.node_id)]
        from_ms = self.ask.from_ms if self.start else self.epochs[0].accepted.head.resolved_at_ms
        until_ms = self.last.accepted.head.resolved_at_ms
        opening = standing(self.start.node if self.start else None)
        return summarise(self.ask.node_id, from_ms, until_ms, opening, decided, self.records)


def _decided(accepted: Accepted, node_id: str) -> Iterator[Decided]:
    """The decisions on the node; what is none is left to the check to name."""
    for value in accepted.changes:
        if outer := about(value, node_id):
            try:
                Decision.model_validate_json(canonical(outer["decision"]))
            except ValidationError:
                continue
            yield Decided(accepted.head.resolved_at_ms, outer["decision"])


def _epoch(kept: _Kept) -> EpochEntry:
    shown = kept.published or kept.accepted.mark.n == 0
    return EpochEntry(mark=_mark(kept.record), changes=tuple(map(encode, kept.accepted.changes)) if shown else None)


def _mark(record: Record) -> MarkEntry:
    return MarkEntry(
        partition=record.partition, offset=record.offset, logged_at_ms=record.timestamp_ms, value=encode(record.value or b"")
    )


def _start(walk: OwnWalk, own: Own | None, operator: bool) -> Start | None:
    if own is None:
        return None
    state, records = opening_state(walk, own, operator)
    return Start(mark=_mark(own.record), state=encode(state), records=records)
