"""Planted bugs: each drops one rule of the protocol from the real code, and some checker must notice."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

import pytest

from b3iq_streams.core import gates, proposal
from b3iq_streams.core.actions import Action, Answer, Append, Appended, Intake, WriteLetters
from b3iq_streams.core.chain import Accepted, ChainReader, Head, Reason, _Buffer, _head_of, read_mark
from b3iq_streams.core.memory import Memory
from b3iq_streams.core.owner import PartitionOwner
from b3iq_streams.core.rotation import Rotation

Plant = Callable[[pytest.MonkeyPatch], None]


def any_parent(patch: pytest.MonkeyPatch) -> None:
    """A1 dropped: a mark counts whatever epoch it extends."""
    refusal = ChainReader._refusal

    def lenient(self: ChainReader, mark: Any, sealed: Any, record: Any) -> Reason | None:
        lifted = mark.model_copy(update={"prev": self.head.digest, "epoch": self.head.epoch + 1})
        return refusal(self, lifted, sealed, record)

    patch.setattr(ChainReader, "_refusal", lenient)


def incomplete_epochs(patch: pytest.MonkeyPatch) -> None:
    """A2 dropped: a mark counts with whatever changes of its attempt happened to land."""

    def lenient(self: _Buffer, mark: Any) -> tuple[bytes, ...]:
        found = self._attempts.get(mark.attempt) or {}
        return tuple(found[i] for i in sorted(found))

    patch.setattr(_Buffer, "whole", lenient)


def the_future(patch: pytest.MonkeyPatch) -> None:
    """A3 dropped: a mark counts from however far in the future."""
    refusal = ChainReader._refusal

    def lenient(self: ChainReader, mark: Any, sealed: Any, record: Any) -> Reason | None:
        return refusal(self, mark, sealed, record._replace(timestamp_ms=2**52))

    patch.setattr(ChainReader, "_refusal", lenient)


def unsigned_marks(patch: pytest.MonkeyPatch) -> None:
    """A4 dropped: a mark counts whoever signed it."""
    refusal = ChainReader._refusal
    shrug = (Reason.KEY_NOT_LISTED, Reason.BAD_SIGNATURE)

    def lenient(self: ChainReader, mark: Any, sealed: Any, record: Any) -> Reason | None:
        found = refusal(self, mark, sealed, record)
        return None if found in shrug else found

    patch.setattr(ChainReader, "_refusal", lenient)


def ack_is_acceptance(patch: pytest.MonkeyPatch) -> None:
    """P4 dropped: an acknowledged append counts as accepted, whatever landed before or in between."""

    def hasty(self: PartitionOwner, draft: Any, appended: Appended) -> Generator[Action, Answer, Accepted | None]:
        memory = self.memory
        read = read_mark(draft.mark.value)
        assert read is not None
        sent = self._sent(draft, appended)
        accepted = Accepted(_head_of(*read, sent[-1]), read[0], tuple(out.value or b"" for out in draft.changes))
        memory.reader.head, memory.reader.position = accepted.head, appended.mark_offset + 1
        memory.absorb(draft.outcome)
        memory.logged_at_ms = dict(draft.logged_at_ms)
        yield memory.confirmed(accepted, draft.outcome, own=True)
        return accepted

    patch.setattr(PartitionOwner, "_read_back", hasty)


def gap_between_changes_and_mark(patch: pytest.MonkeyPatch) -> None:
    """P4 weakened: only what landed before the first change is looked at, not what landed before the mark."""
    read_back = PartitionOwner._read_back

    def hasty(self: PartitionOwner, draft: Any, appended: Appended) -> Generator[Action, Answer, Accepted | None]:
        return read_back(self, draft, appended._replace(mark_offset=appended.first_offset + len(draft.changes)))

    patch.setattr(PartitionOwner, "_read_back", hasty)


def trusted_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """R3 dropped: a restored state is believed as it is found."""

    class Trusting(Memory):
        @property
        def state_verified(self) -> bool:
            return True

        @state_verified.setter
        def state_verified(self, value: bool | None) -> None:
            pass

    patch.setattr("b3iq_streams.core.recovery.Memory", Trusting)


def clock_without_lag(patch: pytest.MonkeyPatch) -> None:
    """P2 dropped: resolved_at is the clock, however far behind the inputs are."""

    def eager(intake: Intake, taken: Any, head: Head) -> int:
        return max(head.resolved_at_ms, intake.clock_ms)

    patch.setattr(proposal, "resolved_at_ms", eager)


def empty_topic_is_no_lag(patch: pytest.MonkeyPatch) -> None:
    """P2 weakened: a late input of which nothing was consumed yet does not hold back resolved_at."""
    resolved = proposal.resolved_at_ms

    def eager(intake: Intake, taken: Any, head: Head) -> int:
        known = {**dict.fromkeys(intake.ends, intake.clock_ms), **taken.logged_at_ms}
        return resolved(intake, taken._replace(logged_at_ms=known), head)

    patch.setattr(proposal, "resolved_at_ms", eager)


def time_goes_back(patch: pytest.MonkeyPatch) -> None:
    """P2 weakened: resolved_at may regress."""
    resolved = proposal.resolved_at_ms

    def forgetful(intake: Intake, taken: Any, head: Head) -> int:
        return resolved(intake, taken, head._replace(resolved_at_ms=0)) or head.resolved_at_ms

    patch.setattr(proposal, "resolved_at_ms", forgetful)


def letters_last(patch: pytest.MonkeyPatch) -> None:
    """P3 dropped: dead letters are written after the mark."""
    epoch = PartitionOwner._epoch

    def unordered(self: PartitionOwner) -> Generator[Action, Answer, None]:
        talk = epoch(self)
        answer: Answer = None
        held: WriteLetters | None = None
        while True:
            try:
                action = talk.send(answer)
            except StopIteration:
                return
            if isinstance(action, WriteLetters):
                held, answer = action, None
                continue
            answer = yield action
            if isinstance(action, Append) and held is not None:
                yield held

    patch.setattr(PartitionOwner, "_epoch", unordered)


def recorded_time_ignored(patch: pytest.MonkeyPatch) -> None:
    """R2 dropped: a recorded epoch is folded at another moment than it was recorded for."""
    fold = Memory._step

    def shifted(self: Memory, accepted: Accepted, records: Mapping[str, Any]) -> Any:
        mark = accepted.mark.model_copy(update={"resolved_at_ms": accepted.mark.resolved_at_ms + 50})
        return fold(self, accepted._replace(mark=mark), records)

    patch.setattr(Memory, "_step", shifted)


def foreign_epochs_skipped(patch: pytest.MonkeyPatch) -> None:
    """P4 dropped: a foreign epoch moves the head, but its facts are not folded."""

    def skip(self: Memory, before: Head, accepted: Accepted) -> Generator[Action, Answer, None]:
        yield from ()

    patch.setattr(Memory, "refold", skip)


def raced_while_rebuilt(patch: pytest.MonkeyPatch) -> None:
    """R2 dropped: epochs are folded across a state that somebody rebuilt from the inputs."""
    patch.setattr(PartitionOwner, "_check_foldable", lambda self, foreign: None)


def unconfirmed_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """P5 dropped: what was proposed is folded and committed at once, accepted or not."""
    propose = PartitionOwner._propose

    def eager(self: PartitionOwner, intake: Intake) -> Any:
        draft = propose(self, intake)
        self.memory.absorb(draft.outcome)
        return draft

    patch.setattr(PartitionOwner, "_propose", eager)


def uncovered_anchor(patch: pytest.MonkeyPatch) -> None:
    """P6 dropped: the anchor moves before every live key was published again."""
    confirm = Rotation.confirm

    def hasty(self: Rotation, head: Head, own: bool, published: Any, live: Any) -> None:
        self._pending = {}
        confirm(self, head, own, published, live)

    patch.setattr(Rotation, "confirm", hasty)


def unconfirmed_anchor(patch: pytest.MonkeyPatch) -> None:
    """P6 dropped: a key counts as published again when it was proposed, accepted or not."""
    due = Rotation.due

    def hasty(self: Rotation, resolved_at_ms: int, period_ms: int) -> list[str]:
        found = due(self, resolved_at_ms, period_ms)
        for key in found:
            self._pending.pop(key)
        return found

    patch.setattr(Rotation, "due", hasty)


def ignored_hold(patch: pytest.MonkeyPatch) -> None:
    """A gate dropped: an operator's hold changes nothing."""

    def blind(case: object) -> None:
        return None

    checks = tuple((gate, blind if check.__name__ == "operator_hold" else check) for gate, check in gates.PROFILE_CHECKS)
    patch.setattr(gates, "PROFILE_CHECKS", checks)


