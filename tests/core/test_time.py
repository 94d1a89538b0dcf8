"""Time alone: what expires closes at its deadline, holds end when they should, and no deadline is ever missed."""

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_streams.core.decide import FAR_MS
from tests import factory
from tests.core.histories import Draw, History, Moment, fold
from tests.core.world import KEY, World, codes, decisions_of, leaf, ready_world
from tests.factory import T0

RANDOMS = st.randoms(use_true_random=False)
DEADLINE = T0 + 10_000
EXPIRIES = {
    "heartbeat_ttl_ms": "heartbeat_stale",
    "route_health_ttl_ms": "route_stale",
    "registration_ttl_ms": "registration_stale",
    "benchmark_ttl_ms": "observed_benchmark_stale",
}
NO_HOLD_DOWN = {"flips_max": 1, "window_ms": 0, "hold_ms": 0}


@pytest.mark.parametrize("field", EXPIRIES)
def test_evidence_closes_exactly_at_its_deadline(field: str) -> None:
    """The last millisecond of its life still counts; the deadline itself no longer does, whichever evidence it is."""
    world = ready_world(**{field: 10_000})
    assert world.state.next_deadline_ms == DEADLINE
    assert world.epoch(DEADLINE - 1).changes == ()
    assert world.eligible()
    world.epoch(DEADLINE)
    assert codes(world.view[KEY]) == [EXPIRIES[field]]
    assert leaf(world.view[KEY], EXPIRIES[field])["since_ms"] == DEADLINE


@pytest.mark.parametrize("late_ms", [0, 1, 5_000, 10_000_000])
@pytest.mark.parametrize("field", EXPIRIES)
def test_an_epoch_that_comes_late_closes_as_of_the_deadline(field: str, late_ms: int) -> None:
    """However late the first epoch after the deadline is, it closes, and says since when the evidence was stale."""
    world = ready_world(**{field: 10_000})
    world.epoch(DEADLINE + late_ms)
    assert not world.eligible()
    assert leaf(world.view[KEY], EXPIRIES[field])["since_ms"] == DEADLINE


@pytest.mark.parametrize("field", EXPIRIES)
def test_evidence_without_any_life_never_counts(field: str) -> None:
    """A time to live of zero closes at once: there is no moment at which such evidence is fresh."""
    world = World()
    world.log.put(topics.POLICIES, factory.policy_event(**{field: 0}))
    world.log.ready()
    world.epoch(T0)
    assert codes(world.view[KEY]) == [EXPIRIES[field]]


@pytest.mark.parametrize("field", EXPIRIES)
def test_fresh_evidence_moves_the_deadline(field: str) -> None:
    """Evidence renewed before it expires keeps the profile open, until the renewed evidence expires in its turn."""
    world = ready_world(**{field: 10_000})
    renewed = DEADLINE - 1
    renew: dict[str, Any] = {
        "heartbeat_ttl_ms": lambda: world.beat(2, renewed),
        "route_health_ttl_ms": lambda: world.route(renewed),
        "registration_ttl_ms": lambda: world.registration(renewed),
        "benchmark_ttl_ms": lambda: world.benchmark(renewed),
    }
    renew[field]()
    world.epoch(renewed)
    world.walk(renewed + 9_999)
    assert world.eligible()
    world.walk(renewed + 10_000)
    assert codes(world.view[KEY]) == [EXPIRIES[field]]


def test_a_heartbeat_that_comes_after_the_deadline_opens_again() -> None:
    """Only age closed it, so a fresh heartbeat with the very same claims is judged anew and opens it."""
    world = ready_world()
    world.epoch(T0 + 30_000)
    assert not world.eligible()
    world.beat(2, T0 + 30_001)
    world.epoch(T0 + 30_002)
    assert world.eligible()


def test_a_heartbeat_and_the_expiry_of_the_last_one_in_one_epoch() -> None:
    """Folded together with the passing of the old deadline, the new heartbeat decides: nothing is published."""
    world = ready_world()
    world.beat(2, T0 + 29_999)
    assert world.epoch(T0 + 31_000).changes == ()
    assert world.eligible()


