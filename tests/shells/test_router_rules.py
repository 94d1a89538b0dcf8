"""The rule by which a call is allowed or refused: D1 to D4 at their exact boundaries, and every code of the router."""

from collections.abc import Callable
from typing import Any

import pytest

from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.ids import INT_MAX
from b3iq_streams.router.request import CallerPolicy, Request
from tests.chainlab import SKEW_MS, ChainLab, decision
from tests.factory import T0, policy_event, public
from tests.shells.router_lab import BOUND_MS, RouterLab, request

R = RouteRefusal
NODE = "node-1/p0"


def ready(**changes: Any) -> RouterLab:
    """A synced view of one partition: policy 1, one eligible profile, head resolved at T0 under revision 1."""
    lab = RouterLab()
    lab.policy()
    lab.chains[0].policy_revision = 1
    lab.chains[0].epoch(decision(NODE, **changes), at_ms=T0)
    lab.boot()
    return lab


def test_a_candidate_is_granted_with_what_the_caller_needs_to_know() -> None:
    """The answer names node, profile, model, tier and price."""
    chosen = ready().pick(T0).candidate
    assert chosen is not None
    assert ("node-1", "p0", "network_beta", 250_000_000_000_000) == (
        chosen.node_id, chosen.profile_id, chosen.route_tier, chosen.price_wei,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("now_ms", "refusal"),
    [
        (T0 + BOUND_MS, None),
        (T0 + BOUND_MS + 1, R.PROCESSOR_LAG),
        (T0 - SKEW_MS, None),
        (T0 - SKEW_MS - 1, R.CLOCK_BEHIND),
    ],
)
def test_d1_bounds_the_age_of_the_head(now_ms: int, refusal: RouteRefusal | None) -> None:
    """`now` may be B after the head's resolved time and σ before it, to the millisecond."""
    assert refusal == ready().refusal(now_ms)


@pytest.mark.parametrize(
    ("valid_until_ms", "refusal"),
    [(T0 + SKEW_MS + 1, None), (T0 + SKEW_MS, R.GRANT_EXPIRED), (0, R.GRANT_EXPIRED), (INT_MAX, None)],
)
def test_d2_subtracts_the_skew_from_slow_evidence(valid_until_ms: int, refusal: RouteRefusal | None) -> None:
    """A grant needs now + σ < valid_until."""
    assert refusal == ready(valid_until_ms=valid_until_ms).refusal(T0)


@pytest.mark.parametrize(("logged_at_ms", "refusal"), [(T0 - 10_000, None), (T0 - 10_001, R.POLICY_LAG)])
@pytest.mark.parametrize("partition", [0, 3])
def test_d4_looks_at_every_partition_of_policies(logged_at_ms: int, refusal: RouteRefusal | None, partition: int) -> None:
    """A newer revision on any partition, logged before resolved_at − G, stops grants under an older one."""
    lab = ready()
    lab.policy(revision=2, at_ms=logged_at_ms, partition=partition)
    assert refusal == lab.refusal(T0)


def test_d4_ends_when_the_chain_follows() -> None:
    """A head under the newer revision may be acted on again."""
    lab = ready()
    lab.policy(revision=2, at_ms=T0 - 60_000)
    lab.chains[0].policy_revision = 2
    lab.chains[0].epoch(at_ms=T0 + 1)
    lab.feed()
    assert lab.refusal(T0 + 1) is None


def test_d1_drops_a_head_whose_key_the_newest_policy_dropped() -> None:
    """A processor key that a newer revision no longer lists grants nothing, however young that revision is."""
    lab = ready()
    roles = policy_event()["roles"] | {"processor": [public("other")]}
    lab.policy(revision=2, at_ms=T0, roles=roles)
    assert lab.refusal(T0) is R.PROCESSOR_KEY_REVOKED


def test_an_unsynced_view_grants_nothing() -> None:
    """Before the search has ended, and before the end offset it saw is reached, the answer is `view_not_synced`."""
    lab = RouterLab()
    lab.policy()
    lab.chains[0].epoch(decision(NODE), at_ms=T0)
    assert lab.refusal(T0) is R.VIEW_NOT_SYNCED
    lab.boot()
    assert lab.refusal(T0) is None


