"""What happened to one node, epoch by epoch, as the log recorded it and as the fold gives it. Shared by explain and timeline.

Walks the node's partition once and keeps nothing but what the node itself is and was last said to be; it neither selects a
range nor words anything.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from b3iq_schemas import envelope, topics
from b3iq_schemas.eligibility import Decision
from b3iq_schemas.ids import NodeId, ProfileId
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin, Source
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.admit import Refused, Verify
from b3iq_streams.core.chain import Accepted, Head, PolicyUnknown
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import Difference, InputsGone, Refolded
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.values import EMPTY_NODE, NodeState
from b3iq_streams.errors import UserError

_NODE, _PROFILE = TypeAdapter[str](NodeId), TypeAdapter[str | None](ProfileId | None)


class Turn(NamedTuple):
    """One accepted epoch, as far as it is about one node.

    `was` and `node` = the node's state before and after, `ruled` and `rules` = the rules before and after, `decisions` = what
    the epoch published about it, refreshes too, `heartbeats` = its admitted ones, `refused` = what was refused under its key,
    `unproven` = its profiles whose last decision rests on evidence that is gone, `differences` = where record and fold part.
    """

    before: Head
    head: Head
    ruled: Rules | None
    rules: Rules | None
    was: NodeState
    node: NodeState
    decisions: tuple[Decision, ...]
    heartbeats: tuple[Record, ...]
    refused: tuple[Refused, ...]
    unproven: frozenset[str]
    differences: tuple[Difference, ...]

    def differences_on(self, key: str) -> tuple[Difference, ...]:
        """Those on one `node_id/profile_id`."""
        named = (f"decision on {key}", f"decision on {key} after a rebuild")
        return tuple(found for found in self.differences if found.what in named)


def check_ids(node_id: str, profile_id: str | None = None) -> None:
    """Raises UserError for what cannot be an id of a node or a profile."""
    for name, value, kind in (("NODE", node_id, _NODE), ("PROFILE", profile_id, _PROFILE)):
        try:
            kind.validate_python(value)
        except ValidationError:
            what = "is not an id: 1 to 64 letters, digits and . _ : -, the first a letter or digit"
            raise UserError(f"{name} {str(value)[:80]!r} {what}") from None


@contextmanager
def open_node(origin: Origin, trust: RootTrust, node_id: str, verify: Verify = envelope.verify) -> Iterator["NodeWalk"]:
    """The history of a node, ready to be walked."""
    with origin.open() as source:
        yield NodeWalk(origin, source, trust, node_id, verify)


class NodeWalk(Walk):
    """The walk over a node's partition; `turns` may be iterated once."""

    def __init__(self, origin: Origin, source: Source, trust: RootTrust, node_id: str, verify: Verify) -> None:
        self.node_id, self._key = node_id, node_id.encode()
        self._needle = b'"node_id":"' + self._key + b'"'
        self._beats: list[Record] = []
        self.gone: Difference | None = None
        """Set when an epoch says it folded records that were never written: nothing after it can be told."""
        super().__init__(origin, source, trust, partition_for(self._key, origin.partitions), verify)

    def inputs(self, topic: str, first: int, last: int) -> Sequence[Record]:
        """As `Walk.inputs`; the node's own heartbeats are noted in passing."""
        found = super().inputs(topic, first, last)
        if topic == topics.HEARTBEATS:
            self._beats += [record for record in found if record.key == self._key]
        return found

    def turns(self, to_ms: int = FAR_FUTURE_MS) -> Iterator[Turn]:
        """Every accepted epoch of the partition up to the last one resolved by `to_ms`, in order.

        Raises EvidenceExpired when what an answer needs is not kept. An epoch whose inputs were never written ends the
        iteration with `gone` set.
        """
        try:
            if self.earliest_ms is None:
                self._start_late()
            state = self.refolding.state
            was, ruled = state.nodes.get(self.node_id, EMPTY_NODE), state.rules
            for seen in self.until(to_ms):
                if isinstance(seen.verdict, Refolded):
                    turn = self._turn(seen.verdict, was, ruled)
                    was, ruled = turn.node, turn.rules
                    yield turn
        except PolicyUnknown as error:
            raise EvidenceExpired(f"partition {self.partition}: {error}", None) from None
        except InputsGone as gone:
            if gone.expired:
                raise EvidenceExpired(f"partition {self.partition}: {gone}", self.earliest_ms) from None
            self.gone = self._never_written(gone)

    def _turn(self, epoch: Refolded, was: NodeState, ruled: Rules | None) -> Turn:
        state, head = self.refolding.state, epoch.accepted.head
        refused = tuple(item for item in epoch.outcome.refused if item.record.key == self._key)
        offsets = {item.record.offset for item in refused if item.record.topic == topics.HEARTBEATS}
        first = epoch.before.cut.get(topics.HEARTBEATS, 0)
        beats = tuple(record for record in self._beats if record.offset >= first and record.offset not in offsets)
        self._beats = []
        prefix = self.node_id + "/"
        unproven = frozenset(key.removeprefix(prefix) for key in self.refolding.unproven if key.startswith(prefix))
        differences = tuple(found for found in epoch.differences if found.what.startswith(f"decision on {prefix}"))
        node = state.nodes.get(self.node_id, EMPTY_NODE)
        return Turn(
            epoch.before,
            head,
            ruled,
            state.rules,
            was,
            node,
            self._decisions(epoch.accepted),
            beats,
            refused,
            unproven,
            differences,
        )

    def _decisions(self, accepted: Accepted) -> tuple[Decision, ...]:
        """What was published about the node; what is no decision was reported as a difference, and tells nothing."""
        found = []
        for value in accepted.changes:
            if self._needle in value:
                try:
                    found.append(Decision.model_validate_json(orjson.dumps(orjson.loads(value)["decision"])))
                except (ValidationError, ValueError, KeyError, TypeError):
                    continue
        return tuple(found)

    def stands_until_ms(self, to_ms: int) -> int:
        """Until when the last turn's state stood, as far as `to_ms`: up to the next epoch, or to the end of the log."""
        folded, read = self.refolding.head, self.refolding.reader.head
        return to_ms if self.gone is None and read.epoch > folded.epoch else folded.resolved_at_ms

    def no_epoch(self, until: str = "") -> UserError:
        """The mistake of asking where no epoch could be folded, and why that is."""
        why = f"{self.gone.what}: {self.gone.recorded}, {self.gone.recomputed}" if self.gone else "nothing was resolved"
        return UserError(f"partition {self.partition} has no epoch{until}: {why}")

    def _never_written(self, gone: InputsGone) -> Difference:
        head = self.refolding.reader.head
        folded = f"offsets {gone.first} to {gone.last - 1} were folded"
        return Difference(self.partition, head.offset, head.epoch, f"records of {gone.topic}", folded, "not all are there")
