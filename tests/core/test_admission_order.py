"""Order: what is new, what is old, what contradicts; across records, topics and key rotations."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from tests import factory
from tests.core.histories import Calm, Draw, Entry, Moment, fake_verify, fold, record_of, records_of
from tests.core.world import KEY, World, codes, ready_world
from tests.factory import T0

RANDOMS = st.randoms(use_true_random=False)

TELL = {
    topics.REGISTRATIONS: lambda world, at_ms, **changes: world.registration(at_ms, **changes),
    topics.HOLDS: lambda world, at_ms, **changes: world.hold(at_ms, **changes),
    topics.BENCHMARKS: lambda world, at_ms, **changes: world.benchmark(at_ms, **changes),
    topics.ROUTE_HEALTH: lambda world, at_ms, **changes: world.route(at_ms, **changes),
    topics.HEARTBEATS: lambda world, at_ms, **changes: world.beat(changes.pop("seq"), at_ms, **changes),
}
BAD: dict[str, dict[str, Any]] = {
    topics.REGISTRATIONS: {"active": False},
    topics.HOLDS: {"held": True},
    topics.BENCHMARKS: {"outcome": "failed"},
    topics.ROUTE_HEALTH: {"state": "unhealthy"},
    topics.HEARTBEATS: {"state": "offline"},
}
"""What says "no" on each topic."""
GOOD: dict[str, dict[str, Any]] = {
    topics.REGISTRATIONS: {"active": True},
    topics.HOLDS: {"held": False},
    topics.BENCHMARKS: {"outcome": "passed"},
    topics.ROUTE_HEALTH: {"state": "healthy"},
    topics.HEARTBEATS: {"state": "online"},
}
FACTS = tuple(TELL)
SEQ = T0 + 100
"""A sequence number above those of the ready world, whichever topic."""


def said(topic: str, seq: int = SEQ) -> World:
    """A ready world in which then a "no" was folded on the topic, under this sequence number."""
    world = ready_world()
    TELL[topic](world, T0 + 100, seq=1_000 if topic == topics.HEARTBEATS else seq, **BAD[topic])
    world.epoch(T0 + 101)
    assert world.refusals() == []
    assert not world.eligible()
    return world


def seq_of(topic: str, step_: int) -> int:
    """The sequence number that many after the one in `said`."""
    return (1_000 if topic == topics.HEARTBEATS else SEQ) + step_


@pytest.mark.parametrize("topic", FACTS)
def test_a_newer_fact_replaces_the_last(topic: str) -> None:
    """The next sequence number is admitted, and its word counts instead of the last."""
    world = said(topic)
    TELL[topic](world, T0 + 200, seq=seq_of(topic, 1), **GOOD[topic])
    world.epoch(T0 + 201)
    assert world.refusals() == []
    assert world.eligible()


@pytest.mark.parametrize("topic", FACTS)
def test_the_same_record_again_is_a_replay(topic: str) -> None:
    """A record delivered twice is refused the second time and changes nothing, least of all its age."""
    world = said(topic)
    before = world.node()
    again = world.log.records[topic][-1]
    world.log.raw(topic, again.key, again.value, T0 + 5_000)
    world.epoch(T0 + 5_001)
    assert world.refusals() == ["sequence_replayed"]
    assert world.node() == before


@pytest.mark.parametrize("topic", FACTS)
def test_an_older_fact_never_comes_back(topic: str) -> None:
    """A sequence number below the last admitted one is refused, however sound and late it is."""
    world = said(topic)
    TELL[topic](world, T0 + 200, seq=seq_of(topic, -1), **GOOD[topic])
    world.epoch(T0 + 201)
    assert world.refusals() == ["sequence_replayed"]
    assert not world.eligible()


@pytest.mark.parametrize("topic", FACTS)
def test_one_number_with_two_contents_is_equivocation(topic: str) -> None:
    """Another payload under the last number is refused as equivocation; the first word stands."""
    world = said(topic)
    TELL[topic](world, T0 + 200, seq=seq_of(topic, 0), **GOOD[topic])
    world.epoch(T0 + 201)
    assert world.refusals() == ["equivocation"]
    assert not world.eligible()


def test_only_a_nodes_equivocation_blocks_the_node() -> None:
    """Two words of a node under one number block it; two words of a role are the role's fault and do not."""
    for topic in FACTS:
        world = ready_world()
        TELL[topic](world, T0 + 100, seq=seq_of(topic, 0), **GOOD[topic])
        TELL[topic](world, T0 + 200, seq=seq_of(topic, 0), **BAD[topic])
        world.epoch(T0 + 201)
        assert world.refusals() == ([] if topic == topics.HOLDS else ["equivocation"])  # a pause wins a tie
        blocked = codes(world.view[KEY]) == ["node_equivocated"]
        assert blocked == (topic == topics.HEARTBEATS)


