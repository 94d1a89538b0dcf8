"""The smallest set of facts that would have made a profile eligible: it does, nothing less does, and the log agrees."""

from collections.abc import Callable, Iterator
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.codes import Gate
from b3iq_streams.core import gates
from b3iq_streams.core.checks import Case, Found
from b3iq_streams.core.remedy import FACTS, Remedy, eligible, remedy
from b3iq_streams.core.remedy_ideals import ideal
from b3iq_streams.core.remedy_situation import ANY_MODEL, FOLDED, NODE_KEY, TIME, Edit, Situation, apply
from b3iq_streams.core.values import EMPTY_NODE
from tests import factory
from tests.core.histories import Draw, fold
from tests.core.retell import retell
from tests.core.test_gates import AT, ROWS, held_down, told, unlisted_key
from tests.core.world import World, rules_of
from tests.factory import T0

HEARTBEATS, ROUTES, REGISTRATIONS = topics.HEARTBEATS, topics.ROUTE_HEALTH, topics.REGISTRATIONS
LISTED = tuple(
    (HEARTBEATS, name)
    for name in (
        "model_id", "status", "runtime_kind", "runtime_reachable", "route_tier", "network_eligible", "benchmark_verified",
        "paid_route_eligible", "queue_health",
    )
)  # fmt: skip
"""What a heartbeat has to say of a profile that it did not list."""
BEGUN = ((HEARTBEATS, "state"), *LISTED)
ENROLLED = tuple((REGISTRATIONS, name) for name in ("enrolled", "registered", "active", "stake_wei", "keys"))
EXPECTED: dict[str, tuple[tuple[str, str], ...]] = {
    "enrolment_missing": (*BEGUN, *ENROLLED),
    "enrolment_incomplete": ((REGISTRATIONS, "enrolled"),),
    "node_equivocated": ((TIME, "wait_until_ms"),),
    "heartbeat_missing": BEGUN,
    "heartbeat_key_revoked": ((HEARTBEATS, "keyid"),),
    "heartbeat_stale": ((HEARTBEATS, "logged_at_ms"),),
    "node_offline": ((HEARTBEATS, "state"),),
    "node_draining": ((HEARTBEATS, "state"),),
    "node_state_unknown": ((HEARTBEATS, "state"),),
    "route_missing": ((ROUTES, "state"), (ROUTES, "public_inference_allowed")),
    "route_key_revoked": ((ROUTES, "keyid"),),
    "route_stale": ((ROUTES, "logged_at_ms"),),
    "route_unhealthy": ((ROUTES, "state"),),
    "route_withdrawn": ((ROUTES, "state"),),
    "route_state_unknown": ((ROUTES, "state"),),
    "public_inference_not_allowed": ((ROUTES, "public_inference_allowed"),),
    "registration_missing": (*BEGUN, *ENROLLED),
    "registration_key_revoked": ((REGISTRATIONS, "keyid"),),
    "registration_stale": ((REGISTRATIONS, "logged_at_ms"),),
    "protocol_not_registered": ((REGISTRATIONS, "registered"),),
    "protocol_not_active": ((REGISTRATIONS, "active"),),
    "protocol_stake_unsatisfied": ((REGISTRATIONS, "stake_wei"),),
    "profile_missing": LISTED,
    "runtime_unreachable": ((HEARTBEATS, "runtime_reachable"),),
    "runtime_missing": ((HEARTBEATS, "status"),),
    "profile_not_installed": ((HEARTBEATS, "status"),),
    "hardware_unsupported": ((HEARTBEATS, "status"),),
    "install_status_unknown": ((HEARTBEATS, "status"),),
    "operator_hold": ((topics.HOLDS, "held"),),
    "network_not_eligible": ((HEARTBEATS, "network_eligible"),),
    "paid_route_not_enabled": ((HEARTBEATS, "paid_route_eligible"),),
    "route_tier_blocked": ((HEARTBEATS, "route_tier"),),
    "route_tier_future": ((HEARTBEATS, "route_tier"),),
    "route_tier_unknown": ((HEARTBEATS, "route_tier"),),
    "runtime_kind_not_allowed": ((HEARTBEATS, "runtime_kind"),),
    "runtime_kind_unknown": ((HEARTBEATS, "runtime_kind"),),
    "queue_blocked": ((HEARTBEATS, "queue_health"),),
    "queue_unhealthy": ((HEARTBEATS, "queue_health"),),
    "queue_degraded": ((HEARTBEATS, "queue_health"),),
    "queue_health_unknown": ((HEARTBEATS, "queue_health"),),
    "model_benchmark_unverified": ((HEARTBEATS, "benchmark_verified"),),
    "observed_benchmark_missing": ((topics.BENCHMARKS, "model_id"), (topics.BENCHMARKS, "outcome")),
    "observed_benchmark_key_revoked": ((topics.BENCHMARKS, "keyid"),),
    "observed_benchmark_mismatch": ((topics.BENCHMARKS, "model_id"),),
    "observed_benchmark_failed": ((topics.BENCHMARKS, "outcome"),),
    "observed_benchmark_unknown": ((topics.BENCHMARKS, "outcome"),),
    "observed_benchmark_stale": ((topics.BENCHMARKS, "logged_at_ms"),),
    "hold_down": ((TIME, "wait_until_ms"),),
}  # fmt: skip


