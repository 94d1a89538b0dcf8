"""Whether the log, folded again from nothing, gives what the live parts said; where it does not, in words.

The recount is `core.replay`'s. Compared with it: what the chain recorded, what the router held, the dead letters, and
what was sent.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from b3iq_schemas.envelope import verify
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, INPUTS, ROUTING_DECISIONS
from b3iq_streams.core.admit import Scope
from b3iq_streams.core.chain import ChainId
from b3iq_streams.core.records import Record
from b3iq_streams.core.replay import Recount, recount
from b3iq_streams.demo.tail import Tail
from b3iq_streams.kafka import Place


class Abandoned(Exception):
    """The recount was told to stop."""


class Live(NamedTuple):
    """What the live parts say at the end.

    `heads` = epoch and digest on which the router stands, `eligible` = how many profiles it holds so, by partition;
    `sent` = facts whose delivery was acknowledged, `answered` = paid calls that got an answer.
    """

    heads: Mapping[int, tuple[int, str]]
    eligible: Mapping[int, int]
    sent: int
    answered: int


class Verdict(NamedTuple):
    """Sums over all partitions. `equal` is None if there was no recount, and `differences` then say why."""

    equal: bool | None
    differences: tuple[str, ...]
    epochs: int = 0
    changes: int = 0
    refreshed: int = 0
    admitted: int = 0
    refused: Mapping[str, int] = {}
    not_folded: int = 0


class _Watched(list[Record]):
    """Records that can no longer be iterated over once somebody says stop: a thread cannot be interrupted otherwise."""

    def __init__(self, records: Sequence[Record], stopped: Callable[[], bool]) -> None:
        super().__init__(records)
        self._stopped = stopped

    def __iter__(self) -> Iterator[Record]:
        for record in super().__iter__():
            if self._stopped():
                raise Abandoned
            yield record


def judge(tail: Tail, trust: RootTrust, partitions: int, live: Live, *, stamped: bool, stopped: Callable[[], bool]) -> Verdict:
    """Recount every partition and compare."""
    if tail.incomplete:
        return Verdict(None, (f"not recounted: {tail.incomplete}",))
    recounts = [_recount(tail, trust, partition, partitions, stamped, stopped) for partition in range(partitions)]
    refused: Counter[str] = Counter()
    for found in recounts:
        refused.update(found.refused)
    admitted = sum(sum(found.admitted.values()) for found in recounts)
    not_folded = tail.events - admitted - refused.total()
    differences = [line for partition, found in enumerate(recounts) for line in _compare(partition, found, live)]
    differences += _compare_counts(tail, live, refused, not_folded)
    return Verdict(
        equal=not differences,
        differences=tuple(differences),
        epochs=sum(found.epochs for found in recounts),
        changes=sum(found.changes for found in recounts),
        refreshed=sum(found.refreshed for found in recounts),
        admitted=admitted,
        refused=dict(sorted(refused.items())),
        not_folded=not_folded,
    )


def _recount(
    tail: Tail, trust: RootTrust, partition: int, partitions: int, stamped: bool, stopped: Callable[[], bool]
) -> Recount:
    chain = ChainId(trust, partition, partitions, trust.skew_ms)
    inputs = {topic: tail.records.get(Place(topic, partition), []) for topic in INPUTS}
    log = _Watched(tail.records.get(Place(ELIGIBILITY_CHANGES, partition), []), stopped)
    return recount(chain, Scope(trust, partition, partitions, stamped), inputs, log, verify)


def _compare(partition: int, found: Recount, live: Live) -> Iterator[str]:
    for difference in found.differences:
        yield f"partition {partition}, epoch {difference.epoch}: {difference.what} differs"
    if live.heads[partition] != (found.epochs, found.head.digest):
        yield f"partition {partition}: the router stands on epoch {live.heads[partition][0]}, the recount on {found.epochs}"
    if live.eligible[partition] != found.eligible:
        yield f"partition {partition}: the router holds {live.eligible[partition]} eligible, the recount {found.eligible}"


def _compare_counts(tail: Tail, live: Live, refused: Mapping[str, int], not_folded: int) -> Iterator[str]:
    """What is in the log was sent; every answer has its record; what is refused, and nothing else, has its dead letter."""
    found = tail.events - sum(tail.before[topic] for topic in INPUTS)
    if found != live.sent:
        yield f"{live.sent} facts were sent, {found} are in the log"
    decided = tail.counts[ROUTING_DECISIONS] - tail.before[ROUTING_DECISIONS]
    if decided < live.answered:
        yield f"{live.answered} calls were answered, {decided} decisions are in the log"
    if not not_folded and tail.letter_codes != refused:
        yield f"dead letters are {tail.letter_codes}, the recount refuses {dict(refused)}"