@pytest.mark.parametrize(
    ("boot", "seq", "refusals"),
    [
        (1, 1 + 50, []),
        (1, 1 + 51, ["sequence_jump"]),
        (2, 0, []),
        (2, 50, []),
        (2, 51, ["sequence_jump"]),
        (1 + 3, 0, []),
        (1 + 4, 0, ["sequence_jump"]),
        (2**53 - 1, 2**53 - 1, ["sequence_jump"]),
        (0, 2**53 - 1, ["sequence_replayed"]),
        (1, 0, ["sequence_replayed"]),
    ],
)
def test_heartbeats_may_run_ahead_only_so_far(boot: int, seq: int, refusals: list[str]) -> None:
    """Boot and sequence are strictly after the last and at most as far ahead as policy allows; a new boot starts small."""
    world = ready_world(boot_jump_max=3, seq_jump_max=50)
    world.beat(seq, T0 + 100, boot=boot, state="draining")
    world.epoch(T0 + 101)
    assert world.refusals() == refusals
    assert world.eligible() == bool(refusals)


def test_a_benchmark_is_ordered_among_those_of_its_profile() -> None:
    """Sequence numbers run per profile: a benchmark of one profile does not make another's old."""
    world = ready_world()
    world.benchmark(T0 + 100, seq=SEQ + 100)
    world.benchmark(T0 + 100, seq=SEQ, profile_id="p1")
    world.epoch(T0 + 101)
    assert world.refusals() == []


@pytest.mark.parametrize(
    ("off_ms", "admitted"), [(-120_001, False), (-120_000, True), (0, True), (10_000, True), (10_001, False)]
)
@pytest.mark.parametrize("topic", FACTS)
def test_the_senders_clock_must_be_near_the_brokers(topic: str, off_ms: int, admitted: bool) -> None:
    """A fact is admitted only if it was sent inside the window round its log time; both ends count as inside."""
    world = ready_world()
    TELL[topic](world, T0 + 200_000, seq=seq_of(topic, 0), sent_at_ms=T0 + 200_000 + off_ms)
    world.epoch(T0 + 200_001)
    assert world.refusals() == ([] if admitted else ["sent_at_outside_window"])


@pytest.mark.parametrize(("ahead_ms", "refusals"), [(10_000, []), (10_001, ["sequence_jump"]), (2**52, ["sequence_jump"])])
@pytest.mark.parametrize("topic", [topic for topic in FACTS if topic != topics.HEARTBEATS])
def test_a_role_may_not_number_its_facts_far_ahead_of_time(topic: str, ahead_ms: int, refusals: list[str]) -> None:
    """No fact of a role can leave a number behind that honest later ones could not exceed."""
    world = ready_world()
    TELL[topic](world, T0 + 100, seq=T0 + 100 + ahead_ms, **GOOD[topic])
    world.epoch(T0 + 101)
    assert world.refusals() == refusals
    TELL[topic](world, T0 + 20_200, seq=T0 + 20_200, **BAD[topic])
    world.epoch(T0 + 20_201)
    assert world.refusals() == []
    assert not world.eligible()


def test_a_heartbeat_outside_the_window_does_not_use_up_its_number() -> None:
    """What is refused leaves no trace in the sequence."""
    world = ready_world()
    world.beat(2, T0 + 100, sent_at_ms=T0 + 900_000)
    world.beat(2, T0 + 200)
    world.epoch(T0 + 201)
    assert world.refusals() == ["sent_at_outside_window"]
    assert world.node().beat is not None
    assert world.eligible()


# Policies


def test_a_lower_or_equal_revision_is_ignored() -> None:
    """Revisions only go up: an older one, or the same number with other content, changes nothing."""
    world = ready_world(revision=5)
    for revision in (4, 5):
        world.policy(T0 + 100, revision=revision, stake_wei_min="999999")
    world.epoch(T0 + 101)
    assert world.refusals() == ["sequence_replayed", "sequence_replayed"]
    assert world.eligible()
    assert world.view[KEY]["policy_revision"] == 5


