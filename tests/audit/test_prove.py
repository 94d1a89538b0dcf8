"""`prove`: whatever happened to a node, its bundle verifies, is the same every time, and says when it cannot be made."""

import functools
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.eligibility import MARK_KEY, MARK_V1
from b3iq_schemas.envelope import keyid, parse, sign
from b3iq_streams.audit.bundle.check import Result, check
from b3iq_streams.audit.bundle.contents import decode, load
from b3iq_streams.audit.bundle.prove import LIMITS, Ask, Limits, make_bundle
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.core.chain import ChainId
from b3iq_streams.core.proposal import mark_record
from b3iq_streams.core.records import CREATE_TIME, Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests import factory
from tests.audit.archive_lab import archived, hostile
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.factory import T0, TRUST, key
from tests.sim.crypto import verify

NODE = "node-3"
SPARSE = Limits(linked_epochs=2)
HOUR_MS = 3_600_000


@functools.cache
def lab() -> Lab:
    """One busy network, in which anchors move."""
    return busy_lab(refresh_period_ms=20_000)


def made(
    origin: Origin, node: str = NODE, from_ms: int = 0, to_ms: int = FAR_FUTURE_MS, limits: Limits = LIMITS, **more: Any
) -> bytes:
    """The bundle of a node."""
    return make_bundle(origin, TRUST, Ask(node, from_ms, to_ms, **more), limits, verify)


def checked(raw: bytes) -> Result:
    """Its check."""
    return check(raw, TRUST, verify)


# a network in which anything may happen to a node

ACTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "beat": (topics.HEARTBEATS, {}, ()),
    "beat_offline": (topics.HEARTBEATS, {"state": "offline"}, ()),
    "beat_blocked": (topics.HEARTBEATS, {"profiles": [factory.profile(queue_health="blocked")]}, ()),
    "beat_two": (topics.HEARTBEATS, {"profiles": [factory.profile(), factory.profile("p1", route_tier="portable_local")]}, ()),
    "beat_none": (topics.HEARTBEATS, {"profiles": []}, ()),
    "beat_second_key": (topics.HEARTBEATS, {}, ("second",)),
    "beat_unknown_key": (topics.HEARTBEATS, {}, ("somebody",)),
    "equivocation": (topics.HEARTBEATS, {"seq": 1, "agent_version": "2"}, ()),
    "register": (topics.REGISTRATIONS, {}, ()),
    "register_inactive": (topics.REGISTRATIONS, {"active": False}, ()),
    "register_second_key": (topics.REGISTRATIONS, {"keys": [factory.node_key("node-1", "second")]}, ()),
    "register_stranger": (topics.REGISTRATIONS, {}, ("somebody",)),
    "hold": (topics.HOLDS, {}, ()),
    "resume": (topics.HOLDS, {"held": False}, ()),
    "route": (topics.ROUTE_HEALTH, {}, ()),
    "route_unhealthy": (topics.ROUTE_HEALTH, {"state": "unhealthy"}, ()),
    "route_second_broker": (topics.ROUTE_HEALTH, {}, ("second-broker",)),
    "benchmark": (topics.BENCHMARKS, {}, ()),
    "benchmark_failed": (topics.BENCHMARKS, {"outcome": "failed"}, ()),
    "benchmark_p1": (topics.BENCHMARKS, {"profile_id": "p1"}, ()),
}
_BROKERS = {role: [factory.public(role)] for role in factory.ROLES} | {"broker": [factory.public("second-broker")]}
POLICIES: dict[str, dict[str, Any]] = {
    "policy": {}, "policy_stake": {"stake_wei_min": "6000"}, "policy_broker": {"roles": _BROKERS},
    "policy_short": {"heartbeat_ttl_ms": 3_000, "route_health_ttl_ms": 5_000, "benchmark_ttl_ms": 20_000},
    "policy_flips": {"hold_down": {"flips_max": 1, "window_ms": 60_000, "hold_ms": 7_000}},
}  # fmt: skip
WAITS = {"wait_1": 1, "wait_4": 4, "wait_20": 20}


