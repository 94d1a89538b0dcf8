"""Logs of one partition of `eligibility-changes`, one per way in which an epoch counts or does not.

Each case writes records in the order of the log and names what must become of its marks, in order; everything else in the
vectors is computed from that log by the reference reader (`make_chain_vectors.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.eligibility import MARK_KEY, MARK_V1
from b3iq_schemas.envelope import pae, seal, sign
from b3iq_streams.core.chain import changes_sha256
from b3iq_streams.core.records import Record
from tests.chainlab import SKEW_MS, ChainLab, Parent, change, decision
from tests.factory import T0, Log, key, policy_event, public

A, B, C = decision("a/p"), decision("b/p"), decision("c/p")
NOT_A, NOT_B = decision("a/p", False), decision("b/p", False)


LATE_MS = T0 + 20_000
"""When records that are written one by one are logged: after every epoch's resolved time."""


class Bootstrap(NamedTuple):
    """Start in the middle: what the log keeps and where it ends when the search asks."""

    log_start: int
    log_end: int


class Script(ChainLab):
    """A chain whose records, and those of the policies, are remembered in the order in which a reader gets them."""

    def __init__(self, partition: int = 0, partitions: int = 1) -> None:
        super().__init__(partition, partitions)
        self.read: list[Record] = []
        self.bootstrap: Bootstrap | None = None
        self._policies = Log()

    def put(self, kafka_key: bytes | None, value: bytes | None, at_ms: int = LATE_MS) -> Record:
        """Append a record to the chain's log."""
        record = super().put(kafka_key, value, at_ms)
        self.read.append(record)
        return record

    def loses(self, *decisions: Mapping[str, Any], **bent: Any) -> None:
        """Append an epoch that will not count: the next one extends what this one extended."""
        before = self.parent
        self.append(self.propose(*decisions, **bent))
        self.parent = before

    def mark(self, sealed: bytes, at_ms: int = LATE_MS) -> None:
        """Append a mark's record as it stands."""
        self.put(MARK_KEY, sealed, at_ms)

    def policy(self, revision: int, signers: tuple[str, ...] = ("root0", "root1"), **changes: Any) -> None:
        """Let the reader get a policy revision now."""
        event = policy_event(revision=revision, **changes)
        self.read.append(self._policies.put(topics.POLICIES, event, T0, signers))


class Case(NamedTuple):
    """A named log; `marks` = what becomes of each mark that is read: `accepted`, `held`, or why it is ignored."""

    name: str
    about: str
    marks: str
    write: Callable[[Script], object]
    partition: int = 0
    partitions: int = 1


# --- who wins ---------------------------------------------------------------------------------------------------------


def _plain(s: Script) -> None:
    s.epoch(A, B)
    s.epoch(NOT_A, C)


def _idle(s: Script) -> None:
    s.epoch(A)
    s.epoch()
    s.epoch()


def _refresh(s: Script) -> None:
    s.epoch(A, B)
    s.epoch(A, refresh=True)
    s.epoch(NOT_B)


def _zombie_before(s: Script) -> None:
    s.epoch(A)
    owner = s.propose(NOT_A)
    s.append(s.propose(B))
    won = s.parent
    s.append(owner)
    s.parent = won
    s.epoch(NOT_A)


def _zombie_after(s: Script) -> None:
    s.epoch(A)
    zombie = s.propose(A, B)
    s.epoch(NOT_A)
    won = s.parent
    s.append(zombie)
    s.parent = won
    s.epoch()


def _race(s: Script) -> None:
    first, second = s.propose(A), s.propose(NOT_A)
    for (key_1, value_1), (key_2, value_2) in zip(first.outgoing, second.outgoing, strict=True):
        s.put(key_2, value_2)
        s.put(key_1, value_1)


def _older_parent(s: Script) -> None:
    s.epoch(A)
    older = s.parent
    s.epoch(B)
    s.loses(NOT_A, parent=older._replace(epoch=2))


# --- repeated, torn, mixed --------------------------------------------------------------------------------------------


def _record_twice(s: Script) -> None:
    s.epoch(A)
    proposal = s.propose(NOT_A, B)
    for kafka_key, value in proposal.outgoing:
        s.put(kafka_key, value)
        s.put(kafka_key, value)


def _epoch_twice(s: Script) -> None:
    proposal = s.propose(A)
    s.append(proposal)
    s.append(proposal)
    s.epoch(B)


def _epoch_late(s: Script) -> None:
    proposal = s.propose(A)
    s.append(proposal)
    s.epoch(NOT_A)
    last = s.parent
    s.append(proposal)
    s.parent = last
    s.epoch(B)