def test_a_revision_needs_enough_distinct_roots() -> None:
    """One root, or one root and a stranger, cannot change the policy; two roots of three can."""
    world = ready_world()
    world.policy(T0 + 100, revision=2, stake_wei_min="999999", signers=("root0",))
    world.policy(T0 + 100, revision=2, stake_wei_min="999999", signers=("root0", "stranger"))
    world.policy(T0 + 100, revision=2, stake_wei_min="999999", signers=("stranger",))
    world.epoch(T0 + 101)
    assert world.refusals() == ["threshold_unmet", "threshold_unmet", "unauthorized"]
    assert world.eligible()
    world.policy(T0 + 200, revision=2, stake_wei_min="999999", signers=("root2", "root1"))
    world.epoch(T0 + 201)
    assert codes(world.view[KEY]) == ["protocol_stake_unsatisfied"]


def test_the_policy_of_an_epoch_applies_before_its_facts() -> None:
    """A revision folds first: facts by a key that it names count already, even if logged a moment before it."""
    world = ready_world()
    roles = factory.policy_event()["roles"] | {"broker": [factory.public("broker-2")]}
    world.route(T0 + 201, state="unhealthy", seq=SEQ + 1, signers=("broker-2",))
    world.policy(T0 + 202, revision=2, roles=roles)
    world.epoch(T0 + 203)
    assert world.refusals() == []
    assert codes(world.view[KEY]) == ["route_unhealthy"]


@pytest.mark.parametrize("one_cut", [True, False])
def test_a_pause_by_a_key_that_is_dropped_before_it_is_folded_still_counts(one_cut: bool) -> None:
    """What was signed while the key was listed is admitted, in however few epochs it is folded; what came later is not."""
    world = ready_world()
    world.hold(T0 + 10)
    if not one_cut:
        world.epoch(T0 + 11)
    roles = factory.policy_event()["roles"] | {"operator": [factory.public("op2")]}
    world.policy(T0 + 20, revision=2, roles=roles)
    world.hold(T0 + 30, held=False)
    world.epoch(T0 + 31)
    assert world.refusals() == ["unauthorized"]
    assert codes(world.view[KEY]) == ["operator_hold"]


def test_a_pause_is_judged_by_the_window_of_its_own_time() -> None:
    """A narrower window in a later revision does not refuse a pause that was logged under the wider one."""
    world = ready_world()
    world.hold(T0 + 100_000, sent_at_ms=T0 + 10)
    world.policy(T0 + 100_010, revision=2, sent_at_past_ms=60_000)
    world.epoch(T0 + 100_011)
    assert world.refusals() == []
    assert "operator_hold" in codes(world.view[KEY])


def test_a_deregistration_by_a_key_dropped_in_the_same_cut_blocks() -> None:
    """The last word of a key that was dropped replaces an older yes by a key that was not, and then proves nothing itself."""
    world = ready_world()
    roles = factory.policy_event()["roles"]
    both = roles | {"control_plane": [*roles["control_plane"], factory.public("cp2")]}
    world.policy(T0 + 10, revision=2, roles=both)
    world.registration(T0 + 20, signers=("cp2",))
    world.epoch(T0 + 21)
    assert world.eligible()
    world.registration(T0 + 30, active=False)
    world.policy(T0 + 40, revision=3, roles=both | {"control_plane": [factory.public("cp2")]})
    world.epoch(T0 + 41)
    assert codes(world.view[KEY]) == ["registration_key_revoked", "protocol_not_active"]


def test_a_pause_wins_a_tie_with_a_resume() -> None:
    """Two operators in one millisecond: the pause counts, in either order."""
    for words in ((False, True), (True, False)):
        world = ready_world()
        for held in words:
            world.hold(T0 + 50, held=held, actor=f"op-{held}")
        world.epoch(T0 + 51)
        assert codes(world.view[KEY]) == ["operator_hold"]


def test_several_revisions_in_one_epoch_end_in_the_highest() -> None:
    """Revisions fold by offset, each above the last; one that comes late is ignored."""
    world = ready_world()
    for revision in (2, 4, 3):
        world.policy(T0 + 100, revision=revision, stake_wei_min=str(revision))
    world.epoch(T0 + 101)
    assert world.refusals() == ["sequence_replayed"]
    assert world.state.rules is not None
    assert world.state.rules.policy.revision == 4