def situation(world: World, at_ms: int, profile_id: str = "p0") -> Situation:
    """Where node-1 stands."""
    return Situation("node-1", profile_id, world.node(), world.state.rules, at_ms)


def names(edits: tuple[Edit, ...] | None) -> tuple[tuple[str, str], ...]:
    """Facts and fields only."""
    assert edits is not None
    return tuple((edit.fact, edit.field) for edit in edits)


def without(edits: tuple[Edit, ...], fact: str) -> tuple[Edit, ...]:
    """All edits but those of one fact."""
    return tuple(edit for edit in edits if edit.fact != fact)


def ideals(case: Situation, chosen: tuple[str, ...]) -> Situation:
    """The situation in which each of these facts does all it can."""
    for fact in FOLDED:
        if fact in chosen:
            case = apply(case, ideal(fact, case))
    return case


def check(case: Situation, edits: tuple[Edit, ...]) -> None:
    """The edits make the profile eligible; without any one of them, or any set of facts, they do not."""
    assert eligible(apply(case, edits))
    for number in range(len(edits)):
        assert not eligible(apply(case, edits[:number] + edits[number + 1 :])), edits[number]
    facts = sorted({edit.fact for edit in edits})
    for size in range(len(facts)):
        for some in combinations(facts, size):
            assert not eligible(apply(case, tuple(edit for edit in edits if edit.fact in some))), some


@pytest.mark.parametrize("code", ROWS)
def test_each_leaf_has_its_remedy(code: str) -> None:
    """For every reason there is, the fields that would have to differ are exactly these."""
    row = ROWS[code]
    world = row.world()
    world.epoch(row.at_ms)
    found = remedy(situation(world, row.at_ms))
    assert EXPECTED[code] == names(found.edits)
    for edits in (found.edits, *found.alternatives):
        check(situation(world, row.at_ms), edits or ())


@pytest.mark.parametrize("code", ROWS)
def test_a_remedy_that_is_logged_and_folded_makes_the_profile_eligible(code: str) -> None:
    """The edits as signed records, admitted and folded, open the profile; with any one fact left out it stays closed."""
    row = ROWS[code]

    def folded(choose: Callable[[Remedy], tuple[Edit, ...]]) -> World:
        world = row.world()
        world.epoch(row.at_ms)
        retell(world, choose(remedy(situation(world, row.at_ms))), row.at_ms)
        return world

    def beside(number: int) -> Callable[[Remedy], tuple[Edit, ...]]:
        return lambda found: found.alternatives[number]

    def all_but(fact: str) -> Callable[[Remedy], tuple[Edit, ...]]:
        return lambda found: without(found.edits or (), fact)

    found = remedy(situation(folded(lambda _: ()), row.at_ms))
    assert found.edits
    mended = folded(lambda found: found.edits or ())
    assert ([], True) == (mended.refusals(), mended.eligible())
    assert all(folded(beside(number)).eligible() for number in range(len(found.alternatives)))
    assert not any(folded(all_but(edit.fact)).eligible() for edit in found.edits)


@given(st.randoms(use_true_random=False))
def test_in_any_history_the_remedy_suffices_and_nothing_less_does(rng: Random) -> None:
    """At any epoch of any history: applied, it is eligible; no part of it is; and no smaller set of facts can do."""
    for state, outcome in fold(Draw(rng).history(5)):
        for node_id, node in state.nodes.items():
            for profile_id, last in node.published.items():
                case = Situation(node_id, profile_id, node, state.rules, outcome.resolved_at_ms)
                found = remedy(case)
                assert last.eligible == (found.edits == ())
                assert found.edits is not None
                if found.edits:
                    smallest(case, found)


