"""`explain`: any past verdict, every check behind it, and the records behind those; beyond the log it says so."""

import functools
from typing import Any

import orjson
import pytest

from b3iq_schemas import topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.codes import LEAVES
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.story.explain import LAG_MS, Explanation, explain
from b3iq_streams.audit.story.explain_text import as_data, as_text
from b3iq_streams.core.chain import ChainId
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.audit.said import NODES, Replaced, batched, epochs, lab, left, lied_about, never_written, payload, standing
from tests.factory import T0, TRUST
from tests.sim.crypto import verify

END = T0 + 267_000
MOMENTS = (T0 + 1_000, T0 + 48_000, T0 + 77_500, T0 + 92_000, T0 + 140_000, T0 + 166_000, T0 + 200_000, END)
HELD_AT = T0 + 100_000


def told(node_id: str, at_ms: int | None = None, profile_id: str = "p0", origin: Origin | None = None) -> Explanation:
    """The explanation of a node's profile, in the busy network unless told otherwise."""
    return _told(node_id, at_ms, profile_id) if origin is None else explain(origin, TRUST, node_id, profile_id, at_ms, verify)


@functools.cache
def _told(node_id: str, at_ms: int | None, profile_id: str) -> Explanation:
    return explain(lab().origin, TRUST, node_id, profile_id, at_ms, verify)


@pytest.mark.parametrize("at_ms", MOMENTS)
@pytest.mark.parametrize("node_id", NODES)
def test_the_answer_is_what_the_log_said_at_that_moment(node_id: str, at_ms: int) -> None:
    """Verdict, gates and failing checks, word for word, are those of the last decision published by then."""
    found = told(node_id, at_ms)
    expected = standing(lab(), node_id, "p0", at_ms)
    assert expected is not None
    assert expected["eligible"] == found.eligible
    assert expected["gates"] == found.gates
    failing = [
        {name: getattr(leaf, name) for name in ("code", "gate", "since_ms", "observed", "required")}
        for leaf in found.leaves
        if leaf.code
    ]
    assert expected["failing"] == failing
    assert 25 == len(found.leaves)
    assert (found.known, found.differences) == (True, ())
    assert expected["model_id"] == found.model_id


@pytest.mark.parametrize("after_ms", [-1, 0, 1, 999, 1_000])
def test_it_is_as_of_the_last_epoch_resolved_by_then(after_ms: int) -> None:
    """A moment on an epoch's resolved time is that epoch's; between two it is the earlier one's."""
    at_ms = T0 + 48_000 + after_ms
    found = told("node-2", at_ms)
    expected = [epoch for epoch in epochs(lab(), "node-2") if epoch.mark["resolved_at_ms"] <= at_ms][-1]
    head = found.head
    assert (expected.mark["epoch"], expected.offset) == (head.epoch, head.offset)
    assert expected.mark["resolved_at_ms"] == head.resolved_at_ms
    assert (at_ms - head.resolved_at_ms, False) == (found.distance_ms, found.lagging)
    record = lab().part("node-2").chain[head.offset]
    assert sha256_hex(orjson.dumps(payload(record))) == head.digest
    assert orjson.loads(record.value or b"")["signatures"][0]["keyid"] == head.keyid


def test_without_a_moment_it_is_as_of_the_last_epoch() -> None:
    """The default is what the log knows last."""
    found = told("node-1")
    assert (None, 267, 0, END) == (found.asked_at_ms, found.head.epoch, found.distance_ms, found.resolved_until_ms)


def test_a_moment_after_the_log_is_answered_with_how_far_it_goes() -> None:
    """Past the last epoch the log says nothing of the moment: the distance is told, and what a router answers then."""
    assert (False, True) == (told("node-1", END + LAG_MS).lagging, told("node-1", END + LAG_MS + 1).lagging)
    found = told("node-1", END + 60_000)
    assert (60_000, True, END) == (found.distance_ms, found.lagging, found.head.resolved_at_ms)
    assert "processor_lag" in as_text(found)
    assert as_data(found)["lagging"] is True