def test_facts_before_any_policy_are_refused() -> None:
    """Without a policy nobody may sign anything, so nothing is known when one comes later."""
    world = World()
    world.log.ready()
    world.epoch(T0 + 1)
    assert set(world.refusals()) == {"unauthorized"}
    world.policy(T0 + 2)
    world.epoch(T0 + 3)
    assert world.state.nodes == {}


# Keys


def successor_keys(*names: str) -> list[dict[str, str]]:
    """Registered keys of node-1 that go by these names."""
    return [factory.node_key("node-1", name) for name in names]


def test_a_node_rotates_its_key_without_a_gap() -> None:
    """Old and new key listed: both may sign, one after the other; dropping the old one then costs nothing."""
    world = ready_world()
    world.registration(T0 + 100, keys=successor_keys("node-1", "next"))
    world.beat(2, T0 + 100)
    world.epoch(T0 + 101)
    world.beat(3, T0 + 200, signers=("next",))
    world.epoch(T0 + 201)
    world.registration(T0 + 300, keys=successor_keys("next"))
    world.epoch(T0 + 301)
    assert world.refusals() == []
    assert world.eligible()


def test_dropping_a_key_drops_what_it_signed() -> None:
    """The last heartbeat stops counting at once when its key is no longer listed, and counts again if it is listed again."""
    world = ready_world()
    world.registration(T0 + 100, keys=successor_keys("next"))
    world.epoch(T0 + 101)
    assert codes(world.view[KEY]) == ["heartbeat_key_revoked"]
    world.beat(2, T0 + 200)
    world.epoch(T0 + 201)
    assert world.refusals() == ["unauthorized"]
    assert not world.eligible()
    world.beat(2, T0 + 300, signers=("next",))
    world.epoch(T0 + 301)
    assert world.eligible()


def test_a_node_without_listed_keys_is_mute() -> None:
    """A registration may list no key at all: then nothing the node said or says counts."""
    world = ready_world()
    world.registration(T0 + 100, keys=[])
    world.beat(2, T0 + 100)
    world.epoch(T0 + 101)
    assert world.refusals() == ["unauthorized"]
    assert codes(world.view[KEY]) == ["heartbeat_key_revoked"]


def test_a_key_of_one_node_does_not_speak_for_another() -> None:
    """A registered key signs for its own node only, and a key's proof of possession names the node."""
    world = ready_world()
    world.beat(2, T0 + 100, signers=("node-2",))
    world.registration(T0 + 100, keys=[factory.node_key("node-2")])
    world.epoch(T0 + 101)
    assert sorted(world.refusals()) == ["possession_unproven", "unauthorized"]
    assert world.eligible()


def test_a_heartbeat_under_a_key_not_yet_folded_is_refused_and_no_equivocation() -> None:
    """There is no order between topics: the early heartbeat is lost without blame, and its number stays free."""
    world = ready_world()
    world.beat(2, T0 + 100, signers=("next",))
    world.epoch(T0 + 101)
    assert world.refusals() == ["unauthorized"]
    assert world.eligible()
    world.registration(T0 + 200, keys=successor_keys("node-1", "next"))
    world.beat(2, T0 + 200, state="draining", signers=("next",))
    world.epoch(T0 + 201)
    assert world.refusals() == []
    assert codes(world.view[KEY]) == ["node_draining"]


def test_a_strangers_words_under_a_used_number_are_no_equivocation() -> None:
    """Only a signature by a registered key can make a node contradict itself."""
    world = ready_world()
    world.beat(1, T0 + 100, state="draining", signers=("stranger",))
    world.epoch(T0 + 101)
    assert world.refusals() == ["unauthorized"]
    assert world.eligible()


def test_registration_and_heartbeat_of_one_epoch_fold_in_fixed_order() -> None:
    """The registration folds first, whichever was logged first: a first heartbeat in the same epoch counts."""
    world = World()
    world.policy()
    world.beat(1, T0 + 1)
    world.route(T0 + 2)
    world.benchmark(T0 + 3)
    world.registration(T0 + 4)
    world.epoch(T0 + 5)
    assert world.refusals() == []
    assert world.eligible()