def _change_missing(s: Script) -> None:
    proposal = s.propose(A, B)
    s.put(proposal.keys[0], proposal.changes[0])
    s.mark(proposal.sealed)


def _change_late(s: Script) -> None:
    proposal = s.propose(A, B)
    s.put(proposal.keys[0], proposal.changes[0])
    s.mark(proposal.sealed)
    s.put(proposal.keys[1], proposal.changes[1])
    s.mark(proposal.sealed)


def _change_extra(s: Script) -> None:
    proposal = s.propose(A)
    s.put(b"b/p", change(proposal.mark["attempt"], 1, B))
    s.append(proposal)


def _out_of_order(s: Script) -> None:
    proposal = s.propose(A, NOT_A)
    s.put(proposal.keys[1], proposal.changes[1])
    s.put(proposal.keys[0], proposal.changes[0])
    s.mark(proposal.sealed)


def _two_bytes(s: Script) -> None:
    proposal = s.propose(NOT_A)
    s.put(b"a/p", change(proposal.mark["attempt"], 0, A))
    s.append(proposal)
    s.append(proposal)
    s.parent = Parent(0, s.chain.genesis)
    s.epoch(NOT_A)


def _across_epochs(s: Script) -> None:
    late = s.propose(B)
    s.put(late.keys[0], late.changes[0])
    s.epoch(A)
    bent = s.propose(n=1, attempt=late.mark["attempt"], changes_sha256=late.mark["changes_sha256"])
    s.mark(bent.sealed)


# --- not by a processor -----------------------------------------------------------------------------------------------


def _forged_changes(s: Script) -> None:
    s.put(b"b/p", change("f" * 32, 0, B))
    s.epoch(A)
    s.put(b"b/p", change("e" * 32, 0, B))
    s.epoch()


def _bad_signature(s: Script) -> None:
    proposal = s.propose(A)
    other = key("processor").sign(pae(MARK_V1, b"{}")).signature
    s.put(proposal.keys[0], proposal.changes[0])
    s.mark(seal(MARK_V1, canonical(dict(proposal.mark)), {bytes(key("processor").verify_key): other}))


def _role(s: Script) -> None:
    s.policy(1)
    s.epoch(A, policy_revision=1)
    s.epoch(B, signers=("router",), policy_revision=1)


def _key_hint(s: Script) -> None:
    proposal = s.propose(A)
    payload = canonical(dict(proposal.mark))
    forged = key("stranger").sign(pae(MARK_V1, payload)).signature
    s.put(proposal.keys[0], proposal.changes[0])
    s.mark(seal(MARK_V1, payload, {bytes(key("processor").verify_key): forged}))


def _rotation(s: Script) -> None:
    def processors(*names: str) -> dict[str, Any]:
        return {"roles": policy_event()["roles"] | {"processor": [public(name) for name in names]}}

    s.policy(1, **processors("processor"))
    s.policy(2, **processors("next"))
    s.epoch(A, policy_revision=1)
    s.loses(NOT_A, signers=("next",), policy_revision=2)
    s.epoch(B, policy_revision=2)
    s.loses(NOT_A, policy_revision=2)
    s.epoch(NOT_B, signers=("next",), policy_revision=2)


def _policy_later(s: Script) -> None:
    s.epoch(A, policy_revision=1)
    s.epoch(B, policy_revision=1)
    s.epoch(NOT_A, policy_revision=1)
    s.policy(1, signers=("root0",))
    s.policy(1)


# --- not a mark -------------------------------------------------------------------------------------------------------


def _not_json(s: Script) -> None:
    for value in (b"", b"mark", b"[]", b"{}", b"\xff", b'{"payload":"","payloadType":"","signatures":[]}'):
        s.mark(value)
    s.epoch(A)


def _payload(s: Script, payload: bytes, kind: str = MARK_V1, signers: tuple[str, ...] = ("processor",)) -> None:
    s.mark(sign(kind, payload, [key(name) for name in signers]))


def _two_spellings(s: Script) -> None:
    sound = s.propose(A)
    change, mark = sound.changes[0], sound.sealed
    s.put(b"a/p", b'{"attempt":"' + b"0" * 32 + b'",' + change[1:])  # a member twice: which one is meant?
    s.put(b"a/p", b" " + change)
    s.mark(mark)
    s.put(b"a/p", change)
    s.mark(b" " + mark)
    s.mark(b'{"payload":"",' + mark[1:])
    s.mark(mark)


def _extra_field(s: Script) -> None:
    _payload(s, canonical(dict(s.propose().mark) | {"note": ""}))


def _field_missing(s: Script) -> None:
    made = dict(s.propose().mark)
    del made["fold"]
    _payload(s, canonical(made))


