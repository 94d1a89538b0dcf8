"""What is left after retention is re-folded as far as it goes; beyond it the answer is "evidence expired"."""

import functools
from collections.abc import Mapping

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.refold import Difference, Refolded
from b3iq_streams.kafka.connection import Place
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.factory import TRUST
from tests.sim.crypto import verify

GONE = (topics.ELIGIBILITY_CHANGES, topics.REGISTRATIONS, topics.BENCHMARKS, topics.ROUTE_HEALTH, topics.HEARTBEATS)
"""Holds and policies are never deleted (T1)."""


@functools.cache
def lab() -> Lab:
    """One network for all of these, in which anchors move."""
    return busy_lab(refresh_period_ms=20_000)


def left(share: Mapping[str, float]) -> MemoryOrigin:
    """What is left when this share of each topic was deleted, oldest first."""
    records = {}
    for place, found in lab().records.items():
        records[place] = found[int(share.get(place.topic, 0) * max(0, len(found) - 1)) :]
    return MemoryOrigin(records, len(lab().parts))


def walked(origin: MemoryOrigin, partition: int) -> tuple[Walk, list[Refolded]]:
    """A walk that has been walked, and the epochs it folded."""
    walk = Walk(origin, origin, TRUST, partition, verify)
    return walk, [seen.verdict for seen in walk if isinstance(seen.verdict, Refolded)]


def held(walk: Walk) -> dict[str, bytes]:
    """What a state last decided, by key."""
    return {
        f"{node_id}/{profile_id}": last.body
        for node_id, node in walk.refolding.state.nodes.items()
        for profile_id, last in node.published.items()
    }


@example({topics.HEARTBEATS: 0.75}, 0)
@given(st.fixed_dictionaries({topic: st.floats(0, 0.8) for topic in GONE}), st.sampled_from([0, 1]))
@settings(max_examples=40, deadline=None)
def test_an_honest_log_never_differs_whatever_is_gone(share: dict[str, float], partition: int) -> None:
    """However much retention took, no difference is reported, and what is proven is what the whole log gives."""
    whole, _ = walked(left({}), partition)
    try:
        walk, epochs = walked(left(share), partition)
    except EvidenceExpired:
        return
    assert [] == [difference for epoch in epochs for difference in epoch.differences]
    assert whole.refolding.head == walk.refolding.head
    assert all(epoch.accepted.head.resolved_at_ms >= (walk.earliest_ms or 0) for epoch in epochs)
    proven, everything = held(walk), held(whole)
    assert {} == {key: body for key, body in proven.items() if key not in walk.refolding.unproven and body != everything.get(key)}


def test_the_earliest_moment_is_where_the_inputs_begin() -> None:
    """With its chain whole and half of the heartbeats gone, a partition can be answered from the first epoch that needs none
    of those."""
    origin = left({topics.HEARTBEATS: 0.5})
    walk, epochs = walked(origin, 0)
    start = origin.bounds[Place(topics.HEARTBEATS, 0)].start
    _, all_epochs = walked(left({}), 0)
    expected = next(e.accepted.head for e in all_epochs if e.accepted.head.cut[topics.HEARTBEATS] >= start)
    assert expected.resolved_at_ms == walk.earliest_ms
    assert expected.epoch + 1 == epochs[0].accepted.head.epoch
    assert set() == walk.refolding.unproven


def test_what_rests_on_deleted_evidence_is_not_proven() -> None:
    """A node whose registration is gone is neither eligible nor not: it is unproven."""
    walk, _ = walked(left({topics.REGISTRATIONS: 1.0}), 0)
    assert walk.refolding.partial
    assert walk.refolding.unproven


def test_a_lie_after_a_late_start_is_still_found() -> None:
    """A decision that the fold does not give is a difference, although the beginning is gone."""
    origin = left({topics.ELIGIBILITY_CHANGES: 0.3, topics.HEARTBEATS: 0.3})
    place = Place(topics.HEARTBEATS, 0)
    records = dict(origin.records)
    records[place] = [
        record._replace(value=b"{}") if record.key == b"node-4" and at > len(records[place]) // 2 else record
        for at, record in enumerate(records[place])
    ]
    _, epochs = walked(MemoryOrigin(records, origin.partitions), 0)
    found: list[Difference] = [difference for epoch in epochs for difference in epoch.differences]
    assert found
    assert found[0].what == "decision on node-4/p0"
    assert orjson.loads(found[0].recorded or b"{}") != orjson.loads(found[0].recomputed or b"{}")


def test_when_nothing_is_left_the_evidence_is_expired() -> None:
    """Without an anchor on the chain there is no answer at all."""
    with pytest.raises(EvidenceExpired, match="evidence expired"):
        walked(left({topics.ELIGIBILITY_CHANGES: 1.0}), 0)
