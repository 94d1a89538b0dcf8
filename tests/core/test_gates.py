"""Every leaf of every gate, reached by a concrete world; the tables of tiers, runtimes and unknown words."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
import pytest

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES, CheckState, Gate
from b3iq_schemas.eligibility import Decision as DecisionModel
from b3iq_streams.core import gates
from b3iq_streams.core.checks import Case, Found
from b3iq_streams.core.decide import decide
from tests import factory
from tests.core.world import KEY, World, codes, leaf, ready_world
from tests.factory import T0

AT = T0 + 1_000
REGISTERED, BENCHED, ROUTED, BEATEN = T0 + 1, T0 + 2, T0 + 3, T0 + 4
"""When each fact of `told` is logged: all different, so that a wrong `since` shows."""

Changes = Mapping[str, Any]


def told(
    *,
    policy: Changes | None = None,
    registration: Changes | None = None,
    benchmark: Changes | None = None,
    route: Changes | None = None,
    beat: Changes | None = None,
    profile: Changes | None = None,
    skip: tuple[str, ...] = (),
) -> World:
    """A world in which everything was said, bent as told, and nothing folded yet."""
    world = World()
    world.policy(**(policy or {}))
    if topics.REGISTRATIONS not in skip:
        world.registration(REGISTERED, **(registration or {}))
    if topics.BENCHMARKS not in skip:
        world.benchmark(BENCHED, **(benchmark or {}))
    if topics.ROUTE_HEALTH not in skip:
        world.route(ROUTED, **(route or {}))
    if topics.HEARTBEATS not in skip:
        world.beat(1, BEATEN, **({"profiles": [factory.profile(**(profile or {}))]} | dict(beat or {})))
    return world


def rekeyed(role: str) -> World:
    """A folded world in which a second policy revision then names another key for the role."""
    world = told()
    world.epoch(T0 + 100)
    roles = factory.policy_event()["roles"] | {role: [factory.public("successor")]}
    world.policy(T0 + 500, revision=2, roles=roles)
    return world


def equivocating() -> World:
    """A node that says two things under one number."""
    world = told()
    world.beat(1, T0 + 500, state="draining")
    return world


def unlisted_key() -> World:
    """A node whose heartbeat key is dropped by its next registration."""
    world = told()
    world.epoch(T0 + 100)
    world.registration(T0 + 500, keys=[factory.node_key("node-1", "successor")])
    return world


def held() -> World:
    """A node that an operator paused."""
    world = told()
    world.hold(T0 + 500)
    return world


def another_model() -> World:
    """A node whose next benchmark is of another model."""
    world = told()
    world.benchmark(T0 + 500, model_id="another-model")
    return world


def held_down() -> World:
    """A node that lost eligibility once, where policy holds down for that, and is well again."""
    world = told(policy={"hold_down": {"flips_max": 1, "window_ms": 10_000, "hold_ms": 60_000}})
    world.epoch(T0 + 100)
    world.route(T0 + 500, state="unhealthy")
    world.epoch(T0 + 600)
    world.route(T0 + 700)
    return world


def silent_node() -> World:
    """A node whose route is still vouched for, but not its heartbeat."""
    return told()


def silent_broker() -> World:
    """A node that still beats while its broker is silent."""
    world = told()
    world.beat(2, T0 + 45_000)
    return world


class Row(NamedTuple):
    """A world, all codes it must give in order, the gates that do not pass, and since when the row's own code holds."""

    world: Callable[[], World]
    codes: tuple[str, ...]
    gates: dict[str, str]
    since_ms: int
    at_ms: int = AT


def bent(code: str, gate: str, state: str, since_ms: int, **changes: Any) -> Row:
    """A row for one code alone."""
    return Row(lambda: told(**changes), (code,), {gate: state}, since_ms)


def claims(code: str, gate: str, state: str, **profile: Any) -> Row:
    """A row for one code alone that comes from the host's claims."""
    return bent(code, gate, state, BEATEN, profile=profile)


UNREGISTERED = Row(
    lambda: told(skip=(topics.REGISTRATIONS,)),
    ("enrolment_missing", "heartbeat_missing", "registration_missing", "profile_missing"),
    {"node": "unknown", "protocol": "unknown", "runtime": "unknown"},
    AT,
)

