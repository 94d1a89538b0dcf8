"""`timeline`: a node's history is what readers of the log held, over any range, with the facts that made it."""

import functools
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.story.timeline import Interval, Timeline, timeline
from b3iq_streams.audit.story.timeline_text import as_data, as_text, percent
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests import factory
from tests.audit.lab import Lab, busy_lab
from tests.audit.said import NODES, batched, epochs, lab, left, lied_about, never_written, payload, standing
from tests.factory import T0, TRUST
from tests.sim.crypto import verify

START, END = T0 + 1_000, T0 + 267_000


@functools.cache
def whole(node_id: str) -> Timeline:
    """The whole history of a node of the busy network."""
    return told(node_id, origin=lab().origin)


def told(
    node_id: str, from_ms: int = 0, to_ms: int = FAR_FUTURE_MS, profile_id: str | None = None, origin: Origin | None = None
) -> Timeline:
    """A part of it."""
    return timeline(origin or lab().origin, TRUST, node_id, profile_id, from_ms, to_ms, verify)


def intervals(found: Timeline, profile_id: str = "p0") -> Sequence[Interval]:
    """Those of one profile."""
    return next(profile.intervals for profile in found.profiles if profile.profile_id == profile_id)


@pytest.mark.parametrize("node_id", NODES)
def test_each_moment_has_the_verdict_that_was_published(node_id: str) -> None:
    """Intervals leave no gap and no doubt: each moment lies in one, and it says what the last decision by then said."""
    found = intervals(whole(node_id))
    assert (START, END) == (found[0].from_ms, found[-1].until_ms)
    for before, after in pairwise(found):
        assert before.until_ms == after.from_ms
        assert (before.eligible, before.gates, before.codes) != (after.eligible, after.gates, after.codes)
    for interval in found:
        for at_ms in (interval.from_ms, (interval.from_ms + interval.until_ms) // 2, interval.until_ms - 1):
            said = standing(lab(), node_id, "p0", at_ms)
            assert said is not None
            expected = said["eligible"], said["gates"], tuple(leaf["code"] for leaf in said["failing"])
            assert expected == (interval.eligible, interval.gates, interval.codes)
        opening = next(epoch for epoch in epochs(lab(), node_id) if epoch.mark["epoch"] == interval.epoch)
        assert (interval.from_ms, interval.policy_revision) == (
            opening.mark["resolved_at_ms"],
            opening.mark["policy_revision"],
        )
        assert interval.proven


@pytest.mark.parametrize("node_id", NODES)
def test_sums_are_sums_of_intervals(node_id: str) -> None:
    """Share and flips follow from the intervals: what was known, what of it was eligible, how often that changed."""
    (profile,) = whole(node_id).profiles
    verdicts = [interval.eligible for interval in profile.intervals]
    assert sum(before != after for before, after in pairwise([False, *verdicts])) == profile.flips
    assert END - START == profile.known_ms
    assert sum(one.until_ms - one.from_ms for one in profile.intervals if one.eligible) == profile.eligible_ms
    data = as_data(whole(node_id))["profiles"][0]
    assert round(profile.eligible_ms / profile.known_ms, 6) == data["eligible_share"]


@given(st.sampled_from(NODES), st.integers(START - 3_000, END), st.integers(0, 300_000))
@settings(max_examples=25, deadline=None)
def test_a_range_is_a_part_of_the_whole(node_id: str, from_ms: int, length_ms: int) -> None:
    """Whatever range is asked, its intervals are the whole's, cut off where the range ends."""
    to_ms = max(START, from_ms + length_ms)
    found = told(node_id, from_ms, to_ms)
    until_ms = min(to_ms, END)
    assert (max(START, from_ms), until_ms) == (found.from_ms, found.until_ms)
    everything = intervals(whole(node_id))
    cut = [
        one._replace(from_ms=max(one.from_ms, from_ms), until_ms=min(one.until_ms, until_ms))
        for one in everything
        if (one.until_ms > from_ms or one is everything[-1]) and one.from_ms <= until_ms
    ]
    expected = [one for one in cut if one.from_ms < one.until_ms or one is cut[-1]]
    assert expected == list(intervals(found))
    assert [event for event in whole(node_id).facts.events if from_ms <= event.at_ms <= until_ms] == found.facts.events
    assert (found.profiles[0].known_ms, 0) == (until_ms - found.from_ms, found.silences.count)
    flips = [after.from_ms for before, after in pairwise(everything) if before.eligible != after.eligible]
    flips += [everything[0].from_ms] if everything[0].eligible else []
    assert sum(from_ms <= at_ms <= until_ms for at_ms in flips) == found.profiles[0].flips


def test_a_range_after_the_log_or_before_it_is_a_mistake() -> None:
    """There is nothing to tell of such a time."""
    with pytest.raises(UserError, match="after the end of the log"):
        told("node-1", from_ms=END + 1)
    with pytest.raises(UserError, match=r"no epoch up to 2027-01-15T08:00:00\.999Z"):
        told("node-1", to_ms=T0 + 999)
    with pytest.raises(UserError, match="is not an id"):
        told("node 1")
    with pytest.raises(UserError, match="is not an id"):
        told("node-1", profile_id="p/0")


def test_one_profile_is_told_alone() -> None:
    """With a profile given, the others and their benchmarks are left out; the node's own facts remain."""
    network = Lab(1)
    network.ready("node-1", profiles=[factory.profile("p0"), factory.profile("p1")])
    network.put(topics.BENCHMARKS, "node-1", profile_id="p1", seq=network.now_ms + 1)
    network.epochs(2)
    both, one = told("node-1", origin=network.origin), told("node-1", profile_id="p1", origin=network.origin)
    assert ["p0", "p1"] == [profile.profile_id for profile in both.profiles]
    assert both.profiles[1:] == one.profiles
    assert [topics.POLICIES, topics.REGISTRATIONS, topics.BENCHMARKS, topics.ROUTE_HEALTH] == [x.topic for x in one.facts.events]
    assert {"p1"} == {event.says["profile_id"] for event in one.facts.events if event.topic == topics.BENCHMARKS}


def test_of_an_unknown_node_nothing_is_told() -> None:
    """It has no profile, and the text says that it never was eligible."""
    assert () == whole("ghost").profiles
    assert "never eligible" in as_text(whole("ghost"))
    assert () == told("node-1", profile_id="p7").profiles


FACTS: list[tuple[int, str, dict[str, Any]]] = [
    (1_000, topics.POLICIES, {"revision": 1}),
    (1_000, topics.REGISTRATIONS, {"enrolled": True, "registered": True, "active": True, "stake_wei": "5000", "keys": 1}),
    (
        1_000, topics.BENCHMARKS,
        {"profile_id": "p0", "model_id": "Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf", "outcome": "passed", "throughput_mtok_per_s": 90_000},
    ),
    (1_000, topics.ROUTE_HEALTH, {"state": "healthy", "public_inference_allowed": True}),
    (92_000, topics.HOLDS, {"held": True}),
    (136_000, topics.POLICIES, {"revision": 2}),
    (136_000, topics.HOLDS, {"held": False}),
    (158_000, topics.POLICIES, {"revision": 3}),
]  # fmt: skip


def test_facts_are_told_when_they_took_effect() -> None:
    """Each fact that said something new stands at the epoch that folded it; those that repeat are counted."""
    found = whole("node-3").facts
    assert [(T0 + at_ms, topic, says) for at_ms, topic, says in FACTS] == [(x.at_ms, x.topic, x.says) for x in found.events]
    assert {topics.ROUTE_HEALTH: 12} == found.renewed
    for event in found.events:
        record = lab().records[Place(event.topic, 1)][event.offset]
        assert record.timestamp_ms == event.logged_at_ms
        says = payload(record)
        assert all(says[name] == value for name, value in event.says.items() if name not in ("keys", "revision"))


@pytest.mark.parametrize("node_id", NODES)
def test_heartbeats_are_counted(node_id: str) -> None:
    """All that were admitted, and none of those that were refused; refusals by code."""
    place = Place(topics.HEARTBEATS, lab().part(node_id).partition)
    logged = sum(record.key == node_id.encode() for record in lab().records[place])
    found = whole(node_id).facts
    refused = {"node-1": {"heartbeats: unauthorized": 1}, "node-4": {"heartbeats: equivocation": 1}}.get(node_id, {})
    assert refused == found.refused
    assert logged == found.heartbeats + sum(refused.values())


def test_gaps_are_where_heartbeats_stayed_away_too_long() -> None:
    """Longer than their time to live, the one that lasts to the end too; an evenly beating node has none."""
    assert [(T0 + 47_000, END)] == whole("node-6").facts.gaps
    assert 220_000 == whole("node-6").facts.longest_gap_ms
    assert [] == whole("node-1").facts.gaps
    assert [(47_000, 91_000), (135_000, 179_000), (223_000, 267_000)] == [
        (gap.from_ms - T0, gap.until_ms - T0) for gap in whole("node-5").facts.gaps
    ]


def test_a_partition_without_epochs_is_told() -> None:
    """Where no epoch was made for longer than an idle partition needs, routers granted nothing, and the history says when."""
    network = Lab(1)
    network.ready("node-1")
    network.epochs(2)
    network.parts[0].now_ms += 60_000
    network.epochs(1)
    found = told("node-1", origin=network.origin).silences
    ((from_ms, until_ms),) = found.longest
    assert (1, until_ms - from_ms) == (found.count, found.total_ms)
    assert 61_000 == found.total_ms
    assert "answered processor_lag" in as_text(told("node-1", origin=network.origin))
    assert 0 == whole("node-1").silences.count


def test_what_was_deleted_is_not_told() -> None:
    """What is kept is told as the whole log tells it, from the earliest time on; before that it is expired."""
    network = busy_lab(refresh_period_ms=20_000)
    origin = left(network, {topics.HEARTBEATS: 0.5, topics.ELIGIBILITY_CHANGES: 0.3})
    for node_id in NODES:
        found, everything = told(node_id, origin=origin), told(node_id, origin=network.origin)
        assert found.earliest_ms > START
        assert found.from_ms == found.earliest_ms == intervals(found)[0].from_ms
        assert found.differences == ()
        kept = [
            (max(one.from_ms, found.from_ms), *one[1:5]) for one in intervals(everything) if one.until_ms > found.from_ms
        ]  # fmt: skip
        assert kept == [(max(one.from_ms, found.from_ms), *one[1:5]) for one in intervals(found)]
        assert "older evidence is gone" in as_text(found)
        with pytest.raises(EvidenceExpired):
            told(node_id, to_ms=found.earliest_ms - 1, origin=origin)


def test_a_verdict_whose_evidence_is_gone_is_marked() -> None:
    """What the log says of a node without its registration is told as the log's word, and as unproven."""
    found = told("node-2", origin=left(busy_lab(refresh_period_ms=20_000), {topics.REGISTRATIONS: 1.0}))
    assert {False} == {interval.proven for interval in intervals(found)}
    assert "(its evidence is gone)" in as_text(found)


def test_where_the_log_recorded_something_else_it_is_said() -> None:
    """Decisions that the facts do not give, and epochs over records that were never written, are differences."""
    found = told("node-2", origin=lied_about(lab(), "node-2"))
    assert {"decision on node-2/p0"} == {difference.what for difference in found.differences}
    assert "DIFFERENT in epoch" in as_text(found)
    assert found.differences == told("node-2", profile_id="p0", origin=lied_about(lab(), "node-2")).differences
    assert () == told("node-2", profile_id="p1", origin=lied_about(lab(), "node-2")).differences
    assert () == told("node-3", origin=lied_about(lab(), "node-2")).differences
    gone = told("node-2", origin=never_written(lab(), "node-2"))
    assert ["records of heartbeats"] == [difference.what for difference in gone.differences]


def test_reasons_and_actors_are_in_no_output() -> None:
    """A hold is told without who held it, and why."""
    found = whole("node-3")
    assert "planted" not in as_text(found) + orjson.dumps(as_data(found)).decode()
    assert "held by an operator" in as_text(found)


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_the_same_log_gives_the_same_bytes(batch: int) -> None:
    """However the records come, the document and the text are the same."""
    for node_id in ("node-4", "node-5", "ghost"):
        found = told(node_id, origin=batched(lab(), batch))
        assert orjson.dumps(as_data(whole(node_id))) == orjson.dumps(as_data(found))
        assert as_text(whole(node_id)) == as_text(found)


def test_the_text_has_a_line_for_each_interval() -> None:
    """When it began, how long it lasted, the verdict with all codes, the revision and the epoch."""
    text = as_text(whole("node-5"))
    assert "\np0  47.7 % eligible of 4 min 26 s, 6 flips; at the end not eligible (heartbeat_stale, hold_down)\n" in text
    line = "    2027-01-15T08:02:45.000Z          15 s  no: heartbeat_stale hold_down  rev 3  epoch 165\n"
    assert 1 == text.count(line)
    assert len(intervals(whole("node-5"))) == Counter(line.count("  epoch ") for line in text.split("\n"))[1]


@pytest.mark.parametrize(
    ("part", "of", "said"),
    [(0, 0, "–"), (0, 5, "0 %"), (1, 10_000, "< 0.1 %"), (1, 3, "33.3 %"), (9_999, 10_000, "99.9 %"), (5, 5, "100 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(part: int, of: int, said: str) -> None:
    """What was nearly always so was not always so."""
    assert said == percent(part, of)