def test_searches_wait_for_the_policies() -> None:
    """Which marks may be believed depends on the newest policy, so nothing starts before those are read."""
    lab = RouterLab()
    assert not lab.view.wants_bootstrap(0)
    lab.view.policies_known()
    assert lab.view.wants_bootstrap(0)


def test_a_chain_without_epochs_is_lag() -> None:
    """A synced view of an empty log knows that no processor ever spoke."""
    lab = RouterLab()
    lab.boot()
    assert lab.refusal(T0) is R.PROCESSOR_LAG


def test_no_candidate() -> None:
    """Synced, in time, and nobody serves the model."""
    assert ready().refusal(T0, request(model="other")) is R.NO_HEALTHY_CANDIDATES


@pytest.mark.parametrize(
    "contradiction",
    [{"failing": [decision(NODE, False)["failing"][0]]}, {"gates": decision(NODE, False)["gates"]}, {"eligible": False}],
)
def test_a_decision_at_odds_with_itself_is_a_no(contradiction: dict[str, object]) -> None:
    """Eligible needs the word, no failing check, and five passed gates."""
    assert ready(**contradiction).refusal(T0) is R.NO_HEALTHY_CANDIDATES


PRICE = 250_000_000_000_000
CALLERS: list[tuple[Request, RouteRefusal | None]] = [
    (Request(decision()["model_id"], CallerPolicy(caller_id="c", balance_wei="1")), R.UNAUTHORIZED),
    (request(account_status="suspended"), R.UNAUTHORIZED),
    (request(account_status="Active"), R.UNAUTHORIZED),
    (request(account_status="a word of next year"), R.UNAUTHORIZED),
    (Request(decision()["model_id"], CallerPolicy(caller_id="c", account_status="active")), R.INSUFFICIENT_BALANCE),
    (request(balance_wei="1"), None),
    (request(balance_wei=str(PRICE), est_tokens=1_000_000), None),
    (request(balance_wei=str(PRICE - 1), est_tokens=1_000_000), R.INSUFFICIENT_BALANCE),
    (request(spend_cap_wei="10", spent_wei="10"), R.SPEND_CAP_EXCEEDED),
    (request(spend_cap_wei="10", spent_wei="9"), None),
    (request(spend_cap_wei="0"), R.SPEND_CAP_EXCEEDED),
    (request(spend_cap_wei=str(PRICE + 5), spent_wei="5", est_tokens=1_000_000), None),
    (request(spend_cap_wei=str(PRICE + 5), spent_wei="6", est_tokens=1_000_000), R.SPEND_CAP_EXCEEDED),
    (request(models_denied=(decision()["model_id"],)), R.SCOPE_DENIED),
    (request(models_allowed=()), R.SCOPE_DENIED),
    (request(models_allowed=("other",)), R.SCOPE_DENIED),
    (request(models_allowed=(decision()["model_id"],)), None),
    (request(models_allowed=(decision()["model_id"],), models_denied=(decision()["model_id"],)), R.SCOPE_DENIED),
    (request(tiers=()), R.TIER_NOT_ALLOWED),
    (request(tiers=("portable_local",)), R.TIER_NOT_ALLOWED),
    (request(tiers=("network_beta",)), None),
    (request(price_max_wei_per_mtok=str(PRICE)), None),
    (request(price_max_wei_per_mtok=str(PRICE - 1)), R.PRICE_ABOVE_MAX),
    (request(tried=frozenset({NODE})), R.ROUTER_DISPATCH_FAILED),
    (request(account_status=None, models_allowed=(), tiers=()), R.UNAUTHORIZED),
    (request(balance_wei="0", models_allowed=()), R.INSUFFICIENT_BALANCE),
    (request(tiers=(), price_max_wei_per_mtok="0"), R.TIER_NOT_ALLOWED),
]


@pytest.mark.parametrize(("wanted", "refusal"), CALLERS)
def test_d3_checks_the_caller(wanted: Request, refusal: RouteRefusal | None) -> None:
    """Account, money, models, tiers, price, in this order; the first that fails names the answer."""
    assert refusal == ready().refusal(T0, wanted)


def test_every_code_of_the_router_is_an_answer_here() -> None:
    """No code of the contract is left without a case in this file."""
    elsewhere = {
        R.VIEW_NOT_SYNCED, R.PROCESSOR_KEY_REVOKED, R.PROCESSOR_LAG, R.CLOCK_BEHIND, R.POLICY_LAG, R.GRANT_EXPIRED,
        R.NO_HEALTHY_CANDIDATES,
    }  # fmt: skip
    assert set(RouteRefusal) == elsewhere | {refusal for _, refusal in CALLERS if refusal}