ROWS: dict[str, Row] = {
    "enrolment_missing": UNREGISTERED,
    "enrolment_incomplete": bent("enrolment_incomplete", "node", "fail", REGISTERED, registration={"enrolled": False}),
    "node_equivocated": Row(equivocating, ("node_equivocated",), {"node": "fail"}, T0 + 500),
    "heartbeat_missing": Row(
        lambda: told(skip=(topics.HEARTBEATS,)),
        ("heartbeat_missing", "profile_missing"),
        {"node": "unknown", "runtime": "unknown"},
        AT,
    ),
    "heartbeat_key_revoked": Row(unlisted_key, ("heartbeat_key_revoked",), {"node": "fail"}, T0 + 500),
    "heartbeat_stale": Row(silent_node, ("heartbeat_stale",), {"node": "fail"}, BEATEN + 30_000, T0 + 30_050),
    "node_offline": bent("node_offline", "node", "fail", BEATEN, beat={"state": "offline"}),
    "node_draining": bent("node_draining", "node", "fail", BEATEN, beat={"state": "draining"}),
    "node_state_unknown": bent("node_state_unknown", "node", "unknown", BEATEN, beat={"state": "dreaming"}),
    "route_missing": bent("route_missing", "route", "unknown", AT, skip=(topics.ROUTE_HEALTH,)),
    "route_key_revoked": Row(lambda: rekeyed("broker"), ("route_key_revoked",), {"route": "fail"}, T0 + 500),
    "route_stale": Row(silent_broker, ("route_stale",), {"route": "fail"}, ROUTED + 60_000, T0 + 60_050),
    "route_unhealthy": bent("route_unhealthy", "route", "fail", ROUTED, route={"state": "unhealthy"}),
    "route_withdrawn": bent("route_withdrawn", "route", "fail", ROUTED, route={"state": "withdrawn"}),
    "route_state_unknown": bent("route_state_unknown", "route", "unknown", ROUTED, route={"state": "flapping"}),
    "public_inference_not_allowed": bent(
        "public_inference_not_allowed", "route", "fail", ROUTED, route={"public_inference_allowed": False}
    ),
    "registration_missing": UNREGISTERED,
    "registration_key_revoked": Row(
        lambda: rekeyed("control_plane"), ("registration_key_revoked",), {"protocol": "fail"}, T0 + 500
    ),
    "registration_stale": Row(
        lambda: told(policy={"registration_ttl_ms": 5_000}),
        ("registration_stale",),
        {"protocol": "fail"},
        REGISTERED + 5_000,
        T0 + 6_000,
    ),
    "protocol_not_registered": bent(
        "protocol_not_registered", "protocol", "fail", REGISTERED, registration={"registered": False}
    ),
    "protocol_not_active": bent("protocol_not_active", "protocol", "fail", REGISTERED, registration={"active": False}),
    "protocol_stake_unsatisfied": bent(
        "protocol_stake_unsatisfied", "protocol", "fail", REGISTERED, registration={"stake_wei": "999"}
    ),
    "profile_missing": bent("profile_missing", "runtime", "unknown", BEATEN, beat={"profiles": []}),
    "runtime_unreachable": claims("runtime_unreachable", "runtime", "fail", runtime_reachable=False),
    "runtime_missing": claims("runtime_missing", "runtime", "fail", status="runtime_missing"),
    "profile_not_installed": claims("profile_not_installed", "runtime", "fail", status="ready_to_install"),
    "hardware_unsupported": claims("hardware_unsupported", "runtime", "fail", status="hardware_unsupported"),
    "install_status_unknown": claims("install_status_unknown", "runtime", "unknown", status="half_installed"),
    "operator_hold": Row(held, ("operator_hold",), {"policy": "fail"}, T0 + 500),
    "network_not_eligible": claims("network_not_eligible", "policy", "fail", network_eligible=False),
    "paid_route_not_enabled": claims("paid_route_not_enabled", "policy", "fail", paid_route_eligible=False),
    "route_tier_blocked": claims("route_tier_blocked", "policy", "fail", route_tier="local_convenience"),
    "route_tier_future": claims("route_tier_future", "policy", "fail", route_tier="datacenter_optimized"),
    "route_tier_unknown": claims("route_tier_unknown", "policy", "unknown", route_tier="unknown"),
    "runtime_kind_not_allowed": claims("runtime_kind_not_allowed", "policy", "fail", runtime_kind="ollama"),
    "runtime_kind_unknown": claims("runtime_kind_unknown", "policy", "unknown", runtime_kind="abacus"),
    "queue_blocked": claims("queue_blocked", "policy", "fail", queue_health="blocked"),
    "queue_unhealthy": claims("queue_unhealthy", "policy", "fail", queue_health="unhealthy"),
    "queue_degraded": bent(
        "queue_degraded", "policy", "fail", BEATEN,
        policy={"queue_states_passing": ["healthy"]}, profile={"queue_health": "degraded"},
    ),
    "queue_health_unknown": claims("queue_health_unknown", "policy", "unknown", queue_health="tidal"),
    "model_benchmark_unverified": claims("model_benchmark_unverified", "policy", "fail", benchmark_verified=False),
    "observed_benchmark_missing": bent(
        "observed_benchmark_missing", "policy", "unknown", AT, skip=(topics.BENCHMARKS,)
    ),
    "observed_benchmark_key_revoked": Row(
        lambda: rekeyed("observer"), ("observed_benchmark_key_revoked",), {"policy": "fail"}, T0 + 500
    ),
    "observed_benchmark_mismatch": Row(
        another_model, ("observed_benchmark_mismatch",), {"policy": "fail"}, T0 + 500
    ),
    "observed_benchmark_failed": bent(
        "observed_benchmark_failed", "policy", "fail", BENCHED, benchmark={"outcome": "failed"}
    ),
    "observed_benchmark_unknown": bent(
        "observed_benchmark_unknown", "policy", "unknown", BENCHED, benchmark={"outcome": "inconclusive"}
    ),
    "observed_benchmark_stale": Row(
        lambda: told(policy={"benchmark_ttl_ms": 5_000}),
        ("observed_benchmark_stale",),
        {"policy": "fail"},
        BENCHED + 5_000,
        T0 + 6_000,
    ),
    "hold_down": Row(held_down, ("hold_down",), {"policy": "fail"}, T0 + 600),
}  # fmt: skip
CHECK_ERRORS = tuple(f"{gate.value}_check_error" for gate in Gate)
APART = {"policy_missing", *CHECK_ERRORS}
"""Reached in tests of their own: no node is admitted without a policy, and no check breaks by itself."""


