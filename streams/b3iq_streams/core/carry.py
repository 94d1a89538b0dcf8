"""Which nodes operators hold, by the log alone, and which of those holds a change of the number of partitions would lose.

A node's records lie in partition murmur2(node_id) mod P, and the fold refuses one that lies elsewhere. So after a change
of P an old pause may lie where it no longer counts. Judged by the processor's own `step`, in two orders: all policies
first, as a rebuild folds, and by log time, as it was lived. Where they differ the worse is believed: a hold is in force
if either says so, and carried only if both do. Reads nothing, writes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from b3iq_schemas import topics
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.records import Record
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from b3iq_streams.core.values import Held

_ORDER = {topics.POLICIES: 0, topics.HOLDS: 1}


def in_force(records: Iterable[Record], partitions: int, trust: RootTrust, verify: Verify) -> dict[str, Held]:
    """The holds that either order puts in force, by node id, with `partitions` partitions.

    `records` = all of `policies` and `holds`, whatever partition they lie in; those beyond `partitions` do not count.
    """
    return {node_id: hold for fold in _folds(records, partitions, trust, verify) for node_id, hold in fold.items() if hold.held}


def uncarried(
    records: Sequence[Record], before: int, after: int, trust: RootTrust, verify: Verify
) -> tuple[dict[str, Held], dict[str, int]]:
    """The holds in force with `before` partitions that `after` partitions would lose, and each such node's last seq
    wherever it lies: what puts the hold in force again needs a higher one."""
    wanted = in_force(records, before, trust, verify)
    folds = _folds(records, after, trust, verify)
    lost = {node_id: hold for node_id, hold in wanted.items() if not all(_held(fold.get(node_id)) for fold in folds)}
    return lost, {
        node_id: max(hold.seq, *(fold[node_id].seq for fold in folds if node_id in fold), 0) for node_id, hold in lost.items()
    }


def _held(hold: Held | None) -> bool:
    return hold is not None and hold.held


def _folds(records: Iterable[Record], partitions: int, trust: RootTrust, verify: Verify) -> list[dict[str, Held]]:
    """The last hold or resume of every node, in each of the two orders."""
    by_partition: dict[int, list[Record]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(record)
    folds: list[dict[str, Held]] = [{}, {}]
    for partition, found in by_partition.items():
        if partition < partitions:
            scope = Scope(trust, partition, partitions)
            folds[0] |= _fold([{topic: [r for r in found if r.topic == topic] for topic in _ORDER}], scope, verify)
            folds[1] |= _fold(_as_lived(found), scope, verify)
    return folds


def _as_lived(records: Iterable[Record]) -> Iterator[Mapping[str, Sequence[Record]]]:
    """Runs of one topic, by log time; of the same millisecond the policies first."""
    ordered = sorted(records, key=lambda record: (record.timestamp_ms, _ORDER[record.topic], record.offset))
    for topic, run in groupby(ordered, key=lambda record: record.topic):
        yield {topic: list(run)}


def _fold(epochs: Iterable[Mapping[str, Sequence[Record]]], scope: Scope, verify: Verify) -> dict[str, Held]:
    state = PartitionState()
    for records in epochs:
        at_ms = max([state.resolved_at_ms, *(found[-1].timestamp_ms for found in records.values() if found)])
        outcome = step(state, Epoch(at_ms, records), scope, verify)
        state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
    return {node_id: node.hold for node_id, node in state.nodes.items() if node.hold is not None}
