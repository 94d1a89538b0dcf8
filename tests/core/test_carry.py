"""Which holds are in force, and which of them a change of partitions would lose: told from `policies` and `holds` alone."""

from typing import Any

import pytest

from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import HOLDS, POLICIES
from b3iq_streams.core.carry import in_force, uncarried
from b3iq_streams.core.records import Record
from tests import factory
from tests.factory import T0, TRUST, VERIFY, hold_event, policy_event, public

BEFORE, AFTER = 2, 4
NODES = [f"node-{i}" for i in range(40)]
MOVED = next(node for node in NODES if partition_for(node.encode(), BEFORE) != partition_for(node.encode(), AFTER))
STAYED = next(node for node in NODES if partition_for(node.encode(), BEFORE) == partition_for(node.encode(), AFTER))


class Log:
    """The two topics, filled one record after the other; a second between them."""

    def __init__(self) -> None:
        self.parts = {partition: factory.Log(partition) for partition in range(AFTER)}
        self.now_ms = T0

    @property
    def records(self) -> list[Record]:
        """All of them."""
        return [record for part in self.parts.values() for topic in (POLICIES, HOLDS) for record in part.records[topic]]

    def policy(self, partitions: int, first: int = 0, **changes: Any) -> None:
        """A revision on the partitions from the first on."""
        self.now_ms += 1_000
        for partition in range(first, partitions):
            self.parts[partition].put(POLICIES, policy_event(**changes), self.now_ms)

    def hold(self, node: str, held: bool, partitions: int = BEFORE, partition: int | None = None) -> None:
        """An operator's word, in the node's partition of so many unless told otherwise."""
        self.now_ms += 1_000
        where = partition_for(node.encode(), partitions) if partition is None else partition
        self.parts[where].put(HOLDS, hold_event(node, self.now_ms, held=held), self.now_ms)

    def lost(self) -> set[str]:
        """What a change would lose."""
        return set(uncarried(self.records, BEFORE, AFTER, TRUST, VERIFY)[0])


@pytest.fixture
def log() -> Log:
    """A policy on both old partitions."""
    made = Log()
    made.policy(BEFORE)
    return made


def test_a_hold_that_moves_is_lost_until_it_is_signed_again(log: Log) -> None:
    """Only the node whose partition changes; and once its new partition says it is held, nothing is lost."""
    log.hold(MOVED, True)
    log.hold(STAYED, True)
    assert {MOVED, STAYED} == set(in_force(log.records, BEFORE, TRUST, VERIFY))
    assert {MOVED} == log.lost()
    log.policy(AFTER, first=BEFORE)
    log.hold(MOVED, True, AFTER)
    assert set() == log.lost()


def test_any_larger_number_of_partitions_will_do(log: Log) -> None:
    """Also one that is no multiple, where a node may move to a partition that was there before."""
    for node in NODES:
        log.hold(node, True)
    moved = {node for node in NODES if partition_for(node.encode(), 3) != partition_for(node.encode(), BEFORE)}
    assert moved == set(uncarried(log.records, BEFORE, 3, TRUST, VERIFY)[0])
    assert any(partition_for(node.encode(), 3) < BEFORE for node in moved)


def test_a_resumed_node_is_not_held_again(log: Log) -> None:
    """Its last word was a resume."""
    log.hold(MOVED, True)
    log.hold(MOVED, False)
    assert {} == in_force(log.records, BEFORE, TRUST, VERIFY)
    assert set() == log.lost()


def test_a_new_partition_without_its_policy_holds_nobody(log: Log) -> None:
    """A hold that no policy there lets anybody sign is refused by the fold, so it is not carried."""
    log.hold(MOVED, True)
    log.hold(MOVED, True, AFTER)
    assert {MOVED} == log.lost()


def test_a_resume_in_the_wrong_partition_resumes_nobody(log: Log) -> None:
    """A producer with another partitioner: the fold refused it, so the node is held, before and after."""
    log.hold(MOVED, True)
    log.hold(MOVED, False, partition=1 - partition_for(MOVED.encode(), BEFORE))
    assert {MOVED} == set(in_force(log.records, BEFORE, TRUST, VERIFY))


def test_a_resume_by_a_key_that_was_named_later_does_not_count() -> None:
    """As it was lived it was refused, whatever a rebuild would make of it; of two answers the worse is believed."""
    log, roles = Log(), policy_event()["roles"]
    log.policy(BEFORE, roles=roles | {"operator": [public("broker")]})
    home = log.parts[partition_for(MOVED.encode(), BEFORE)]
    home.put(HOLDS, hold_event(MOVED, log.now_ms + 1), log.now_ms + 1, signers=("broker",))
    log.hold(MOVED, False)
    log.policy(BEFORE, revision=2)
    assert {MOVED} == set(in_force(log.records, BEFORE, TRUST, VERIFY))


def test_what_is_signed_again_needs_a_higher_number(log: Log) -> None:
    """Than the last word in the old partition and in the new one."""
    log.hold(MOVED, True)
    log.policy(AFTER, first=BEFORE)
    log.hold(MOVED, True, AFTER)
    log.hold(MOVED, False, AFTER)
    lost, seqs = uncarried(log.records, BEFORE, AFTER, TRUST, VERIFY)
    assert ({MOVED}, {MOVED: log.now_ms}) == (set(lost), seqs)
