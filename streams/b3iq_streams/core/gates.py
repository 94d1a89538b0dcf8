"""The five gates: every check of DOMAIN as one row of one table.

A profile is eligible only if every check passes. A check that breaks answers `<gate>_check_error`: it blocks, and never stops
the stream. Nothing here remembers: `since` and the hold-down's memory are the fold's (`decide.py`).
"""

from b3iq_schemas.codes import LEAVES, Gate
from b3iq_streams.core import checks

NODE_CHECKS: tuple[tuple[Gate, checks.Check], ...] = (
    (Gate.NODE, checks.enrolment),
    (Gate.NODE, checks.equivocation),
    (Gate.NODE, checks.heartbeat),
    (Gate.NODE, checks.online),
    (Gate.ROUTE, checks.route),
    (Gate.ROUTE, checks.route_health),
    (Gate.ROUTE, checks.public_inference),
    (Gate.PROTOCOL, checks.registration),
    (Gate.PROTOCOL, checks.registered),
    (Gate.PROTOCOL, checks.active),
    (Gate.PROTOCOL, checks.stake),
)
"""Checks that are the same for every profile of a node."""

PROFILE_CHECKS: tuple[tuple[Gate, checks.Check], ...] = (
    (Gate.RUNTIME, checks.listed),
    (Gate.RUNTIME, checks.runtime),
    (Gate.RUNTIME, checks.installed),
    (Gate.POLICY, checks.policy),
    (Gate.POLICY, checks.operator_hold),
    (Gate.POLICY, checks.network_eligible),
    (Gate.POLICY, checks.paid_route),
    (Gate.POLICY, checks.tier),
    (Gate.POLICY, checks.runtime_kind),
    (Gate.POLICY, checks.queue),
    (Gate.POLICY, checks.benchmark_claim),
    (Gate.POLICY, checks.benchmark_observed),
    (Gate.POLICY, checks.benchmark_outcome),
    (Gate.POLICY, checks.hold_down),
)
"""Checks of one profile. Each is listed once; together with NODE_CHECKS they are the whole rule."""


def run(table: tuple[tuple[Gate, checks.Check], ...], case: checks.Case) -> list[checks.Found]:
    """The failing ones in `table`, in order; a check that breaks counts as failing."""
    found = []
    for gate, check in table:
        try:
            result = check(case)
        except Exception:  # whatever it was, it must block this profile and only this one
            result = checks.Found(f"{gate}_check_error", 0, "a check broke", "a check that works")
        if result is not None:
            found.append(result)
    return found


def gate_states(failing: list[checks.Found]) -> dict[str, str]:
    """State of each gate: pass without failing checks, fail if one fails, else unknown."""
    states = dict.fromkeys((gate.value for gate in Gate), "pass")
    for found in failing:
        leaf = LEAVES[found.code]
        if states[leaf.gate] != "fail":
            states[leaf.gate] = leaf.state.value
    return states
