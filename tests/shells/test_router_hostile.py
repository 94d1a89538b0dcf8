"""Whatever is written to the topic, by whom and how often: the view grants what the accepted epochs say, and nothing else.

The oracle is the protocol's rules A1, A2, A3, A5 said once more, as slowly and plainly as possible.
"""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_streams.core.records import Record
from b3iq_streams.router.bootstrap import Start
from tests.chainlab import SKEW_MS, ChainLab, Parent, Proposal, decision
from tests.factory import T0
from tests.shells.router_lab import RouterLab, drive, request

KEYS = ("a/p", "b/p", "c/p")
DECISIONS = st.lists(st.builds(decision, st.sampled_from(KEYS), st.booleans()), max_size=3)
Ops = list[tuple[str, list[dict[str, Any]], int]]
OPS: st.SearchStrategy[Ops] = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("honest", "zombie", "stranger", "future")), DECISIONS, st.integers(0, 20)),
        st.tuples(st.sampled_from(("torn", "shuffled", "forged")), DECISIONS, st.integers(0, 20)),
        st.tuples(st.sampled_from(("again", "junk")), st.just([]), st.integers(0, 200)),
    ),
    max_size=25,
)


class Oracle:
    """The accepted epochs of a log, from nothing but the rules and the marks that were really signed."""

    def __init__(self, genesis: str) -> None:
        self.signed: dict[bytes, Proposal] = {}
        self.head = Parent(0, genesis)
        self.since: list[bytes] = []
        self.eligible: dict[str, bool] = {}

    def take(self, record: Record) -> None:
        """One more record of the log."""
        if record.key != MARK_KEY:
            self.since.append(record.value or b"")
            return
        proposal = self.signed.get(record.value or b"")
        if proposal is None or proposal.mark["prev"] != self.head.digest:
            return
        if proposal.mark["resolved_at_ms"] > record.timestamp_ms + SKEW_MS:
            return
        if set(proposal.changes) != {value for value in self.since if self._attempt(value) == proposal.mark["attempt"]}:
            return
        for value in proposal.changes:
            made = json.loads(value)["decision"]
            self.eligible[f"{made['node_id']}/{made['profile_id']}"] = made["eligible"]
        self.head, self.since = proposal.parent, []

    @staticmethod
    def _attempt(value: bytes) -> Any:
        try:
            return json.loads(value)["attempt"]
        except (ValueError, TypeError):
            return None

    @property
    def live(self) -> set[str]:
        """The keys that may be granted."""
        return {key for key, eligible in self.eligible.items() if eligible}


class Log:
    """A log that honest and hostile writers share, with the oracle that follows it."""

    def __init__(self) -> None:
        self.chain = ChainLab()
        self.oracle = Oracle(self.chain.chain.genesis)
        self.parents = [self.chain.parent]

    def write(self, kafka_key: bytes | None, value: bytes | None, at_ms: int = T0) -> None:
        """Append a record; the oracle sees it."""
        self.oracle.take(self.chain.put(kafka_key, value, at_ms))

    def propose(self, decisions: list[dict[str, Any]], parent: Parent, **options: Any) -> Proposal:
        """An epoch by a processor's key."""
        proposal = self.chain.propose(*decisions, parent=parent, at_ms=options.pop("at_ms", T0), **options)
        self.oracle.signed[proposal.sealed] = proposal
        self.parents.append(proposal.parent)
        return proposal

    def act(self, what: str, decisions: list[dict[str, Any]], pick: int) -> None:
        """One deed of somebody."""
        if what in ("again", "junk"):
            if what == "again" and self.chain.records:
                old = self.chain.records[pick % len(self.chain.records)]
                self.write(old.key, old.value)
            elif what == "junk":
                self.write((None, MARK_KEY, b"a/p")[pick % 3], (None, b"", b"[]", b'{"attempt":"', b"\xff")[pick % 5])
            return
        parent = self.parents[pick % len(self.parents)] if what == "zombie" else self.oracle.head
        proposal = self.propose(decisions, parent, at_ms=T0 + SKEW_MS + 1 if what == "future" else T0)
        records = list(proposal.outgoing)
        if what == "torn":
            del records[pick % len(records)]
        if what == "shuffled":
            records = records[pick % len(records) :] + records[: pick % len(records)]
        if what == "forged" and proposal.changes:
            twisted = proposal.changes[0].replace(b'"eligible":false', b'"eligible":true').replace(b"fail", b"pass")
            records.insert(pick % len(records), (b"a/p", twisted))
        if what == "stranger":
            sealed = self.chain.propose(*decisions, parent=parent, at_ms=T0, signers=("stranger",)).sealed
            records[-1] = (MARK_KEY, sealed)
        for kafka_key, value in records:
            self.write(kafka_key, value)


def granted(lab: RouterLab) -> set[str]:
    """The keys that a view would grant to somebody now."""
    return {candidate.key for candidate, code in lab.view.candidates(request(), T0, T0) if code is None}


def since_genesis() -> RouterLab:
    """A view that reads from the beginning of the log, synced from the start."""
    lab = RouterLab()
    part = lab.view.parts[0]
    number, _ = part.search()
    part.start(number, Start(part.chain.genesis_head(), 0, True), T0)
    return lab


@given(OPS)
def test_the_view_is_what_the_accepted_epochs_say(ops: Ops) -> None:
    """After every record of every log: granted = last accepted decision is eligible; the head is the oracle's."""
    log, lab = Log(), since_genesis()
    for op in ops:
        fed = len(log.chain.records)
        log.act(*op)
        for record in log.chain.records[fed:]:
            lab.view.apply(record)
        assert granted(lab) <= log.oracle.live
        assert log.oracle.head.digest == lab.view.heads()[0].digest
    if log.oracle.head.epoch:
        assert log.oracle.live == granted(lab)


@given(OPS, OPS, st.integers(1, 400))
def test_from_an_anchor_as_from_the_beginning(before: Ops, after: Ops, deleted: int) -> None:
    """Between two hostile stretches an owner refreshes what is live and moves the anchor; what is older may be deleted."""
    log = Log()
    for op in before:
        log.act(*op)
    for kafka_key, value in log.propose([decision("a/p")], log.oracle.head).outgoing:
        log.write(kafka_key, value)
    kept = len(log.chain.records) - 1
    anchor = {"offset": kept, "epoch": log.oracle.head.epoch, "digest": log.oracle.head.digest}
    live = [decision(key) for key in sorted(log.oracle.live)]
    for kafka_key, value in log.propose(live, log.oracle.head, refresh=True).outgoing:
        log.write(kafka_key, value)
    log.chain.anchor = anchor
    for op in [("honest", [], 0), *after]:
        log.act(*op)
    whole, lab = since_genesis(), RouterLab()
    for record in log.chain.records:
        whole.view.apply(record)
    lab.view.policies_known()
    number, search = lab.view.search(0)
    position = lab.view.start(0, number, drive(search, log.chain.records, start=min(deleted, kept)))
    assert position is not None
    for record in log.chain.records[position:]:
        lab.view.apply(record)
    assert whole.view.heads() == lab.view.heads()
    assert log.oracle.live == granted(whole) == granted(lab)


def test_the_oracle_and_the_lab_speak_of_the_same_digest() -> None:
    """An epoch is named by the hash of its mark's payload."""
    chain = ChainLab()
    made = chain.propose()
    assert made.digest == sha256_hex(json.dumps(made.mark, separators=(",", ":")).encode())
