"""The parts of a bundle that are told rather than recorded: the summary, and the counts of routing decisions. Data only."""

from typing import Literal

from b3iq_schemas.ids import Contract, Count, ProfileId, TimeMs, Token


class Routing(Contract):
    """How often a profile of the node stood among the candidates that a router wrote down, and what became of it.

    A router writes down 32 candidates at most, so these are lower bounds. `counted_from_ms` = routing decisions before this
    moment are not kept any more (0: all are).
    """

    considered: Count
    chosen: Count
    reasons: dict[Token, Count]
    counted_from_ms: TimeMs


class Blocker(Contract):
    """A failing check, and what its operator does next."""

    code: Token
    gate: Token
    since_ms: TimeMs
    observed: str
    required: str
    next_action: str


Verdict = Literal["eligible", "not_eligible", "absent"]


class Interval(Contract):
    """From one decision to the next with another content. `absent`: nothing was published, which routers take for a no."""

    from_ms: TimeMs
    until_ms: TimeMs
    verdict: Verdict
    policy_revision: Count
    blockers: tuple[Blocker, ...]


class ProfileSummary(Contract):
    """One profile over the range."""

    profile_id: ProfileId
    model_id: str
    eligible_ms: Count
    of_ms: Count
    intervals: tuple[Interval, ...]


class Summary(Contract):
    """What the decisions say. `refused` = records of the node that were not admitted, by code; `words` = for people."""

    from_ms: TimeMs
    until_ms: TimeMs
    profiles: tuple[ProfileSummary, ...]
    refused: dict[Token, Count]
    words: tuple[str, ...]
