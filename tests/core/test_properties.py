"""What must hold for every history: no grant without cause, replay equals live, bytes round-trip, hostile bytes do nothing."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES, Gate
from b3iq_schemas.eligibility import Decision
from b3iq_schemas.envelope import pae, seal
from b3iq_streams.core import codec
from b3iq_streams.core.admit import Opened, keys_for, open_record
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import prepare
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, Outcome, step
from tests import factory
from tests.core.histories import (
    DAMAGES,
    FLAWS,
    UNKNOWN_WORD,
    Calm,
    Draw,
    Entry,
    History,
    Moment,
    fake_sign,
    fake_verify,
    fold,
    raw_public,
    record_of,
    records_of,
    seeded,
)
from tests.core.oracle import Oracle, oracle_verdicts
from tests.core.world import World, ready_world
from tests.factory import T0

RANDOMS = st.randoms(use_true_random=False)
NO_HOLD_DOWN = {"flips_max": 1, "window_ms": 0, "hold_ms": 0}
ROOT = Path(__file__).parents[2]

View = dict[str, dict[str, Any]]


def views(history: History) -> Iterator[tuple[PartitionState, View]]:
    """After every epoch: the state, and the last decision per key as whoever reads the changes holds it."""
    view: View = {}
    for state, outcome in fold(history):
        for change in outcome.changes:
            view[change.key] = orjson.loads(change.decision)
        yield state, view


def absorb(state: PartitionState, outcome: Outcome) -> None:
    """Apply an outcome to the state it was computed from."""
    state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)


def digest(state: PartitionState) -> str:
    """The digest of the state as it stands."""
    return state.digest({}, state.rules)


def eligible(view: View) -> set[str]:
    """Keys that a reader believes eligible."""
    return {key for key, decision in view.items() if decision["eligible"]}


# The rule


def agrees_with_the_oracle(history: History) -> None:
    """The fold's published view and the clerk's verdicts, gate by gate, after every epoch."""
    clerk = Oracle()
    for moment, (state, view) in zip(history, views(history), strict=True):
        verdicts = clerk.tell(moment)
        for (node_id, profile_id), verdict in verdicts.items():
            key = f"{node_id}/{profile_id}"
            live = key in view and profile_id in state.nodes[node_id].published
            if not live:
                assert not verdict["eligible"]
                assert key not in eligible(view)
                continue
            found = view[key]
            assert {gate: found["gates"][gate] == "pass" for gate in found["gates"]} | {"eligible": found["eligible"]} == verdict
            if verdict["eligible"]:
                assert found["valid_until_ms"] == clerk.valid_until_ms(node_id, profile_id)
        assert {key.rpartition("/")[::2] for key in view} <= set(verdicts)


@given(RANDOMS)
def test_the_fold_agrees_with_an_independent_reading_of_the_rule(rng: Random) -> None:
    """Every gate of every profile after every epoch of any history is what a naive clerk with all facts at hand says."""
    agrees_with_the_oracle(Draw(rng).history())


@pytest.mark.parametrize("seed", range(40))
def test_the_fold_agrees_with_the_oracle_on_long_histories(seed: int) -> None:
    """The same over histories of fixed seeds that are longer than Hypothesis likes to draw."""
    agrees_with_the_oracle(seeded(seed, moments_max=60))


def test_the_histories_are_worth_telling() -> None:
    """The generator reaches eligibility often, and nearly every leaf and refusal at least once."""
    granted = denied = 0
    codes: set[str] = set()
    refusals: set[str] = set()
    for seed in range(150):
        history = seeded(seed)
        for verdicts in oracle_verdicts(history):
            granted += sum(verdict["eligible"] for verdict in verdicts.values())
            denied += sum(not verdict["eligible"] for verdict in verdicts.values())
        for _, outcome in fold(history):
            refusals |= {refused.code.value for refused in outcome.refused}
            for change in outcome.changes:
                codes |= {failing["code"] for failing in orjson.loads(change.decision)["failing"]}
    assert granted / (granted + denied) > 0.15
    unreachable = {"policy_missing", *(f"{gate.value}_check_error" for gate in Gate)}
    assert len(set(LEAVES) - unreachable - codes) <= 2
    assert {"equivocation", "sequence_replayed", "sequence_jump", "sent_at_outside_window", "unauthorized"} <= refusals


@given(RANDOMS)
def test_a_decision_never_contradicts_itself(rng: Random) -> None:
    """Eligible means no failing check, all gates passing, and evidence of every kind; else there is a known code for it."""
    for _, outcome in fold(Draw(rng).history()):
        assert [change.key for change in outcome.changes] == sorted({change.key for change in outcome.changes})
        for change in outcome.changes:
            decision = Decision.model_validate_json(change.decision)
            passing = {gate for gate, state in decision.gates.model_dump().items() if state == "pass"}
            failing = {found.gate for found in decision.failing}
            assert passing | failing == {gate.value for gate in Gate}
            assert not passing & failing
            assert decision.eligible == change.eligible == (not decision.failing)
            assert all(found.gate == LEAVES[found.code].gate.value for found in decision.failing)
            assert len({found.code for found in decision.failing}) == len(decision.failing)
            assert decision.decided_at_ms == outcome.resolved_at_ms
            assert change.key == f"{decision.node_id}/{decision.profile_id}"
            if decision.eligible:
                assert decision.valid_until_ms > outcome.resolved_at_ms
                needed = {"policies", "registrations", "benchmarks", "route-health", "heartbeats"}
                assert needed <= {evidence.topic for evidence in decision.evidence}
            else:
                assert decision.valid_until_ms == 0


@given(RANDOMS)
def test_the_state_holds_what_was_last_published(rng: Random) -> None:
    """What a reader holds is what the state says was published; a key that the state forgot was last told "no"."""
    for state, view in views(Draw(rng).history()):
        published = {f"{node_id}/{name}": last for node_id, node in state.nodes.items() for name, last in node.published.items()}
        for key, decision in view.items():
            if key in published:
                body = orjson.loads(published[key].body)
                assert {name: decision[name] for name in body} == body
            else:
                assert not decision["eligible"]
        assert published.keys() <= view.keys()


@given(RANDOMS)
def test_a_held_node_is_never_eligible(rng: Random) -> None:
    """From the epoch that folds a pause to the epoch that folds its end, nothing of the node is eligible."""
    for state, view in views(Draw(rng).history()):
        held = {node_id for node_id, node in state.nodes.items() if node.hold and node.hold.held}
        assert not {key for key in eligible(view) if key.split("/")[0] in held}


# Monotone: less is never more


def facts(rng: Random, flaw: tuple[str, dict[str, Any]] | None) -> tuple[list[Entry], int]:
    """One record per subject about a sound node, but for the one thing wrong, and the place of that."""
    draw = Calm(rng, NO_HOLD_DOWN)
    draw.put(Entry(topics.POLICIES, factory.policy_event(hold_down=NO_HOLD_DOWN), T0, ("root0", "root1")))
    draw.heal("node-1")
    entries = draw.sent
    topic, changes = flaw or (topics.HEARTBEATS, {})
    place = next(i for i, entry in enumerate(entries) if entry.topic == topic)
    event = dict(entries[place].event)
    if topic == topics.HEARTBEATS and changes.keys() <= event["profiles"][0].keys():
        event["profiles"] = [profile | changes for profile in event["profiles"]]
    else:
        event |= changes
    entries[place] = entries[place]._replace(event=event)
    return entries, place


def granted(entries: list[Entry], at_ms: int) -> set[str]:
    """What is eligible after these facts, folded as one epoch."""
    moment = Moment(at_ms)
    for entry in entries:
        moment.arrived[entry.topic].append(entry)
    *_, (_, view) = views([moment])
    return eligible(view)


def weakened(entry: Entry) -> Iterator[Entry]:
    """The entry with any one field removed, any one word unknown, or spoiled in any way; never a hold's: it is a "no"."""
    event = entry.event
    if entry.topic == topics.HOLDS:
        return
    for name in event:
        yield entry._replace(event={key: value for key, value in event.items() if key != name}, damage=entry.damage)
        if isinstance(event[name], str):
            yield entry._replace(event=event | {name: UNKNOWN_WORD})
        if event[name] is True:
            yield entry._replace(event=event | {name: False})
    for i, profile in enumerate(event.get("profiles", ())):
        for name in profile:
            for bent in (
                {key: value for key, value in profile.items() if key != name},
                profile | {name: UNKNOWN_WORD if isinstance(profile[name], str) else None},
            ):
                yield entry._replace(event=event | {"profiles": [*event["profiles"][:i], bent, *event["profiles"][i + 1 :]]})
        yield entry._replace(event=event | {"profiles": [*event["profiles"][:i], *event["profiles"][i + 1 :]]})
    for damage in DAMAGES:
        if damage != "missing":
            yield entry._replace(damage=damage)


