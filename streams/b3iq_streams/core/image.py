"""The checkpoint image: what is stored per node and as the head, and how it is read back. A cache; `recovery.py` judges it.

A node record is `EPOCH SP STATE`: the epoch it is complete for, and the bytes that state digests are over.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from b3iq_streams.core import codec
from b3iq_streams.core.chain import Head
from b3iq_streams.core.records import Outgoing
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.values import NodeState

HEAD_KEY = b"~head"


class StoredHead(NamedTuple):
    """Which mark the image stands for, and the rules in force there."""

    offset: int
    epoch: int
    digest: str
    rules: Rules | None


def write_head(head: Head, rules: Rules | None) -> Outgoing:
    """The head record; written last, so that a torn checkpoint keeps its old head."""
    stored_rules = codec.encode_rules(rules).decode() if rules else None
    return Outgoing(HEAD_KEY, orjson.dumps([head.offset, head.epoch, head.digest, stored_rules]))


def write_nodes(epoch: int, nodes: Iterable[tuple[str, NodeState]]) -> tuple[Outgoing, ...]:
    """Node records as of `epoch`."""
    return tuple(Outgoing(node_id.encode(), b"%d %b" % (epoch, codec.encode_node(node))) for node_id, node in nodes)


def read_head(raw: bytes) -> StoredHead:
    """The head in `raw`; raises ValueError or TypeError for anything else."""
    offset, epoch, digest, rules = orjson.loads(raw)
    if type(offset) is not int or type(epoch) is not int or type(digest) is not str:
        raise TypeError("not a checkpoint head")
    return StoredHead(offset, epoch, digest, codec.decode_rules(rules.encode()) if rules else None)


def read_nodes(nodes: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, int]]:
    """State bytes and epoch per node id; raises ValueError for a record that is not one."""
    states, epochs = {}, {}
    for node_id, raw in nodes.items():
        epoch, state = raw.split(b" ", 1)
        states[node_id], epochs[node_id] = state, int(epoch)
    return states, epochs