def smallest(case: Situation, found: Remedy) -> None:
    """No smaller set of facts works, policy is left alone where it can be, and the alternatives are no worse."""
    edits = found.edits or ()
    check(case, edits)
    chosen = {edit.fact for edit in edits}
    if topics.POLICIES in chosen:
        assert not eligible(ideals(case, FACTS[:-1]))
    facts = FACTS if topics.POLICIES in chosen else FACTS[:-1]
    for some in combinations(facts, len(chosen) - 1):
        assert not eligible(ideals(case, some)), some
    for other in found.alternatives:
        check(case, other)
        assert len({edit.fact for edit in other}) <= len(chosen)
        assert {edit.fact for edit in other} != chosen


TWO = (
    ({"route": {"state": "unhealthy"}, "beat": {"state": "offline"}}, ((HEARTBEATS, "state"), (ROUTES, "state"))),
    (
        {"registration": {"enrolled": False, "active": False}, "benchmark": {"outcome": "failed"}},
        ((REGISTRATIONS, "enrolled"), (REGISTRATIONS, "active"), (topics.BENCHMARKS, "outcome")),
    ),
    (
        {"profile": {"route_tier": "local_convenience", "runtime_kind": "ollama", "queue_health": "blocked"}},
        ((HEARTBEATS, "route_tier"), (HEARTBEATS, "queue_health")),
    ),
)


@pytest.mark.parametrize(("bend", "expected"), TWO)
def test_several_reasons_need_several_facts_and_no_more(bend: dict[str, Any], expected: tuple[tuple[str, str], ...]) -> None:
    """Reasons on one fact are mended by that fact, on several by each of them."""
    world = told(**bend)
    world.epoch(AT)
    assert expected == names(remedy(situation(world, AT)).edits)


def test_where_a_policy_could_help_as_well_it_is_told_beside() -> None:
    """The host's own fact comes first; the revision that would do as well is an alternative."""
    world = told(profile={"route_tier": "datacenter_optimized"})
    world.epoch(AT)
    found = remedy(situation(world, AT))
    assert (Edit(HEARTBEATS, "route_tier", "datacenter_optimized", "network_beta"),) == found.edits
    assert ((Edit(topics.POLICIES, "tiers.datacenter_optimized.paid", "future", "allowed"),),) == found.alternatives


def test_a_dropped_key_can_be_listed_again_instead() -> None:
    """A new heartbeat comes first; the registration that lists the old one's key would do as well, and keeps the new key."""
    world = unlisted_key()
    world.epoch(AT)
    found = remedy(situation(world, AT))
    assert ((HEARTBEATS, "keyid"),) == names(found.edits)
    (now,) = world.node().registration.keys  # type: ignore[union-attr]  # it has one
    old = world.node().beat.proof.keyid  # type: ignore[union-attr]  # the same
    assert ((Edit(REGISTRATIONS, "keys", [now], sorted([now, old])),),) == found.alternatives


def test_one_fact_is_preferred_to_two() -> None:
    """A heartbeat that is stale and by a dropped key is mended by one new heartbeat, not by a registration of its key as well."""
    world = unlisted_key()
    world.epoch(T0 + 40_000)
    found = remedy(situation(world, T0 + 40_000))
    assert (((HEARTBEATS, "keyid"), (HEARTBEATS, "logged_at_ms")), ()) == (names(found.edits), found.alternatives)


def test_two_facts_are_preferred_to_a_policy_that_would_do_alone() -> None:
    """Policy comes last even where it is the smaller set; beside, it is told once, and not again with what it does not need."""
    world = told(registration={"stake_wei": "999"}, profile={"route_tier": "datacenter_optimized"})
    world.epoch(AT)
    found = remedy(situation(world, AT))
    assert ((HEARTBEATS, "route_tier"), (REGISTRATIONS, "stake_wei")) == names(found.edits)
    (policy,) = found.alternatives
    assert ((topics.POLICIES, "stake_wei_min"), (topics.POLICIES, "tiers.datacenter_optimized.paid")) == names(policy)


ONLY_POLICY: dict[str, tuple[dict[str, Any], set[str]]] = {
    "no tier is open": ({"tiers": {"network_beta": {"paid": "future", "runtimes": ["vllm"]}}}, {"tiers.network_beta.paid"}),
    "no tier at all": ({"tiers": {}}, {"tiers.network_beta.paid", "tiers.network_beta.runtimes"}),
    "no runtime": ({"tiers": {"network_beta": {"paid": "allowed", "runtimes": []}}}, {"tiers.network_beta.runtimes"}),
    "no queue passes": ({"queue_states_passing": []}, {"queue_states_passing"}),
    **{f"no {ttl}": ({ttl: 0}, {ttl}) for ttl in ("heartbeat_ttl_ms", "route_health_ttl_ms", "registration_ttl_ms")},
    "no benchmark_ttl_ms": ({"benchmark_ttl_ms": 0}, {"benchmark_ttl_ms"}),
}


