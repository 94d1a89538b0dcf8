"""The partition owner: a sans-IO state machine that takes one partition from a checkpoint image to live, and keeps it so.

| phase | it does | next |
|---|---|---|
| RESTORING | reads policies, the image, the accepted tail of the log (`recovery.py`) | CAUGHT_UP at the log's end |
| CAUGHT_UP | proposes; an old owner may still win races, and is folded | LIVE at the first own accepted epoch |
| LIVE      | intake → step → letters → changes + mark → seen accepted → checkpoint → commit | STOPPED when told to |
| STOPPED   | checkpointed and committed | – |

It yields one action at a time and gets the answer sent back (`actions.py`); it has no clock and no randomness of its own.
Whatever it cannot explain ends in `Exit`: crash rather than skip.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from nacl.signing import SigningKey

from b3iq_schemas import topics
from b3iq_streams.core import image, proposal
from b3iq_streams.core.actions import (
    Action,
    Answer,
    Append,
    Appended,
    ChainBatch,
    Checkpoint,
    Commit,
    Exit,
    Intake,
    ReadChain,
    TakeIntake,
    WriteCheckpoint,
    WriteLetters,
)
from b3iq_streams.core.admit import Opened, Scope, Verify, keys_for
from b3iq_streams.core.chain import Accepted, ChainId, Head, Ignored, PolicyUnknown, Reason
from b3iq_streams.core.decide import Change, compose
from b3iq_streams.core.memory import Memory, Talk, Void
from b3iq_streams.core.records import LOG_APPEND_TIME, Outgoing, Record
from b3iq_streams.core.recovery import Recovery
from b3iq_streams.core.step import FOLD, Epoch, Outcome, step

DEPOSED_LEADER_MS = 10_000
"""λ: for so long a deposed leader can answer with an old end offset (clients' metadata max age)."""


class Phase(StrEnum):
    """Where an owner stands; the table is this module's docstring."""

    RESTORING = "restoring"
    CAUGHT_UP = "caught_up"
    LIVE = "live"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Tools:
    """What an owner needs and must not make itself: signature checks, its signing keys by key id, attempt ids
    (128 random bits in hex, never the same twice), and how often it checkpoints."""

    verify: Verify
    signers: Mapping[str, SigningKey]
    attempt: Callable[[], str]
    checkpoint_every_ms: int = 5_000


class _Exit(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class _Draft(NamedTuple):
    """An epoch proposed and not yet seen accepted."""

    attempt: str
    outcome: Outcome
    logged_at_ms: Mapping[str, int]
    changes: tuple[Outgoing, ...]
    mark: Outgoing


class PartitionOwner:
    """Owns one partition. Drive `run()`; read `phase`, `memory` and `keys_for` between actions."""

    def __init__(self, chain: ChainId, scope: Scope, checkpoint: Checkpoint, tools: Tools) -> None:
        self.phase = Phase.RESTORING
        self._scope, self._tools, self._checkpoint = scope, tools, checkpoint
        self._recovery = Recovery(chain, scope, tools.verify)
        self._checkpointed_at_ms = 0
        self._committed: Mapping[str, int] = {}
        self._orphans: list[str] = []
        self._short_since_ms: int | None = None

    @property
    def memory(self) -> Memory:
        """What the owner holds, as of the last accepted epoch it knows."""
        return self._recovery.memory

    def keys_for(self, topic: str, key: bytes | None) -> Mapping[str, bytes]:
        """The keys that may sign a record of `topic` with this Kafka key, as of now; for checking signatures ahead."""
        state = self.memory.state
        node = state.nodes.get((key or b"").decode("utf-8", "surrogateescape"))
        return keys_for(topic, state.rules, node, self._scope)

    def run(self) -> Generator[Action, Answer, None]:
        """The conversation, from restored to stopped. Ends with `Exit` when it must not go on."""
        try:
            yield from self._recovery.run(self._checkpoint)
            self._orphans = sorted(self._checkpoint.nodes.keys() - self.memory.state.nodes.keys())
            self._checkpoint = Checkpoint(None, {})
            self.phase = Phase.CAUGHT_UP
            self._checkpointed_at_ms, self._committed = self.memory.head.resolved_at_ms, self.memory.head.cut
            while self.phase is not Phase.STOPPED:
                yield from self._epoch()
        except _Exit as end:
            yield Exit(end.code, end.detail)
        except Void as void:
            yield Exit(str(void), "the log and the inputs contradict each other; an operator must look (T2)")

    def _epoch(self) -> Talk:
        intake = yield TakeIntake({topic: self.memory.head.cut.get(topic, 0) for topic in topics.INPUTS})
        assert isinstance(intake, Intake)
        if not self._check_logs(intake):
            return
        draft = self._propose(intake)
        if draft.outcome.refused:
            yield WriteLetters(tuple(map(proposal.letter_record, draft.outcome.refused)))
        appended = yield Append(draft.changes, draft.mark)
        assert isinstance(appended, Appended)
        accepted = yield from self._read_back(draft, appended)
        if accepted is None:
            yield from self._prove_ownership()
        else:
            self.phase = Phase.LIVE
            if accepted.mark.state_sha256 is not None:
                yield from self._write_checkpoint()
        if intake.stop and accepted is not None and accepted.mark.state_sha256 is not None:
            self.phase = Phase.STOPPED

    def _check_logs(self, intake: Intake) -> bool:
        """T2: a cut beyond an input's end, or below its start, stops the owner; unless the answer may still be that of a
        leader that was deposed without knowing it (λ)."""
        head = self.memory.head
        if all(intake.ends[topic] >= head.cut.get(topic, 0) for topic in topics.INPUTS):
            self._short_since_ms = None
        elif self._short_since_ms is None or intake.clock_ms - self._short_since_ms < DEPOSED_LEADER_MS:
            self._short_since_ms = self._short_since_ms or intake.clock_ms
            return False
        for topic in topics.INPUTS:
            cut = head.cut.get(topic, 0)
            if intake.ends[topic] < cut:
                raise _Exit("input_truncated", f"{topic} ends at {intake.ends[topic]}, folded up to {cut}")
            if intake.starts[topic] > cut and head.epoch > 0:
                raise _Exit("input_expired", f"{topic} starts at {intake.starts[topic]}, folded up to {cut}")
        return True

    def _propose(self, intake: Intake) -> _Draft:
        memory, head = self.memory, self.memory.head
        taken = proposal.take(intake, head, memory.logged_at_ms)
        resolved = proposal.resolved_at_ms(intake, taken, head)
        for record in taken.records.get(topics.POLICIES, ()):
            memory.book.feed(record.record if isinstance(record, Opened) else record)
        outcome = step(memory.state, Epoch(resolved, taken.records), self._scope, self._tools.verify)
        attempt = self._tools.attempt()
        changes = proposal.change_records(attempt, self._changes(outcome))
        checkpoint = intake.stop or resolved - self._checkpointed_at_ms >= self._tools.checkpoint_every_ms
        rebuilt = memory.rebuilt
        if head.epoch == 0 and any(intake.starts.values()):
            rebuilt = {topic: intake.starts[topic] for topic in topics.INPUTS}
        mark = proposal.mark_record(
            memory.reader.chain, head, attempt, resolved, taken.cut, changes,
            outcome.rules.policy.revision if outcome.rules else 0, memory.rotation.anchor, self._signer(head),
            memory.state.digest(outcome.nodes, outcome.rules) if checkpoint else None, rebuilt,
        )  # fmt: skip
        return _Draft(attempt, outcome, taken.logged_at_ms, changes, mark)

    def _changes(self, outcome: Outcome) -> list[Change]:
        """What the epoch publishes: changes, corrections of what readers hold wrongly, keys due in the rotation."""
        memory = self.memory
        published = {change.key: change for change in outcome.changes}
        for change in memory.correct(published):
            published[change.key] = change
        if outcome.rules is not None:
            for key in memory.rotation.due(outcome.resolved_at_ms, outcome.rules.policy.refresh_period_ms):
                node_id, _, profile_id = key.partition("/")
                node = outcome.nodes.get(node_id) or memory.state.nodes[node_id]
                if key not in published and (last := node.published.get(profile_id)):
                    published[key] = compose(node_id, profile_id, node, last, outcome.rules, refresh=True)
        return [published[key] for key in sorted(published)]

    def _signer(self, head: Head) -> SigningKey:
        """A key of ours that the head's revision lists: that is the one the mark is judged by (A4)."""
        listed = self.memory.book.processors_of(head.policy_revision) or {}
        for keyid, key in self._tools.signers.items():
            if keyid in listed:
                return key
        raise _Exit("processor_key_not_listed", f"policy revision {head.policy_revision} lists none of our keys")

    def _read_back(self, draft: _Draft, appended: Appended) -> Generator[Action, Answer, Accepted | None]:
        """P4: an epoch counts when seen accepted. Nothing before or in between: what was sent is what stands there."""
        memory = self.memory
        whole = appended.mark_offset == appended.first_offset + len(draft.changes)
        if whole and appended.first_offset == memory.reader.position:
            return (yield from self._hear(draft, self._sent(draft, appended)))
        result: Accepted | None = None
        while memory.reader.position <= appended.mark_offset:
            batch = yield ReadChain(memory.reader.position)
            assert isinstance(batch, ChainBatch)
            if batch.start > memory.reader.position:
                raise _Exit("chain_truncated", f"the chain starts at {batch.start}, read up to {memory.reader.position}")
            heard = yield from self._hear(draft, batch.records)
            result = heard or result
            memory.reader.position = max(memory.reader.position, batch.position)
        return result

    def _sent(self, draft: _Draft, appended: Appended) -> list[Record]:
        partition = self._scope.partition
        outgoing = (*draft.changes, draft.mark)
        return [
            Record(topics.ELIGIBILITY_CHANGES, partition, appended.first_offset + i, out.key, out.value,
                   appended.timestamp_ms, LOG_APPEND_TIME)
            for i, out in enumerate(outgoing)
        ]  # fmt: skip

    def _hear(self, draft: _Draft, records: Sequence[Record]) -> Generator[Action, Answer, Accepted | None]:
        """Feed on records of the chain: own epoch accepted → it is the state; a foreign one → fold it, drop ours."""
        memory, mine = self.memory, None
        for record in records:
            before = memory.head
            try:
                verdict = memory.reader.feed(record)
            except PolicyUnknown as error:
                raise _Exit("policy_unknown", str(error)) from error
            if isinstance(verdict, Ignored) and verdict.attempt == draft.attempt and record.value == draft.mark.value:
                self._check_refusal(verdict)
            if not isinstance(verdict, Accepted):
                continue
            if verdict.mark.attempt != draft.attempt:
                self._check_foldable(verdict)
                yield from memory.refold(before, verdict)
                continue
            mine = verdict
            memory.absorb(draft.outcome)
            memory.logged_at_ms = dict(draft.logged_at_ms)
            memory.corrections, memory.rebuilt = {}, None
            yield memory.confirmed(verdict, draft.outcome, own=True)
        return mine

    def _check_foldable(self, foreign: Accepted) -> None:
        """R2: a state rebuilt from the inputs, theirs or ours, begins with its owner's first epoch: recover from there."""
        if foreign.mark.fold != FOLD or foreign.mark.rebuilt is not None or self.memory.rebuilt is not None:
            raise _Exit("recorded_by_another_fold", f"epoch {foreign.mark.epoch} cannot be folded onto what we hold")

    def _check_refusal(self, verdict: Ignored) -> None:
        """Losing a race or being crowded out by forged changes is normal; a mark that can never count is not."""
        if verdict.reason is Reason.FROM_THE_FUTURE:
            raise _Exit("clock_wrong", "our clock runs ahead of the broker's by more than the allowed skew")
        if verdict.reason not in (Reason.NOT_NEXT, Reason.INCOMPLETE):
            raise _Exit("mark_refused", f"our mark was refused: {verdict.reason}")

    def _prove_ownership(self) -> Talk:
        """After a lost race: a refused commit means that the group has deposed us."""
        if (yield Commit(self._committed)) is False:
            raise _Exit("deposed", "the group refused our commit")

    def _write_checkpoint(self) -> Talk:
        """P5: dirty nodes, then the head, then the commit; a commit before it proves that we still own the partition."""
        memory = self.memory
        yield from self._prove_ownership()
        nodes = [(node_id, memory.state.nodes[node_id]) for node_id in sorted(memory.dirty)]
        tombstones = tuple(Outgoing(node_id.encode(), None) for node_id in self._orphans)
        records = tombstones + image.write_nodes(memory.head.epoch, nodes)
        yield WriteCheckpoint(records, image.write_head(memory.head, memory.state.rules))
        memory.dirty.clear()
        self._orphans.clear()
        self._checkpointed_at_ms, self._committed = memory.head.resolved_at_ms, memory.head.cut
        yield from self._prove_ownership()