@pytest.mark.parametrize("node_id", NODES)
def test_the_nearest_flips_are_told(node_id: str) -> None:
    """Before and after any moment: the nearest epoch in which the recorded verdict changed, with its codes."""
    flips, eligible = [], False
    for epoch in epochs(lab(), node_id):
        for said in epoch.decisions:
            if said["node_id"] == node_id and said["eligible"] != eligible:
                eligible = said["eligible"]
                codes = tuple(leaf["code"] for leaf in said["failing"])
                where = epoch.mark["resolved_at_ms"], epoch.mark["epoch"], epoch.offset
                flips.append((*where, eligible, codes, said["policy_revision"]))
    assert len(flips) > 1
    for at_ms in MOMENTS:
        found = told(node_id, at_ms)
        before, after = [flip for flip in flips if flip[0] <= at_ms], [flip for flip in flips if flip[0] > at_ms]
        assert before[-1] == found.flip_before
        assert (after[0] if after else None) == found.flip_after


def test_every_check_names_the_record_behind_it() -> None:
    """Coordinates, hash, key and log time are those of the record in the log, which is read again and still is what it was."""
    found = as_data(told("node-3", HELD_AT))
    partition = lab().part("node-3").partition
    behind = {leaf["check"]: leaf["record"] for leaf in found["leaves"]}
    assert [None] == [record for check, record in behind.items() if check == "hold_down"]
    records = [record for record in behind.values() if record]
    assert set(topics.INPUTS) == {record["topic"] for record in records}
    for record in records:
        logged = lab().records[Place(record["topic"], partition)][record["offset"]]
        sealed = orjson.loads(logged.value or b"")
        assert sha256_hex(orjson.dumps(payload(logged))) == record["sha256"]
        assert sealed["signatures"][0]["keyid"] == record["keyid"]
        assert (partition, logged.timestamp_ms) == (record["partition"], record["logged_at_ms"])
        assert (True, True) == (record["kept"], record["matches"])
        assert logged.key == (b"1" if record["topic"] == topics.POLICIES else b"node-3")
    held = lab().records[Place(topics.HOLDS, partition)][behind["operator_hold"]["offset"]]
    assert payload(held)["held"] is True


def test_a_failing_check_says_what_to_do() -> None:
    """The contract's next action stands with the code."""
    failing = [leaf for leaf in as_data(told("node-2", T0 + 50_000))["leaves"] if leaf["code"]]
    assert ["route_unhealthy"] == [leaf["code"] for leaf in failing]
    assert LEAVES["route_unhealthy"].next_action == failing[0]["next_action"]


REMEDIES: tuple[tuple[str, int, list[dict[str, Any]]], ...] = (
    ("node-1", T0 + 10_000, []),
    ("node-2", T0 + 50_000, [{"fact": "route-health", "changes": [{"field": "state", "from": "unhealthy", "to": "healthy"}]}]),
    ("node-3", HELD_AT, [{"fact": "holds", "changes": [{"field": "held", "from": True, "to": False}]}]),
    (
        "node-6", T0 + 140_000,
        [
            {"fact": "heartbeats", "changes": [{"field": "logged_at_ms", "from": T0 + 47_000, "to": T0 + 140_000}]},
            {"fact": "registrations", "changes": [{"field": "stake_wei", "from": "5000", "to": "6000"}]},
        ],
    ),
    ("node-4", END, [{"fact": "time", "changes": [{"field": "wait_until_ms", "from": END, "to": T0 + 757_000}]}]),
)  # fmt: skip


@pytest.mark.parametrize(("node_id", "at_ms", "expected"), REMEDIES)
def test_the_smallest_remedy_is_told(node_id: str, at_ms: int, expected: list[dict[str, Any]]) -> None:
    """Facts with the fields that would have had to differ, and nothing else."""
    assert expected == as_data(told(node_id, at_ms))["remedy"]["facts"]


