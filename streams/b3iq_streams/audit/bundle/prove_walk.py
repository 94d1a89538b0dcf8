"""The walk over a node's partition as `prove` needs it: each accepted epoch as far as it is about the node, records included.

From logs that reach back to the beginning only the node's own records are folded, which gives the same state of the node for
a fraction of the signature checks; what else a `Walk` compares means nothing then, and is not looked at.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.codes import Refusal
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.bundle.fold import about
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.source import Origin, Source
from b3iq_streams.audit.times import FAR_FUTURE_MS
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.chain import Accepted, Head, PolicyUnknown
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import InputsGone, Refolded
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.values import EMPTY_NODE, NodeState
from b3iq_streams.errors import UserError


class Own(NamedTuple):
    """An accepted epoch: its mark, the node's records that it folded (with the code, if refused), the node and the rules after
    it. `concerned` = it folded policies or records of the node, or published something about it; `doubtful` = a decision on the
    node rests on evidence that is gone."""

    record: Record
    accepted: Accepted
    before: Head
    records: tuple[tuple[Record, Refusal | None], ...]
    node: NodeState
    rules: Rules | None
    published: bool
    concerned: bool
    doubtful: bool


class OwnWalk(Walk):
    """Iterate over `epochs` once."""

    def __init__(self, origin: Origin, source: Source, trust: RootTrust, node_id: str, verify: Verify) -> None:
        self.node_id, self._key = node_id, node_id.encode()
        self._taken: list[Record] = []
        super().__init__(origin, source, trust, partition_for(self._key, origin.partitions), verify)

    def inputs(self, topic: str, first: int, last: int) -> Sequence[Record]:
        """As `Walk.inputs`, noting the node's own records; from whole logs, nothing but these."""
        found = super().inputs(topic, first, last)
        if topic == topics.POLICIES or self.earliest_ms is None:  # None: a state is being rebuilt from all there is
            return found
        own = [record for record in found if record.key == self._key]
        self._taken += own
        return own if self.whole else found

    @property
    def whole(self) -> bool:
        """Whether the logs reach back to the beginning."""
        return self.earliest_ms == 0

    def epochs(self, to_ms: int) -> Iterator[Own]:
        """The accepted epochs up to the last one resolved by `to_ms`; from logs that begin late, on to their end.

        Raises EvidenceExpired, and UserError for a log that lacks what it says it folded.
        """
        try:
            for seen in self.until(to_ms if self.whole else FAR_FUTURE_MS):
                if isinstance(seen.verdict, Refolded):
                    yield self._own(seen.record, seen.verdict)
        except PolicyUnknown as error:
            raise EvidenceExpired(f"partition {self.partition}: {error}", None) from None
        except InputsGone as gone:
            if gone.expired:
                raise EvidenceExpired(f"partition {self.partition}: {gone}", None) from None
            raise UserError(f"partition {self.partition}: {gone}, although epochs folded them: run `audit verify`") from None

    def _own(self, record: Record, epoch: Refolded) -> Own:
        accepted, first = epoch.accepted, epoch.before.cut
        refused = {(found.record.topic, found.record.offset): found.code for found in epoch.outcome.refused}
        records = tuple(
            (taken, refused.get((taken.topic, taken.offset)))
            for taken in self._taken
            if taken.offset >= first.get(taken.topic, 0)  # what is older was read to rebuild a state
        )
        self._taken = []
        published = any(about(value, self.node_id) for value in accepted.changes)
        ruled = first.get(topics.POLICIES, 0) < accepted.mark.cut.get(topics.POLICIES, 0)
        return Own(
            record, accepted, epoch.before, records, self.refolding.state.nodes.get(self.node_id, EMPTY_NODE),
            self.refolding.state.rules, published, bool(records) or published or ruled,
            any(key.startswith(self.node_id + "/") for key in self.refolding.unproven),
        )  # fmt: skip
