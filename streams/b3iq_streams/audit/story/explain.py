"""Why a profile was eligible at a moment, or was not: every check with the record behind it, and what would have helped.

The answer is the fold's, as of the last epoch resolved by that moment; where the log recorded another one, it says so. Words
and layout are `explain_text.py`'s.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from b3iq_schemas import envelope, topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.eligibility import Decision
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.story.history import NodeWalk, Turn, check_ids, open_node
from b3iq_streams.audit.times import show
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.chain import Head
from b3iq_streams.core.leaves import Shown, case_of, gate_states, leaves
from b3iq_streams.core.refold import Difference
from b3iq_streams.core.remedy import Remedy, remedy
from b3iq_streams.core.remedy_situation import Situation
from b3iq_streams.core.values import Held, Proof
from b3iq_streams.errors import UserError

LAG_MS = 2_000
"""An idle partition makes an epoch each second: later than this after the last one, the log says nothing of that moment."""
DIFFERENCES_MAX = 20


class Flip(NamedTuple):
    """An epoch in which the profile opened or closed, the failing checks it was published with, and its policy revision."""

    at_ms: int
    epoch: int
    offset: int
    opened: bool
    codes: tuple[str, ...]
    policy_revision: int


class Evidence(NamedTuple):
    """The record behind checks. `kept` = it is still there; `matches` = its payload still has this hash (None: not kept)."""

    topic: str
    partition: int
    offset: int
    sha256: str
    keyid: str
    logged_at_ms: int
    kept: bool
    matches: bool | None


@dataclass(frozen=True)
class Explanation:
    """The answer. `asked_at_ms` None: the last epoch; `head` = the epoch it is as of; `resolved_until_ms` = of the whole log.

    `earliest_ms` = from when on the logs can be answered for (0: always), `known` = something was ever published about the
    profile by then, `evidence` = records by topic, `differences` = where record and fold part on this key; `hold` is not public.
    """

    node_id: str
    profile_id: str
    partition: int
    asked_at_ms: int | None
    head: Head
    resolved_until_ms: int
    earliest_ms: int
    known: bool
    model_id: str | None
    eligible: bool
    gates: dict[str, str]
    leaves: tuple[Shown, ...]
    policy_revision: int
    evidence: dict[str, Evidence]
    remedy: Remedy
    flip_before: Flip | None
    flip_after: Flip | None
    differences: tuple[Difference, ...]
    hold: Held | None

    @property
    def distance_ms(self) -> int:
        """How long before the moment asked the answer's epoch was resolved."""
        return 0 if self.asked_at_ms is None else self.asked_at_ms - self.head.resolved_at_ms

    @property
    def lagging(self) -> bool:
        """Whether the log is silent about the moment itself: a router answers `processor_lag` then."""
        return self.distance_ms > LAG_MS


def explain(
    origin: Origin, trust: RootTrust, node_id: str, profile_id: str, at_ms: int | None = None, verify: Verify = envelope.verify
) -> Explanation:
    """Explain a profile as of the last epoch resolved at or before `at_ms` (None: as of the last one).

    Raises UserError for malformed ids and for moments before the log begins, EvidenceExpired for what is not kept.
    """
    check_ids(node_id, profile_id)
    with open_node(origin, trust, node_id, verify) as walk:
        search = _Search(f"{node_id}/{profile_id}", profile_id, at_ms)
        for turn in walk.turns():
            search.take(turn)
        return _answer(walk, search, search.found(walk))