def test_of_an_unknown_node_nothing_is_known() -> None:
    """A node or a profile nobody spoke of is not eligible, has the blockers of an unknown key, and is no error."""
    for found in (told("ghost"), told("node-1", profile_id="p7")):
        assert (False, False) == (found.eligible, found.known)
        assert (None, None) == (found.flip_before, found.flip_after)
        assert "not eligible: nothing is known" in as_text(found)
    assert {"unknown"} == set(told("ghost").gates.values())
    assert ["profile_missing", "observed_benchmark_missing"] == [x.code for x in told("node-1", profile_id="p7").leaves if x.code]
    assert [topics.POLICIES] == list(told("ghost").evidence)


@pytest.mark.parametrize(("node_id", "profile_id"), [("", "p0"), ("a/b", "p0"), ("-a", "p0"), ("n\n", "p0"), ("n", "p" * 65)])
def test_malformed_ids_are_refused(node_id: str, profile_id: str) -> None:
    """What cannot be an id names no node."""
    with pytest.raises(UserError, match="is not an id"):
        told(node_id, profile_id=profile_id)


def test_before_the_log_begins_is_a_mistake() -> None:
    """Nothing was deleted and nothing was said yet: the user asked for the wrong time."""
    with pytest.raises(UserError, match=r"before the log begins: partition 1 starts at 2027-01-15T08:00:01\.000Z"):
        told("node-2", T0 + 999)


def test_a_partition_without_epochs_is_a_mistake() -> None:
    """Where no processor ever ran there is nothing to explain."""
    with pytest.raises(UserError, match="has no epoch"):
        told("node-1", origin=Lab().origin)


def test_what_was_deleted_is_expired_and_never_not_eligible() -> None:
    """Before what is kept the answer is "evidence expired", with the earliest time that can be answered."""
    network = busy_lab(refresh_period_ms=20_000)
    origin = left(network, {topics.HEARTBEATS: 0.5})
    with pytest.raises(EvidenceExpired) as expired:
        told("node-2", T0 + 10_000, origin=origin)
    earliest_ms = expired.value.earliest_ms
    assert earliest_ms is not None
    with pytest.raises(EvidenceExpired):
        told("node-2", earliest_ms - 1, origin=origin)
    for at_ms in (earliest_ms, earliest_ms + 30_000, END):
        found, whole = told("node-2", at_ms, origin=origin), told("node-2", at_ms, origin=network.origin)
        assert (whole.eligible, whole.leaves, whole.head) == (found.eligible, found.leaves, found.head)
        assert (True, whole.flip_after) == (found.known, found.flip_after)
        assert 0 < found.earliest_ms <= earliest_ms
    assert "older evidence is gone" in as_text(told("node-2", END, origin=origin))


def test_a_verdict_that_rests_on_deleted_facts_is_expired() -> None:
    """Without the registration behind it a decision can neither be confirmed nor denied."""
    origin = left(busy_lab(refresh_period_ms=20_000), {topics.REGISTRATIONS: 1.0})
    for node_id in ("node-1", "node-2", "node-3", "node-5"):
        with pytest.raises(EvidenceExpired, match="the facts behind its last decision are gone"):
            told(node_id, END, origin=origin)
    for node_id in ("node-4", "node-6"):  # the last registration of each partition is left
        assert not told(node_id, END, origin=origin).eligible


def test_a_record_that_is_gone_is_said_to_be_gone() -> None:
    """A record that cannot be read any more is not kept, and nothing is invented about it."""
    origin = Replaced(lab().records, 2)
    found = told("node-2", T0 + 50_000, origin=origin)
    assert [(topics.ROUTE_HEALTH, False, None)] == [(e.topic, e.kept, e.matches) for e in found.evidence.values() if not e.kept]
    assert () == found.differences
    assert "not kept any more" in as_text(found)


def test_a_record_that_is_not_what_it_was_is_a_difference() -> None:
    """A payload with another hash than the one that was folded is told as altered."""
    other = lab().records[Place(topics.ROUTE_HEALTH, 1)][0].value
    found = told("node-2", T0 + 50_000, origin=Replaced(lab().records, 2, value=other))
    assert [False] == [item.matches for item in found.evidence.values() if item.topic == topics.ROUTE_HEALTH]
    assert ["record route-health/12"] == [difference.what for difference in found.differences]
    assert "ALTERED" in as_text(found)