def test_a_newer_heartbeat_with_an_older_log_time_expires_at_its_own_deadline() -> None:
    """Log times may regress a little; what counts is the age of the last heartbeat, even if it says nothing new."""
    world = ready_world()
    world.beat(2, T0 + 20_000)
    world.epoch(T0 + 31_000)
    world.beat(3, T0 + 19_000)
    world.epoch(T0 + 49_000)
    assert codes(world.view[KEY]) == ["heartbeat_stale"]


def test_a_shorter_time_to_live_closes_at_once() -> None:
    """A policy revision re-judges every node at once, also those whose evidence is now too old."""
    world = ready_world()
    world.policy(T0 + 5_000, revision=2, heartbeat_ttl_ms=5_000)
    world.epoch(T0 + 5_001)
    assert codes(world.view[KEY]) == ["heartbeat_stale"]


def test_a_shorter_time_to_live_brings_the_deadline_forward() -> None:
    """Deadlines follow the policy in force, not the one under which the evidence came."""
    world = ready_world()
    world.policy(T0 + 5_000, revision=2, heartbeat_ttl_ms=6_000)
    world.epoch(T0 + 5_001)
    assert world.eligible()
    assert world.state.next_deadline_ms == T0 + 6_000
    world.epoch(T0 + 6_000)
    assert not world.eligible()


def test_a_longer_time_to_live_opens_again() -> None:
    """A revision that lets evidence live longer makes stale evidence count once more, and moves the deadline."""
    world = ready_world()
    world.epoch(T0 + 30_000)
    world.policy(T0 + 31_000, revision=2, heartbeat_ttl_ms=50_000, hold_down=NO_HOLD_DOWN)
    world.epoch(T0 + 31_001)
    assert world.eligible()
    world.walk(T0 + 49_999)
    assert world.eligible()
    world.walk(T0 + 50_000)
    assert codes(world.view[KEY]) == ["heartbeat_stale"]


def test_an_equivocation_blocks_until_its_end_and_no_longer() -> None:
    """The block starts with the second word under one number and ends, by time alone, when policy says so."""
    world = ready_world(heartbeat_ttl_ms=3_000_000, route_health_ttl_ms=3_000_000)
    world.beat(1, T0 + 1_000, state="draining")
    world.epoch(T0 + 1_001)
    assert codes(world.view[KEY]) == ["node_equivocated"]
    end_ms = T0 + 1_000 + 600_000
    assert world.state.next_deadline_ms == end_ms
    world.epoch(end_ms - 1)
    assert not world.eligible()
    world.epoch(end_ms)
    assert world.eligible()


def test_a_second_equivocation_prolongs_the_block_and_keeps_its_beginning() -> None:
    """Each further equivocation moves the end; since when it lasts stays the first one."""
    world = ready_world(heartbeat_ttl_ms=3_000_000, route_health_ttl_ms=3_000_000)
    world.beat(1, T0 + 1_000, state="draining")
    world.epoch(T0 + 1_001)
    world.beat(1, T0 + 5_000, state="offline")
    world.epoch(T0 + 5_001)
    assert leaf(world.view[KEY], "node_equivocated")["since_ms"] == T0 + 1_000
    world.walk(T0 + 605_000 - 1)
    assert not world.eligible()
    world.walk(T0 + 605_000)
    assert world.eligible()


def test_good_behaviour_does_not_shorten_an_equivocations_block() -> None:
    """Newer sound heartbeats and registrations do not end the block before its time."""
    world = ready_world()
    world.beat(1, T0 + 1_000, state="draining")
    world.beat(2, T0 + 2_000)
    world.registration(T0 + 2_000)
    world.epoch(T0 + 2_001)
    assert codes(world.view[KEY]) == ["node_equivocated"]


