"""From what is known of a node to what is published about it: run the gates, remember since when, compare, compose.

Pure: (node, rules, moment) → decisions. It does not fold facts (`step.py`) and knows nothing of epochs or marks.
"""

from typing import NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES
from b3iq_streams.core import gates
from b3iq_streams.core.checks import Case, Found
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.values import Claims, NodeState, Proof, Published

FAR_MS = 2**53


class Change(NamedTuple):
    """One decision to publish. `decision` is the JSON of the contract's Decision."""

    key: str
    eligible: bool
    refresh: bool
    decision: bytes


def decide(node_id: str, node: NodeState, rules: Rules | None, at_ms: int) -> tuple[NodeState, list[Change]]:
    """The node with its decisions as of `at_ms`, and those whose content differs from what was last published."""
    profiles = {profile.profile_id: profile for profile in node.beat.profiles} if node.beat else {}
    known = profiles.keys() | node.benchmarks.keys() | node.published.keys()
    if not known:
        return node, []
    node_failing = gates.run(gates.NODE_CHECKS, Case(node, rules, at_ms))
    published, changes = dict(node.published), []
    for profile_id in sorted(known):
        last = node.published.get(profile_id)
        now = _profile(node_id, profile_id, profiles.get(profile_id), node, rules, at_ms, node_failing, last)
        if last is None or now.body != last.body:
            published[profile_id] = now
            changes.append(compose(node_id, profile_id, node, now, rules))
        if profile_id not in profiles and profile_id not in node.benchmarks:
            del published[profile_id]  # its last word was "no", and an absent key is a "no"
    if not changes and len(published) == len(node.published):
        return node, []
    return node._replace(published=published), changes


def _profile(
    node_id: str,
    profile_id: str,
    profile: Claims | None,
    node: NodeState,
    rules: Rules | None,
    at_ms: int,
    node_failing: list[Found],
    last: Published | None,
) -> Published:
    case = Case(node, rules, at_ms, profile, node.benchmarks.get(profile_id), last)
    failing = node_failing + gates.run(gates.PROFILE_CHECKS, case)
    if failing and last is not None and last.eligible and rules is not None:
        last = _flipped(last, rules, at_ms)
        failing = node_failing + gates.run(gates.PROFILE_CHECKS, case._replace(last=last))
    body = _body(node_id, profile_id, node, rules, at_ms, failing, last, profile)
    revision = rules.policy.revision if rules else 0
    flips_ms, until_ms = (last.flips_ms, last.held_down_until_ms) if last else ((), 0)
    return Published(not failing, body, revision, at_ms, flips_ms, until_ms)


def _flipped(last: Published, rules: Rules, at_ms: int) -> Published:
    """Eligibility is lost at `at_ms`: remember it, and hold down if that happened too often."""
    rule = rules.policy.hold_down
    flips_ms = (*(flip for flip in last.flips_ms if flip > at_ms - rule.window_ms), at_ms)[-rule.flips_max :]
    until_ms = at_ms + rule.hold_ms if len(flips_ms) >= rule.flips_max else last.held_down_until_ms
    return last._replace(flips_ms=flips_ms, held_down_until_ms=until_ms)


def _body(
    node_id: str,
    profile_id: str,
    node: NodeState,
    rules: Rules | None,
    at_ms: int,
    failing: list[Found],
    last: Published | None,
    profile: Claims | None,
) -> bytes:
    since = (
        {item["code"]: item["since_ms"] for item in orjson.loads(last.body)["failing"]}
        if last and failing and not last.eligible
        else {}
    )
    seen = node.benchmarks.get(profile_id)
    states = gates.gate_states(failing)
    return orjson.dumps(
        {
            "node_id": node_id,
            "profile_id": profile_id,
            "eligible": not failing,
            "gates": states,
            "failing": [
                {
                    "code": found.code,
                    "gate": LEAVES[found.code].gate,
                    "since_ms": since.get(found.code, min(found.since_ms or at_ms, at_ms)),
                    "observed": found.observed[:96],
                    "required": found.required[:96],
                }
                for found in failing
            ],
            **_attributes(profile, seen.model_id if seen else "", last),
            "throughput_mtok_per_s": seen.throughput_mtok_per_s if seen else 0,
            "benchmarked_at_ms": seen.proof.logged_at_ms if seen else 0,
            "valid_until_ms": 0 if failing else _valid_until_ms(node, profile_id, rules),
        }
    )