def _not_canonical(s: Script) -> None:
    payload = canonical(dict(s.propose().mark))
    _payload(s, payload.replace(b",", b", ", 1))
    _payload(s, payload.replace(b'"n":0', b'"n":0,"n":0'))
    _payload(s, payload.replace(b'"n":0', b'"n":-0'))


def _other_key(s: Script) -> None:
    proposal = s.propose()
    s.put(b"~Mark", proposal.sealed)
    s.put(None, proposal.sealed)
    s.mark(proposal.sealed)


def _nulls(s: Script) -> None:
    s.epoch(A)
    s.put(b"a/p", None)
    s.put(MARK_KEY, None)
    s.put(None, None)
    s.put(b"a/p", b"")
    s.epoch(B)


# --- what an epoch says -----------------------------------------------------------------------------------------------


def _unreadable(s: Script) -> None:
    s.epoch(A, B, C)
    s.epoch(A | {"new_field": 1}, B | {"valid_until_ms": "never"}, decision("d/p", price_wei_per_mtok="-1"))


def _no_key(s: Script) -> None:
    s.epoch(A, B)
    attempt = s.attempt()
    changes = (change(attempt, 0, {}), change(attempt, 1, C))
    proposal = s.propose(attempt=attempt, n=2, changes_sha256=changes_sha256(changes))
    for value in changes:
        s.put(b"a/p", value)
    s.mark(proposal.sealed)


def _contradiction(s: Script) -> None:
    s.epoch(A | {"failing": NOT_A["failing"]}, B | {"gates": NOT_B["gates"]}, C)


def _kafka_key(s: Script) -> None:
    proposal = s.propose(A)
    s.put(b"z/p", proposal.changes[0])
    s.mark(proposal.sealed)


# --- bootstrap --------------------------------------------------------------------------------------------------------


def _anchored(s: Script) -> int:
    """Two live keys refreshed after an anchor; the offset of the anchor's mark."""
    s.epoch(A, B, C)
    written = s.epoch(decision("c/p", False))
    here = s.parent
    s.epoch(A, refresh=True)
    s.epoch(B, refresh=True)
    s.anchor = {"offset": written[-1].offset, "epoch": here.epoch, "digest": here.digest}
    s.epoch(NOT_A)
    return written[-1].offset


def _boot(s: Script) -> None:
    anchor = _anchored(s)
    s.bootstrap = Bootstrap(anchor, len(s.records))
    s.epoch(C)


def _boot_at_loser(s: Script) -> None:
    _anchored(s)
    s.loses(B, parent=Parent(1, "0" * 64))
    s.bootstrap = Bootstrap(0, len(s.records))
    s.epoch(C)


def _boot_past_lies(s: Script) -> None:
    _anchored(s)
    s.loses(anchor=s.anchor | {"digest": "0" * 64}, prev="0" * 64)
    s.loses(signers=("stranger",))
    s.loses(partition=1)
    s.put(b"junk", b"junk")
    s.bootstrap = Bootstrap(0, len(s.records))
    s.epoch(C)


def _boot_at_genesis(s: Script) -> None:
    s.epoch(A)
    s.epoch(B)
    s.bootstrap = Bootstrap(0, len(s.records))
    s.epoch(NOT_A)


BOUND_MS = T0 + 10_000 + SKEW_MS