@pytest.mark.parametrize(
    ("registration_ttl_ms", "benchmark_ttl_ms", "valid_until_ms"),
    [(50_000, 80_000, T0 + 50_000), (80_000, 50_000, T0 + 50_000), (60_000, 60_000, T0 + 60_000)],
)
def test_valid_until_is_the_earliest_expiry_of_slow_evidence(
    registration_ttl_ms: int, benchmark_ttl_ms: int, valid_until_ms: int
) -> None:
    """A grant says itself when registration or benchmark runs out, whichever is first; fast evidence has no part in it."""
    world = ready_world(registration_ttl_ms=registration_ttl_ms, benchmark_ttl_ms=benchmark_ttl_ms)
    assert world.view[KEY]["valid_until_ms"] == valid_until_ms


def test_a_new_valid_until_is_published_though_nothing_else_changed() -> None:
    """Renewed slow evidence is a change of the published record, since the router counts on the old end."""
    world = ready_world()
    world.registration(T0 + 5_000)
    assert len(world.epoch(T0 + 5_001).changes) == 1
    assert world.view[KEY]["valid_until_ms"] == T0 + 5_000 + 3_600_000


def flipping(flips: int, **hold_down: int) -> World:
    """A world whose route went down and up so many times, a second apart; folded each time; ends up well at T0+2000*flips."""
    world = ready_world(hold_down={"flips_max": 3, "window_ms": 600_000, "hold_ms": 15_000} | hold_down)
    for i in range(flips):
        world.route(T0 + 2_000 * i + 1_000, state="unhealthy")
        world.epoch(T0 + 2_000 * i + 1_000)
        assert codes(world.view[KEY])[0] == "route_unhealthy", "a block is never delayed"
        world.route(T0 + 2_000 * (i + 1))
        world.epoch(T0 + 2_000 * (i + 1))
    return world


def test_fewer_flips_than_policy_counts_do_not_hold_down() -> None:
    """Two losses are forgiven where three are too many."""
    assert flipping(2).eligible()


def test_repeated_flips_hold_down_exactly_as_long_as_policy_says() -> None:
    """The third loss holds the profile back from that moment on; the hold-down ends by time alone, at its deadline."""
    world = flipping(3)
    lost_ms = T0 + 5_000
    assert codes(world.view[KEY]) == ["hold_down"]
    assert leaf(world.view[KEY], "hold_down")["since_ms"] == lost_ms
    assert world.state.next_deadline_ms == lost_ms + 15_000
    world.epoch(lost_ms + 15_000 - 1)
    assert not world.eligible()
    world.epoch(lost_ms + 15_000)
    assert world.eligible()


def test_flips_outside_the_window_are_forgotten() -> None:
    """Losses that lie further apart than the window do not add up."""
    assert flipping(5, window_ms=2_000).eligible()


def test_a_loss_after_a_hold_down_counts_the_recent_ones_again() -> None:
    """The memory of flips outlives the hold-down: the next loss within the window holds down at once."""
    world = flipping(3)
    world.epoch(T0 + 20_000)
    assert world.eligible()
    world.beat(2, T0 + 20_000)
    world.route(T0 + 21_000, state="unhealthy")
    world.epoch(T0 + 21_000)
    assert codes(world.view[KEY]) == ["route_unhealthy", "hold_down"]
    world.route(T0 + 22_000)
    world.walk(T0 + 35_999)
    assert not world.eligible()
    world.walk(T0 + 36_000)
    assert world.eligible()


def test_a_profile_cannot_shake_off_its_hold_down_by_leaving_the_list() -> None:
    """A heartbeat without the profile and one with it again do not clear the memory."""
    world = flipping(3)
    world.beat(2, T0 + 6_100, profiles=[])
    world.epoch(T0 + 6_100)
    world.beat(3, T0 + 6_200)
    world.epoch(T0 + 6_200)
    assert codes(world.view[KEY]) == ["hold_down"]


def with_hold_down(history: History, rule: dict[str, int]) -> History:
    """The same history under policies with this hold-down."""
    changed = []
    for moment in history:
        ruled = [entry._replace(event=entry.event | {"hold_down": rule}) for entry in moment.arrived[topics.POLICIES]]
        changed.append(Moment(moment.at_ms, moment.arrived | {topics.POLICIES: ruled}))
    return changed


