"""Where a re-fold begins when the logs no longer reach back to the beginning, and what can be said from there.

The chain is followed from its first usable anchor (A6) until two things hold: the view is complete, and every input that
later epochs fold is still kept. There the state is rebuilt from what is left of the inputs, and takes over, key by key, what
the log says was last published. A key whose last decision the rebuilt state gives by itself is *proven* from there on; the
others rest on evidence that is gone, and are believed neither way until the fold and the log agree on them. Does no I/O.
"""

from collections.abc import Callable, Iterator, Mapping

from b3iq_schemas.eligibility import MARK_KEY
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainId, ChainReader, Head, head_at, read_mark
from b3iq_streams.core.decide import decide
from b3iq_streams.core.held import Held, as_published
from b3iq_streams.core.memory import read_change
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import Inputs, Refolding, fold_inputs
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.values import EMPTY_NODE, Published


def anchor_named(record: Record, chain: ChainId, book: PolicyBook, verify: Verify, start: int) -> tuple[int, str] | None:
    """Offset and digest of the anchor that a mark names, if the mark may be believed and the anchor is not before `start`."""
    read = read_mark(record.value or b"") if record.key == MARK_KEY else None
    if read is None or not chain.owns(read[0]) or read[0].anchor.offset < start:
        return None
    mark, sealed = read
    key = (book.processors_of(mark.policy_revision) or {}).get(sealed.signatures[0].keyid)
    if key is None or not verify(key, sealed.signed_bytes, sealed.signatures[0].sig):
        return None
    return mark.anchor.offset, mark.anchor.digest


class LateStart:
    """Follows the chain from an anchor; once `ready`, `settle` puts a `Refolding` there.

    `vouched` = offset of the mark that named the anchor: the view is complete only past it.
    """

    def __init__(
        self, chain: ChainId, scope: Scope, verify: Verify, book: PolicyBook, head: Head, vouched: int, starts: Mapping[str, int]
    ) -> None:
        self.scope, self.verify, self.vouched, self.starts = scope, verify, vouched, starts
        self.reader = ChainReader(chain, head, book.processors_of, verify)
        self.held = Held(head)
        self.view: dict[str, bytes] = {}

    @property
    def ready(self) -> bool:
        """Whether everything that later epochs fold is kept, and every live key was seen."""
        head = self.reader.head
        known = head.epoch > 0 and head.offset >= self.vouched
        return known and all(head.cut.get(topic, 0) >= start for topic, start in self.starts.items())

    def feed(self, record: Record) -> None:
        """Take the next record of the chain."""
        verdict = self.reader.feed(record)
        if not isinstance(verdict, Accepted):
            return
        self.view |= {read_change(value)[0]: value for value in verdict.changes}
        for _ in self.held.confirm(verdict, PartitionState()):
            pass  # an anchor from before the beginning cannot be judged

    def settle(self, refolding: Refolding, inputs: Inputs) -> None:
        """Rebuild the state at the head from what is left, take over what was published, and go on from there."""
        head, state = self.reader.head, PartitionState()
        fold_inputs(state, self.scope, self.verify, inputs, self.starts, head.cut, head.resolved_at_ms)
        published: dict[str, dict[str, Published]] = {node_id: {} for node_id in state.nodes}
        for key, value in self.view.items():
            node_id, _, profile_id = key.partition("/")
            published.setdefault(node_id, {})[profile_id] = as_published(value)
        nodes = {node_id: state.nodes.get(node_id, EMPTY_NODE)._replace(published=found) for node_id, found in published.items()}
        state.absorb(head.resolved_at_ms, nodes, state.rules)
        refolding.resume(head, state, self.held)
        rule = state.rules.policy.hold_down if state.rules else None
        refolding.partial = True
        refolding.flips_known_ms = head.resolved_at_ms + (rule.window_ms if rule else 0)
        for node_id, node in nodes.items():
            refolding.unproven.update(change.key for change in decide(node_id, node, state.rules, head.resolved_at_ms)[1])


def first_anchor(
    records: Iterator[Record], at: Callable[[int], Record | None], chain: ChainId, book: PolicyBook, verify: Verify, start: int
) -> tuple[Head, int] | None:
    """The oldest anchor that the log still holds, and the offset of the mark that names it. `at` = the record at an offset."""
    for record in records:
        named = anchor_named(record, chain, book, verify, start)
        place = at(named[0]) if named else None
        if named and place and (head := head_at(place, named[1], chain)):
            return head, record.offset
    return None
