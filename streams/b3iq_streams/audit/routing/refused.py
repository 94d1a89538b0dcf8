"""Was a call rightly refused: what each partition of the chain can say of the reason given, then all of them together.

The order of the router's answers (`router/view.py`) is what a reason is held to. A caller's own policy is not in the log:
such a refusal needs only what must have been there for the router to look at the caller at all.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.audit.routing.allowed import Answer
from b3iq_streams.audit.routing.codes import Code, Limits, Verdict
from b3iq_streams.audit.routing.intake import Ask
from b3iq_streams.audit.routing.policies import Revisions
from b3iq_streams.audit.routing.positions import Position, blindness, locate
from b3iq_streams.audit.routing.records import SUPPLY_CODES, VIEW_CODES
from b3iq_streams.audit.whatif.supply_history import SupplyHistory

BLIND_MATTERS = frozenset({RouteRefusal.TIER_NOT_ALLOWED, RouteRefusal.PRICE_ABOVE_MAX})
"""Refusals by a caller's policy that a router gives only while every partition can be acted on."""
_ORDER = {code: at for at, code in enumerate(RouteRefusal)}


class Supply(NamedTuple):
    """Supply that the inputs show at the moment, and the position named does not: an example of it.

    `stale_ms` = so long it had been there: a fresher view would have shown it. `differs` = a true view would have, at that
    very position. `unsettled` = why neither can be said.
    """

    key: str | None = None
    stale_ms: int | None = None
    differs: bool = False
    unsettled: str | None = None


class Part(NamedTuple):
    """What one partition says of a refusal.

    `surely` and `perhaps` = why it could not be acted on. `key` = the candidate of the model that it held and whose evidence
    lasted longest, None without any; that evidence lasted for `live_ms` after the moment. `supply` = a `Supply`.
    """

    partition: int
    epoch: int
    resolved_at_ms: int
    age_ms: int
    fault: str | None
    missing: str | None
    surely: tuple[str, ...]
    perhaps: tuple[str, ...]
    key: str | None
    live_ms: int
    supply: Supply

    @classmethod
    def of(cls, row: list[Any]) -> "Part":
        """From a spooled row."""
        *told, supply = row
        return cls._make((*told, Supply(*supply)))

    @property
    def blind(self) -> bool:
        """Whether it surely could not be acted on."""
        return bool(self.surely)

    def live(self, for_ms: int) -> bool:
        """Whether it held a candidate whose evidence lasted for longer than that after the moment."""
        return self.key is not None and self.live_ms > for_ms


def judge_part(ask: Ask, partition: int, history: SupplyHistory, revisions: Revisions, limits: Limits) -> Part:
    """What one partition says."""
    position = locate(ask, history, limits)
    doubts = blindness(ask, position.place, revisions, limits)
    surely = tuple(code.value for code, doubt in doubts.items() if doubt.surely)
    perhaps = tuple(code.value for code, doubt in doubts.items() if doubt.perhaps)
    best = history.best(position.head.epoch, ask.model_id) if position.head else None
    missing = position.missing
    if position.head is None and not position.fault and not surely:
        missing = missing or Code.LOG_TIME_REGRESSED
    asked = ask.code in SUPPLY_CODES and position.head is not None
    return Part(
        partition, ask.epoch, ask.resolved_at_ms, ask.decided_at_ms - ask.resolved_at_ms, position.fault, missing, surely,
        perhaps, best.key if best else None, best.valid_until_ms - ask.decided_at_ms if best else 0,
        _supply(ask, position, history, limits) if asked else Supply(),
    )  # fmt: skip


def _supply(ask: Ask, position: Position, history: SupplyHistory, limits: Limits) -> Supply:
    assert position.head is not None
    at_ms, named = max(ask.decided_at_ms, ask.resolved_at_ms), position.head.epoch
    last, closing = history.before(at_ms), history.after(at_ms)
    if ask.decided_at_ms < history.floor_ms:
        return Supply(unsettled=Code.LOG_TIME_REGRESSED)
    if last is None or closing is None:
        return Supply(unsettled=history.end if last else history.unknown)
    oldest = Supply()
    for key, truth in history.open(last.epoch, ask.model_id):
        held, later = history.recorded.at(named, key), history.folded.at(closing.epoch, key)
        if truth.valid_until_ms <= at_ms + limits.skew_ms:
            continue
        if later is not None and not later.eligible and later.since_ms <= at_ms:
            continue
        if held is not None and held.eligible and held.model_id == ask.model_id:
            continue  # the router held it as well: its evidence was about to expire
        then = history.folded.at(named, key)
        if not truth.proven or (then is not None and not then.proven):
            return Supply(key, unsettled=Code.EVIDENCE_EXPIRED)
        if then is not None and then.eligible and then.model_id == ask.model_id:
            return Supply(key, differs=True)
        stale_ms = max(0, at_ms - truth.decided_at_ms)
        if oldest.stale_ms is None or stale_ms > oldest.stale_ms:
            oldest = Supply(key, stale_ms)
    return oldest