def verdicts(history: History) -> list[dict[tuple[str, str], tuple[bool, list[str]]]]:
    """Per epoch and profile: eligible or not, and the codes."""
    found = []
    for state, _ in fold(history):
        now = {}
        for node_id, node in state.nodes.items():
            for name, decision in decisions_of(node_id, node, state.rules, state.resolved_at_ms).items():
                now[node_id, name] = (node.published[name.split("/")[1]].eligible, codes(decision))
        found.append(now)
    return found


@given(RANDOMS, st.integers(1, 3), st.sampled_from([1, 10_000, 200_000]))
def test_hold_down_only_ever_adds_a_no(rng: Random, flips_max: int, hold_ms: int) -> None:
    """At every moment of every history, eligible with a hold-down is eligible without; and it alone makes the difference."""
    history = Draw(rng, NO_HOLD_DOWN).history()
    rule = {"flips_max": flips_max, "window_ms": 200_000, "hold_ms": hold_ms}
    for without, held in zip(verdicts(history), verdicts(with_hold_down(history, rule)), strict=True):
        assert without.keys() == held.keys()
        for key, (eligible, found) in held.items():
            assert [code for code in found if code != "hold_down"] == without[key][1]
            assert eligible == (without[key][0] and "hold_down" not in found)


def assert_published_as_from_scratch(history: History, later_ms: int = 0) -> None:
    """After every epoch, and at an idle one later, each published decision is what judging its node from scratch gives."""
    if later_ms:
        history = [*history, Moment(history[-1].at_ms + later_ms)]
    for state, _ in fold(history):
        for node_id, node in state.nodes.items():
            scratch = decisions_of(node_id, node, state.rules, state.resolved_at_ms)
            assert scratch.keys() == {f"{node_id}/{name}" for name in node.published}
            for name, last in node.published.items():
                now, said = scratch[f"{node_id}/{name}"], content(last.body)
                assert (said["eligible"], said["gates"], codes(said)) == (now["eligible"], now["gates"], codes(now))
                assert said["valid_until_ms"] == now["valid_until_ms"]
                assert [found["observed"] for found in said["failing"]] == [found["observed"] for found in now["failing"]]
                assert last.eligible == said["eligible"]


def content(raw: bytes) -> dict[str, Any]:
    """A published body as plain data."""
    return dict(orjson.loads(raw))


@given(RANDOMS, st.integers(1, 400_000))
def test_an_epoch_judges_whoever_time_or_facts_could_have_changed(rng: Random, later_ms: int) -> None:
    """Judging only the nodes that facts or deadlines touched gives the same decisions as judging every node from scratch."""
    assert_published_as_from_scratch(Draw(rng).history(), later_ms)


@given(RANDOMS)
def test_nothing_changes_before_the_next_deadline(rng: Random) -> None:
    """The next deadline lies ahead, and up to the millisecond before it no decision could change by itself."""
    for state, _ in fold(Draw(rng).history()):
        deadline_ms = state.next_deadline_ms
        assert deadline_ms > state.resolved_at_ms
        assert not list(state.due(state.resolved_at_ms))
        before_ms = min(deadline_ms, FAR_MS) - 1
        for node_id, node in state.nodes.items():
            now = decisions_of(node_id, node, state.rules, state.resolved_at_ms)
            then = decisions_of(node_id, node, state.rules, before_ms)
            assert {key: codes(found) for key, found in now.items()} == {key: codes(found) for key, found in then.items()}


@given(RANDOMS)
def test_silence_always_closes(rng: Random) -> None:
    """Whatever was said, once nothing is heard for as long as the shortest-lived evidence lives, nothing is eligible."""
    history = Draw(rng).history()
    *_, (state, _) = fold(history)
    policy = state.rules.policy if state.rules else None
    shortest_ms = min(getattr(policy, field) for field in EXPIRIES) if policy else 0
    latest_ms = max([entry.at_ms for moment in history for arrived in moment.arrived.values() for entry in arrived], default=T0)
    silent = [*history, Moment(max(history[-1].at_ms, latest_ms + shortest_ms))]
    *_, (state, _) = fold(silent)
    assert not [name for node in state.nodes.values() for name, last in node.published.items() if last.eligible]


