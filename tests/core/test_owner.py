"""One partition owner, driven by hand: what it makes, what it believes of a checkpoint, when it stops."""

import pytest

from b3iq_schemas import topics
from b3iq_streams.core.owner import Phase
from b3iq_streams.core.replay import recount
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.values import EMPTY_NODE, Published
from tests.core.driver import Partition
from tests.factory import SCOPE, T0, TRUST, VERIFY, heartbeat_event, hold_event, policy_event


def lived(epochs: int = 6, stop: bool = False) -> Partition:
    """A partition with two ready nodes, one held, one bad record, and an owner that made some epochs."""
    partition = Partition()
    log = partition.inputs
    log.put(topics.POLICIES, policy_event())

    def before(number: int) -> None:
        at_ms = partition.now_ms - 5
        if number == 2:
            log.ready("node-1", at_ms)
            log.ready("node-2", at_ms)
        if number == 3:
            log.put(topics.HOLDS, hold_event("node-1", at_ms), at_ms)
            log.raw(topics.HEARTBEATS, b"node-2", b"junk", at_ms)
            log.put(topics.HEARTBEATS, heartbeat_event("node-2", 2, at_ms), at_ms)

    partition.drive(partition.owner(), epochs, stop, before)
    return partition


def test_epochs_are_made_and_counted() -> None:
    """Facts become decisions, refused records dead letters, and a recount from nothing finds the same bytes."""
    partition = lived()
    assert [0, 2, 1, 0, 0, 0] == [done.changes for done in partition.confirmed]
    assert [0, 0, 1, 0, 0, 0] == [done.lost for done in partition.confirmed]
    assert 1 == len(partition.letters)
    assert 1 == partition.confirmed[-1].eligible
    chain = partition.owner().memory.reader.chain
    counted = recount(chain, SCOPE, partition.inputs.records, partition.chain, VERIFY)
    assert ((), 6) == (counted.differences, counted.epochs)


def test_a_loss_is_counted_whatever_opens_beside_it() -> None:
    """Where one profile opens in the epoch in which another is blocked, the number eligible says nothing; the loss is told."""
    partition = Partition()
    log = partition.inputs
    log.put(topics.POLICIES, policy_event())

    def before(number: int) -> None:
        at_ms = partition.now_ms - 1
        if number == 2:
            log.ready("node-1", at_ms)
        if number == 3:
            log.ready("node-2", at_ms)
            log.put(topics.HOLDS, hold_event("node-1", at_ms), at_ms)

    partition.drive(partition.owner(), 4, before=before)
    assert [(0, 0), (1, 0), (1, 1), (1, 0)] == [(done.eligible, done.lost) for done in partition.confirmed]


def test_a_node_that_gains_one_profile_and_loses_another_has_lost_one() -> None:
    """Losses are counted by profile, and anew with each outcome."""
    state, yes = PartitionState(), Published(True, b"{}", 1, T0, (), 0)
    nodes = [{"p0": yes}, {"p0": yes._replace(eligible=False), "p1": yes}, {"p1": yes, "p2": yes}, {}]
    seen = []
    for published in nodes:
        state.absorb(T0, {"node-1": EMPTY_NODE._replace(published=published)}, None)
        seen.append((state.eligible, state.lost))
    assert [(1, 0), (1, 1), (2, 0), (0, 2)] == seen


def test_a_checkpoint_that_proves_itself_is_believed() -> None:
    """A restart takes the image, folds only what came after it, and goes on."""
    partition = lived()
    owner = partition.owner()
    partition.confirmed.clear()
    partition.drive(owner, 1)
    assert ([], Phase.LIVE) == (partition.notices, owner.phase)
    assert len(partition.confirmed) < 6


@pytest.mark.parametrize("node_id", ["node-1", "~head"])
@pytest.mark.parametrize("stored", [b"", b"null", b'[1,1,"x",5]', b'1 [null,null,[],null,null,0,0,[["p0",true,5,1,1,[],0]]]'])
def test_a_checkpoint_of_any_other_bytes_is_no_loss(node_id: str, stored: bytes) -> None:
    """Whatever stands in the image, the state is rebuilt from the inputs, loudly, and the owner gets live."""
    partition = lived()
    partition.table[node_id] = stored
    owner = partition.owner()
    partition.drive(owner, 1)
    assert owner.phase is Phase.LIVE
    assert set(partition.notices) <= {"checkpoint_unreadable", "checkpoint_void"}
    assert 1 == partition.confirmed[-1].eligible


def test_a_checkpoint_of_another_network_is_void() -> None:
    """A head in the log that another network wrote is not ours to stand on, even if its digest is right."""
    partition = lived()
    owner = partition.owner(TRUST.model_copy(update={"network": "othernet"}))
    partition.drive(owner, 1)
    assert ["checkpoint_head_not_in_log"] == partition.notices
    assert 1 == owner.memory.head.epoch


def test_a_clean_stop_leaves_the_head_in_the_checkpoint() -> None:
    """Told to stop, the owner makes a last epoch, checkpoints it, commits its cut and returns."""
    partition = lived(3, stop=True)
    assert partition.inputs.ends == partition.commits[-1]
    owner = partition.owner()
    partition.confirmed.clear()
    partition.drive(owner, 0)
    assert [] == partition.confirmed


def test_a_truncated_input_stops_the_owner_after_a_while() -> None:
    """An end below the cut may be a deposed leader's answer; when it stays, the owner ends instead of folding on."""
    partition = lived()
    owner = partition.owner()

    def before(number: int) -> None:
        if number == 2:
            partition.inputs.records[topics.HOLDS].clear()

    partition.drive(owner, 30, before=before)
    assert partition.exit is not None
    assert "input_truncated" == partition.exit.code


def test_a_key_that_no_policy_lists_ends_the_owner() -> None:
    """A mark nobody would accept is never written."""
    partition = lived()
    roles = policy_event()["roles"]
    dropped = policy_event(revision=2, roles=roles | {"processor": roles["router"]})
    partition.inputs.put(topics.POLICIES, dropped, partition.now_ms)
    partition.drive(partition.owner(), 3)
    assert partition.exit is not None
    assert "processor_key_not_listed" == partition.exit.code