def live(acts: list[str], refresh_period_ms: int = 9_000) -> Lab:
    """A network of two nodes in one partition; the acts happen to the first, the second lives a quiet life."""
    made = Lab(1, refresh_period_ms=refresh_period_ms)
    made.ready("node-0", "node-1")  # the first of them is published again at every start of an owner
    made.epochs(1)
    revision = 1
    for act in acts:
        if act in WAITS:
            made.epochs(WAITS[act])
            made.beat("node-0")
        elif act in POLICIES:
            revision += 1
            made.policy(revision, **POLICIES[act])
        else:
            topic, changes, signers = ACTS[act]
            made.put(topic, "node-1", signers, **changes)
    made.epochs(2)
    return made


@example(
    ["register_second_key", "beat_second_key", "wait_1", "beat_second_key", "wait_1", "register", "wait_1"], 1, 60, False, HOUR_MS
)
@example(["wait_1", "hold", "wait_1", "resume", "wait_4"], 0, 60, False, HOUR_MS)
@given(
    st.lists(st.sampled_from([*ACTS, *ACTS, *POLICIES, *WAITS, *WAITS, *WAITS]), max_size=30),
    st.integers(0, 120), st.integers(1, 120), st.booleans(), st.sampled_from([9_000, HOUR_MS]),
)  # fmt: skip
@settings(max_examples=120)
def test_whatever_happened_the_bundle_verifies(
    acts: list[str], first_s: int, length_s: int, operator: bool, refresh_ms: int
) -> None:
    """With all marks of the range or only those that concern the node, public or not, the node's fold alone gives what the
    processor published; and both say the same."""
    network = live(acts, refresh_ms)
    from_ms = min(T0 + first_s * 1_000, network.now_ms)
    summaries = []
    for limits in (LIMITS, SPARSE):
        raw = made(network.origin, "node-1", from_ms, from_ms + length_s * 1_000, limits, operator=operator)
        result = checked(raw)
        assert result.mismatch is None
        summaries.append(result.bundle.summary)
    assert summaries[0] == summaries[1]


# what it rests on


def test_a_dropped_key_is_vouched_for_by_the_registration_that_listed_it() -> None:
    """The last heartbeat before the range may be signed by a key that was dropped since: the older registration is there."""
    network = live(["register_second_key", "wait_4"])
    result = checked(made(network.origin, "node-1", T0 + 4_000))
    assert result.mismatch is None
    assert ["heartbeat_key_revoked"] == [b.code for b in result.bundle.summary.profiles[0].intervals[0].blockers]
    assert result.bundle.start is not None
    assert 2 == sum(entry.topic == topics.REGISTRATIONS for entry in result.bundle.start.records)


def test_an_unknown_node_has_a_bundle_too() -> None:
    """It says that nothing is on record, and its policies and marks verify."""
    result = checked(made(lab().origin, "nobody"))
    assert result.mismatch is None
    assert () == result.bundle.records
    assert () == result.bundle.summary.profiles
    assert "No decision on nobody is on record" in result.bundle.summary.words[0]
    assert 0 == result.counts["decisions"] == result.counts["facts"]
    assert result.counts["marks"] == result.counts["linked"] > 200


def test_it_says_how_often_routers_considered_the_node() -> None:
    """Counted by reason; a decision of another time, by another key, or logged twice, does not count."""
    network = Lab(1)
    network.ready("node-1")
    network.epochs(2)
    network.allow("node-1")
    for reason in ("price_above_max", "price_above_max", "", "no such word"):
        network.refuse(considered=[{"node_id": "node-1", "profile_id": "p0", "reason": reason}], considered_total=1)
    network.refuse(considered=[{"node_id": "node-2", "profile_id": "p0", "reason": "price_above_max"}], considered_total=1)
    network.allow("node-1", signer="somebody")
    network.allow("node-1", decided_at_ms=T0 - 5)
    network.decisions[0].append(network.decisions[0][0]._replace(offset=len(network.decisions[0])))
    routing = load(made(network.origin, "node-1", T0)).routing
    assert (5, 1) == (routing.considered, routing.chosen)
    assert {"other": 1, "price_above_max": 2, "ranked_lower": 1} == routing.reasons
    assert 0 == routing.counted_from_ms


