"""The four verdicts on a routing decision and the codes that explain them. A code is never renamed and never reused.

Codes of the contract stand for what they always mean (`Refusal`: why a record counts for nothing; `RouteRefusal`: which rule
of the router's was broken); those of this table are the audit's own. Judges nothing.
"""

from enum import StrEnum
from typing import NamedTuple

from b3iq_schemas.codes import REFUSAL_MEANING, ROUTE_REFUSAL_MEANING, Refusal, RouteRefusal


class Verdict(StrEnum):
    """What an audit says of a decision."""

    JUSTIFIED = "justified"
    STALE = "stale but in bound"
    VIOLATION = "violation"
    UNVERIFIABLE = "unverifiable"


class Code(StrEnum):
    """Why a decision is a violation, or cannot be verified, where the contract has no code for it."""

    DECISION_INCONSISTENT = "decision_inconsistent"
    CODE_UNKNOWN = "code_unknown"
    DECISION_ID_REUSED = "decision_id_reused"
    FROM_THE_FUTURE = "from_the_future"
    BACKDATED = "backdated"
    POSITION_MISSING = "position_missing"
    POSITION_UNKNOWN = "position_unknown"
    POSITION_MISSTATED = "position_misstated"
    POSITION_NOT_YET_LOGGED = "position_not_yet_logged"
    NOT_ELIGIBLE = "not_eligible"
    MODEL_NOT_SERVED = "model_not_served"
    SUPPLY_EXISTED = "supply_existed"
    REFUSAL_UNFOUNDED = "refusal_unfounded"
    PROCESSOR_DIFFERS = "processor_differs"
    ONLY_ROUTER_KNEW = "only_router_knew"
    NOT_SETTLED = "not_settled"
    NOT_REFOLDABLE = "not_refoldable"
    LOG_TIME_REGRESSED = "log_time_regressed"
    EVIDENCE_EXPIRED = "evidence_expired"


MEANING: dict[str, str] = {
    Code.DECISION_INCONSISTENT: "the record contradicts itself: an answer, a code and a node that do not go together",
    Code.CODE_UNKNOWN: "the router gave a code that no router gives",
    Code.DECISION_ID_REUSED: "another decision, with other content, was logged under this id before",
    Code.FROM_THE_FUTURE: "decided later than it was logged, by more than clocks may differ",
    Code.BACKDATED: "logged later than any delivery takes after the moment it names",
    Code.POSITION_MISSING: "the record does not name the position of a partition that its answer rests on",
    Code.POSITION_UNKNOWN: "the position named is no accepted epoch of its partition that anybody could hold at that moment",
    Code.POSITION_MISSTATED: "the epoch exists, but it was resolved at another time than the record says",
    Code.POSITION_NOT_YET_LOGGED: "the epoch named was logged after the decision was made",
    Code.NOT_ELIGIBLE: "D3: at the position named, the view did not say that the chosen profile is eligible",
    Code.MODEL_NOT_SERVED: "D3: at the position named, the chosen profile served another model",
    Code.SUPPLY_EXISTED: "a profile that could serve was eligible at the positions named",
    Code.REFUSAL_UNFOUNDED: "the reason given does not hold at the positions named: another answer was due",
    Code.PROCESSOR_DIFFERS: "the recorded view is not what the inputs fold to: the processor's fault, not the router's",
    Code.ONLY_ROUTER_KNEW: "nothing in the log could prove or disprove this answer",
    Code.NOT_SETTLED: "the chain read so far ends before the moment of the decision: ask again later",
    Code.NOT_REFOLDABLE: "inputs that the chain says were folded were never written",
    Code.LOG_TIME_REGRESSED: "the log's own times went back further than clocks may differ",
    Code.EVIDENCE_EXPIRED: "the records that an answer needs are not kept any more",
    RouteRefusal.PROCESSOR_LAG: "D1: the position named was older than the bound",
    RouteRefusal.CLOCK_BEHIND: "D1: the position named lies ahead of the decision by more than clocks may differ",
    RouteRefusal.PROCESSOR_KEY_REVOKED: "D1: the key that signed the position named was no longer a processor key",
    RouteRefusal.GRANT_EXPIRED: "D2: the grant's evidence had expired, or was about to by less than clocks may differ",
    RouteRefusal.POLICY_LAG: "D4: a newer policy revision had been out for longer than its grace",
}
"""What each code means for a decision; `meaning` knows the contract's as well."""


def meaning(code: str) -> str:
    """A code in words; its own name if nobody knows it."""
    if code in MEANING:
        return MEANING[code]
    if code in set(Refusal):
        return REFUSAL_MEANING[Refusal(code)]
    return ROUTE_REFUSAL_MEANING[RouteRefusal(code)][1] if code in set(RouteRefusal) else code


class Limits(NamedTuple):
    """What decisions are held to: B of the routers, how long a decision may take to be logged, σ, and the range of log
    times asked for (both ends inclusive)."""

    skew_ms: int
    bound_ms: int = 3_000
    log_delay_ms_max: int = 30_000
    from_ms: int = 0
    to_ms: int = 2**53 - 1

    @property
    def ahead_ms(self) -> int:
        """How far the moment a router judged at may lie ahead of its clock: it never goes back, and its clock, which was up to
        σ ahead of everybody's, may since have been set up to σ behind."""
        return 2 * self.skew_ms
