"""Every check told, passing ones too: the table is whole, and what fails is told as it was published."""

from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas.codes import LEAVES, Gate
from b3iq_streams.core import checks, gates
from b3iq_streams.core.checks import Case, Found
from b3iq_streams.core.leaves import MOOT, TEXT_MAX, VIEWS, Shown, case_of, gate_states, leaves
from b3iq_streams.core.values import EMPTY_NODE
from tests.core.histories import Draw, fold
from tests.core.test_gates import AT, BEATEN, BENCHED, REGISTERED, ROUTED, ROWS, told
from tests.core.world import rules_of
from tests.factory import T0

CHECKS = [check for _, check in (*gates.NODE_CHECKS, *gates.PROFILE_CHECKS)]


def published(shown: tuple[Shown, ...]) -> list[dict[str, object]]:
    """The failing ones as a decision would publish them."""
    return [
        {name: getattr(leaf, name) for name in ("code", "gate", "since_ms", "observed", "required")}
        for leaf in shown
        if leaf.code is not None
    ]


def test_the_table_lists_the_gates_checks_and_no_other() -> None:
    """A check that is added to the gates must be told as well."""
    assert set(CHECKS) == set(VIEWS)
    assert 25 == len(CHECKS) == len(VIEWS)
    assert len(VIEWS) == len({view.title for view in VIEWS.values()})


@pytest.mark.parametrize("code", ROWS)
def test_a_failing_check_is_told_as_it_was_published(code: str) -> None:
    """Code, gate, since, observed and required are the decision's own, and the record it names is the contract's."""
    row = ROWS[code]
    world = row.world()
    world.epoch(row.at_ms)
    decision = world.view["node-1/p0"]
    world.epoch(row.at_ms + 7)
    shown = leaves(case_of(world.node(), world.state.rules, row.at_ms + 7, "p0"))
    assert decision["failing"] == published(shown)
    assert decision["gates"] == gate_states(shown)
    for leaf in shown:
        if leaf.code is not None:
            assert LEAVES[leaf.code].source == leaf.topic
            assert LEAVES[leaf.code].next_action == leaf.next_action


@given(st.randoms(use_true_random=False))
def test_what_is_told_of_any_moment_is_what_was_published(rng: Random) -> None:
    """In any history, at any epoch: the same checks fail, for the same reasons, since the same time; nothing is left unsaid."""
    for state, outcome in fold(Draw(rng).history(8)):
        for node in state.nodes.values():
            for profile_id, last in node.published.items():
                shown = leaves(case_of(node, state.rules, outcome.resolved_at_ms, profile_id))
                body = orjson.loads(last.body)
                assert body["failing"] == published(shown)
                assert body["gates"] == gate_states(shown)
                assert [check.__name__ for check in CHECKS] == [leaf.check for leaf in shown]
                assert all(len(leaf.observed) <= TEXT_MAX and len(leaf.required) <= TEXT_MAX for leaf in shown)
                assert all(leaf.observed for leaf in shown if leaf.state != MOOT)
                assert all(leaf.required for leaf in shown)
                if last.eligible:
                    assert {"pass"} == {leaf.state for leaf in shown}


SOUND = {
    "enrolment": ("enrolled", "enrolled"),
    "equivocation": ("no block", "one heartbeat per sequence"),
    "heartbeat": (f"logged at {BEATEN}", "at most 30000 ms old"),
    "online": ("online", "online"),
    "route": (f"logged at {ROUTED}", "at most 60000 ms old"),
    "route_health": ("healthy", "healthy"),
    "public_inference": ("allowed", "allowed"),
    "registration": (f"logged at {REGISTERED}", "at most 3600000 ms old"),
    "registered": ("registered", "registered"),
    "active": ("active", "active"),
    "stake": ("5000 wei", "1000 wei"),
    "listed": ("listed", "listed in the last heartbeat"),
    "runtime": ("reachable", "reachable"),
    "installed": ("installed", "installed"),
    "policy": ("revision 1", "a signed policy revision"),
    "operator_hold": ("no hold", "not held"),
    "network_eligible": ("true", "true"),
    "paid_route": ("true", "true"),
    "tier": ("network_beta", "a tier with paid dispatch"),
    "runtime_kind": ("vllm", "one of: openai vllm sglang"),
    "queue": ("healthy", "one of: healthy degraded"),
    "benchmark_claim": ("true", "true"),
    "benchmark_observed": (f"logged at {BENCHED}", "at most 86400000 ms old"),
    "benchmark_outcome": ("passed", "passed"),
    "hold_down": ("no hold-down", "no hold-down"),
}


def test_a_passing_check_says_what_it_saw_and_what_it_wants() -> None:
    """Of a sound profile every check is told with observed and required, and with neither code nor since."""
    world = told()
    world.epoch(AT)
    shown = leaves(case_of(world.node(), world.state.rules, AT, "p0"))
    assert SOUND == {leaf.check: (leaf.observed, leaf.required) for leaf in shown}
    assert {("pass", None, None, None)} == {(leaf.state, leaf.code, leaf.since_ms, leaf.next_action) for leaf in shown}


def test_what_was_overcome_passes() -> None:
    """A released hold says so; of an equivocation whose block has ended nothing is left."""
    world = told()
    world.hold(T0 + 500)
    world.beat(1, T0 + 500, state="draining")
    world.epoch(AT)
    world.hold(AT + 1, held=False)
    later = T0 + 700_000
    world.registration(later)
    world.route(later)
    world.beat(2, later)
    world.epoch(later)
    seen = {leaf.check: leaf.observed for leaf in leaves(case_of(world.node(), world.state.rules, later, "p0"))}
    assert ("released", "no block") == (seen["operator_hold"], seen["equivocation"])
    assert world.eligible()


def test_of_a_profile_that_nobody_knows_nothing_passes_by_default() -> None:
    """Checks that have nothing to look at are moot, not passed, and each lies behind a check that blocks."""
    shown = leaves(case_of(EMPTY_NODE, rules_of(), T0, "p0"))
    by_state: dict[str, list[str]] = {}
    for leaf in shown:
        by_state.setdefault(leaf.state, []).append(leaf.check)
    assert ["enrolment", "heartbeat", "route", "registration", "listed", "benchmark_observed"] == by_state["unknown"]
    assert ["equivocation", "policy", "operator_hold", "hold_down"] == by_state["pass"]
    assert 15 == len(by_state[MOOT])
    assert {T0} == {leaf.since_ms for leaf in shown if leaf.code}
    assert dict.fromkeys((gate.value for gate in Gate), "unknown") == gate_states(shown)


def test_a_check_that_breaks_is_told_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken check blocks with its gate's code, and only it."""

    def broken(case: Case) -> Found | None:
        raise ZeroDivisionError

    table = tuple((gate, broken if check is checks.route else check) for gate, check in gates.NODE_CHECKS)
    monkeypatch.setattr(gates, "NODE_CHECKS", table)
    world = told()
    world.epoch(AT)
    shown = leaves(case_of(world.node(), world.state.rules, AT, "p0"))
    assert [("broken", "unknown", "route_check_error", "route")] == [
        (leaf.check, leaf.state, leaf.code, leaf.gate) for leaf in shown if leaf.code
    ]
    assert world.view["node-1/p0"]["failing"] == published(shown)
