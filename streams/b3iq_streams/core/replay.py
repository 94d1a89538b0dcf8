"""The recount: every accepted epoch folded again from the inputs alone, and compared byte for byte with what was recorded.

Independent of owners and checkpoints; it needs one partition's records from the beginning, and says where they first differ.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainId, ChainReader, Head, Ignored
from b3iq_streams.core.decide import compose
from b3iq_streams.core.proposal import count_codes
from b3iq_streams.core.records import Record
from b3iq_streams.core.recovery import REBUILD_BATCH
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, Outcome, step


class Difference(NamedTuple):
    """Where a recorded epoch and its recount part: the mark's coordinates, what differs, both values."""

    partition: int
    offset: int
    epoch: int
    what: str
    recorded: str
    recomputed: str


class Recount(NamedTuple):
    """What a recount found. `ignored` = marks that did not count, by reason; `differences` is empty if all is equal."""

    head: Head
    epochs: int
    changes: int
    refreshed: int
    admitted: Mapping[str, int]
    refused: Mapping[str, int]
    ignored: Mapping[str, int]
    eligible: int
    differences: tuple[Difference, ...]


def recount(
    chain: ChainId, scope: Scope, inputs: Mapping[str, Sequence[Record]], log: Sequence[Record], verify: Verify
) -> Recount:
    """Re-fold one partition from nothing. `inputs` and `log` hold every record from offset 0, in offset order."""
    book = PolicyBook(scope, verify)
    for record in inputs[topics.POLICIES]:
        book.feed(record)
    return _Recounting(chain, scope, inputs, verify, book).run(log)


class _Recounting:
    def __init__(
        self, chain: ChainId, scope: Scope, inputs: Mapping[str, Sequence[Record]], verify: Verify, book: PolicyBook
    ) -> None:
        self.chain, self.scope, self.inputs, self.verify = chain, scope, inputs, verify
        self.reader = ChainReader(chain, chain.genesis_head(), book.processors_of, verify)
        self.state = PartitionState()
        self.counts: Counter[str] = Counter()
        self.admitted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.differences: list[Difference] = []

    def run(self, log: Sequence[Record]) -> Recount:
        for record in log:
            before = self.reader.head
            verdict = self.reader.feed(record)
            if isinstance(verdict, Ignored):
                self.ignored[verdict.reason.value] += 1
            elif isinstance(verdict, Accepted):
                self.epoch(before, verdict)
        return Recount(
            self.reader.head, self.counts["epochs"], self.counts["changes"], self.counts["refreshed"],
            dict(self.admitted), dict(self.refused), dict(self.ignored), self.state.eligible, tuple(self.differences),
        )  # fmt: skip

    def epoch(self, before: Head, accepted: Accepted) -> None:
        rebuilt = accepted.mark.rebuilt
        if rebuilt is not None:
            self.rebuild(before, rebuilt)
        records = {topic: self.between(topic, before.cut, accepted.mark.cut) for topic in topics.INPUTS}
        outcome = step(self.state, Epoch(accepted.mark.resolved_at_ms, records), self.scope, self.verify)
        self.compare(accepted, outcome, contents=rebuilt is None)
        self.state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        self.counts["epochs"] += 1
        self.admitted.update(outcome.admitted)
        self.refused.update(count_codes(outcome.refused))

    def rebuild(self, before: Head, starts: Mapping[str, int]) -> None:
        """A new segment: as the owner did, fold everything up to the epoch before, topic by topic, from nothing."""
        self.state = PartitionState()
        for topic in topics.INPUTS:
            records = self.between(topic, starts, before.cut)
            for first in range(0, len(records), REBUILD_BATCH):
                epoch = Epoch(before.resolved_at_ms, {topic: records[first : first + REBUILD_BATCH]})
                outcome = step(self.state, epoch, self.scope, self.verify)
                self.state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)

    def between(self, topic: str, first: Mapping[str, int], last: Mapping[str, int]) -> Sequence[Record]:
        records = self.inputs[topic]
        places = (first.get(topic, 0), last.get(topic, 0))
        low, high = (bisect_left(records, offset, key=lambda record: record.offset) for offset in places)
        return records[low:high]

    def compare(self, accepted: Accepted, outcome: Outcome, contents: bool) -> None:
        """Changes in order, refreshes against the state, the revision, and the state digest where one is recorded.

        The first epoch of a segment also publishes what readers held otherwise: its `contents` are not the fold's alone.
        """
        expected = {change.key: change.decision for change in outcome.changes} if contents else {}
        for value in accepted.changes if contents else ():
            outer = orjson.loads(value)
            decision = outer["decision"]
            key = f"{decision['node_id']}/{decision['profile_id']}"
            wanted = self.refreshed(key, outcome) if outer["refresh"] else expected.pop(key, b"")
            self.counts["refreshed" if outer["refresh"] else "changes"] += 1
            if b'"decision":' + wanted + b"}" != value[value.index(b'"decision":') :]:
                self.differ(accepted, f"decision on {key}", value.decode(), wanted.decode())
        for key, decision_json in expected.items():
            self.differ(accepted, f"decision on {key}", "", decision_json.decode())
        revision = outcome.rules.policy.revision if outcome.rules else 0
        if revision != accepted.mark.policy_revision:
            self.differ(accepted, "policy revision", str(accepted.mark.policy_revision), str(revision))
        if (recorded := accepted.mark.state_sha256) is not None:
            digest = self.state.digest(outcome.nodes, outcome.rules)
            if recorded != digest:
                self.differ(accepted, "state digest", recorded, digest)

    def refreshed(self, key: str, outcome: Outcome) -> bytes:
        node_id, _, profile_id = key.partition("/")
        node = outcome.nodes.get(node_id) or self.state.nodes.get(node_id)
        last = node.published.get(profile_id) if node else None
        return compose(node_id, profile_id, node, last, outcome.rules, refresh=True).decision if node and last else b""

    def differ(self, accepted: Accepted, what: str, recorded: str, recomputed: str) -> None:
        head = accepted.head
        self.differences.append(Difference(self.chain.partition, head.offset, head.epoch, what, recorded, recomputed))