def gates_of(not_passing: Mapping[str, str]) -> dict[str, str]:
    """All five gates, those not named passing."""
    return {gate.value: not_passing.get(gate.value, "pass") for gate in Gate}


def test_the_table_covers_every_leaf_exactly() -> None:
    """A leaf added to or removed from the contract must be added to or removed from these tests."""
    assert set(ROWS) | APART == set(LEAVES)
    assert not set(ROWS) & APART


def test_the_world_of_these_tables_is_eligible_when_nothing_is_bent() -> None:
    """What the rows find is due to what they bend and to nothing else."""
    world = told()
    world.epoch(AT)
    assert codes(world.view[KEY]) == []
    assert world.eligible()


@pytest.mark.parametrize("code", ROWS)
def test_leaf_is_reached(code: str) -> None:
    """Each leaf blocks with its code alone or in its company, its gate's state, and since when the cause was logged."""
    row = ROWS[code]
    world = row.world()
    world.epoch(row.at_ms)
    decision = world.view[KEY]
    assert codes(decision) == list(row.codes)
    assert decision["gates"] == gates_of(row.gates)
    assert decision["eligible"] is False
    assert decision["valid_until_ms"] == 0
    found = leaf(decision, code)
    assert found["gate"] == LEAVES[code].gate.value
    assert found["since_ms"] == row.since_ms
    assert found["observed"]
    assert found["required"]
    DecisionModel.model_validate_json(orjson.dumps(decision))


@pytest.mark.parametrize("code", ROWS)
def test_leaf_is_stable_and_its_since_is_carried_over(code: str) -> None:
    """Idle epochs publish nothing about a failing leaf, and a later change for another reason repeats it word for word."""
    row = ROWS[code]
    world = row.world()
    world.epoch(row.at_ms)
    before = leaf(world.view[KEY], code)
    assert world.epoch(row.at_ms + 1).changes == ()
    assert world.epoch(row.at_ms + 400).changes == ()
    if code == "operator_hold":
        world.route(row.at_ms + 500, state="unhealthy")
    else:
        world.hold(row.at_ms + 500)
    assert [change.key for change in world.epoch(row.at_ms + 600).changes] == [KEY]
    assert leaf(world.view[KEY], code) == before


