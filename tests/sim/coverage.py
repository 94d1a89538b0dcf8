"""What happened at all: a simulator in which nothing interesting happens proves nothing. Each name must occur sometimes."""

from collections import Counter

import orjson

from b3iq_schemas import topics
from b3iq_streams.core.chain import Ignored, PolicyUnknown, Reason
from tests.sim.checkers import reader
from tests.sim.history import History
from tests.sim.knobs import BOUND_MS
from tests.sim.reference import Reference
from tests.sim.truth import Truth

WANTED = (
    "anchor_moved", "attempt_voided", "checkpoint_used_with_tail", "checkpoint_void_rebuilt", "crash", "exit_clock_wrong",
    "exit_deposed", "foreign_folded_while_live", "granted", "granted_late", "granted_very_late", "key_rotated", "letter",
    "leaf_heartbeat_stale", "leaf_hold_down", "leaf_node_equivocated", "leaf_observed_benchmark_stale", "leaf_operator_hold",
    "leaf_registration_stale", "leaf_route_stale", "leaf_route_tier_blocked", "lost_race", "mark_from_the_future",
    "mark_unlisted_key", "rebuilt_from_inputs", "refreshed", "resolved_lags", "stopped", "zombie_folded_by_owner", "zombie_won",
)  # fmt: skip
"""Over the seeds of a test run, each of these happens."""


def seen(history: History, reference: Reference) -> Counter[str]:
    """How often each thing happened in one seed."""
    found: Counter[str] = Counter()
    for part in (_endings, _confirmations, _marks, _leaves, _grants):
        part(history, reference, found)
    found["letter"] = len(history.world.letters)
    return found


def _endings(history: History, reference: Reference, found: Counter[str]) -> None:
    for ending in history.endings:
        found[{"crash": "crash", "stopped": "stopped"}.get(ending.how, f"exit_{ending.how}")] += 1


def _confirmations(history: History, reference: Reference, found: Counter[str]) -> None:
    zombies: dict[str, int] = {}
    begun: set[int] = set()
    rebuilt = {worker for worker, notice in history.notices if notice.code.startswith("checkpoint_")}
    found["checkpoint_void_rebuilt"] = len(rebuilt)
    for seen in history.confirmations:
        first, restoring = seen.worker not in begun, seen.phase == "restoring"
        begun.add(seen.worker)
        if seen.own and seen.deposed:
            found["zombie_won"] += 1
            zombies[seen.head.digest] = seen.worker
        if not seen.own and zombies.get(seen.head.digest, seen.worker) < seen.worker:
            found["zombie_folded_by_owner"] += 1
        found["foreign_folded_while_live"] += not seen.own and not restoring
        found["checkpoint_used_with_tail"] += first and restoring and seen.head.epoch > 1 and seen.worker not in rebuilt


def _marks(history: History, reference: Reference, found: Counter[str]) -> None:
    reasons = {Reason.NOT_NEXT: "lost_race", Reason.INCOMPLETE: "attempt_voided", Reason.FROM_THE_FUTURE: "mark_from_the_future",
               Reason.KEY_NOT_LISTED: "mark_unlisted_key"}  # fmt: skip
    accepted = {told.mark["attempt"] for told in reference.told}
    judge = reader(history)
    for record in history.world.chain.records:
        try:
            verdict = judge.feed(record)
        except PolicyUnknown:
            return
        if isinstance(verdict, Ignored) and verdict.attempt and verdict.attempt not in accepted:
            found[reasons.get(verdict.reason, verdict.reason)] += 1
    marks = [told.mark for told in reference.told]
    found["anchor_moved"] = len({mark["anchor"]["epoch"] for mark in marks} - {0})
    found["rebuilt_from_inputs"] = sum("rebuilt" in mark for mark in marks)
    found["key_rotated"] = len({told.keyid for told in reference.told}) > 1
    found["resolved_lags"] = sum(told.real_ms - told.mark["resolved_at_ms"] > BOUND_MS for told in reference.told)


def _leaves(history: History, reference: Reference, found: Counter[str]) -> None:
    for told in reference.told:
        for outer in map(orjson.loads, told.changes):
            found["refreshed"] += outer["refresh"]
            for failing in outer["decision"]["failing"]:
                found[f"leaf_{failing['code']}"] += 1


def _grants(history: History, reference: Reference, found: Counter[str]) -> None:
    truth = Truth(history.world)
    found["granted"] = len(history.grants)
    for grant in history.grants:
        told = reference.told[reference.by_digest[grant.digest]]
        beat = truth.below(topics.HEARTBEATS, grant.key.partition("/")[0], told.mark["cut"][topics.HEARTBEATS])
        ttl_ms = reference.policies[told.mark["policy_revision"]].event["heartbeat_ttl_ms"]
        found["granted_late"] += beat is not None and grant.real_ms > beat.real_ms + ttl_ms
        found["granted_very_late"] += beat is not None and grant.real_ms > beat.real_ms + ttl_ms + BOUND_MS // 2