def two(first: Callable[[ChainLab], object], second: Callable[[ChainLab], object]) -> RouterLab:
    """A view of two partitions, each chain written by its function."""
    lab = RouterLab(2)
    lab.policy()
    for chain, write in zip(lab.chains, (first, second), strict=True):
        chain.policy_revision = 1
        write(chain)
    lab.boot()
    return lab


def fresh(*decisions: dict[str, object]) -> Callable[[ChainLab], object]:
    """A head that may be acted on at T0."""
    return lambda chain: chain.epoch(*decisions, at_ms=T0)


def lagging(*decisions: dict[str, object]) -> Callable[[ChainLab], object]:
    """A head that is too old at T0."""
    return lambda chain: chain.epoch(*decisions, at_ms=T0 - BOUND_MS - 1)


DEAR = decision("node-2/p0", price_wei_per_mtok="900")
MIXED = [
    ("a usable grant wins over partitions in doubt", fresh(decision(NODE)), lagging(), request(), None),
    ("a lagging partition's candidates are skipped",
     fresh(DEAR), lagging(decision(NODE, price_wei_per_mtok="1")), request(), None),
    ("nothing found, one partition lags", fresh(), lagging(), request(), R.PROCESSOR_LAG),
    ("expired here, unknown there", fresh(decision(NODE, valid_until_ms=1)), lagging(), request(), R.PROCESSOR_LAG),
    ("the account is refused whoever serves", fresh(decision(NODE)), lagging(), request(account_status=None), R.UNAUTHORIZED),
    ("too dear here, unknown there", fresh(DEAR), lagging(), request(price_max_wei_per_mtok="1"), R.PROCESSOR_LAG),
    ("no supply and a refused account", fresh(), fresh(), request(account_status=None), R.NO_HEALTHY_CANDIDATES),
    ("lag comes before an unknown future",
     lagging(), lambda chain: chain.epoch(at_ms=T0 + SKEW_MS + 1), request(), R.PROCESSOR_LAG),
    ("one is dear, one of a wrong tier: the one that got furthest", fresh(DEAR),
     fresh(decision(NODE, route_tier="portable_local")), request(price_max_wei_per_mtok="1", tiers=("network_beta",)),
     R.PRICE_ABOVE_MAX),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "wanted", "refusal"), [case[1:] for case in MIXED], ids=[case[0] for case in MIXED])
def test_partitions_in_different_states(
    first: Callable[[ChainLab], object],
    second: Callable[[ChainLab], object],
    wanted: Request,
    refusal: RouteRefusal | None,
) -> None:
    """Any usable grant is used; without one, doubt about a partition comes before a claim about all supply."""
    assert refusal == two(first, second).refusal(T0, wanted)


def test_ranking() -> None:
    """Cheapest first, then fastest, then by a hash that never changes; a tie is no accident of arrival."""
    offers = [("node-a/p0", "2", 9), ("node-b/p0", "1", 1), ("node-c/p0", "1", 5), ("node-d/p0", "10", 99), ("node-e/p0", "1", 5)]
    made = [decision(n, price_wei_per_mtok=price, throughput_mtok_per_s=speed) for n, price, speed in offers]
    orders = []
    for decisions in (made, made[::-1]):
        lab = RouterLab()
        lab.chains[0].epoch(*decisions, at_ms=T0)
        lab.boot()
        orders.append([candidate.node_id for candidate, _ in lab.view.candidates(request(), T0, T0)])
    assert orders[0] == orders[1]
    assert ["node-b", "node-a", "node-d"] == orders[0][2:]
    assert {"node-c", "node-e"} == set(orders[0][:2])


def test_candidates_say_why_not() -> None:
    """Each candidate comes with the first rule that it fails."""
    lab = two(fresh(decision(NODE, valid_until_ms=1), decision("node-2/p0")), lagging(decision("node-3/p0")))
    reasons = {candidate.key: code for candidate, code in lab.view.candidates(request(), T0, T0)}
    assert {NODE: R.GRANT_EXPIRED, "node-2/p0": None, "node-3/p0": R.PROCESSOR_LAG} == reasons