def test_where_the_log_recorded_something_else_it_is_said() -> None:
    """A decision that the facts do not give is a difference of this key, from that moment on, and of no other key."""
    origin = lied_about(lab(), "node-2")
    found = told("node-2", END, origin=origin)
    assert {"decision on node-2/p0"} == {difference.what for difference in found.differences}
    assert "DIFFERENT in epoch" in as_text(found)
    assert () == told("node-2", T0 + 2_000, origin=origin).differences
    assert () == told("node-3", END, origin=origin).differences


def test_an_epoch_over_records_that_were_never_written_is_said() -> None:
    """What follows such an epoch cannot be told, and the answer says why."""
    found = told("node-2", END, origin=never_written(lab(), "node-2"))
    assert ["records of heartbeats"] == [difference.what for difference in found.differences]
    assert found.head.resolved_at_ms < END


def test_without_the_policies_no_epoch_can_be_folded() -> None:
    """A log whose policies were never there has no answer, and the mistake says what is missing."""
    records = {place: found for place, found in lab().records.items() if place.topic != topics.POLICIES}
    with pytest.raises(UserError, match=r"partition 0 has no epoch: records of policies: .* not all are there"):
        told("node-1", origin=MemoryOrigin(records, 2))


def test_reasons_and_actors_are_for_operators_only() -> None:
    """What an operator wrote into a hold is in no output unless it is asked for."""
    for node_id in NODES:
        for at_ms in MOMENTS:
            found = told(node_id, at_ms)
            assert "planted" not in as_text(found) + orjson.dumps(as_data(found)).decode()
    found = told("node-3", HELD_AT)
    assert "held by planted-actor: planted-reason" in as_text(found, operator=True)
    assert {"held": True, "reason": "planted-reason", "actor": "planted-actor"} == as_data(found, operator=True)["hold"]
    assert as_data(told("node-1"), operator=True)["hold"] is None


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_the_same_log_gives_the_same_bytes(batch: int) -> None:
    """However the records come, the document and the text are the same."""
    for node_id, at_ms in (("node-3", HELD_AT), ("node-5", END), ("ghost", None)):
        expected, found = told(node_id, at_ms), told(node_id, at_ms, origin=batched(lab(), batch))
        assert orjson.dumps(as_data(expected)) == orjson.dumps(as_data(found))
        assert as_text(expected) == as_text(found)


def test_the_text_fits_a_hundred_columns() -> None:
    """No line is longer, no line ends in blanks, and nothing in it moves a cursor."""
    for node_id in (*NODES, "ghost"):
        for at_ms in MOMENTS:
            lines = as_text(told(node_id, at_ms), operator=True).split("\n")
            assert [] == [line for line in lines if len(line) > 100 or line != line.rstrip()]
            assert all(line.isprintable() for line in lines)


TEXT = """\
node-3/p0  not eligible  at 2027-01-15T08:01:40.500Z
  model Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf
  epoch 100 of partition 1, resolved up to 2027-01-15T08:01:40.000Z, 500 ms before
"""


def test_the_text_begins_with_the_verdict() -> None:
    """The first lines say what, when and as of which epoch; a failing check says why and what next."""
    text = as_text(told("node-3", HELD_AT + 500))
    assert text.startswith(TEXT)
    assert "\n✗ policy\n" in text
    assert "    ✗ no operator hold   held; required: not held\n" in text
    assert " operator_hold, since 2027-01-15T08:01:31.000Z\n" in text
    assert " next: ask the operator who holds it\n" in text
    assert "would have been eligible with\n    holds          held: true → false\n" in text


def test_a_log_of_another_network_gives_no_answer() -> None:
    """Under another trust no mark counts."""
    other = TRUST.model_copy(update={"generation": 2})
    assert ChainId(other, 0, 2, 500).genesis != ChainId(TRUST, 0, 2, 500).genesis
    with pytest.raises(UserError, match="has no epoch"):
        explain(lab().origin, other, "node-1", "p0", None, verify)
