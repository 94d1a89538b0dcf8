"""The records behind a bundle that are not of its range: policies, and those that the node's state at the start names."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_streams.audit.bundle.contents import Entry, Fact
from b3iq_streams.audit.bundle.prove_public import fact, trimmed, withheld
from b3iq_streams.audit.bundle.prove_walk import Own, OwnWalk
from b3iq_streams.audit.bundle.start import held_of, tell
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.core.admit import Scope, keys_for
from b3iq_streams.core.chain import Head
from b3iq_streams.core.codec import encode_node
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from b3iq_streams.core.values import EMPTY_NODE, NodeState, Proof
from b3iq_streams.kafka.connection import Place


class Voucher(NamedTuple):
    """A registration that listed a key which the present one does not, and the keys that it listed."""

    record: Record
    keys: Mapping[str, bytes]


def signers(record: Record, rules: Rules | None, node: NodeState, scope: Scope) -> Mapping[str, bytes]:
    """The keys under which admission looked at a record of an epoch, given the rules and the node after it."""
    then = rules.at(record.timestamp_ms) if rules else None
    return {**keys_for(record.topic, then, node, scope), **keys_for(record.topic, rules, node, scope)}


def policies(walk: OwnWalk, last: Head, operator: bool) -> tuple[Fact, ...]:
    """The revisions that were in force up to an epoch; refused ones are nobody's evidence."""
    place = Place(topics.POLICIES, walk.partition)
    start, end = walk.bounds(topics.POLICIES).start, last.cut.get(topics.POLICIES, 0)
    records = [record for batch in walk.source.read(place, start, end) for record in batch] if start < end else []
    verify = walk.refolding.verify
    outcome = step(PartitionState(), Epoch(0, {topics.POLICIES: records}), walk.scope, verify)
    refused = {found.record.offset for found in outcome.refused}
    admitted = [record for record in records if record.offset not in refused]
    if operator:
        return tuple(map(fact, admitted))
    roots = walk.scope.roots
    return tuple(fact(record._replace(value=trimmed(record.value or b"", roots, verify))) for record in admitted)


def opening_state(walk: OwnWalk, own: Own, operator: bool) -> tuple[bytes, tuple[Entry, ...]]:
    """The node's encoded state after an epoch, and the records that it names; a withheld hold without reason and actor.

    Raises EvidenceExpired if one of them is not kept.
    """
    node, found = own.node, list[Entry]()
    if node.hold is not None and not operator:
        hidden = withheld(walk.partition, node.hold.proof, node.hold.held)
        node = node._replace(hold=held_of(hidden))
        found.append(hidden)
    voucher = _voucher(walk, own)
    named = [(topic, proof) for topic, proof in _named(node) if operator or topic != topics.HOLDS]
    found += [_shown(walk, topic, _kept(walk, topic, proof.offset), own, operator, voucher) for topic, proof in named]
    if voucher is not None:
        found.append(_shown(walk, topics.REGISTRATIONS, voucher.record, own, operator, voucher))
    return encode_node(node), tuple(sorted(found, key=lambda entry: (topics.INPUTS.index(entry.topic), entry.offset)))


def _named(node: NodeState) -> Iterator[tuple[str, Proof]]:
    for topic, held in (
        (topics.REGISTRATIONS, node.registration), (topics.HOLDS, node.hold),
        (topics.ROUTE_HEALTH, node.route), (topics.HEARTBEATS, node.beat),
    ):  # fmt: skip
        if held is not None:
            yield topic, held.proof
    for seen in node.benchmarks.values():
        yield topics.BENCHMARKS, seen.proof


def _kept(walk: OwnWalk, topic: str, offset: int) -> Record:
    record = walk.record(topic, offset)
    if record is None:
        raise EvidenceExpired(f"{topic} partition {walk.partition} offset {offset} is gone", None)
    return record


def _shown(walk: OwnWalk, topic: str, record: Record, own: Own, operator: bool, voucher: Voucher | None) -> Fact:
    """A record that was admitted some time before, under a revision or a registration that may be another one by now."""
    if operator:
        return fact(record)
    keys: dict[str, bytes] = {}
    rules = own.rules
    while rules is not None:
        keys |= keys_for(topic, rules, own.node, walk.scope)
        rules = rules.before
    if topic == topics.HEARTBEATS and voucher is not None:
        keys |= voucher.keys
    return fact(record._replace(value=trimmed(record.value or b"", keys, walk.refolding.verify)))


def _voucher(walk: OwnWalk, own: Own) -> Voucher | None:
    """The last registration that listed the last heartbeat's key, if the present one does not."""
    node, found = own.node, None
    if node.beat is None or node.registration is None or node.beat.proof.keyid in node.registration.keys:
        return None
    place, verify = Place(topics.REGISTRATIONS, walk.partition), walk.refolding.verify
    for batch in walk.source.read(place, walk.bounds(topics.REGISTRATIONS).start, node.registration.proof.offset):
        for record in batch:
            if record.key != walk.node_id.encode():
                continue
            told = tell(walk.node_id, EMPTY_NODE, record, own.rules, walk.scope, verify)
            if isinstance(told, NodeState) and told.registration and node.beat.proof.keyid in told.registration.keys:
                found = Voucher(record, told.registration.keys)
    return found