@pytest.mark.parametrize("why", ONLY_POLICY)
def test_where_only_policy_can_help_policy_is_changed(why: str) -> None:
    """A policy that lets nobody through is what has to differ, in the fields that keep them out."""
    policy, fields = ONLY_POLICY[why]
    world = told(policy=policy)
    world.epoch(AT)
    found = remedy(situation(world, AT))
    assert fields == {edit.field for edit in found.edits or () if edit.fact == topics.POLICIES}
    check(situation(world, AT), found.edits or ())
    retell(world, found.edits or (), AT)
    assert world.eligible()


@pytest.mark.parametrize(
    ("role", "topic"), [("broker", ROUTES), ("observer", topics.BENCHMARKS), ("control_plane", REGISTRATIONS)]
)
def test_a_role_without_keys_needs_a_policy(role: str, topic: str) -> None:
    """Nobody can vouch for anything while a role names no key: the revision must name one, and the fact be told again."""
    world = told()
    world.epoch(T0 + 100)
    world.policy(T0 + 500, revision=2, roles=factory.policy_event()["roles"] | {role: []})
    world.epoch(AT)
    found = remedy(situation(world, AT))
    assert ((topic, "keyid"), (topics.POLICIES, f"roles.{role}")) == names(found.edits)
    check(situation(world, AT), found.edits or ())


def test_waiting_is_told_with_the_fact_that_is_needed_beside() -> None:
    """A profile held down whose route is gone needs the route and the time, and the time is when the hold-down ends."""
    world = held_down()
    world.route(T0 + 800, state="withdrawn")
    world.epoch(AT)
    found = remedy(situation(world, AT))
    until_ms = world.node().published["p0"].held_down_until_ms
    assert (Edit(ROUTES, "state", "withdrawn", "healthy"), Edit(TIME, "wait_until_ms", AT, until_ms)) == found.edits
    retell(world, found.edits, AT)
    assert world.eligible()


def test_an_eligible_profile_needs_nothing() -> None:
    """There is nothing to mend."""
    world = told()
    world.epoch(AT)
    assert Remedy(()) == remedy(situation(world, AT))


def test_of_nobody_everything_is_needed() -> None:
    """An unknown node needs every fact; before there is a policy it needs that too. What cannot be known is a stand-in."""
    case = Situation("node-9", "p0", EMPTY_NODE, rules_of(), AT)
    found = remedy(case)
    assert (*BEGUN, (ROUTES, "state"), (ROUTES, "public_inference_allowed"), *ENROLLED) == names(found.edits)[:-2]
    assert {ANY_MODEL} == {edit.after for edit in found.edits or () if edit.field == "model_id"}
    assert [[NODE_KEY]] == [edit.after for edit in found.edits or () if edit.field == "keys"]
    check(case, found.edits or ())
    lawless = case._replace(rules=None)
    assert (topics.POLICIES, "revision") == names(remedy(lawless).edits)[-1]
    check(lawless, remedy(lawless).edits or ())


@pytest.mark.parametrize("gate", Gate)
def test_a_broken_check_has_no_remedy(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no fact can mend is said to have no remedy; nothing is invented."""

    def broken(case: Case) -> Found | None:
        raise ZeroDivisionError

    monkeypatch.setattr(gates, "PROFILE_CHECKS", (*gates.PROFILE_CHECKS, (gate, broken)))
    world = told()
    world.epoch(AT)
    assert Remedy(None) == remedy(situation(world, AT))


def test_other_profiles_of_the_node_do_not_matter() -> None:
    """A remedy is for one profile: what is wrong with another neither helps nor hinders."""
    listed = [factory.profile("p0", queue_health="blocked"), factory.profile("p1", status="runtime_missing")]
    world = told(beat={"profiles": listed})
    world.epoch(AT)
    assert ((HEARTBEATS, "queue_health"),) == names(remedy(situation(world, AT)).edits)
    expected = ((HEARTBEATS, "status"), (topics.BENCHMARKS, "model_id"), (topics.BENCHMARKS, "outcome"))
    assert expected == names(remedy(situation(world, AT, "p1")).edits)


def histories() -> Iterator[Situation]:
    """Some situations of some histories, the same in every run."""
    for seed in range(6):
        for state, outcome in fold(Draw(Random(seed)).history(6)):
            for node_id, node in state.nodes.items():
                for profile_id in node.published:
                    yield Situation(node_id, profile_id, node, state.rules, outcome.resolved_at_ms)


def test_no_state_is_touched() -> None:
    """Hypotheses are made of copies: what is known is afterwards what it was."""
    for case in histories():
        before = repr(case)
        first = remedy(case)
        assert before == repr(case)
        assert first == remedy(case)
