"""The recount of one partition whose records are all at hand: every accepted epoch folded again, and what was found."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import ChainId, Head, Ignored
from b3iq_streams.core.proposal import count_codes
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import Difference, Inputs, Refolded, Refolding


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
    refolding = Refolding(chain, scope, verify, book, between(inputs))
    counts, ignored = Counter[str](), Counter[str]()
    admitted, refused = Counter[str](), Counter[str]()
    differences: list[Difference] = []
    for record in log:
        found = refolding.feed(record)
        if isinstance(found, Ignored):
            ignored[found.reason.value] += 1
        elif isinstance(found, Refolded):
            counts.update(epochs=1, refreshed=found.refreshed, changes=len(found.accepted.changes) - found.refreshed)
            admitted.update(found.outcome.admitted)
            refused.update(count_codes(found.outcome.refused))
            differences += found.differences
    return Recount(
        refolding.head, counts["epochs"], counts["changes"], counts["refreshed"],
        dict(admitted), dict(refused), dict(ignored), refolding.state.eligible, tuple(differences),
    )  # fmt: skip


def between(inputs: Mapping[str, Sequence[Record]]) -> Inputs:
    """Answers for inputs that are lists of records."""

    def read(topic: str, first: int, last: int) -> Sequence[Record]:
        records = inputs[topic]
        low, high = (bisect_left(records, offset, key=lambda record: record.offset) for offset in (first, last))
        return records[low:high]

    return read
