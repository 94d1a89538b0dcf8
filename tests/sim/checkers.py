"""The invariants of the protocol, one named predicate each: given what happened, each yields what it finds wrong."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from b3iq_schemas import topics
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainReader, Head, head_at
from tests.factory import SCOPE
from tests.sim import crypto
from tests.sim.checkers_time import (
    claims_hold,
    i1_explicit_no_takes_effect,
    i1_fast_evidence_expires,
    i1_slow_evidence_expires,
    marks_stop_at_deadlines,
    nobody_poisons_time,
)
from tests.sim.history import History
from tests.sim.reference import Reference, content, eligible
from tests.sim.truth import Truth
from tests.sim.worker import CHAIN

REASONS = (
    "stopped",
    "crash",
    "deposed",
    "clock_wrong",
    "input_truncated",  # a deposed leader told an end that lies before the cut
    "chain_truncated",  # a slow owner was overtaken by retention
    "no_anchor_in_log",  # a deposed leader hid the newest marks, and retention took the anchors of the others
    "policy_unknown",  # a deposed leader hid the newest revision
    "recorded_by_another_fold",  # somebody rebuilt from the inputs while we raced
)
"""Ends that the world can bring upon an owner."""
Found = Iterator[str]
Checker = Callable[[History, Reference, Truth], Found]


def i2_the_view_is_the_fold(history: History, reference: Reference, truth: Truth) -> Found:
    """I2: at each accepted mark, what readers hold is the fold, from nothing, of the inputs up to its cut."""
    for told in reference.told:
        held = {key: content(decision) for key, decision in told.view.items()}
        for key, decision in told.published.items():
            if held.get(key) != decision:
                yield f"epoch {told.mark['epoch']}: readers hold something else on {key}"
        if eligible(told.view).keys() - told.published.keys():
            yield f"epoch {told.mark['epoch']}: readers hold keys that the fold does not know"


def i2_a_hold_is_never_lost(history: History, reference: Reference, truth: Truth) -> Found:
    """I2, naively: at each accepted mark, the last honest word on holds below its cut decides."""
    for told in reference.told:
        for key in eligible(told.view):
            node_id = key.partition("/")[0]
            hold = truth.below(topics.HOLDS, node_id, told.mark["cut"][topics.HOLDS])
            if hold and hold.event["held"] and hold.real_ms >= truth.settled[node_id]:
                yield f"epoch {told.mark['epoch']}: {key} eligible under the hold at {hold.offset}"


def i3_replay_is_identical(history: History, reference: Reference, truth: Truth) -> Found:
    """I3: folding again gives the recorded changes byte for byte, refreshes repeat what stands, digests agree."""
    for told in reference.told:
        number, before = told.mark["epoch"], told.mark.get("state_sha256")
        assert told.outcome is not None
        outers = [orjson.loads(value) for value in told.changes]
        fresh = [b'"decision":%b}' % change.decision for change in told.outcome.changes]
        recorded = [value for value, outer in zip(told.changes, outers, strict=True) if not outer["refresh"]]
        differ = len(fresh) != len(recorded) or not all(map(bytes.endswith, recorded, fresh))
        if differ and "rebuilt" not in told.mark:  # then it also says what readers held otherwise; I2 looks at that
            yield f"epoch {number}: recorded {len(recorded)} changes, folded {len(fresh)}, or other bytes"
        for decision in (outer["decision"] for outer in outers if outer["refresh"]):
            if content(decision) != told.published.get(f"{decision['node_id']}/{decision['profile_id']}"):
                yield f"epoch {number}: a refresh says something new"
        if before is not None and before != told.state_sha256:
            yield f"epoch {number}: state digest {before[:8]} recorded, {told.state_sha256[:8]} folded"


def i3_one_chain(history: History, reference: Reference, truth: Truth) -> Found:
    """I3: epochs are numbered from 1 without a gap; cuts, resolved times and policy revisions never go back."""
    last: Any = {"epoch": 0, "resolved_at_ms": 0, "policy_revision": 0, "cut": dict.fromkeys(topics.INPUTS, 0)}
    for told in reference.told:
        mark = told.mark
        back = any(mark["cut"][topic] < last["cut"][topic] for topic in topics.INPUTS)
        if back or mark["epoch"] != last["epoch"] + 1 or mark["resolved_at_ms"] < last["resolved_at_ms"]:
            yield f"epoch {mark['epoch']} goes back behind {last['epoch']}"
        last = mark


def i4_the_last_owner_catches_up(history: History, reference: Reference, truth: Truth) -> Found:
    """I4: once faults have stopped, the last owner gets live and folds everything within bounded time."""
    if not history.caught_up:
        yield "the last owner is not live, or has not folded everything"


def i4_nobody_breaks(history: History, reference: Reference, truth: Truth) -> Found:
    """I4: owners end for a reason that the world gave them, and never see their own fold differ."""
    for ending in history.endings:
        if ending.how not in REASONS or (ending.how == "clock_wrong" and history.honest_until_ms == 2**60):
            yield f"worker {ending.worker} ended: {ending.how}"
    for worker, notice in history.notices:
        if notice.code in ("fold_differs", "state_differs"):
            yield f"worker {worker}: {notice.detail}"


def i5_every_reader_accepts_the_same(history: History, reference: Reference, truth: Truth) -> Found:
    """I5: the real reader, one pass from genesis, accepts exactly what the rules, spelled out naively, accept."""
    accepted = _accepted(history)
    if accepted != [told.digest for told in reference.told]:
        yield f"the reader accepted {len(accepted)} epochs, the rules {len(reference.told)}"


def i5_every_reader_holds_the_same(history: History, reference: Reference, truth: Truth) -> Found:
    """I5, I6: routers at their own pace, started wherever, hold what a reader since the beginning holds at that offset."""
    for sight in history.sights:
        told = reference.told[reference.by_digest[sight.digest]] if sight.digest in reference.by_digest else None
        if told is None or told is not reference.head_before(sight.position):
            yield f"a router at {sight.position} stands on {sight.digest[:8]}"
        elif sight.eligible != {key: decision["valid_until_ms"] for key, decision in eligible(told.view).items()}:
            yield f"a router at {sight.position} holds {sorted(sight.eligible)}, not {sorted(eligible(told.view))}"


def i6_every_anchor_is_true(history: History, reference: Reference, truth: Truth) -> Found:
    """I6: who starts at the anchor of any signed mark holds, past that mark, every live key as since the beginning."""
    for (offset, epoch, digest), named_at in reference.anchors().items():
        first = reference.by_digest.get(digest, -1 if digest == CHAIN.genesis else None)
        told = reference.told[first] if first is not None and first >= 0 else None
        if first is None or (told and (told.offset, told.mark["epoch"]) != (offset, epoch)):
            yield f"anchor {epoch} named at {named_at} is no accepted epoch"
            continue
        held: dict[str, Any] = {}
        for told in reference.told[first + 1 :]:
            held |= {key: told.view[key] for key in _keys(told.changes)}
            if told.offset > named_at and eligible(held) != eligible(told.view):
                yield f"from anchor {epoch}, epoch {told.mark['epoch']} looks different"
                break


def i6_the_reader_starts_anywhere(history: History, reference: Reference, truth: Truth) -> Found:
    """I6: the real reader, started at the last anchor, accepts the rest as if it had read everything."""
    if not reference.told:
        return
    anchor = reference.told[-1].mark["anchor"]
    if anchor["offset"] < 0:
        return
    head = head_at(history.world.chain.records[anchor["offset"]], anchor["digest"], CHAIN)
    accepted = _accepted(history, head) if head else None
    if accepted != [told.digest for told in reference.told if told.offset > anchor["offset"]]:
        yield f"the reader from anchor {anchor['epoch']} accepted other epochs"


def memory_stands_on_accepted_epochs(history: History, reference: Reference, truth: Truth) -> Found:
    """P4, R3: an owner that runs holds the folded state of an accepted epoch, restored or not."""
    for seen in history.confirmations:
        at = reference.by_digest.get(seen.head.digest)
        if at is None or reference.told[at].offset != seen.head.offset:
            yield f"worker {seen.worker} believes in epoch {seen.head.epoch} at {seen.head.offset}, which nobody accepts"
        elif seen.phase != "restoring" and seen.state_sha256 != reference.told[at].state_sha256:
            yield f"worker {seen.worker} holds another state at epoch {seen.head.epoch}"


def letters_come_first(history: History, reference: Reference, truth: Truth) -> Found:
    """P3: each refused record below an accepted cut had its dead letter when the mark was written."""
    written: dict[tuple[str, int], int] = {}
    for real_ms, value in history.world.letters:
        letter = orjson.loads(value)
        written.setdefault((letter["topic"], letter["offset"]), real_ms)
    for told in reference.told:
        assert told.outcome is not None
        for refused in told.outcome.refused:
            if written.get((refused.record.topic, refused.record.offset), 2**60) > told.real_ms:
                yield f"epoch {told.mark['epoch']}: no letter for {refused.record.topic}[{refused.record.offset}]"


def only_confirmed_is_kept(history: History, reference: Reference, truth: Truth) -> Found:
    """P5: commits and checkpoints are of epochs that had been accepted."""
    cuts = [(-1, dict.fromkeys(topics.INPUTS, 0)), *((told.real_ms, told.mark["cut"]) for told in reference.told)]
    for real_ms, cut in history.world.group.commits:
        if not any(accepted_ms <= real_ms and known == cut for accepted_ms, known in cuts):
            yield f"committed {cut}"
    for raw in history.stored_heads:
        if orjson.loads(raw)[2] not in reference.by_digest:
            yield f"checkpointed {raw[:80]!r}"


CHECKERS: tuple[Checker, ...] = (
    i1_fast_evidence_expires,
    i1_slow_evidence_expires,
    i1_explicit_no_takes_effect,
    i2_the_view_is_the_fold,
    i2_a_hold_is_never_lost,
    i3_replay_is_identical,
    i3_one_chain,
    i4_the_last_owner_catches_up,
    i4_nobody_breaks,
    i5_every_reader_accepts_the_same,
    i5_every_reader_holds_the_same,
    i6_every_anchor_is_true,
    i6_the_reader_starts_anywhere,
    memory_stands_on_accepted_epochs,
    letters_come_first,
    marks_stop_at_deadlines,
    claims_hold,
    nobody_poisons_time,
    only_confirmed_is_kept,
)


def check(history: History, reference: Reference) -> list[str]:
    """Everything wrong with a history, each line led by the name of its checker."""
    truth = Truth(history.world)
    return [f"{checker.__name__}: {wrong}" for checker in CHECKERS for wrong in checker(history, reference, truth)]


def reader(history: History, head: Head | None = None) -> ChainReader:
    """The real reader, knowing all policies, from genesis or from a head on."""
    book = PolicyBook(SCOPE, crypto.verify)
    for record in history.world.inputs[topics.POLICIES].records:
        book.feed(record)
    return ChainReader(CHAIN, head or CHAIN.genesis_head(), book.processors_of, crypto.verify)


def _accepted(history: History, head: Head | None = None) -> list[str]:
    reading = reader(history, head)
    verdicts = [reading.feed(record) for record in history.world.chain.records[reading.position :]]
    return [verdict.head.digest for verdict in verdicts if isinstance(verdict, Accepted)]


def _keys(changes: tuple[bytes, ...]) -> list[str]:
    decisions = [orjson.loads(value)["decision"] for value in changes]
    return [f"{decision['node_id']}/{decision['profile_id']}" for decision in decisions]