@pytest.mark.parametrize(
    ("role", "topic"),
    [("control_plane", topics.REGISTRATIONS), ("observer", topics.BENCHMARKS), ("broker", topics.ROUTE_HEALTH)],
)
def test_a_policy_revision_rotates_a_roles_key(role: str, topic: str) -> None:
    """Old and new key named: both sign. The old one dropped: what it signed stops counting until the new one says it again."""
    world = ready_world()
    roles = factory.policy_event()["roles"]
    both = [factory.public(role), factory.public("new")]
    world.policy(T0 + 100, revision=2, roles=roles | {role: both})
    TELL[topic](world, T0 + 100, seq=SEQ, signers=("new",))
    TELL[topic](world, T0 + 101, seq=SEQ + 1)
    world.epoch(T0 + 102)
    assert world.refusals() == []
    assert world.eligible()
    world.policy(T0 + 200, revision=3, roles=roles | {role: both[1:]})
    world.epoch(T0 + 201)
    assert [code.rsplit("_", 2)[1:] for code in codes(world.view[KEY])] == [["key", "revoked"]]
    TELL[topic](world, T0 + 300, seq=SEQ + 2)
    world.epoch(T0 + 301)
    assert world.refusals() == ["unauthorized"]
    assert not world.eligible()
    TELL[topic](world, T0 + 400, seq=SEQ + 2, signers=("new",))
    world.epoch(T0 + 401)
    assert world.eligible()


def test_a_hold_survives_the_key_that_signed_it() -> None:
    """Dropping an operator's key never grants: the pause stands until an operator that counts ends it."""
    world = said(topics.HOLDS)
    roles = factory.policy_event()["roles"] | {"operator": [factory.public("operator-2")]}
    world.policy(T0 + 200, revision=2, roles=roles)
    world.hold(T0 + 201, held=False)
    world.epoch(T0 + 202)
    assert world.refusals() == ["unauthorized"]
    assert codes(world.view[KEY]) == ["operator_hold"]
    world.hold(T0 + 300, held=False, signers=("operator-2",))
    world.epoch(T0 + 301)
    assert world.eligible()


def test_an_equivocation_survives_the_key_that_signed_it() -> None:
    """Rotating to a fresh key does not wash a node clean."""
    world = ready_world()
    world.beat(1, T0 + 100, state="draining")
    world.epoch(T0 + 101)
    world.registration(T0 + 200, keys=successor_keys("next"))
    world.beat(2, T0 + 200, signers=("next",))
    world.epoch(T0 + 201)
    assert world.refusals() == []
    assert codes(world.view[KEY]) == ["node_equivocated"]


@pytest.mark.parametrize("role", ["broker", "observer", "control_plane", "operator", "node-1", "root0"])
def test_no_key_signs_for_another_role(role: str) -> None:
    """Every topic belongs to one role; the key of any other, even a root's, is a stranger's there."""
    for topic, owner in {**factory.SIGNER, topics.HEARTBEATS: "node-1"}.items():
        if owner == role:
            continue
        world = ready_world()
        TELL[topic](world, T0 + 100, seq=seq_of(topic, 0), signers=(role,), **BAD[topic])
        world.epoch(T0 + 101)
        assert world.refusals() == ["unauthorized"]
        assert world.eligible()


# Whole sequences