def test_routing_decisions_that_are_gone_are_not_counted_as_none() -> None:
    """Where the oldest routing decisions were deleted, the bundle says since when it counted."""
    network = lab()
    place = Place(topics.ROUTING_DECISIONS, 0)
    records = dict(network.records)
    records[place] = records[place][6:]
    routing = load(made(MemoryOrigin(records, 2), "node-1")).routing
    assert records[place][0].timestamp_ms == routing.counted_from_ms
    assert 0 < routing.considered < load(made(network.origin, "node-1")).routing.considered


def test_times_that_no_broker_stamped_are_said_to_be() -> None:
    """From a broker that does not stamp records the bundle verifies, and says whose the log times are."""
    records = {place: [record._replace(timestamp_type=CREATE_TIME) for record in log] for place, log in lab().records.items()}
    result = checked(made(MemoryOrigin(records, 2, stamped=False)))
    assert result.mismatch is None
    assert 25 < result.unshown["unstamped"]
    assert "unstamped" not in checked(made(lab().origin)).unshown


# the same log gives the same bytes


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_the_same_log_gives_the_same_bytes(batch: int) -> None:
    """Whatever the batches in which records come."""
    network = lab()
    assert made(network.origin, from_ms=T0 + 60_000) == made(MemoryOrigin(network.records, 2, batch), from_ms=T0 + 60_000)


def test_an_archive_gives_the_same_bundle(tmp_path: Path) -> None:
    """From Kafka or from an archive of it, junk and lost epochs on the log or not; and it verifies."""
    archive = archived(hostile(), tmp_path)
    for node in ("node-1", "node-4"):
        raw = made(hostile(), node)
        assert raw == made(archive, node)
        assert checked(raw).mismatch is None


def test_a_longer_log_changes_no_bundle_of_a_range() -> None:
    """What was logged after the range's last epoch is not in it."""
    network = lab()
    to_ms = T0 + 150_000
    records = {
        place: [record for record in log if record.timestamp_ms <= to_ms + 1_500 or place.topic == topics.ROUTING_DECISIONS]
        for place, log in network.records.items()
    }
    assert made(network.origin, to_ms=to_ms) == made(MemoryOrigin(records, 2), to_ms=to_ms)


# when it cannot be made


def left(topic: str, share: float) -> MemoryOrigin:
    """The busy network after retention deleted a share of a topic, oldest first."""
    records = dict(lab().records)
    for place in [place for place in records if place.topic == topic]:
        records[place] = records[place][int(share * len(records[place])) :]
    return MemoryOrigin(records, 2)


@pytest.mark.parametrize("topic", [topics.HEARTBEATS, topics.ELIGIBILITY_CHANGES, topics.ROUTE_HEALTH])
@pytest.mark.parametrize("node", ["node-1", "node-2", "node-3", "node-4", "node-5", "nobody"])
def test_beyond_retention_the_evidence_is_expired(topic: str, node: str) -> None:
    """Never "not eligible": the earliest moment is named, and from that moment on there is a bundle that verifies."""
    origin = left(topic, 0.4)
    with pytest.raises(EvidenceExpired) as expired:
        made(origin, node)
    earliest_ms = expired.value.earliest_ms
    assert earliest_ms is not None
    with pytest.raises(EvidenceExpired) as still:
        made(origin, node, earliest_ms - 1)
    assert earliest_ms == still.value.earliest_ms
    assert checked(made(origin, node, earliest_ms)).mismatch is None


@pytest.mark.parametrize(
    ("topic", "share", "node"), [(topics.ELIGIBILITY_CHANGES, 0.999, NODE), (topics.HEARTBEATS, 0.4, "node-6")]
)
def test_when_nothing_is_left_there_is_no_earliest_moment(topic: str, share: float, node: str) -> None:
    """Without a chain, or for a node whose last heartbeat is gone, nothing can be answered."""
    with pytest.raises(EvidenceExpired) as expired:
        made(left(topic, share), node)
    assert expired.value.earliest_ms is None