@pytest.mark.parametrize("code", ROWS)
def test_leaf_goes_when_its_cause_goes(code: str) -> None:
    """Every leaf can be cured: sound facts under a sound policy make the profile eligible again (the hold-down: in time)."""
    row = ROWS[code]
    world = row.world()
    world.epoch(row.at_ms)
    at_ms = row.at_ms + 700_000
    world.policy(at_ms, revision=9, sent_at_ms=at_ms)
    world.registration(at_ms)
    world.benchmark(at_ms)
    world.route(at_ms)
    world.hold(at_ms, held=False)
    world.beat(9, at_ms)
    world.epoch(at_ms + 1)
    assert codes(world.view[KEY]) == []
    assert world.eligible()


def test_without_a_policy_everything_is_blocked_with_its_code() -> None:
    """Sound evidence without any policy to judge it by is `policy_missing`, unknown, and never eligible."""
    node = ready_world().node()
    judged, changes = decide("node-1", node._replace(published={}), None, AT)
    decision = orjson.loads(changes[0].decision)
    assert codes(decision) == ["policy_missing"]
    assert decision["gates"] == gates_of({"policy": "unknown"})
    assert decision["policy_revision"] == 0
    assert leaf(decision, "policy_missing")["since_ms"] == AT
    assert decide("node-1", judged, None, AT + 5) == (judged, [])


def broken(case: Case) -> Found | None:
    raise ZeroDivisionError(case.at_ms)


def plant(monkeypatch: pytest.MonkeyPatch, gate: str) -> None:
    """Replace the first check of the gate by one that breaks."""
    for table in ("NODE_CHECKS", "PROFILE_CHECKS"):
        checks = list(getattr(gates, table))
        places = [i for i, (owner, _) in enumerate(checks) if owner == gate]
        if places:
            checks[places[0]] = (Gate(gate), broken)
            monkeypatch.setattr(gates, table, tuple(checks))


