"""How an owner gets from a checkpoint image to an accepted epoch it may stand on (rules R1–R3; R4 is `owner.py`'s).

The image is a cache: believed only if it reproduces the state digest that a mark in the log recorded. Otherwise the state
is rebuilt from the inputs, loudly: epoch by epoch from genesis while both logs reach back that far, else in one go.
"""

from bisect import bisect_left
from collections.abc import Callable, Generator, Mapping

from b3iq_schemas import topics
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_streams.core import image
from b3iq_streams.core.actions import Action, Answer, ChainBatch, Checkpoint, InputBatch, Notice, ReadChain, ReadInputs
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainId, ChainReader, Head, PolicyUnknown, head_at, read_mark
from b3iq_streams.core.memory import Correction, Memory, Talk, Void, content, read_change
from b3iq_streams.core.records import Record
from b3iq_streams.core.rotation import Rotation
from b3iq_streams.core.step import FOLD, Epoch, step

REBUILD_BATCH = 20_000


class Recovery:
    """Recovers one partition; after `run` has ended, `memory` stands on the last accepted epoch in the log."""

    def __init__(self, chain: ChainId, scope: Scope, verify: Verify) -> None:
        self.chain, self.scope, self.verify = chain, scope, verify
        self.book = PolicyBook(scope, verify)
        self.memory = self._fresh(chain.genesis_head())

    def _fresh(self, head: Head) -> Memory:
        return Memory(self.chain, self.scope, self.verify, head, self.book)

    def run(self, checkpoint: Checkpoint) -> Talk:
        """Try the checkpoint, then genesis, then the inputs alone."""
        yield from self._read_policies()
        attempts: list[Callable[[], Talk]] = [lambda: self._from_image(checkpoint)] if checkpoint.head else []
        for attempt in (*attempts, self._from_genesis):
            try:
                yield from attempt()
                break
            except Void as void:
                yield Notice("alarm", str(void), f"partition {self.chain.partition}: rebuilding from the inputs")
        else:
            yield from self._from_inputs()
        memory = self.memory
        memory.complete_until = {}
        memory.rotation = Rotation(memory.head, memory.live_keys())

    def _read_policies(self) -> Talk:
        """Every revision of this partition: acceptance needs the processor keys of each (A4)."""
        found = yield ReadInputs(topics.POLICIES, 0, 0)
        assert isinstance(found, InputBatch)
        batch = yield ReadInputs(topics.POLICIES, found.start, found.end)
        assert isinstance(batch, InputBatch)
        for record in batch.records:
            self.book.feed(record)

    def _from_image(self, checkpoint: Checkpoint) -> Talk:
        """R1, R2, R3: the image's head must be in the log, and the state must have the digest recorded there."""
        try:
            stored = image.read_head(checkpoint.head or b"")
            states, epochs = image.read_nodes(checkpoint.nodes)
        except Exception as error:  # whatever is wrong with these bytes, they are only a cache
            raise Void("checkpoint_unreadable") from error
        head, recorded = yield from self._mark_at(stored.offset, stored.digest)
        self.memory = memory = self._fresh(head)
        try:
            memory.state.restore(states, stored.rules, head.resolved_at_ms)
        except Exception as error:  # as above
            raise Void("checkpoint_unreadable") from error
        memory.complete_until = {node_id: epoch for node_id, epoch in epochs.items() if epoch > head.epoch}
        memory.state_verified = recorded is not None and memory.state.digest({}, memory.state.rules) == recorded
        memory.doubtful = not memory.state_verified
        if not memory.state_verified and not memory.complete_until:
            raise Void("checkpoint_void")
        yield from self._follow()
        if not memory.state_verified:
            raise Void("checkpoint_void")

    def _mark_at(self, offset: int, digest: str) -> Generator[Action, Answer, tuple[Head, str | None]]:
        """The head that stands at an offset, and the state digest recorded there by this fold, if one is."""
        while True:
            batch = yield ReadChain(offset)
            assert isinstance(batch, ChainBatch)
            if batch.records or batch.position > offset or batch.end <= offset:
                break
        first = batch.records[0] if batch.records else None
        head = head_at(first, digest, self.chain) if first and first.offset == offset else None
        read = read_mark(first.value or b"") if first and head else None
        if head is None or read is None:
            raise Void("checkpoint_head_not_in_log")
        return head, read[0].state_sha256 if read[0].fold == FOLD else None

    def _from_genesis(self) -> Talk:
        """Every accepted epoch again, as recorded; only while the logs still hold them all."""
        self.memory = self._fresh(self.chain.genesis_head())
        batch = yield ReadChain(0)
        assert isinstance(batch, ChainBatch)
        if batch.start > 0:
            raise Void("chain_truncated")
        yield from self._follow()

    def _follow(self) -> Talk:
        """Read the log to its end and fold every accepted epoch."""
        memory = self.memory
        while True:
            batch = yield ReadChain(memory.reader.position)
            assert isinstance(batch, ChainBatch)
            if batch.start > memory.reader.position:
                raise Void("chain_truncated")
            for record in batch.records:
                before = memory.head
                try:
                    verdict = memory.reader.feed(record)
                except PolicyUnknown as error:
                    raise Void("policy_unknown") from error
                if isinstance(verdict, Accepted):
                    if verdict.mark.fold != FOLD or verdict.mark.rebuilt is not None:
                        raise Void("recorded_by_another_fold")
                    yield from memory.refold(before, verdict)
            memory.reader.position = max(memory.reader.position, batch.position)
            if memory.reader.position >= batch.end:
                return

    def _from_inputs(self) -> Talk:
        """What readers hold comes from the chain, the state from all inputs up to the head's cut, in one go."""
        reader, held = yield from self._read_view()
        self.memory = memory = self._fresh(reader.head)
        memory.reader = reader
        starts: dict[str, int] = {}
        for topic in topics.INPUTS:
            last = reader.head.cut.get(topic, 0)
            found = yield ReadInputs(topic, last, last)
            assert isinstance(found, InputBatch)
            if found.end < last:
                raise Void("inputs_truncated")
            starts[topic] = min(found.start, last)
            for first in range(starts[topic], last, REBUILD_BATCH):
                batch = yield ReadInputs(topic, first, min(first + REBUILD_BATCH, last))
                assert isinstance(batch, InputBatch)
                self._fold(topic, batch)
        memory.rebuilt = starts if reader.head.epoch else None
        self._settle(held)

    def _fold(self, topic: str, batch: InputBatch) -> None:
        memory = self.memory
        outcome = step(memory.state, Epoch(memory.head.resolved_at_ms, {topic: batch.records}), self.scope, self.verify)
        memory.absorb(outcome)
        for record in batch.records if topic == topics.POLICIES else ():
            self.book.feed(record)
        if batch.records:
            memory.logged_at_ms[topic] = batch.records[-1].timestamp_ms

    def _settle(self, held: Mapping[str, Mapping[str, object]]) -> None:
        """The first own epoch publishes whatever readers hold differently."""
        memory = self.memory
        for key in {*memory.live_keys(), *held}:
            node_id, _, profile_id = key.partition("/")
            if memory.held_by_state(node_id, profile_id) != content(held.get(key, {})):
                memory.corrections[key] = Correction(held.get(key, {}))

    def _read_view(self) -> Generator[Action, Answer, tuple[ChainReader, dict[str, dict[str, object]]]]:
        """What readers hold: from genesis if the log reaches back, else from the newest anchor that does (A6)."""
        records: list[Record] = []
        position, start, end = 0, 0, 1
        while position < end:
            batch = yield ReadChain(position)
            assert isinstance(batch, ChainBatch)
            records += batch.records
            position, end = max(batch.position, position), batch.end
            start = start or batch.start
        head = self.chain.genesis_head() if start == 0 else self._anchor_in(records)
        reader = ChainReader(self.chain, head, self.book.processors_of, self.verify)
        held: dict[str, dict[str, object]] = {}
        for record in records[bisect_left(records, head.offset + 1, key=lambda record: record.offset) :]:
            try:
                verdict = reader.feed(record)
            except PolicyUnknown as error:
                raise Void("policy_unknown") from error
            if isinstance(verdict, Accepted):
                held |= {key: decision for key, _, decision in map(read_change, verdict.changes)}
        reader.position = max(reader.position, position)
        return reader, held

    def _anchor_in(self, records: list[Record]) -> Head:
        """The anchor of the newest mark by a key of the newest revision; before its keys have signed any, of its own."""
        by_offset = {record.offset: record for record in records if record.key == MARK_KEY}
        newest = self.book.newest
        for trusted in (newest.processors if newest else None, None):
            for record in reversed(by_offset.values()):
                read = read_mark(record.value or b"")
                if read is None or not self.chain.owns(read[0]):
                    continue
                keys = trusted or self.book.processors_of(read[0].policy_revision) or {}
                key, sealed = keys.get(read[1].signatures[0].keyid), read[1]
                if key is None or not self.verify(key, sealed.signed_bytes, sealed.signatures[0].sig):
                    continue
                at = by_offset.get(read[0].anchor.offset)
                if at and (head := head_at(at, read[0].anchor.digest, self.chain)):
                    return head
        raise Void("no_anchor_in_log")