@pytest.mark.parametrize("limits", [Limits(records=5), Limits(content_bytes=10_000)])
def test_what_would_be_too_large_is_refused(limits: Limits) -> None:
    """One line that says how far it came and what to do."""
    with pytest.raises(UserError, match=r"too large: .* records and .* MiB by 2027.*narrow the range"):
        made(lab().origin, limits=limits)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (Ask("no node", 0, 1), "is not an id"),
        (Ask(NODE, T0 + 900_000, T0 + 901_000), "resolved no epoch .* its last one before that was at 2027"),
        (Ask(NODE, 0, T0 - 1), "resolved no epoch"),
    ],
)
def test_a_wrong_question_is_told(ask: Ask, said: str) -> None:
    """No node of that name can be, or no epoch lies in the range."""
    with pytest.raises(UserError, match=said):
        make_bundle(lab().origin, TRUST, ask, LIMITS, verify)


def test_a_bundle_does_not_reach_across_a_rebuild() -> None:
    """Where the fold began anew, the range must be split, and the message says where."""
    network = live(["wait_4"])
    part, resolved_ms = network.parts[0], network.now_ms
    head, now_ms = part.confirmed[-1].head, resolved_ms + 1_000
    processor = {keyid(bytes(key("processor").verify_key)): key("processor")}
    mark = mark_record(ChainId(TRUST, 0, 1, 500), head, "f" * 32, now_ms, head.cut, (), head.policy_revision, head.anchor,
                       next(iter(processor.values())), None, dict.fromkeys(topics.INPUTS, 0))  # fmt: skip
    part.chain.append(Record(topics.ELIGIBILITY_CHANGES, 0, len(part.chain), mark.key, mark.value, now_ms))
    with pytest.raises(UserError, match=rf"--to {now_ms - 1}.*--from {now_ms + 1}"):
        made(network.origin, "node-1")
    assert checked(made(network.origin, "node-1", to_ms=now_ms - 1)).mismatch is None


def test_a_log_that_lacks_what_it_folded_is_told() -> None:
    """Records that an epoch folded and that were never written are the log's fault, not the node's."""
    records = dict(lab().records)
    place = Place(topics.HEARTBEATS, 1)
    records[place] = records[place][: len(records[place]) // 2]
    with pytest.raises(UserError, match="although epochs folded them"):
        made(MemoryOrigin(records, 2))


def test_a_record_that_does_not_follow_is_bundled_and_found() -> None:
    """Where the processor recorded something else than the fold gives, the bundle is made, and its check names the place."""
    network = live(["wait_4", "hold", "wait_4"])
    chain = network.parts[0].chain
    at = next(i for i, record in enumerate(chain) if b"operator_hold" in (record.value or b""))
    forged = (chain[at].value or b"").replace(b'"not held"', b'"whatever"')
    first = max(i for i in range(at) if chain[i].key == MARK_KEY) + 1
    end = next(i for i in range(at, len(chain)) if chain[i].key == MARK_KEY)
    values = [forged if i == at else chain[i].value or b"" for i in range(first, end)]
    mark = orjson.loads(parse(chain[end].value or b"").payload) | {"changes_sha256": sha256_hex(b"".join(values))}
    chain[at] = chain[at]._replace(value=forged)
    chain[end] = chain[end]._replace(value=sign(MARK_V1, canonical(mark), [key("processor")]))
    del chain[end + 1 :]
    result = checked(made(network.origin, "node-1"))
    assert result.mismatch is not None
    assert "decision on node-1/p0" == result.mismatch.what
    assert f"offset {end}," in result.mismatch.where
    assert "whatever" in result.mismatch.claimed


def test_unrelated_epochs_show_no_decisions() -> None:
    """Changes are shown only of epochs that say something about the node; those of others are not in the bundle."""
    bundle = load(made(lab().origin, "node-2"))
    for epoch in bundle.epochs:
        shown = [orjson.loads(decode(value))["decision"]["node_id"] for value in epoch.changes or ()]
        assert not shown or "node-2" in shown
    assert any(epoch.changes is None for epoch in bundle.epochs)