@pytest.mark.parametrize("code", CHECK_ERRORS)
def test_a_check_that_breaks_blocks_with_its_gates_code(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a check is unknown and a "no" for the profile; the fold goes on, and later epochs say the same."""
    gate = code.removesuffix("_check_error")
    plant(monkeypatch, gate)
    world = told()
    world.epoch(AT)
    decision = world.view[KEY]
    assert codes(decision) == [code]
    assert decision["gates"] == gates_of({gate: "unknown"})
    assert not decision["eligible"]
    before = leaf(decision, code)
    assert before["since_ms"] == AT
    assert world.epoch(AT + 10).changes == ()
    world.hold(AT + 20)
    world.epoch(AT + 30)
    assert leaf(world.view[KEY], code) == before


@pytest.mark.parametrize("place", range(len(gates.NODE_CHECKS) + len(gates.PROFILE_CHECKS)))
def test_whichever_check_breaks_the_profile_is_blocked(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no check whose failure to answer lets a profile through, be it eligible before or not."""
    world = told()
    world.epoch(T0 + 100)
    assert world.eligible()
    table, at = ("NODE_CHECKS", place) if place < len(gates.NODE_CHECKS) else ("PROFILE_CHECKS", place - len(gates.NODE_CHECKS))
    checks = list(getattr(gates, table))
    checks[at] = (checks[at][0], broken)
    monkeypatch.setattr(gates, table, tuple(checks))
    world.route(T0 + 200)
    world.epoch(AT)
    assert codes(world.view[KEY]) == [f"{checks[at][0].value}_check_error"]


def test_simultaneous_failures_are_all_listed_in_the_order_of_explanation() -> None:
    """Nothing hides behind another failure: all are told at once, gate by gate, each with its own since."""
    world = told(
        policy={"queue_states_passing": ["healthy"]},
        registration={"enrolled": False, "registered": False, "active": False, "stake_wei": "0"},
        benchmark={"outcome": "failed"},
        route={"state": "withdrawn", "public_inference_allowed": False},
        beat={"state": "draining"},
        profile={
            "status": "ready_to_install", "runtime_reachable": False, "route_tier": "network_beta", "runtime_kind": "ollama",
            "network_eligible": False, "benchmark_verified": False, "paid_route_eligible": False, "queue_health": "degraded",
        },
    )  # fmt: skip
    world.hold(T0 + 500)
    world.epoch(AT)
    decision = world.view[KEY]
    assert codes(decision) == [
        "enrolment_incomplete", "node_draining",
        "route_withdrawn", "public_inference_not_allowed",
        "protocol_not_registered", "protocol_not_active", "protocol_stake_unsatisfied",
        "runtime_unreachable", "profile_not_installed",
        "operator_hold", "network_not_eligible", "paid_route_not_enabled", "runtime_kind_not_allowed", "queue_degraded",
        "model_benchmark_unverified", "observed_benchmark_failed",
    ]  # fmt: skip
    assert set(decision["gates"].values()) == {"fail"}
    order = [gate.value for gate in Gate]
    places = [order.index(found["gate"]) for found in decision["failing"]]
    assert places == sorted(places)


def test_a_failing_check_outweighs_an_unknown_one_in_its_gate() -> None:
    """A gate is unknown only while nothing in it is known to fail, whichever comes first."""
    world = told(route={"state": "flapping", "public_inference_allowed": False})
    world.epoch(AT)
    assert codes(world.view[KEY]) == ["route_state_unknown", "public_inference_not_allowed"]
    assert world.view[KEY]["gates"]["route"] == "fail"
    world = told(registration={"enrolled": False}, beat={"state": "dreaming"})
    world.epoch(AT)
    assert codes(world.view[KEY]) == ["enrolment_incomplete", "node_state_unknown"]
    assert world.view[KEY]["gates"]["node"] == "fail"


UNKNOWN_WORDS = ("dreaming", "0", "_", "pass", "true", "onlin", "online_", "z" * 48)
FIELDS: dict[str, tuple[str, Callable[[str], World]]] = {
    "node state": ("node_state_unknown", lambda word: told(beat={"state": word})),
    "route state": ("route_state_unknown", lambda word: told(route={"state": word})),
    "profile status": ("install_status_unknown", lambda word: told(profile={"status": word})),
    "runtime kind": ("runtime_kind_unknown", lambda word: told(profile={"runtime_kind": word})),
    "route tier": ("route_tier_unknown", lambda word: told(profile={"route_tier": word})),
    "queue health": ("queue_health_unknown", lambda word: told(profile={"queue_health": word})),
    "benchmark outcome": ("observed_benchmark_unknown", lambda word: told(benchmark={"outcome": word})),
}


@pytest.mark.parametrize("word", UNKNOWN_WORDS)
@pytest.mark.parametrize("field", FIELDS)
def test_a_word_nobody_knows_blocks_with_its_fields_code(field: str, word: str) -> None:
    """A list of words may grow: a new word is admitted, is a known "no", and is shown as it was said."""
    code, make = FIELDS[field]
    world = make(word)
    world.epoch(AT)
    assert world.refusals() == []
    assert codes(world.view[KEY]) == [code]
    assert leaf(world.view[KEY], code)["observed"] == word
    assert LEAVES[code].state is CheckState.UNKNOWN


def test_a_queue_word_that_only_policy_knows_still_blocks() -> None:
    """Listing a word as passing does not make the code understand it."""
    world = told(policy={"queue_states_passing": ["healthy", "tidal"]}, profile={"queue_health": "tidal"})
    world.epoch(AT)
    assert codes(world.view[KEY]) == ["queue_health_unknown"]


NOTHING: list[str] = []
RUNTIMES = ("ollama", "openai", "vllm", "sglang", "abacus")
TIERS: dict[str, dict[str, list[str]]] = {
    "local_convenience": {kind: ["route_tier_blocked"] for kind in RUNTIMES}
    | {"abacus": ["route_tier_blocked", "runtime_kind_unknown"]},
    "portable_local": dict.fromkeys(RUNTIMES, NOTHING) | {"abacus": ["runtime_kind_unknown"]},
    "network_beta": dict.fromkeys(RUNTIMES, NOTHING)
    | {"ollama": ["runtime_kind_not_allowed"], "abacus": ["runtime_kind_unknown"]},
    "datacenter_optimized": {kind: ["route_tier_future"] for kind in RUNTIMES}
    | {"abacus": ["route_tier_future", "runtime_kind_unknown"]},
    "fleet_orchestrated": {kind: ["route_tier_future"] for kind in RUNTIMES}
    | {"abacus": ["route_tier_future", "runtime_kind_unknown"]},
    "unknown": {kind: ["route_tier_unknown"] for kind in RUNTIMES} | {"abacus": ["route_tier_unknown", "runtime_kind_unknown"]},
    "moonbase": {kind: ["route_tier_unknown"] for kind in RUNTIMES} | {"abacus": ["route_tier_unknown", "runtime_kind_unknown"]},
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kind", RUNTIMES)
def test_tiers_and_runtimes(tier: str, kind: str) -> None:
    """The documents' table of tiers, crossed with every runtime family: which pass, and with which code the others block."""
    world = told(profile={"route_tier": tier, "runtime_kind": kind})
    world.epoch(AT)
    assert codes(world.view[KEY]) == TIERS[tier][kind]
    assert world.eligible() == (not TIERS[tier][kind])


@pytest.mark.parametrize("tier", ["datacenter_optimized", "fleet_orchestrated", "moonbase"])
def test_a_tier_is_one_policy_revision_away(tier: str) -> None:
    """Tiers are data: a revision opens one for the runtimes it lists, and the next closes it again."""
    world = told(profile={"route_tier": tier})
    world.epoch(T0 + 100)
    assert not world.eligible()
    tiers = factory.policy_event()["tiers"]
    world.policy(T0 + 200, revision=2, tiers=tiers | {tier: {"paid": "allowed", "runtimes": ["vllm"]}})
    world.epoch(T0 + 300)
    assert world.eligible()
    world.policy(T0 + 400, revision=3)
    world.epoch(T0 + 500)
    assert not world.eligible()


@pytest.mark.parametrize(
    ("bend", "code"),
    [
        ({"status": "ready_to_install"}, "profile_not_installed"),
        ({"benchmark_verified": False}, "model_benchmark_unverified"),
        ({"paid_route_eligible": False}, "paid_route_not_enabled"),
        ({"network_eligible": False}, "network_not_eligible"),
    ],
)
def test_portable_local_needs_everything_else(bend: dict[str, Any], code: str) -> None:
    """A portable profile is dispatchable only when installed, benchmarked, enabled for paid routes and allowed."""
    world = told(profile={"route_tier": "portable_local", "runtime_kind": "ollama"} | bend)
    world.epoch(AT)
    assert codes(world.view[KEY]) == [code]


def test_the_hosts_claim_never_replaces_the_observed_benchmark() -> None:
    """`benchmark_verified` is the host's word only; without an observation of this very model it grants nothing."""
    world = told(skip=(topics.BENCHMARKS,))
    world.benchmark(BENCHED, profile_id="p1")
    world.benchmark(BENCHED, node_id="node-2")
    world.epoch(AT)
    assert codes(world.view[KEY]) == ["observed_benchmark_missing"]


def test_one_bad_profile_does_not_harm_another() -> None:
    """Profiles of one node are judged apart; what is the node's own blocks all of them."""
    listed = [factory.profile("p0"), factory.profile("p1", queue_health="blocked")]
    world = told(beat={"profiles": listed})
    world.benchmark(BENCHED, profile_id="p1", seq=BENCHED + 1)
    world.epoch(AT)
    assert world.eligible("node-1/p0")
    assert codes(world.view["node-1/p1"]) == ["queue_blocked"]
    world.hold(AT + 1)
    world.epoch(AT + 2)
    assert codes(world.view["node-1/p0"]) == ["operator_hold"]
    assert codes(world.view["node-1/p1"]) == ["operator_hold", "queue_blocked"]


GROUP_OF_GATE = {Gate.NODE: "Node", Gate.ROUTE: "Route", Gate.PROTOCOL: "Protocol", Gate.RUNTIME: "Model", Gate.POLICY: "Model"}


@pytest.mark.parametrize("code", LEAVES)
def test_both_groupings_place_every_leaf_once(code: str) -> None:
    """Gates and the operator pages are two views of the same leaves; only the operators' hold stands with the node."""
    expected = "Node" if code == "operator_hold" else GROUP_OF_GATE[LEAVES[code].gate]
    assert LEAVES[code].group == expected
    assert LEAVES[code].next_action
    assert LEAVES[code].condition


def test_leaves_stand_in_the_order_of_the_gates() -> None:
    """The table of leaves is sorted by gate, in the order of explanation; broken checks come last."""
    order = [gate.value for gate in Gate]
    places = [order.index(found.gate.value) for code, found in LEAVES.items() if code not in CHECK_ERRORS]
    assert places == sorted(places)
    assert tuple(LEAVES)[-len(CHECK_ERRORS) :] == CHECK_ERRORS


def test_every_check_stands_in_its_table_once_and_in_gate_order() -> None:
    """No check is listed twice or under two gates, and the tables are in the order in which failures are told."""
    listed = gates.NODE_CHECKS + gates.PROFILE_CHECKS
    assert len({check for _, check in listed}) == len(listed)
    order = list(Gate)
    places = [order.index(gate) for gate, _ in listed]
    assert places == sorted(places)