def weakened_policy(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The policy with one thing less: a tier, a runtime, a role's keys, a passing queue state, life, or leniency."""
    for tier, rule in event["tiers"].items():
        yield event | {"tiers": {name: other for name, other in event["tiers"].items() if name != tier}}
        yield event | {"tiers": event["tiers"] | {tier: rule | {"runtimes": []}}}
        for paid in ("blocked", "future"):
            yield event | {"tiers": event["tiers"] | {tier: rule | {"paid": paid}}}
        for kind in rule["runtimes"]:
            fewer = [other for other in rule["runtimes"] if other != kind]
            yield event | {"tiers": event["tiers"] | {tier: rule | {"runtimes": fewer}}}
            yield event | {"tiers": event["tiers"] | {tier: rule | {"runtimes": [*fewer, UNKNOWN_WORD]}}}
    for role in event["roles"]:
        if role != "operator":
            yield event | {"roles": event["roles"] | {role: []}}
    for word in event["queue_states_passing"]:
        yield event | {"queue_states_passing": [other for other in event["queue_states_passing"] if other != word]}
    for field in event:
        if field.endswith("_ttl_ms"):
            yield event | {field: event[field] // 2}
        if field not in ("network", "revision"):
            yield {key: value for key, value in event.items() if key != field}
    yield event | {"stake_wei_min": event["stake_wei_min"] + "0"}


def named(flaw: tuple[str, dict[str, Any]] | None) -> str:
    """A flaw as the name of a test."""
    return "nothing wrong" if flaw is None else f"{flaw[0]} {flaw[1]}"


@pytest.mark.parametrize("later_ms", [0, 1, 25_000])
def test_the_sound_facts_of_these_tests_grant(later_ms: int) -> None:
    """Without a flaw both profiles are eligible, so that a flaw is all that stands between them and a grant."""
    assert granted(facts(Random(1), None)[0], T0 + later_ms) == {"node-1/p0", "node-1/p1"}


@pytest.mark.parametrize("flaw", [None, *FLAWS], ids=named)
def test_nothing_less_said_undoes_a_flaw(flaw: tuple[str, dict[str, Any]] | None) -> None:
    """Of a record with one thing wrong: any field removed, any word unknown, any "true" false: it never becomes eligible."""
    entries, place = facts(Random(1), flaw)
    before = granted(entries, T0 + 1)
    for weaker in weakened(entries[place]):
        assert granted([*entries[:place], weaker, *entries[place + 1 :]], T0 + 1) <= before


@given(RANDOMS, st.sampled_from([0, 1, 25_000, 59_000]))
def test_less_evidence_never_grants_more(rng: Random, later_ms: int) -> None:
    """Weakening or removing any record beside a flawed one opens nothing either, sooner or later."""
    entries, _ = facts(rng, rng.choice(FLAWS))
    before = granted(entries, T0 + later_ms)
    for i, entry in enumerate(entries):
        if entry.topic != topics.HOLDS:
            assert granted([*entries[:i], *entries[i + 1 :]], T0 + later_ms) <= before
        choices = list(weakened(entry))
        for weaker in rng.sample(choices, min(3, len(choices))):
            assert granted([*entries[:i], weaker, *entries[i + 1 :]], T0 + later_ms) <= before


@pytest.mark.parametrize("flaw", [None, *FLAWS], ids=named)
def test_a_stricter_policy_never_grants_more(flaw: tuple[str, dict[str, Any]] | None) -> None:
    """A policy with one tier, runtime, key, queue state or second of life less, or without a field, opens nothing."""
    entries, _ = facts(Random(1), flaw)
    before = granted(entries, T0 + 25_000)
    assert entries[0].topic == topics.POLICIES
    for event in weakened_policy(entries[0].event):
        assert granted([entries[0]._replace(event=event), *entries[1:]], T0 + 25_000) <= before


@given(RANDOMS)
def test_every_way_to_spoil_a_record_makes_it_count_for_nothing(rng: Random) -> None:
    """A record with a field missing, surplus bytes, another network, key, type or signer is as good as never sent."""
    history = Draw(rng, NO_HOLD_DOWN).history(6)
    at = rng.randrange(len(history))
    arrived = [(name, i) for name, listed in history[at].arrived.items() for i in range(len(listed))]
    if not arrived:
        return
    name, i = rng.choice(arrived)
    entry = history[at].arrived[name][i]

    def instead(entries: list[Entry]) -> History:
        listed = history[at].arrived[name]
        moment = Moment(history[at].at_ms, history[at].arrived | {name: [*listed[:i], *entries, *listed[i + 1 :]]})
        return [*history[:at], moment, *history[at + 1 :]]

    spoilt = entry._replace(damage=rng.choice(DAMAGES))
    assert [eligible(view) for _, view in views(instead([spoilt]))] == [eligible(view) for _, view in views(instead([]))]


# Replay equals live


def opened_anyhow(record: Record, state: PartitionState, rng: Random) -> Record | Opened:
    """The record raw, or opened beforehand under the right keys, no keys, or keys that no longer count."""
    node = state.nodes.get(record.key.decode()) if record.key else None
    how = rng.randrange(4)
    if how == 0:
        return record
    right = keys_for(record.topic, state.rules, node, factory.SCOPE)
    stale = {factory.public(name): raw_public(name) for name in ("broker", "node-1")}
    return open_record(record, (right, {}, stale)[how - 1], factory.SCOPE, fake_verify)


@given(RANDOMS)
def test_how_records_are_delivered_does_not_matter(rng: Random) -> None:
    """Raw or opened ahead under whatever keys, topics in whatever order: the same outcome, to the byte."""
    plain, other = PartitionState(), PartitionState()
    for at_ms, records in records_of(Draw(rng).history()):
        names = list(records)
        rng.shuffle(names)
        delivered = {name: [opened_anyhow(record, other, rng) for record in records[name]] for name in names}
        first = step(plain, Epoch(at_ms, records), factory.SCOPE, fake_verify)
        second = step(other, Epoch(at_ms, delivered), factory.SCOPE, fake_verify)
        assert (first.changes, first.nodes, first.refused) == (second.changes, second.nodes, second.refused)
        absorb(plain, first)
        absorb(other, second)
        assert digest(plain) == digest(other)


def whole_digest(history: History) -> str:
    """One hash over everything a history gives: changes, refusals and state, epoch by epoch."""
    whole = sha256()
    for state, outcome in fold(history):
        for change in outcome.changes:
            whole.update(change.key.encode() + change.decision)
        for refused in outcome.refused:
            whole.update(f"{refused.code} {refused.record.topic} {refused.record.offset}".encode())
        whole.update(digest(state).encode())
    return whole.hexdigest()


PRINT_DIGESTS = """
from tests.core.histories import seeded
from tests.core.test_properties import whole_digest
print([whole_digest(seeded(seed, 30)) for seed in range(12)])
"""


def test_every_process_folds_alike() -> None:
    """Interpreters with other hash seeds give the same changes, refusals and digests as this one."""
    here = str([whole_digest(seeded(seed, 30)) for seed in range(12)])
    for hash_seed in ("1", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            [sys.executable, "-c", PRINT_DIGESTS], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == here


@given(RANDOMS)
def test_step_only_reads_the_state(rng: Random) -> None:
    """A step that is thrown away leaves no trace: not in the nodes, the digest, the deadlines, nor in the next step."""
    state = PartitionState()
    for at_ms, records in records_of(Draw(rng).history()):
        nodes, rules, before = dict(state.nodes), state.rules, digest(state)
        frozen = {node_id: codec.encode_node(node) for node_id, node in nodes.items()}
        deadline_ms = state.next_deadline_ms
        first = step(state, Epoch(at_ms, records), factory.SCOPE, fake_verify)
        assert (state.nodes, state.rules, digest(state), state.next_deadline_ms) == (nodes, rules, before, deadline_ms)
        assert {node_id: codec.encode_node(node) for node_id, node in state.nodes.items()} == frozen
        assert step(state, Epoch(at_ms, records), factory.SCOPE, fake_verify) == first
        absorb(state, first)


@given(RANDOMS)
def test_an_outcomes_digest_is_the_absorbed_states(rng: Random) -> None:
    """The digest that a mark carries, computed before the outcome is absorbed, is that of the state after, from scratch."""
    state = PartitionState()
    for at_ms, records in records_of(Draw(rng).history()):
        outcome = step(state, Epoch(at_ms, records), factory.SCOPE, fake_verify)
        ahead = state.digest(outcome.nodes, outcome.rules)
        absorb(state, outcome)
        fresh = PartitionState()
        fresh.absorb(state.resolved_at_ms, dict(sorted(state.nodes.items(), reverse=True)), state.rules)
        assert ahead == digest(state) == digest(fresh)


def test_the_digest_covers_every_node_and_the_rules() -> None:
    """Any other node state, node id or policy revision gives another digest, also where no decision changes."""
    world = ready_world()
    seen = {digest(world.state)}
    world.policy(T0 + 10, revision=2)
    assert world.epoch(T0 + 11).changes == ()
    seen.add(digest(world.state))
    world.beat(2, T0 + 20)
    assert world.epoch(T0 + 21).changes == ()
    seen.add(digest(world.state))
    seen.add(world.state.digest({"node-2": world.node()}, world.state.rules))
    seen.add(world.state.digest({}, None))
    assert len(seen) == 5


@given(RANDOMS)
def test_the_number_of_eligible_profiles_is_kept(rng: Random) -> None:
    """What the state says of how many profiles are eligible is what its nodes say."""
    for state, _ in fold(Draw(rng).history()):
        assert state.eligible == sum(last.eligible for node in state.nodes.values() for last in node.published.values())


# State as bytes


@given(RANDOMS)
def test_every_node_and_policy_survives_its_bytes(rng: Random) -> None:
    """Decoding what was encoded gives an equal value and the same bytes, for every state a history reaches."""
    for state, _ in fold(Draw(rng).history()):
        for node in state.nodes.values():
            raw = codec.encode_node(node)
            again = codec.decode_node(raw)
            assert again == node
            assert codec.encode_node(again) == raw
        if state.rules is not None:
            raw = codec.encode_rules(state.rules)
            prepare.cache_clear()
            assert codec.decode_rules(raw) == state.rules
            assert codec.encode_rules(codec.decode_rules(raw)) == raw


@given(RANDOMS)
def test_a_restored_state_goes_on_like_the_one_that_never_stopped(rng: Random) -> None:
    """After any epoch, a state made from stored bytes gives the same changes, refusals, deadlines and digests ever after."""
    history = Draw(rng).history()
    stop = rng.randrange(len(history))
    live, restored = PartitionState(), PartitionState()
    for i, (at_ms, records) in enumerate(records_of(history)):
        outcome = step(live, Epoch(at_ms, records), factory.SCOPE, fake_verify)
        absorb(live, outcome)
        if i == stop:
            stored = {node_id: codec.encode_node(node) for node_id, node in live.nodes.items()}
            rules = codec.decode_rules(codec.encode_rules(live.rules)) if live.rules else None
            restored.restore(stored, rules, live.resolved_at_ms)
            assert (restored.nodes, restored.eligible) == (live.nodes, live.eligible)
        elif i > stop:
            again = step(restored, Epoch(at_ms, records), factory.SCOPE, fake_verify)
            assert (again.changes, again.refused, again.nodes) == (outcome.changes, outcome.refused, outcome.nodes)
            absorb(restored, again)
        if i >= stop:
            assert digest(restored) == digest(live)
            assert (restored.next_deadline_ms > live.resolved_at_ms) or not restored.nodes


# Hostile bytes


def mutations(value: bytes, rng: Random) -> Iterator[bytes]:
    """The bytes with a bit flipped, cut short, repeated, with a byte put in or taken out, or replaced by noise."""
    at = rng.randrange(len(value))
    yield value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1 :]
    yield value[:at]
    yield value[at:]
    yield value + value
    yield value[:at] + bytes([rng.randrange(256)]) + value[at:]
    yield value[:at] + value[at + 1 :]
    yield value[:at] + rng.randbytes(rng.randrange(1, 40)) + value[at:]
    yield rng.randbytes(rng.randrange(1, 200))
    yield b"[" * 100_000
    yield b'{"payload":' * 2_000


KEYS = (None, b"", b"\xff\xfe", b"node-1\x00", b"~rules", b"~mark", b"node-1/p0", b"x" * 70_000, "nöde".encode())
TIMES = (-1, 0, 2**53, 2**63 - 1)


def a_world_that_lacks(topic: str) -> tuple[World, Record]:
    """A world that needs one more record on the topic to grant, and that record. For holds: a paused one, and its end."""
    world = World()
    world.policy()
    world.log.ready()
    world.hold(T0)
    if topic == topics.HOLDS:
        world.epoch(T0 + 1)
        return world, world.hold(T0 + 2, held=False)
    world.log.records[topics.HOLDS].clear()
    missing = world.log.records[topic].pop()
    if topic != topics.POLICIES and topic != topics.REGISTRATIONS:
        world.epoch(T0 + 1)
    return world, missing


@pytest.mark.parametrize("topic", topics.INPUTS)
def test_the_missing_record_itself_grants(topic: str) -> None:
    """The worlds of the next test really are one record short of a grant."""
    world, missing = a_world_that_lacks(topic)
    world.log.records[topic].append(missing) if topic != topics.HOLDS else None
    world.epoch(T0 + 3)
    assert world.eligible()


@pytest.mark.parametrize("topic", topics.INPUTS)
@settings(max_examples=25)
@given(RANDOMS)
def test_hostile_bytes_never_grant_and_never_raise(topic: str, rng: Random) -> None:
    """However the one missing record is mangled, in value, key, place or time, the step ends and nothing is granted."""
    world, missing = a_world_that_lacks(topic)
    if topic == topics.HOLDS:
        world.log.records[topic].pop()
    assert missing.value is not None
    mangled = [missing._replace(value=value) for value in mutations(missing.value, rng)]
    mangled += [missing._replace(key=key) for key in KEYS]
    mangled += [missing._replace(value=None), missing._replace(value=b""), missing._replace(timestamp_type=0)]
    for record in mangled:
        if record.value != missing.value or record.key != missing.key or record.timestamp_type != missing.timestamp_type:
            world.log.records[topic].append(record)
    expected = len(world.log.records[topic]) - world.cut[topic]
    outcome = world.epoch(T0 + 3)
    assert sum(refused.record.topic == topic for refused in outcome.refused) == expected
    assert not world.eligible()


@pytest.mark.parametrize("timestamp_ms", TIMES)
@pytest.mark.parametrize("topic", topics.INPUTS)
def test_absurd_broker_times_never_raise(topic: str, timestamp_ms: int) -> None:
    """A record whose log time is far off is refused, or judged by that time; the step ends either way."""
    world, missing = a_world_that_lacks(topic)
    world.log.records[topic][-1:] = [missing._replace(timestamp_ms=timestamp_ms)] if topic == topics.HOLDS else []
    if topic != topics.HOLDS:
        world.log.records[topic].append(missing._replace(timestamp_ms=timestamp_ms))
    world.epoch(T0 + 3)
    assert world.eligible() == (topic == topics.POLICIES)


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**53, 2**64, "", " ", "\n", "node-1\n", "NODE-1", "ｎｏｄｅ-1", "\x00", "a" * 5_000,
    [], {}, [[]], [None], {"": None}, [1] * 100, {"a": {"b": {}}}, "1e3", "0x10", "-0", "00",
)  # fmt: skip


def sealed(topic: str, key: bytes, payload: bytes, signers: tuple[str, ...]) -> Record:
    """Any bytes at all, signed as if they were an event."""
    kind = factory.PAYLOAD_TYPE[topic]
    sigs = {raw_public(name): fake_sign(raw_public(name), pae(kind, payload)) for name in signers}
    return Record(topic, 0, 0, key, seal(kind, payload, sigs), T0)


SOUND: dict[str, tuple[Callable[[], dict[str, Any]], tuple[str, ...], bytes]] = {
    topics.POLICIES: (lambda: factory.policy_event(revision=2), ("root0", "root1"), b"2"),
    topics.REGISTRATIONS: (lambda: factory.registration_event(seq=T0 + 1), ("control_plane",), b"node-1"),
    topics.HOLDS: (lambda: factory.hold_event(seq=T0 + 1), ("operator",), b"node-1"),
    topics.BENCHMARKS: (lambda: factory.benchmark_event(seq=T0 + 1), ("observer",), b"node-1"),
    topics.ROUTE_HEALTH: (lambda: factory.route_event(seq=T0 + 1), ("broker",), b"node-1"),
    topics.HEARTBEATS: (lambda: factory.heartbeat_event(seq=2), ("node-1",), b"node-1"),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a JSON value, itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The value with another one at the path."""
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("topic", SOUND)
def test_signed_nonsense_never_raises_and_what_is_admitted_is_sound(topic: str) -> None:
    """Any value in any place of a validly signed payload is refused or understood; the step ends and state still encodes."""
    make, signers, key = SOUND[topic]
    base = ready_world()
    refused = admitted = 0
    for path in places(make()):
        for value in VALUES:
            payload = json_or_none(replaced(make(), path, value))
            if payload is None:
                continue
            record = sealed(topic, key, payload, signers)
            outcome = step(base.state, Epoch(T0 + 5, {topic: [record]}), factory.SCOPE, fake_verify)
            refused += len(outcome.refused)
            admitted += sum(outcome.admitted.values())
            assert "admission_error" not in {found.code for found in outcome.refused}
            for change in outcome.changes:
                Decision.model_validate_json(change.decision)
            for node in outcome.nodes.values():
                assert codec.decode_node(codec.encode_node(node)) == node
    assert refused > 5 * admitted > 0


def json_or_none(value: Any) -> bytes | None:
    """The value as JSON; None for what JSON writers refuse."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return None


@pytest.mark.parametrize("depth", [10, 200, 300, 1_000, 20_000])
@pytest.mark.parametrize("topic", SOUND)
def test_deep_nesting_is_refused(topic: str, depth: int) -> None:
    """A payload nested deeply is refused like any other that is no JSON of ours or does not fit its schema."""
    make, signers, key = SOUND[topic]
    payload = orjson.dumps(make() | {"network": "HERE"}).replace(b'"HERE"', b"[" * depth + b"]" * depth)
    record = sealed(topic, key, payload, signers)
    outcome = step(ready_world().state, Epoch(T0 + 5, {topic: [record]}), factory.SCOPE, fake_verify)
    assert [found.code.value for found in outcome.refused] == ["payload_invalid" if depth <= 200 else "payload_not_canonical"]


@given(RANDOMS)
@example(Random(3))
def test_a_verifier_that_says_no_admits_nothing(rng: Random) -> None:
    """Without a single valid signature no history leaves any trace but refusals."""
    state = PartitionState()
    for at_ms, records in records_of(Draw(rng).history()):
        outcome = step(state, Epoch(at_ms, records), factory.SCOPE, lambda key, message, sig: False)
        absorb(state, outcome)
        assert len(outcome.refused) == sum(map(len, records.values()))
    assert (state.nodes, state.rules) == ({}, None)


def breaks(public_key: bytes, message: bytes, sig: bytes) -> bool:
    raise ZeroDivisionError


@pytest.mark.parametrize("topic", SOUND)
def test_a_check_that_breaks_on_a_record_refuses_that_record(topic: str) -> None:
    """Should a check ever break on some input, that input is refused with a code of its own, and the step goes on."""
    make, signers, key = SOUND[topic]
    world = ready_world()
    opened = open_record(sealed(topic, key, orjson.dumps(make()), signers), {}, factory.SCOPE, fake_verify)
    outcome = step(world.state, Epoch(T0 + 5, {topic: [opened]}), factory.SCOPE, breaks)
    assert [found.code.value for found in outcome.refused] == ["admission_error"]
    assert (outcome.changes, outcome.nodes) == ((), {})


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("topic", SOUND)
def test_each_way_to_spoil_has_its_refusal(topic: str, damage: str) -> None:
    """Every way these tests spoil a record really is refused, on every topic, with a code that names it."""
    make, signers, _ = SOUND[topic]
    entry = Entry(topic, make(), T0, signers, damage)
    base = World(verify=fake_verify)
    outcome = step(ready_world().state, Epoch(T0 + 5, {topic: [record_of(entry, 0)]}), base.scope, fake_verify)
    expected = {
        "signature": "invalid_signature", "key": "key_mismatch", "network": "network_mismatch",
        "canonical": "payload_not_canonical", "extra": "payload_invalid", "missing": "payload_invalid",
        "create_time": "timestamp_type_wrong", "empty": "record_empty", "type": "payload_type_unexpected",
        "huge": "record_too_large", "stranger": "unauthorized",
    }  # fmt: skip
    code = "unauthorized" if (topic, damage) == (topics.HEARTBEATS, "key") else expected[damage]  # another node's keys
    assert [found.code.value for found in outcome.refused] == [code]