@given(RANDOMS, st.integers(0, 300_000))
def test_idle_epochs_in_between_change_nothing(rng: Random, ahead_ms: int) -> None:
    """One idle epoch far ahead ends in the same verdicts as stopping at every deadline on the way; only the hold-down,
    which remembers losses when they are seen, may differ, and then the one who stopped is the stricter."""
    history = Draw(rng, NO_HOLD_DOWN).history()
    end_ms = history[-1].at_ms + ahead_ms
    *_, (jumped, _) = fold([*history, Moment(end_ms)])
    *_, (walked, _) = fold(history)
    stops = list(history)
    while walked.next_deadline_ms < end_ms:
        stops.append(Moment(walked.next_deadline_ms))
        walked.absorb(walked.next_deadline_ms, {}, walked.rules)
    *_, (walked, _) = fold([*stops, Moment(end_ms)])
    for node_id, node in jumped.nodes.items():
        for name, last in node.published.items():
            assert content(walked.nodes[node_id].published[name].body)["failing"] == content(last.body)["failing"]


def test_the_schedule_does_not_grow_with_the_heartbeats() -> None:
    """A node that keeps beating keeps a handful of scheduled deadlines, however long it does."""
    world = ready_world(registration_ttl_ms=10_000_000)
    for i in range(1, 300):
        world.beat(i + 1, T0 + 10_000 * i)
        world.route(T0 + 10_000 * i)
        world.epoch(T0 + 10_000 * i)
    assert world.eligible()
    assert len(list(world.state.due(FAR_MS))) == 1


def test_a_world_without_policy_or_nodes_has_no_deadline() -> None:
    """Nothing known, nothing to wait for."""
    world = World()
    assert world.state.next_deadline_ms == FAR_MS
    world.policy()
    world.epoch(T0)
    assert world.state.next_deadline_ms == FAR_MS
    assert list(world.state.due(FAR_MS)) == []


def test_benchmarks_of_every_profile_have_their_deadline() -> None:
    """Each profile's benchmark expires at its own time, not only the earliest one."""
    world = World()
    world.policy(heartbeat_ttl_ms=1_000_000, route_health_ttl_ms=1_000_000, benchmark_ttl_ms=10_000)
    world.log.ready(profiles=[factory.profile("p0"), factory.profile("p1")])
    world.benchmark(T0 + 3_000, profile_id="p1")
    world.epoch(T0 + 3_000)
    world.walk(T0 + 12_999)
    assert (world.eligible("node-1/p0"), world.eligible("node-1/p1")) == (False, True)
    world.walk(T0 + 13_000)
    assert (world.eligible("node-1/p0"), world.eligible("node-1/p1")) == (False, False)


def test_a_policy_that_turns_a_check_into_a_no_is_since_when() -> None:
    """What failed nobody before a revision fails since that revision, not since the claim it is about."""
    world = ready_world()
    world.beat(2, T0 + 1_000, profiles=[factory.profile(queue_health="degraded")])
    world.epoch(T0 + 1_001)
    assert world.eligible()
    world.policy(T0 + 10_000, revision=2, queue_states_passing=["healthy"])
    world.epoch(T0 + 10_001)
    assert [T0 + 10_000] == [item["since_ms"] for item in world.view[KEY]["failing"]]


def test_since_is_never_later_than_the_decision() -> None:
    """A record logged a moment after the resolved time is folded, and its failure dates from the decision at the latest."""
    world = ready_world()
    world.route(T0 + 500, state="unhealthy")
    world.epoch(T0 + 400)
    assert [T0 + 400] == [item["since_ms"] for item in world.view[KEY]["failing"]]
