"""What a caller may have: the policy of its account as strict data, and the checks in the network's own codes.

Fails closed: an account whose status is missing, or a word not known here, may not make paid calls, and a balance that is
not given is none. Knows nothing of nodes but tier and price.
"""

from collections.abc import Set
from typing import Annotated

from pydantic import Field

from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.ids import Contract, ModelId, Token, Wei
from b3iq_streams.router.supply import Candidate

ACTIVE = "active"
TOKENS_PER_PRICE = 1_000_000
Models = Annotated[tuple[ModelId, ...], Field(max_length=1024)]
Tiers = Annotated[tuple[Token, ...], Field(max_length=32)]
_NEVER_PUBLISHED = {"caller_id", "balance_wei", "spent_wei"}


class CallerPolicy(Contract):
    """One caller's limits. A list or limit that is absent does not restrict; one that is empty allows nothing."""

    caller_id: Annotated[str, Field(min_length=1, max_length=256)]
    """Leaves the router as a keyed hash only."""
    account_status: Annotated[str, Field(max_length=48)] | None = None
    """`active`; anything else, and nothing at all, is refused."""
    models_allowed: Models | None = None
    models_denied: Models = ()
    tiers: Tiers | None = None
    price_max_wei_per_mtok: Wei | None = None
    balance_wei: Wei = "0"
    spend_cap_wei: Wei | None = None
    spent_wei: Wei = "0"

    @property
    def digest(self) -> str:
        """SHA-256 of the policy without what identifies the account or tells its money."""
        return sha256_hex(canonical(self.model_dump(mode="json", exclude=_NEVER_PUBLISHED)))


class Request:
    """One call to be routed, its caller's policy made ready for checks. `tried`: keys whose dispatch failed already."""

    __slots__ = ("_balance", "_left", "_price_max", "_tiers", "caller", "est_tokens", "model", "refusal", "tried")

    def __init__(self, model: str, caller: CallerPolicy, est_tokens: int = 0, tried: Set[str] = frozenset()) -> None:
        self.model, self.caller, self.est_tokens, self.tried = model, caller, est_tokens, tried
        self._balance = int(caller.balance_wei)
        self._left = None if caller.spend_cap_wei is None else int(caller.spend_cap_wei) - int(caller.spent_wei)
        limit = caller.price_max_wei_per_mtok
        self._price_max = None if limit is None else int(limit)
        self._tiers = None if caller.tiers is None else frozenset(caller.tiers)
        self.refusal = self._account()
        """Why this caller is refused whoever would serve it; None if it is not."""

    def check(self, candidate: Candidate) -> RouteRefusal | None:
        """Why this caller may not have this candidate: the first rule that fails, in the order of the codes."""
        if self.refusal is not None:
            return self.refusal
        return self._money(self._cost(candidate)) or self._terms(candidate)

    def _account(self) -> RouteRefusal | None:
        if self.caller.account_status != ACTIVE:
            return RouteRefusal.UNAUTHORIZED
        if refusal := self._money(1):
            return refusal
        allowed = self.caller.models_allowed
        if self.model in self.caller.models_denied or (allowed is not None and self.model not in allowed):
            return RouteRefusal.SCOPE_DENIED
        return None

    def _money(self, cost_wei: int) -> RouteRefusal | None:
        if cost_wei > self._balance:
            return RouteRefusal.INSUFFICIENT_BALANCE
        if self._left is not None and cost_wei > self._left:
            return RouteRefusal.SPEND_CAP_EXCEEDED
        return None

    def _cost(self, candidate: Candidate) -> int:
        """Of the estimated tokens, rounded up."""
        return -(-candidate.price_wei * self.est_tokens // TOKENS_PER_PRICE)

    def _terms(self, candidate: Candidate) -> RouteRefusal | None:
        if self._tiers is not None and candidate.route_tier not in self._tiers:
            return RouteRefusal.TIER_NOT_ALLOWED
        if self._price_max is not None and candidate.price_wei > self._price_max:
            return RouteRefusal.PRICE_ABOVE_MAX
        return RouteRefusal.ROUTER_DISPATCH_FAILED if candidate.key in self.tried else None