def judge_refused(code: str, parts: Sequence[Part], limits: Limits) -> Answer:
    """The verdict on a refusal, from what every partition says."""
    refusal = RouteRefusal(code)
    if faults := [part for part in parts if part.fault]:
        return _answer(Verdict.VIOLATION, _once(part.fault for part in faults), faults)
    if refusal in SUPPLY_CODES:
        return _of_supply(refusal, parts, limits)
    if refusal in VIEW_CODES:
        return _of_view(refusal, parts)
    return _of_caller(refusal, parts, limits)


def _of_supply(refusal: RouteRefusal, parts: Sequence[Part], limits: Limits) -> Answer:
    """No candidate at all, or none whose evidence lasts; and every partition could be acted on."""
    if lying := [part for part in parts if part.live(limits.ahead_ms + limits.skew_ms) and not part.blind]:
        return _answer(Verdict.VIOLATION, (Code.SUPPLY_EXISTED,), lying)
    if blind := [part for part in parts if part.blind]:
        return _answer(Verdict.VIOLATION, (Code.REFUSAL_UNFOUNDED,), blind)
    held = [part for part in parts if part.key is not None]
    if refusal is RouteRefusal.NO_HEALTHY_CANDIDATES and held:
        return _answer(Verdict.VIOLATION, (Code.REFUSAL_UNFOUNDED,), held)
    if missing := [part for part in parts if part.missing]:
        return _answer(Verdict.UNVERIFIABLE, _first(part.missing for part in missing), missing)
    if refusal is RouteRefusal.GRANT_EXPIRED and not held:
        return _answer(Verdict.VIOLATION, (Code.REFUSAL_UNFOUNDED,), parts)
    if differing := [part for part in parts if part.supply.differs]:
        return _answer(Verdict.VIOLATION, (Code.PROCESSOR_DIFFERS,), differing)
    if unsettled := [part for part in parts if part.supply.unsettled]:
        return _answer(Verdict.UNVERIFIABLE, _first(part.supply.unsettled for part in unsettled), unsettled)
    if stale := [part for part in parts if part.supply.stale_ms is not None]:
        return _answer(Verdict.STALE, (refusal,), stale)
    return _answer(Verdict.JUSTIFIED, (refusal,), ())


def _of_view(refusal: RouteRefusal, parts: Sequence[Part]) -> Answer:
    """Some partition could not be acted on for this reason, and none for one that would have been named first."""
    sooner = [part for part in parts if any(_ORDER[RouteRefusal(code)] < _ORDER[refusal] for code in part.surely)]
    if sooner:
        return _answer(Verdict.VIOLATION, (Code.REFUSAL_UNFOUNDED,), sooner)
    if founded := [part for part in parts if refusal in part.perhaps]:
        return _answer(Verdict.JUSTIFIED, (refusal,), founded)
    if missing := [part for part in parts if part.missing]:
        return _answer(Verdict.UNVERIFIABLE, _first(part.missing for part in missing), missing)
    return _answer(Verdict.VIOLATION, (Code.REFUSAL_UNFOUNDED,), parts)


def _of_caller(refusal: RouteRefusal, parts: Sequence[Part], limits: Limits) -> Answer:
    """A router looks at the caller only if some candidate could serve; at tiers and prices only if it sees everything."""
    blind = [part for part in parts if part.blind]
    if refusal in BLIND_MATTERS and blind:
        return _answer(Verdict.VIOLATION, (Code.REFUSAL_UNFOUNDED,), blind)
    if live := [part for part in parts if part.live(limits.skew_ms) and not part.blind]:
        return _answer(Verdict.JUSTIFIED, (refusal,), live)
    if missing := [part for part in parts if part.missing]:
        return _answer(Verdict.UNVERIFIABLE, _first(part.missing for part in missing), missing)
    return _answer(Verdict.VIOLATION, (Code.REFUSAL_UNFOUNDED,), parts)


def _answer(verdict: Verdict, codes: tuple[str, ...], parts: Sequence[Part]) -> Answer:
    told = [part._asdict() | {"supply": part.supply._asdict()} for part in parts]
    return Answer(verdict, codes, {"partitions": told})


def _once(codes: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code for code in codes if code))


def _first(codes: Iterable[str | None]) -> tuple[str, ...]:
    """Evidence that is gone first, since no later audit will have it."""
    found = _once(codes)
    return (Code.EVIDENCE_EXPIRED,) if Code.EVIDENCE_EXPIRED in found else found[:1]
