"""What an honest lab's chain says, read plainly: no acceptance, no fold; the oracle of explain and timeline. Ways to spoil it."""

import functools
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place
from tests.audit.lab import Lab, MemoryOrigin, busy_lab

NODES = tuple(f"node-{number}" for number in range(1, 7))


@functools.cache
def lab() -> Lab:
    """One busy network for all tests that only read it."""
    return busy_lab()


class Epoch(NamedTuple):
    """An epoch as it is written: its mark and the decisions before it."""

    mark: dict[str, Any]
    offset: int
    decisions: tuple[dict[str, Any], ...]


def epochs(of: Lab, node_id: str) -> Iterator[Epoch]:
    """The epochs of a node's partition, in the order of the log."""
    decisions: list[dict[str, Any]] = []
    for record in of.part(node_id).chain:
        value = orjson.loads(record.value or b"")
        if record.key == MARK_KEY:
            yield Epoch(orjson.loads(b64decode(value["payload"])), record.offset, tuple(decisions))
            decisions = []
        else:
            decisions.append(value["decision"])


def standing(of: Lab, node_id: str, profile_id: str, at_ms: int) -> dict[str, Any] | None:
    """The last decision on a profile that was published in an epoch resolved by then."""
    last = None
    for epoch in epochs(of, node_id):
        if epoch.mark["resolved_at_ms"] <= at_ms:
            for decision in epoch.decisions:
                if (decision["node_id"], decision["profile_id"]) == (node_id, profile_id):
                    last = decision
    return last


def payload(record: Record) -> dict[str, Any]:
    """What was signed."""
    return dict(orjson.loads(b64decode(orjson.loads(record.value or b"")["payload"])))


def batched(of: Lab, batch: int) -> MemoryOrigin:
    """The same records, so many at once."""
    return MemoryOrigin(of.records, len(of.parts), batch)


def spoilt(of: Lab, spoil: Callable[[Place, list[Record]], Sequence[Record]]) -> MemoryOrigin:
    """The same log with each partition's records passed through `spoil`."""
    return MemoryOrigin({place: spoil(place, list(found)) for place, found in of.records.items()}, len(of.parts))


def left(of: Lab, share: Mapping[str, float]) -> MemoryOrigin:
    """What is left when this share of each topic was deleted, oldest first."""
    return spoilt(of, lambda place, found: found[int(share.get(place.topic, 0) * max(0, len(found) - 1)) :])


def lied_about(of: Lab, node_id: str) -> MemoryOrigin:
    """The node's heartbeats from the second one on were never what the chain was made from: they are noise now."""

    def spoil(place: Place, found: list[Record]) -> list[Record]:
        mine = [record for record in found if place.topic == topics.HEARTBEATS and record.key == node_id.encode()]
        return [record._replace(value=b"{}") if record in mine[1:] else record for record in found]

    return spoilt(of, spoil)


def never_written(of: Lab, node_id: str) -> MemoryOrigin:
    """The last heartbeats of the node's partition are not in the log, although epochs say that they folded them."""
    partition = of.part(node_id).partition
    return spoilt(of, lambda place, found: found[:-5] if place == Place(topics.HEARTBEATS, partition) else found)


@dataclass(frozen=True)
class Replaced(MemoryOrigin):
    """Reads of one single record of a topic give something else than the same record in a longer reading."""

    topic: str = topics.ROUTE_HEALTH
    value: bytes | None = None

    def read(self, place: Place, first: int, last: int) -> Iterator[Sequence[Record]]:
        """As it is, but for single records of the topic: another value, or nothing."""
        for batch in super().read(place, first, last):
            if place.topic != self.topic or last != first + 1:
                yield batch
            elif self.value is not None:
                yield [record._replace(value=self.value) for record in batch]
