"""The ways a simulated node can be well or in trouble: one row each, with the code it ends in. Sends nothing.

Times are milliseconds since the fleet's start and suit the demo policy (`world.DEMO_TIMES`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from b3iq_schemas.codes import Refusal

When = Callable[[int], bool]
"""Milliseconds since the start → whether it is so."""


def _never(elapsed_ms: int) -> bool:
    return False


def _after(start_ms: int) -> When:
    return lambda elapsed_ms: elapsed_ms >= start_ms


def _each(period_ms: int, start_ms: int, end_ms: int) -> When:
    return lambda elapsed_ms: start_ms <= elapsed_ms % period_ms < end_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one node behaves.

    `outcome` = the code that blocks it (empty: nothing does), `also` = those that come with it; `refused` = the code under
    which records about it end among the dead letters; `returns`: it becomes eligible again after it was blocked.
    """

    name: str
    story: str
    outcome: str = ""
    also: tuple[str, ...] = ()
    refused: str = ""
    returns: bool = False
    profile: dict[str, Any] = field(default_factory=dict)
    registration: dict[str, Any] = field(default_factory=dict)
    routed: bool = True
    route_unhealthy: When = _never
    benchmark: Literal["renewed", "once", "never"] = "renewed"
    silent: When = _never
    draining: When = _never
    queue_blocked: When = _never
    held: When = _never
    attack: Literal["", "forge", "replay", "equivocate"] = ""


HEALTHY = Kind(name="healthy", story="serves paid traffic")

TROUBLES: tuple[Kind, ...] = (
    Kind(name="stale", story="falls silent after 10 s", outcome="heartbeat_stale", silent=_after(10_000)),
    Kind(name="draining", story="drains from 8 s on", outcome="node_draining", draining=_after(8_000)),
    Kind(name="no-route", story="no broker ever gave it a route", outcome="route_missing", routed=False),
    Kind(name="unhealthy-route", story="its broker sees the route fail after 6 s", outcome="route_unhealthy",
         route_unhealthy=_after(6_000)),
    Kind(name="unstaked", story="has no stake", outcome="protocol_stake_unsatisfied", registration={"stake_wei": "0"}),
    Kind(name="no-runtime", story="its runtime is missing", outcome="runtime_missing", also=("runtime_unreachable",),
         profile={"status": "runtime_missing", "runtime_reachable": False}),
    Kind(name="unproven", story="claims a benchmark that nobody observed", outcome="observed_benchmark_missing",
         benchmark="never"),
    Kind(name="expiring", story="its benchmark is not renewed and expires", outcome="observed_benchmark_stale",
         benchmark="once"),
    Kind(name="queue-blocked", story="its queue is blocked after 7 s", outcome="queue_blocked", queue_blocked=_after(7_000)),
    Kind(name="convenience", story="serves on a tier that policy blocks", outcome="route_tier_blocked",
         profile={"route_tier": "local_convenience"}),
    Kind(name="future", story="serves on a tier that policy does not open yet", outcome="route_tier_future",
         profile={"route_tier": "datacenter_optimized", "runtime_kind": "vllm"}),
    Kind(name="held", story="paused by an operator from 10 to 25 s of every 40 s", outcome="operator_hold", returns=True,
         held=_each(40_000, 10_000, 25_000)),
    Kind(name="impersonated", story="somebody forges its heartbeats, in vain", refused=Refusal.INVALID_SIGNATURE,
         attack="forge"),
    Kind(name="replayed", story="somebody replays its heartbeats, in vain", refused=Refusal.SEQUENCE_REPLAYED,
         attack="replay"),
    Kind(name="flapping", story="its queue blocks for 2 s of every 5 s, until it is held down", outcome="hold_down",
         also=("queue_blocked",),
         queue_blocked=_each(5_000, 3_000, 5_000)),
    Kind(name="returning", story="falls silent from 8 to 18 s of every 30 s", outcome="heartbeat_stale", returns=True,
         silent=_each(30_000, 8_000, 18_000)),
    Kind(name="twin", story="a second agent uses its identity, now and then", outcome="node_equivocated", returns=True,
         refused=Refusal.EQUIVOCATION, attack="equivocate"),
    Kind(name="newcomer", story="runs a runtime that policy has never heard of", outcome="runtime_kind_unknown",
         profile={"runtime_kind": "warp"}),
)  # fmt: skip
"""Every kind of trouble once."""

SCENARIOS: dict[str, tuple[Kind, ...]] = {"all": TROUBLES, "healthy": ()}


def assign(nodes: int, scenario: str) -> list[Kind]:
    """A kind per node: the healthy first and at least half of all, then every trouble, once per fifty nodes."""
    troubles = SCENARIOS[scenario]
    troubled = min(len(troubles) * max(1, nodes // 50), nodes // 2)
    return [HEALTHY] * (nodes - troubled) + [troubles[i % len(troubles)] for i in range(troubled)]