def numbers(state: PartitionState) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The last admitted number per subject."""
    found: dict[tuple[str, ...], tuple[int, ...]] = {}
    for node_id, node in state.nodes.items():
        for name, fact in (("registration", node.registration), ("hold", node.hold), ("route", node.route)):
            if fact is not None:
                found[node_id, name] = (fact.seq,)
        for profile_id, seen in node.benchmarks.items():
            found[node_id, "benchmark", profile_id] = (seen.seq,)
        if node.beat is not None:
            found[node_id, "beat"] = (node.beat.boot, node.beat.seq)
    if state.rules is not None:
        found["policy",] = (state.rules.policy.revision,)
    return found


@given(RANDOMS)
def test_no_number_ever_goes_back(rng: Random) -> None:
    """Over any history, what was last admitted on a subject is only ever replaced by something numbered higher."""
    before: dict[tuple[str, ...], tuple[int, ...]] = {}
    for state, _ in fold(Draw(rng).history()):
        now = numbers(state)
        assert before.keys() <= now.keys()
        for subject, number in before.items():
            assert now[subject] >= number
        before = now


def evidence(state: PartitionState) -> dict[str, tuple[object, ...]]:
    """What is known of each node, apart from what was decided and from equivocations."""
    return {node_id: tuple(node[:5]) for node_id, node in state.nodes.items()}


@given(RANDOMS)
def test_replaying_the_past_revives_nothing(rng: Random) -> None:
    """All records of a history delivered again, shuffled and repeated, add no evidence and take none away.

    Only what was refused for its time or its signer the first time may count now; such records are left out.
    """
    history = Draw(rng).history()
    state, admitted = PartitionState(), []
    for at_ms, arrived in records_of(history):
        outcome = step(state, Epoch(at_ms, arrived), factory.SCOPE, fake_verify)
        state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        refused = {(found.record.topic, found.record.offset) for found in outcome.refused}
        admitted += [record for listed in arrived.values() for record in listed if (record.topic, record.offset) not in refused]
    before, at_ms = evidence(state), history[-1].at_ms
    blocked = {node_id: node.equivocated_until_ms for node_id, node in state.nodes.items()}
    again = admitted * 2
    rng.shuffle(again)
    records = {name: [record for record in again if record.topic == name] for name in topics.INPUTS}
    late = {name: [record._replace(timestamp_ms=at_ms) for record in listed] for name, listed in records.items()}
    for replay in (records, late):
        outcome = step(state, Epoch(at_ms, replay), factory.SCOPE, fake_verify)
        state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        assert outcome.admitted == {}
        assert outcome.changes == ()
        assert evidence(state) == before
        assert {node_id: node.equivocated_until_ms for node_id, node in state.nodes.items()} == blocked


@given(RANDOMS, st.lists(st.integers(1, 9), min_size=1, max_size=12), st.sampled_from(FACTS))
def test_the_highest_number_wins_in_any_order(rng: Random, order: list[int], topic: str) -> None:
    """Facts of one subject in any order, with repeats, in any cut: the fact that stands is the one numbered highest."""
    draw = Calm(rng)
    draw.policy(usual=True)
    draw.registration("node-1", usual=True)
    told: list[Moment] = [draw.moment(T0)]
    moment = Moment(T0 + 1)
    for i in order:
        event = EVENTS[topic]("node-1", seq=T0 + 10 + i)
        signer = factory.SIGNER.get(topic, "node-1")
        moment.arrived[topic].append(Entry(topic, event, T0, (signer,)))
        if rng.random() < 0.3:
            told.append(moment)
            moment = Moment(T0 + 1)
    *_, (state, _) = fold([*told, moment])
    name = {"registrations": "registration", "holds": "hold", "route-health": "route", "heartbeats": "beat"}.get(topic)
    fact = state.nodes["node-1"].benchmarks["p0"] if name is None else getattr(state.nodes["node-1"], name)
    assert fact.seq == T0 + 10 + max(order)


EVENTS: dict[str, Any] = {
    topics.REGISTRATIONS: lambda node_id, seq: factory.registration_event(node_id, T0, seq=seq),
    topics.HOLDS: lambda node_id, seq: factory.hold_event(node_id, T0, seq=seq),
    topics.BENCHMARKS: lambda node_id, seq: factory.benchmark_event(node_id, T0, seq=seq),
    topics.ROUTE_HEALTH: lambda node_id, seq: factory.route_event(node_id, T0, seq=seq),
    topics.HEARTBEATS: lambda node_id, seq: factory.heartbeat_event(node_id, seq, T0),
}


@given(RANDOMS)
def test_a_refused_record_leaves_no_trace(rng: Random) -> None:
    """Without its refused records (equivocations apart) a history ends in the same state and the same changes."""
    history = Draw(rng).history()
    whole, cleaned = PartitionState(), PartitionState()
    for at_ms, arrived in records_of(history):
        outcome = step(whole, Epoch(at_ms, arrived), factory.SCOPE, fake_verify)
        gone = {(found.record.topic, found.record.offset) for found in outcome.refused if found.code != "equivocation"}
        kept = {
            name: [record for record in listed if (record.topic, record.offset) not in gone] for name, listed in arrived.items()
        }
        again = step(cleaned, Epoch(at_ms, kept), factory.SCOPE, fake_verify)
        assert again.changes == outcome.changes
        assert again.nodes == outcome.nodes
        whole.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        cleaned.absorb(again.resolved_at_ms, again.nodes, again.rules)


def test_the_same_record_in_another_place_is_judged_by_its_own_coordinates() -> None:
    """A refusal names the record it is about: topic, partition and offset."""
    world = ready_world()
    entry = Entry(topics.HEARTBEATS, factory.heartbeat_event(seq=7), T0, ("node-1",), "signature")
    record = record_of(entry, 41)
    outcome = step(world.state, Epoch(T0 + 2, {topics.HEARTBEATS: [record]}), world.scope, world.verify)
    assert [(found.record.topic, found.record.partition, found.record.offset, found.code.value) for found in outcome.refused] == [
        (topics.HEARTBEATS, 0, 41, "invalid_signature")
    ]