def _attributes(profile: Claims | None, model_id: str, last: Published | None) -> dict[str, str]:
    """What a router ranks by; of the last word when the profile is no longer listed."""
    if profile is None and last is not None:
        old = orjson.loads(last.body)
        return {name: old[name] for name in ("model_id", "route_tier", "runtime_kind", "price_wei_per_mtok")}
    if profile is None:
        return {"model_id": model_id, "route_tier": "unknown", "runtime_kind": "unknown", "price_wei_per_mtok": "0"}
    return {
        "model_id": profile.model_id,
        "route_tier": profile.route_tier,
        "runtime_kind": profile.runtime_kind,
        "price_wei_per_mtok": profile.price_wei_per_mtok,
    }


def _valid_until_ms(node: NodeState, profile_id: str, rules: Rules | None) -> int:
    """Earliest expiry of slow evidence; the mark guards the fast ones."""
    assert rules is not None
    assert node.registration is not None
    return min(
        node.registration.proof.logged_at_ms + rules.policy.registration_ttl_ms,
        node.benchmarks[profile_id].proof.logged_at_ms + rules.policy.benchmark_ttl_ms,
    )


def compose(node_id: str, profile_id: str, node: NodeState, now: Published, rules: Rules | None, refresh: bool = False) -> Change:
    """The decision as it goes out: its content, the revision and moment it was decided under, its evidence of now."""
    tail = orjson.dumps(
        {
            "policy_revision": now.policy_revision,
            "decided_at_ms": now.decided_at_ms,
            "evidence": _evidence(node, profile_id, rules),
        }
    )
    return Change(f"{node_id}/{profile_id}", now.eligible, refresh, now.body[:-1] + b"," + tail[1:])


def _evidence(node: NodeState, profile_id: str, rules: Rules | None) -> list[dict[str, object]]:
    seen = node.benchmarks.get(profile_id)
    proofs: list[tuple[str, Proof | None]] = [
        (topics.POLICIES, rules.proof if rules else None),
        (topics.REGISTRATIONS, node.registration.proof if node.registration else None),
        (topics.HOLDS, node.hold.proof if node.hold else None),
        (topics.BENCHMARKS, seen.proof if seen else None),
        (topics.ROUTE_HEALTH, node.route.proof if node.route else None),
        (topics.HEARTBEATS, node.beat.proof if node.beat else None),
    ]
    return [
        {"topic": topic, "offset": proof.offset, "sha256": proof.sha256, "keyid": proof.keyid}
        for topic, proof in proofs
        if proof is not None
    ]


def next_deadline_ms(node: NodeState, rules: Rules | None, at_ms: int) -> int:
    """The earliest moment after `at_ms` at which time alone could change a decision on the node; FAR_MS if none."""
    if rules is None:
        return FAR_MS
    policy, moments = rules.policy, [node.equivocated_until_ms]
    if node.beat:
        moments.append(node.beat.proof.logged_at_ms + policy.heartbeat_ttl_ms)
    if node.route:
        moments.append(node.route.proof.logged_at_ms + policy.route_health_ttl_ms)
    if node.registration:
        moments.append(node.registration.proof.logged_at_ms + policy.registration_ttl_ms)
    for seen in node.benchmarks.values():
        moments.append(seen.proof.logged_at_ms + policy.benchmark_ttl_ms)
    for last in node.published.values():
        moments.append(last.held_down_until_ms)
    later = [moment for moment in moments if moment > at_ms]
    return min(later) if later else FAR_MS
