"""Was a call rightly sent to a node: the router's rules at the position it named, then what was true at its moment.

Rules are judged by the recorded view, for that is all a router has; the truth is the re-fold's. Writes nothing.
"""

from typing import Any, NamedTuple

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.audit.routing.codes import Code, Limits, Verdict
from b3iq_streams.audit.routing.intake import Ask
from b3iq_streams.audit.routing.policies import Revisions
from b3iq_streams.audit.routing.positions import Position, blindness, locate
from b3iq_streams.audit.whatif.supply_history import SupplyHistory, Truth
from b3iq_streams.router.supply import Candidate


class Answer(NamedTuple):
    """The verdict on a decision (None: a copy of one), the codes that explain it, and what they rest on."""

    verdict: Verdict | None
    codes: tuple[str, ...]
    because: dict[str, Any]


def judge_allowed(ask: Ask, partition: int, history: SupplyHistory, revisions: Revisions, limits: Limits) -> Answer:
    """The verdict of the partition that the chosen node is on."""
    assert ask.key is not None
    position = locate(ask, history, limits)
    view = history.recorded.at(position.head.epoch, ask.key) if position.head else None
    codes = _broken(ask, position, view, revisions, limits)
    truth, missing = _truth(ask, ask.key, position, history)
    because = {
        "partition": partition, "epoch": ask.epoch, "resolved_at_ms": ask.resolved_at_ms,
        "age_ms": ask.decided_at_ms - ask.resolved_at_ms,
        "view": _view(view) if position.head else None, "truth": _told(truth) if truth else None,
    }  # fmt: skip
    if codes:
        return Answer(Verdict.VIOLATION, codes, because)
    if missing is not None or truth is None or position.head is None:
        return Answer(Verdict.UNVERIFIABLE, (missing or Code.LOG_TIME_REGRESSED,), because)
    if truth.eligible:
        return Answer(Verdict.JUSTIFIED, (ask.code,), because)
    then = history.folded.at(position.head.epoch, ask.key)
    if then is None or not then.eligible:
        return Answer(Verdict.VIOLATION, (Code.PROCESSOR_DIFFERS,), because)
    stale_ms = max(0, max(ask.decided_at_ms, ask.resolved_at_ms) - truth.since_ms)
    return Answer(Verdict.STALE, (ask.code,), because | {"stale_ms": stale_ms})


def _broken(ask: Ask, position: Position, view: Candidate | None, revisions: Revisions, limits: Limits) -> tuple[str, ...]:
    """Every rule that was surely broken, in the order of the router's answers."""
    codes: list[str] = [position.fault] if position.fault else []
    blind = blindness(ask, position.place, revisions, limits)
    codes += [code.value for code, doubt in blind.items() if doubt.surely]
    if blind[RouteRefusal.CLOCK_BEHIND].perhaps and RouteRefusal.CLOCK_BEHIND not in codes:
        codes.append(RouteRefusal.CLOCK_BEHIND)  # the record's own words: no other moment can excuse them
    if position.head is None:
        return tuple(codes)
    if view is None or not view.eligible:
        return (*codes, Code.NOT_ELIGIBLE)
    if view.model_id != ask.model_id:
        codes.append(Code.MODEL_NOT_SERVED)
    if view.valid_until_ms <= ask.decided_at_ms + limits.skew_ms:
        codes.append(RouteRefusal.GRANT_EXPIRED)
    return tuple(codes)


def _truth(ask: Ask, key: str, position: Position, history: SupplyHistory) -> tuple[Truth | None, Code | None]:
    """The re-folded decision at the moment, or why there is none.

    A position that lies ahead of the router's clock shows that it was later than the router thought: then that is the moment.
    """
    at_ms = max(ask.decided_at_ms, ask.resolved_at_ms)
    last, closing = history.before(at_ms), history.after(at_ms)
    if ask.decided_at_ms < history.floor_ms:
        return None, Code.LOG_TIME_REGRESSED
    if last is None:
        return None, history.unknown
    truth = history.folded.at(last.epoch, key) or Truth(False, "", 0, 0, (), last.resolved_at_ms)
    if closing is None:
        return None, history.end
    then = history.folded.at(closing.epoch, key)
    if truth.eligible and then is not None and not then.eligible and then.since_ms <= at_ms:
        truth = then
    known = history.folded.at(position.head.epoch, key) if position.head else truth
    if not truth.proven or (known is not None and not known.proven):
        return None, Code.EVIDENCE_EXPIRED
    return truth, position.missing


def _view(view: Candidate | None) -> dict[str, Any]:
    if view is None:
        return {"eligible": False, "codes": [], "model_id": None, "valid_until_ms": 0}
    return {
        "eligible": view.eligible, "codes": view.codes, "model_id": view.model_id, "valid_until_ms": view.valid_until_ms,
    }  # fmt: skip


def _told(truth: Truth) -> dict[str, Any]:
    since_ms = None if truth.eligible else truth.since_ms
    return {"eligible": truth.eligible, "codes": truth.codes, "since_ms": since_ms}
