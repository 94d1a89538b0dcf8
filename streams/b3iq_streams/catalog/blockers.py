"""Why a profile may not serve paid calls, with what to do next: its failing checks, and what a reader adds to them.

The table of codes is the contract's; codes it does not know come from a newer processor and still block.
"""

from b3iq_schemas.codes import LEAVES, ROUTE_REFUSAL_MEANING, RouteRefusal
from b3iq_schemas.eligibility import Decision
from b3iq_streams.catalog.index import Index
from b3iq_streams.catalog.models import Blocker, GateName
from b3iq_streams.catalog.rows import Row
from b3iq_streams.catalog.standing import Standing

CONTRADICTION = "decision_contradictory"
_NEWER = ("the check is one that this catalog does not know", "upgrade the catalog, or ask the operators what the code means")


def blockers_of(row: Row, decision: Decision, standing: Standing) -> tuple[Blocker, ...]:
    """Every blocker of a profile, in the order of the decision."""
    found = []
    for failing in decision.failing:
        leaf = LEAVES.get(failing.code)
        condition, next_action = (leaf.condition, leaf.next_action) if leaf else _NEWER
        found.append(Blocker(**failing.model_dump(), condition=condition, next_action=next_action))
    if not found and not row.candidate.eligible:
        found.append(_contradiction(decision))
    if row.candidate.eligible and row.candidate.valid_until_ms <= standing.until_ms:
        found.append(_expired(row.candidate.valid_until_ms, standing))
    return tuple(found)


def gate_of(code: str, index: Index) -> GateName:
    """The gate that a code closes; of a code not known here, what a decision says."""
    if leaf := LEAVES.get(code):
        return leaf.gate.value
    return next(failing.gate for failing in index.first("code", code).decision.failing if failing.code == code)


def _expired(valid_until_ms: int, standing: Standing) -> Blocker:
    return Blocker(
        code=RouteRefusal.GRANT_EXPIRED,
        gate="policy",
        since_ms=valid_until_ms - (standing.until_ms - standing.at_ms),
        observed=f"valid until {valid_until_ms}",
        required=f"longer than {standing.until_ms}",
        condition=ROUTE_REFUSAL_MEANING[RouteRefusal.GRANT_EXPIRED][1],
        next_action="renew the registration or the observed benchmark, whichever ended",
    )


def _contradiction(decision: Decision) -> Blocker:
    return Blocker(
        code=CONTRADICTION,
        gate="policy",
        since_ms=decision.decided_at_ms,
        observed="eligible, with a gate that does not pass" if decision.eligible else "not eligible, with no failing check",
        required="a decision in agreement with itself",
        condition="the processor's decision contradicts itself",
        next_action="report it: the processor publishes what no rule allows",
    )
