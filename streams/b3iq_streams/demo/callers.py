"""Who makes paid calls in the demo: one row per caller, with what comes of its calls while supply is healthy.

The same seed gives the same calls. Routes nothing.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.router.request import ACTIVE, CallerPolicy, Request

ALLOWED = "allowed"
UNKNOWN_MODEL = "no-such-model.gguf"
RICH_WEI = str(10**24)
CAP_WEI = 10**18
CRUMB_WEI = 10**6
"""Less than the shortest call costs at the fleet's prices."""
TOKENS = (200, 4_000)


class Caller(NamedTuple):
    """A caller and how often it calls. `code` = what its calls come to; `asks` = the one model it wants, None: any."""

    policy: CallerPolicy
    weight: int
    code: str
    asks: str | None = None


def callers(models: Sequence[str]) -> tuple[Caller, ...]:
    """Every caller of a market with these models."""
    first, second = models[0], models[-1]
    return (
        _caller("studio", 9, ALLOWED),
        _caller("chatbot", 5, ALLOWED, asks=first, models_allowed=(first,)),
        _caller("batch", 4, ALLOWED, tiers=("network_beta", "portable_local"), spend_cap_wei=RICH_WEI),
        _caller("choosy", 1, RouteRefusal.SCOPE_DENIED, asks=second, models_denied=(second,)),
        _caller("poor", 1, RouteRefusal.INSUFFICIENT_BALANCE, balance_wei=str(CRUMB_WEI)),
        _caller("capped", 1, RouteRefusal.SPEND_CAP_EXCEEDED, spend_cap_wei=str(CAP_WEI), spent_wei=str(CAP_WEI - CRUMB_WEI)),
        _caller("suspended", 1, RouteRefusal.UNAUTHORIZED, account_status="suspended"),
        _caller("lost", 1, RouteRefusal.NO_HEALTHY_CANDIDATES, asks=UNKNOWN_MODEL),
        _caller("thrifty", 1, RouteRefusal.PRICE_ABOVE_MAX, price_max_wei_per_mtok=str(CRUMB_WEI)),
        _caller("exclusive", 1, RouteRefusal.TIER_NOT_ALLOWED, tiers=("datacenter_optimized",)),
    )


def _caller(name: str, weight: int, code: str, asks: str | None = None, **limits: Any) -> Caller:
    account: dict[str, Any] = {"caller_id": name, "account_status": ACTIVE, "balance_wei": RICH_WEI}
    return Caller(CallerPolicy.model_validate(account | limits), weight, code, asks)


def calls(models: Sequence[str], seed: int) -> Iterator[Request]:
    """Paid calls without end. Drawn like cards from a shuffled deck: nobody waits longer than two decks."""
    rng = random.Random(seed)  # noqa: S311 (a simulation that must repeat, not a secret)
    deck = [caller for caller in callers(models) for _ in range(caller.weight)]
    while True:
        rng.shuffle(deck)
        for caller in deck:
            yield Request(caller.asks or rng.choice(models), caller.policy, rng.randint(*TOKENS))
