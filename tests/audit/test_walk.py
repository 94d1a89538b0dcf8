"""Walking a chain from a source gives what folding it in one go gives."""

import pytest

from b3iq_schemas import envelope, topics
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.replay import recount
from b3iq_streams.kafka.connection import Place
from tests.audit.lab import MemoryOrigin, busy_lab
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
