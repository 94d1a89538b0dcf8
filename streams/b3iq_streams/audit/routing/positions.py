"""The position that a decision names, looked up in its partition's history: is it one, how old, might it be acted on (D1, D4).

Knows nothing of profiles; what follows for an answer is `decision_allowed.py`'s and `decision_refused.py`'s.
"""

from typing import NamedTuple

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.audit.routing.codes import Code, Limits
from b3iq_streams.audit.routing.intake import Ask
from b3iq_streams.audit.routing.policies import Doubt, Revisions, Sight
from b3iq_streams.audit.routing.versions import Place
from b3iq_streams.audit.whatif.supply_history import SupplyHistory
from b3iq_streams.core.chain import Head


class Position(NamedTuple):
    """What is known of a position: its epoch, and its head if it is in the window; what is wrong with it; or why that cannot
    be said."""

    place: Place | None = None
    head: Head | None = None
    fault: Code | None = None
    missing: Code | None = None


def locate(ask: Ask, history: SupplyHistory, limits: Limits) -> Position:
    """Look a position up. The history must have been advanced past the decision's moment and σ."""
    if history.first < 0 or ask.epoch < history.first:
        return Position(missing=history.unknown)
    if ask.epoch > history.last and history.end is not None:
        return Position(missing=history.end)
    place = history.epochs.get(ask.epoch)
    if place is None or place.digest != ask.digest:
        return Position(fault=Code.POSITION_UNKNOWN)
    if place.resolved_at_ms != ask.resolved_at_ms:
        return Position(fault=Code.POSITION_MISSTATED)
    head = history.head(ask.epoch)
    early = head is not None and head.logged_at_ms > ask.decided_at_ms + limits.skew_ms
    return Position(place, head, Code.POSITION_NOT_YET_LOGGED if early else None)


def blindness(ask: Ask, place: Place | None, revisions: Revisions, limits: Limits) -> dict[RouteRefusal, Doubt]:
    """Why a router would not have acted on a position, surely or perhaps, in the order of its answers.

    It judged at `decided_at_ms` or somewhat later (`Limits.ahead_ms`).
    """
    at_ms, skew_ms, resolved_ms = ask.decided_at_ms, limits.skew_ms, ask.resolved_at_ms
    found = {}
    view = Sight(min(at_ms - limits.bound_ms, resolved_ms) - skew_ms, at_ms + skew_ms)
    if place is not None and ask.epoch > 0:
        found[RouteRefusal.PROCESSOR_KEY_REVOKED] = revisions.key_dropped(place.keyid, view)
    late_ms = at_ms - resolved_ms - limits.bound_ms
    found[RouteRefusal.PROCESSOR_LAG] = Doubt(late_ms > 0, late_ms + limits.ahead_ms > 0)
    ahead_ms = resolved_ms - at_ms - skew_ms
    found[RouteRefusal.CLOCK_BEHIND] = Doubt(ahead_ms > limits.ahead_ms, ahead_ms > 0)
    if place is not None:
        found[RouteRefusal.POLICY_LAG] = revisions.lag(place.policy_revision, place.resolved_at_ms, view)
    return found
