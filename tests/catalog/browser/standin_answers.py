"""The bodies of the catalog's answers, as its contract words them, from a scripted fleet. Plain data in, plain data out."""

from bisect import bisect_right
from collections import Counter
from hashlib import sha256
from typing import Any, TypeVar

from b3iq_schemas.codes import LEAVES, Gate
from b3iq_streams.clock import now_ms
from tests.catalog.browser.standin_fleet import LOOKS, SPARK_STEP_MS, Fleet, Profile

Row = TypeVar("Row")
BOUND_MS = 3_000
DAY_MS = 86_400_000
POLICY_CHANGES = (
    (7, 2, (("heartbeat_ttl_ms", 45_000, 30_000), ("hold_down.hold_ms", 60_000, 120_000))),
    (6, 9, (("tiers.network_beta.runtimes", ["openai", "vllm"], ["openai", "sglang", "vllm"]),)),
    (5, 31, (("stake_wei_min", "500000000000000000", "1000000000000000000"),
             ("queue_states_passing", ["healthy"], ["healthy", "degraded"]))),
)  # fmt: skip
"""Revision, days ago, and what it set otherwise."""


class Answers:
    """Everything the catalog says by GET. `lagging_since_ms` = when the processor fell silent, 0 while it speaks."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.lagging_since_ms = 0

    def head(self) -> dict[str, Any]:
        """`ready`, `code`, `resolved_at_ms`: what every answer begins with."""
        resolved_at_ms = (self.lagging_since_ms or now_ms()) - 180
        late = now_ms() > resolved_at_ms + BOUND_MS
        return {"ready": not late, "code": "processor_lag" if late else None, "resolved_at_ms": resolved_at_ms}

    def status(self, partitions: bool = True) -> dict[str, Any]:
        """How things stand."""
        head, fleet = self.head(), self.fleet
        rows = [
            {"partition": partition, "epoch": epoch, "digest": sha256(f"{partition}:{epoch}".encode()).hexdigest(),
             "resolved_at_ms": head["resolved_at_ms"] + 40 * partition, "code": head["code"]}
            for partition, epoch in sorted(fleet.epochs.items())
        ]  # fmt: skip
        eligible = sum(not profile.reasons for profile in fleet.profiles.values()) if head["ready"] else None
        return {
            "network": "standin", **head, "now_ms": now_ms(), "bound_ms": BOUND_MS, "policy_revision": 7,
            "profiles": len(fleet.profiles), "eligible": eligible,
        } | ({"partitions": rows} if partitions else {})  # fmt: skip

    def models(self) -> dict[str, Any]:
        """The list that OpenAI clients read."""
        ids = sorted({profile.model_id for profile in self.fleet.profiles.values() if not profile.reasons})
        data = [{"id": name, "object": "model", "created": 1_800_000_000, "owned_by": "b3iq"} for name in ids]
        return {"object": "list", "data": data}

    def overview(self) -> dict[str, Any]:
        """Totals by model and tier, by gate, by reason."""
        head, fleet = self.head(), self.fleet
        groups = [
            {"model_id": model, "route_tier": tier, "total": len(members),
             "eligible": sum(not profile.reasons for profile in members) if head["ready"] else None,
             "spark": list(fleet.sparks[model, tier])}
            for model, tier in fleet.groups()
            if (members := list(fleet.members((model, tier))))
        ]  # fmt: skip
        gates = Counter(gate for profile in fleet.profiles.values()
                        for gate, state in profile.gates().items() if state != "pass")  # fmt: skip
        codes = Counter(code for profile in fleet.profiles.values() for code in profile.reasons)
        blockers = [{"code": code, "gate": LEAVES[code].gate.value, "profiles": n}
                    for code, n in sorted(codes.items(), key=lambda pair: (-pair[1], pair[0]))]  # fmt: skip
        return head | {"groups": groups, "spark_step_ms": SPARK_STEP_MS, "blockers": blockers,
                       "gates": {gate.value: {"blocked": gates[gate.value]} for gate in Gate}}  # fmt: skip

    def profiles(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of profiles that match."""
        head = self.head()
        asked = [profile for _, profile in sorted(self.fleet.profiles.items()) if _matches(profile, query)]
        rows = [] if "eligible" in query and not head["ready"] else asked
        page, cursor = _page(rows, [f"{row.node_id}/{row.profile_id}" for row in rows], query)
        items = [self.profile(row, ready=head["ready"]) for row in page]
        return head | {"items": items, "next": cursor, "total": len(rows)}

    def profile(self, row: Profile, *, ready: bool) -> dict[str, Any]:
        """One profile with its gates, reasons and evidence."""
        valid_until_ms = row.benchmarked_at_ms + 7 * DAY_MS
        return {
            "node_id": row.node_id, "profile_id": row.profile_id, "model_id": row.model_id, "route_tier": row.route_tier,
            "runtime_kind": row.runtime_kind, "eligible": not row.reasons if ready else None, "gates": row.gates(),
            "blockers": [blocker(row, code) for code in row.codes], "throughput_mtok_per_s": row.throughput_mtok_per_s,
            "benchmarked_at_ms": row.benchmarked_at_ms, "valid_until_ms": 0 if row.reasons else valid_until_ms,
            "decided_at_ms": row.decided_at_ms, "policy_revision": 7, "evidence": evidence(row),
        }  # fmt: skip

    def nodes(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of nodes."""
        head = self.head()
        by_node: dict[str, list[Profile]] = {}
        for _, profile in sorted(self.fleet.profiles.items()):
            if query.get("q", "").lower() in profile.node_id.lower():
                by_node.setdefault(profile.node_id, []).append(profile)
        page, cursor = _page(list(by_node.items()), list(by_node), query)
        items = [
            {"node_id": node_id, "profiles": len(rows), "codes": sorted({code for row in rows for code in row.reasons}),
             "eligible": sum(not row.reasons for row in rows) if head["ready"] else None}
            for node_id, rows in page
        ]  # fmt: skip
        return head | {"items": items, "next": cursor, "total": len(by_node)}

    def readiness(self, node_id: str, query: dict[str, str]) -> dict[str, Any]:
        """Everything about one node. `state` and `source` of a leaf go beyond the contract; the page can do without them."""
        head = self.head()
        rows = [profile for (node, _), profile in sorted(self.fleet.profiles.items())
                if node == node_id and query.get("model", profile.model_id) == profile.model_id]  # fmt: skip
        leaves = [
            {"code": leaf.code, "gate": leaf.gate.value, "group": leaf.group, "condition": leaf.condition,
             "next_action": leaf.next_action, "state": leaf.state.value, "source": leaf.source}
            for leaf in LEAVES.values()
        ]  # fmt: skip
        return head | {
            "node_id": node_id, "known": node_id in self.fleet.history, "leaves": leaves,
            "profiles": [self.profile(row, ready=head["ready"]) for row in rows],
            "history": list(self.fleet.history.get(node_id, ())),
        }  # fmt: skip

    def policy(self) -> dict[str, Any]:
        """The policy in force and how it came to be."""

        def at_ms(days: int) -> int:
            return self.fleet.started_ms - days * DAY_MS

        paid = ("openai", "sglang", "vllm")
        return {
            "revision": 7, "published_at_ms": at_ms(2),
            "tiers": {
                "local_convenience": {"paid": "blocked", "runtimes": []},
                "portable_local": {"paid": "allowed", "runtimes": ["ollama", *paid]},
                "network_beta": {"paid": "allowed", "runtimes": list(paid)},
                "datacenter_optimized": {"paid": "future", "runtimes": ["sglang", "vllm"]},
                "fleet_orchestrated": {"paid": "future", "runtimes": ["sglang", "vllm"]},
            },
            "ttls": {"heartbeat_ttl_ms": 30_000, "route_health_ttl_ms": 60_000, "registration_ttl_ms": DAY_MS,
                     "benchmark_ttl_ms": 7 * DAY_MS},
            "hold_down": {"flips_max": 3, "window_ms": 600_000, "hold_ms": 120_000},
            "stake_wei_min": "1000000000000000000", "queue_states_passing": ["healthy", "degraded"],
            "grace_ms": 10_000, "refresh_period_ms": 3_600_000,
            "changes": [
                {"revision": revision, "published_at_ms": at_ms(days),
                 "changed": [{"field": name, "from": before, "to": after} for name, before, after in changed]}
                for revision, days, changed in POLICY_CHANGES
            ],
        }  # fmt: skip


def _page(rows: list[Row], names: list[str], query: dict[str, str]) -> tuple[list[Row], str | None]:
    limit = min(500, int(query.get("limit", "100")))
    start = bisect_right(names, query["cursor"]) if "cursor" in query else 0
    more = start + limit < len(rows)
    return rows[start : start + limit], names[start + limit - 1] if more else None


def _matches(profile: Profile, query: dict[str, str]) -> bool:
    text = f"{profile.node_id} {profile.profile_id} {profile.model_id}".lower()
    return (
        query.get("q", "").lower() in text
        and query.get("model", profile.model_id) == profile.model_id
        and query.get("tier", profile.route_tier) == profile.route_tier
        and query.get("code", "") in {"", *profile.reasons}
        and ("gate" not in query or profile.gates()[query["gate"]] != "pass")
        and ("eligible" not in query or (query["eligible"] == "true") is not bool(profile.reasons))
    )


def blocker(profile: Profile, code: str) -> dict[str, Any]:
    """One reason against a profile, as the contract words it."""
    leaf, since_ms = LEAVES[code], profile.reasons[code]
    observed, required = LOOKS.get(code, ("false", "true"))
    moments = {"ago": since_ms - 30_000, "soon": now_ms() + 95_000}
    return {"code": code, "gate": leaf.gate.value, "since_ms": since_ms, "observed": observed.format(**moments),
            "required": required.format(**moments), "next_action": leaf.next_action, "condition": leaf.condition}  # fmt: skip


def evidence(profile: Profile) -> list[dict[str, Any]]:
    """The records behind a profile's decision, one per topic."""
    topics = ["heartbeats", "registrations", "route-health", "benchmarks", "policies"]
    gone = {"route_missing": "route-health", "observed_benchmark_missing": "benchmarks"}
    present = [topic for topic in topics if topic not in {gone.get(code) for code in profile.reasons}]
    return [
        {"topic": topic, "partition": profile.partition, "offset": int(digest[:4], 16),
         "sha256": digest, "keyid": sha256(topic.encode()).hexdigest()}
        for topic in present
        if (digest := sha256(f"{topic}/{profile.node_id}/{profile.decided_at_ms}".encode()).hexdigest())
    ]  # fmt: skip