@dataclass
class _Search:
    """What is remembered of the walk: the turn asked for, the flips around it, and what the log says of the key."""

    key: str
    profile_id: str
    at_ms: int | None
    turn: Turn | None = None
    known: bool = False
    before: Flip | None = None
    after: Flip | None = None
    first_ms: int | None = None
    last_ms: int = 0
    proven_ms: int | None = None
    differences: list[Difference] = field(default_factory=list)
    _open: bool = False

    def take(self, turn: Turn) -> None:
        head = turn.head
        if self.first_ms is None:
            self.first_ms = head.resolved_at_ms
            last = turn.was.published.get(self.profile_id)
            self._open = last is not None and last.eligible
        self.last_ms = head.resolved_at_ms
        asked = self.at_ms is None or head.resolved_at_ms <= self.at_ms
        flip = self._flip(turn)
        if asked:
            self.turn, self.before = turn, flip or self.before
            self.known = self.known or self._last(turn) is not None or self.profile_id in turn.node.published
            self.differences += turn.differences_on(self.key)[: DIFFERENCES_MAX - len(self.differences)]
        else:
            self.after = self.after or flip
        if self.profile_id in turn.unproven:
            self.proven_ms = None
        elif self.proven_ms is None:
            self.proven_ms = head.resolved_at_ms

    def _last(self, turn: Turn) -> Decision | None:
        return next((said for said in reversed(turn.decisions) if said.profile_id == self.profile_id), None)

    def _flip(self, turn: Turn) -> Flip | None:
        said = self._last(turn)
        if said is None or said.eligible == self._open:
            return None
        self._open = said.eligible
        head, codes = turn.head, tuple(leaf.code for leaf in said.failing)
        return Flip(head.resolved_at_ms, head.epoch, head.offset, said.eligible, codes, said.policy_revision)

    def found(self, walk: NodeWalk) -> Turn:
        """The turn asked for. Raises what `explain` raises."""
        place = f"partition {walk.partition}"
        if self.turn is None and self.first_ms is None:
            raise walk.no_epoch()
        if self.turn is None and walk.earliest_ms:
            raise EvidenceExpired(f"{place}: {show(self.at_ms or 0)} is before what is kept", self.proven_ms)
        if self.turn is None:
            raise UserError(f"{show(self.at_ms or 0)} is before the log begins: {place} starts at {show(self.first_ms or 0)}")
        if self.profile_id in self.turn.unproven:
            raise EvidenceExpired(f"{self.key}: the facts behind its last decision are gone", self.proven_ms)
        return self.turn


def _answer(walk: NodeWalk, search: _Search, turn: Turn) -> Explanation:
    head, profile_id = turn.head, search.profile_id
    case = case_of(turn.node, turn.rules, head.resolved_at_ms, profile_id)
    shown = leaves(case)
    evidence = _evidence(walk, turn, profile_id)
    altered = [
        Difference(walk.partition, head.offset, head.epoch, f"record {found.topic}/{found.offset}", found.sha256, "another one")
        for found in evidence.values()
        if found.matches is False
    ]
    differences = (*search.differences, *altered, *([walk.gone] if walk.gone else ()))
    return Explanation(
        node_id=walk.node_id, profile_id=profile_id, partition=walk.partition, asked_at_ms=search.at_ms,
        head=head, resolved_until_ms=search.last_ms, earliest_ms=walk.earliest_ms or 0, known=search.known,
        model_id=case.profile.model_id if case.profile else case.benchmark.model_id if case.benchmark else None,
        eligible=not any(leaf.code for leaf in shown),
        gates=gate_states(shown), leaves=shown, policy_revision=turn.rules.policy.revision if turn.rules else 0,
        evidence=evidence, remedy=remedy(Situation(walk.node_id, profile_id, turn.node, turn.rules, head.resolved_at_ms)),
        flip_before=search.before, flip_after=search.after,
        differences=differences, hold=turn.node.hold,
    )  # fmt: skip


def _evidence(walk: NodeWalk, turn: Turn, profile_id: str) -> dict[str, Evidence]:
    """The records behind the checks by topic, in fold order, each read again where it is still kept."""
    node = turn.node
    facts = (node.registration, node.hold, node.benchmarks.get(profile_id), node.route, node.beat)
    proofs = [turn.rules.proof if turn.rules else None, *(fact.proof if fact else None for fact in facts)]
    return {topic: _read(walk, topic, proof) for topic, proof in zip(topics.INPUTS, proofs, strict=True) if proof}


def _read(walk: NodeWalk, topic: str, proof: Proof) -> Evidence:
    record = walk.record(topic, proof.offset)
    matches = None if record is None else _payload_sha256(record.value or b"") == proof.sha256
    where = topic, walk.partition, proof.offset
    return Evidence(*where, proof.sha256, proof.keyid, proof.logged_at_ms, record is not None, matches)


def _payload_sha256(value: bytes) -> str:
    try:
        return sha256_hex(envelope.parse(value).payload)
    except envelope.EnvelopeError:
        return ""
