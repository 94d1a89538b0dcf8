"""Turns the edits of a remedy into signed records and has them folded: what a remedy says must happen, happens."""

from typing import Any

from b3iq_schemas import topics
from b3iq_schemas.envelope import keyid
from b3iq_streams.core.remedy_situation import ANY_MODEL, NODE_KEY, TIME, Edit
from b3iq_streams.core.values import NodeState
from tests import factory
from tests.core.world import World

NAMES = {keyid(bytes.fromhex(factory.public(name))): name for name in ("node-1", "successor", *factory.ROLES)}
MODEL = factory.profile()["model_id"]
ALL = (topics.REGISTRATIONS, topics.HOLDS, topics.BENCHMARKS, topics.ROUTE_HEALTH, topics.HEARTBEATS)


def retell(world: World, edits: tuple[Edit, ...], at_ms: int, profile_id: str = "p0") -> None:
    """Log what the edits say, as of `at_ms` or as of the moment they wait for, and fold it."""
    wait = next((edit.after for edit in edits if edit.fact == TIME), None)
    moment_ms, node = wait or at_ms, world.node()
    policy = {edit.field: edit.after for edit in edits if edit.fact == topics.POLICIES}
    if policy:
        world.policy(moment_ms, **_policy(world, policy, moment_ms))
    for topic in ALL:
        changed = {edit.field: edit.after for edit in edits if edit.fact == topic}
        if changed or (wait and topic in _known(node)):  # who waits keeps up what there is
            _TELL[topic](world, node, changed, moment_ms, profile_id)
    world.epoch(moment_ms)


def _known(node: NodeState) -> set[str]:
    facts = {
        topics.REGISTRATIONS: node.registration, topics.BENCHMARKS: node.benchmarks,
        topics.ROUTE_HEALTH: node.route, topics.HEARTBEATS: node.beat,
    }  # fmt: skip
    return {topic for topic, fact in facts.items() if fact}


def _policy(world: World, changed: dict[str, Any], at_ms: int) -> dict[str, Any]:
    rules = world.state.rules
    event = rules.policy.model_dump(mode="json") if rules else factory.policy_event()
    for name, value in changed.items():
        *path, field = name.split(".")
        part = event
        for step in path:
            part = part.setdefault(step, {"paid": "blocked", "runtimes": []})
        part[field] = [factory.public(field)] if path == ["roles"] else value
    return event | {"revision": event["revision"] + 1 if rules else 1, "sent_at_ms": at_ms}


def _signer(changed: dict[str, Any], current: str | None, fresh: str) -> tuple[str, ...]:
    return (NAMES[changed["keyid"]] if "keyid" in changed else NAMES[current] if current else fresh,)


def _registration(world: World, node: NodeState, changed: dict[str, Any], at_ms: int, profile_id: str) -> None:
    now = node.registration
    fields: dict[str, Any] = (
        {"enrolled": now.enrolled, "registered": now.registered, "active": now.active, "stake_wei": str(now.stake_wei)}
        if now
        else {"enrolled": False, "registered": False, "active": False, "stake_wei": "0"}
    )
    keys = changed.pop("keys", sorted(now.keys) if now else [])
    signers = _signer(changed, now.proof.keyid if now else None, "control_plane")
    fields |= {name: value for name, value in changed.items() if name in fields}
    names = ["node-1" if key == NODE_KEY else NAMES[key] for key in keys]
    world.registration(at_ms, **fields, keys=[factory.node_key("node-1", name) for name in names], signers=signers)


def _hold(world: World, node: NodeState, changed: dict[str, Any], at_ms: int, profile_id: str) -> None:
    world.hold(at_ms, **changed)


def _benchmark(world: World, node: NodeState, changed: dict[str, Any], at_ms: int, profile_id: str) -> None:
    now = node.benchmarks.get(profile_id)
    fields = {"model_id": now.model_id, "outcome": now.outcome} if now else {"model_id": "-another-", "outcome": "failed"}
    fields |= {name: MODEL if value == ANY_MODEL else value for name, value in changed.items() if name in fields}
    signers = _signer(changed, now.proof.keyid if now else None, "observer")
    world.benchmark(at_ms, profile_id=profile_id, **fields, signers=signers)


def _route(world: World, node: NodeState, changed: dict[str, Any], at_ms: int, profile_id: str) -> None:
    now = node.route
    fields: dict[str, Any] = (
        {"state": now.state, "public_inference_allowed": now.public_inference_allowed}
        if now
        else {"state": "nothing_said", "public_inference_allowed": False}
    )
    fields |= {name: value for name, value in changed.items() if name in fields}
    world.route(at_ms, **fields, signers=_signer(changed, now.proof.keyid if now else None, "broker"))


def _heartbeat(world: World, node: NodeState, changed: dict[str, Any], at_ms: int, profile_id: str) -> None:
    beat = node.beat
    listed = next((claims for claims in beat.profiles if claims.profile_id == profile_id), None) if beat else None
    nothing = factory.profile(
        profile_id, model_id="-another-", status="x", runtime_kind="x", runtime_reachable=False, route_tier="unknown",
        network_eligible=False, benchmark_verified=False, paid_route_eligible=False, queue_health="x",
    )  # fmt: skip
    claims = listed._asdict() if listed else nothing
    claims |= {name: MODEL if value == ANY_MODEL else value for name, value in changed.items() if name in claims}
    others = [other._asdict() for other in beat.profiles if other.profile_id != profile_id] if beat else []
    listing = [*others, claims] if listed or set(changed) & set(claims) else others
    state = changed.get("state", beat.state if beat else "nothing_said")
    signers = _signer(changed, beat.proof.keyid if beat else None, "node-1")
    world.beat(beat.seq + 1 if beat else 1, at_ms, profiles=listing, state=state, signers=signers)


_TELL = {
    topics.REGISTRATIONS: _registration,
    topics.HOLDS: _hold,
    topics.BENCHMARKS: _benchmark,
    topics.ROUTE_HEALTH: _route,
    topics.HEARTBEATS: _heartbeat,
}