def blind_router(patch: pytest.MonkeyPatch) -> None:
    """D1 dropped: a router grants however old its newest mark is."""
    patch.setattr("tests.sim.router.BOUND_MS", 2**40)


def trusting_router(patch: pytest.MonkeyPatch) -> None:
    """D2 dropped: a router grants past `valid_until`, counting on the next mark."""
    patch.setattr("tests.sim.router.EARLY_MS", -(2**40))


MUTANTS: Mapping[Plant, str] = {
    any_parent: "i5_every_reader_accepts_the_same",
    incomplete_epochs: "i5_every_reader_accepts_the_same",
    the_future: "i5_every_reader_accepts_the_same",
    unsigned_marks: "i5_every_reader_accepts_the_same",
    ack_is_acceptance: "memory_stands_on_accepted_epochs",
    gap_between_changes_and_mark: "memory_stands_on_accepted_epochs",
    trusted_checkpoint: "memory_stands_on_accepted_epochs",
    clock_without_lag: "claims_hold",
    empty_topic_is_no_lag: "claims_hold",
    time_goes_back: "i3_one_chain",
    letters_last: "letters_come_first",
    recorded_time_ignored: "memory_stands_on_accepted_epochs",
    foreign_epochs_skipped: "i2_the_view_is_the_fold",
    raced_while_rebuilt: "memory_stands_on_accepted_epochs",
    unconfirmed_checkpoint: "i3_replay_is_identical",
    uncovered_anchor: "i6_every_anchor_is_true",
    unconfirmed_anchor: "i6_every_anchor_is_true",
    ignored_hold: "i2_a_hold_is_never_lost",
    blind_router: "i1_fast_evidence_expires",
    trusting_router: "i1_slow_evidence_expires",
}
"""Each planted bug, and the checker that must notice it (others may, too)."""
