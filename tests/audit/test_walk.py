"""Walking a chain from a source gives what folding it in one go gives."""

import gc
import tracemalloc

import pytest

from b3iq_schemas import envelope, topics
from b3iq_streams.audit.cli_verify import run
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.audit.verify import Plan
from b3iq_streams.audit.verify_text import verdict
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.replay import recount
from b3iq_streams.kafka.connection import Place
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.factory import TRUST, VERIFY


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_a_walk_is_a_recount_whatever_the_batches(batch: int) -> None:
    """The size of the batches in which records come changes nothing."""
    lab = busy_lab()
    origin = MemoryOrigin(lab.records, len(lab.parts), batch)
    refused = 0
    for partition in range(len(lab.parts)):
        walk = Walk(origin, origin, TRUST, partition, VERIFY)
        seen = [found.verdict for found in walk]
        inputs = {topic: lab.records[Place(topic, partition)] for topic in topics.INPUTS}
        log = lab.records[Place(topics.ELIGIBILITY_CHANGES, partition)]
        expected = recount(walk.chain, walk.scope, inputs, log, envelope.verify)
        assert expected.head == walk.refolding.head
        assert () == expected.differences
        assert expected.epochs + sum(expected.ignored.values()) == len(seen)
        refused += sum(expected.refused.values())
        assert expected.eligible == walk.refolding.state.eligible
    assert 2 == refused


def _peak_bytes(turns: int) -> int:
    """Most memory that verifying a log of so many turns takes, beside the log itself."""
    lab = Lab(1, refresh_period_ms=4_000)
    lab.ready("node-1", "node-2")
    for _ in range(turns):
        lab.beat("node-1", "node-2")
        lab.beat("node-1", signers=("somebody",))
        lab.epochs(10)
    origin = lab.origin
    gc.collect()
    tracemalloc.start()
    try:
        assert "equal" == verdict(run(origin, Plan(TRUST, 0, FAR_FUTURE_MS), processes=1))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_log() -> None:
    """Eight times the epochs and facts about the same nodes take no more memory, but for noise."""
    _peak_bytes(2)  # whatever is imported or cached at first
    assert _peak_bytes(80) < 1.3 * _peak_bytes(10)