CASES: tuple[Case, ...] = (
    Case("plain", "two epochs", "accepted accepted", _plain),
    Case("idle", "epochs without changes move the head", "accepted accepted accepted", _idle),
    Case("refresh", "a decision published again, unchanged", "accepted accepted accepted", _refresh),
    Case("other_partition", "partition 3 of 4 has a genesis of its own", "accepted accepted", _plain, 3, 4),
    Case("zombie_before_owner", "a slow writer's epoch lands first: it counts, and the new owner proposes again",
         "accepted accepted not_next accepted", _zombie_before),
    Case("zombie_after_owner", "a slow writer's epoch lands later: it extends a stale head",
         "accepted accepted not_next accepted", _zombie_after),
    Case("lost_race", "two proposals interleaved: the mark that comes first wins", "accepted not_next", _race),
    Case("record_twice", "every record twice: same bytes count once", "accepted accepted not_next", _record_twice),
    Case("epoch_twice", "a whole epoch again", "accepted not_next accepted", _epoch_twice),
    Case("epoch_late", "a whole epoch again, after its successor", "accepted accepted not_next accepted", _epoch_late),
    Case("change_missing", "one of two changes never came", "incomplete", _change_missing),
    Case("change_late", "the change comes after the mark; the mark again, and all is there", "incomplete accepted", _change_late),
    Case("change_extra", "one change more than the mark counts", "incomplete", _change_extra),
    Case("changes_out_of_order", "changes apply in the order of `i`, not of the log", "accepted", _out_of_order),
    Case("wrong_n", "the mark counts two changes, there is one", "incomplete", lambda s: s.epoch(A, n=2)),
    Case("wrong_sha", "the changes are not those that were signed", "incomplete", lambda s: s.epoch(A, changes_sha256="0" * 64)),
    Case("two_bytes_for_one_i", "other bytes for the same `i` void the attempt for good; a new attempt counts",
         "incomplete incomplete accepted", _two_bytes),
    Case("forgotten_by_acceptance", "changes from before the last accepted mark are gone, whatever their attempt",
         "accepted incomplete", _across_epochs),
    Case("forged_changes", "changes that no mark vouches for", "accepted accepted", _forged_changes),
    Case("bad_signature", "the processor's signature, of something else", "bad_signature", _bad_signature),
    Case("key_hint", "a stranger's signature under the processor's key id", "bad_signature", _key_hint),
    Case("key_not_listed", "a stranger's mark", "key_not_listed", lambda s: s.epoch(A, signers=("stranger",))),
    Case("key_of_another_role", "a mark by a router's key", "accepted key_not_listed", _role),
    Case("future_at_bound", "resolved σ after its own log time", "accepted",
         lambda s: s.append(s.propose(A, at_ms=BOUND_MS), T0 + 10_000)),
    Case("future_beyond_bound", "one millisecond more", "from_the_future",
         lambda s: s.append(s.propose(A, at_ms=BOUND_MS + 1), T0 + 10_000)),
    Case("other_network", "a mark of another network", "other_chain", lambda s: s.epoch(A, network="othernet")),
    Case("other_generation", "a mark of another generation", "other_chain", lambda s: s.epoch(A, generation=2)),
    Case("other_chain_partition", "a mark of another partition", "other_chain", lambda s: s.epoch(A, partition=1)),
    Case("wrong_epoch", "the right parent and the wrong number", "not_next", lambda s: s.epoch(A, epoch=2)),
    Case("older_parent", "the digest of the epoch before the head", "accepted accepted not_next", _older_parent),
    Case("key_rotation", "the revision of the parent says whose mark counts",
         "accepted key_not_listed accepted key_not_listed accepted",
         _rotation),
    Case("policy_unknown_yet", "a mark waits for the revision its parent names, and everything after it waits, too",
         "accepted held held", _policy_later),
    Case("not_a_mark", "values that are no envelope", " ".join(["malformed"] * 6 + ["accepted"]), _not_json),
    Case("extra_field", "a field that the contract does not know", "malformed", _extra_field),
    Case("field_missing", "a field that the contract demands", "malformed", _field_missing),
    Case("two_signatures", "a mark is signed once", "malformed", lambda s: s.epoch(A, signers=("processor", "router"))),
    Case("wrong_payload_type", "a mark's bytes, signed as something else", "malformed",
         lambda s: _payload(s, canonical(dict(s.propose().mark)), "application/vnd.b3iq.policy.v1+json")),
    Case("not_canonical", "a payload that does not round-trip byte for byte", "malformed malformed malformed", _not_canonical),
    Case("two_spellings", "changes and marks that do not round-trip are noise, or two readers could differ",
         "incomplete malformed malformed accepted", _two_spellings),
    Case("record_key", "only records with the key `~mark` are marks", "accepted", _other_key),
    Case("nulls", "tombstones and empty values are noise", "accepted malformed accepted", _nulls),
    Case("unreadable_decision", "a decision that is not the contract's is a no for its key", "accepted accepted", _unreadable),
    Case("unreadable_key", "a decision whose key cannot be read is a no for every key before it", "accepted accepted", _no_key),
    Case("contradiction", "eligible with a failing check or a failed gate is a no", "accepted", _contradiction),
    Case("kafka_key_is_not_signed", "the key of a decision is in its value; the record's key decides nothing",
         "accepted", _kafka_key),
    Case("bootstrap", "start at the newest mark's anchor; what is older may be gone",
         "accepted accepted accepted accepted", _boot),
    Case("bootstrap_at_a_loser", "a mark that lost is as good a start",
         "accepted accepted accepted not_next accepted", _boot_at_loser),
    Case("bootstrap_past_lies", "marks with an unsound anchor, by a stranger, of another partition are passed over",
         "accepted accepted accepted not_next key_not_listed other_chain accepted", _boot_past_lies),
    Case("bootstrap_at_genesis", "an anchor at offset -1 is the beginning", "accepted accepted accepted", _boot_at_genesis),
)  # fmt: skip
