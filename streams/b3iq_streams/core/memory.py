"""What an owner holds of its partition, and how it folds an epoch that somebody else's mark recorded (R2, P4).

`Memory` always stands on an accepted epoch. It reads nothing itself: re-folding yields the actions that fetch the inputs.
It decides neither when to propose (`owner.py`) nor what to believe of a checkpoint (`recovery.py`).
"""

from collections.abc import Generator, Mapping
from typing import NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_streams.core.actions import Action, Answer, Confirmed, InputBatch, Notice, ReadInputs
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainId, ChainReader, Head
from b3iq_streams.core.decide import Change, compose
from b3iq_streams.core.proposal import count_codes
from b3iq_streams.core.records import Record
from b3iq_streams.core.rotation import Rotation
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Complete, Epoch, Outcome, none_complete, step

Talk = Generator[Action, Answer, None]
_OUTSIDE_CONTENT = ("policy_revision", "decided_at_ms", "evidence")


class Void(Exception):
    """What was restored or recorded cannot be stood on; rebuild from the inputs. Carries a stable code."""


class Correction(NamedTuple):
    """A key whose readers hold something other than the state does; `decision` is what they hold."""

    decision: Mapping[str, object]


class Memory:
    """State, chain position, policies, rotation of one partition, all as of the accepted epoch `reader.head`."""

    def __init__(self, chain: ChainId, scope: Scope, verify: Verify, head: Head, book: PolicyBook) -> None:
        self.chain, self.scope, self.verify, self.book = chain, scope, verify, book
        self.reader = ChainReader(chain, head, book.processors_of, verify)
        self.state = PartitionState()
        self.rotation = Rotation(head, ())
        self.dirty: set[str] = set()
        self.logged_at_ms: dict[str, int] = {}
        self.corrections: dict[str, Correction] = {}
        self.complete_until: dict[str, int] = {}
        self.rebuilt: Mapping[str, int] | None = None
        self.state_verified: bool | None = None
        self.doubtful = False
        """Restored, and not yet shown to be what a mark recorded: that it differs is no news."""

    @property
    def head(self) -> Head:
        """The accepted epoch this memory stands on."""
        return self.reader.head

    def live_keys(self) -> list[str]:
        """Every key that was published and is still known."""
        return [f"{node_id}/{profile}" for node_id, node in self.state.nodes.items() for profile in node.published]

    def refold(self, before: Head, accepted: Accepted) -> Talk:
        """Fold an epoch as its mark recorded it: its cut, its resolved time; compare with the recorded changes."""
        records: dict[str, tuple[Record, ...]] = {}
        for topic in topics.INPUTS:
            first, last = before.cut.get(topic, 0), accepted.mark.cut.get(topic, 0)
            if first >= last:
                continue
            batch = yield ReadInputs(topic, first, last)
            assert isinstance(batch, InputBatch)
            if batch.start > first and not (before.epoch == 0 and batch.start <= last):
                raise Void("inputs_expired")
            if batch.end < last:
                raise Void("inputs_truncated")
            records[topic] = batch.records
        outcome = self._step(accepted, records)
        yield from self._compare(accepted, outcome)
        self.absorb(outcome)
        if (recorded := accepted.mark.state_sha256) is not None:
            yield from self._verify(accepted.head.epoch, recorded)
        self.logged_at_ms |= {topic: found[-1].timestamp_ms for topic, found in records.items() if found}
        yield self.confirmed(accepted, outcome, own=False)

    def _verify(self, epoch: int, recorded: str) -> Talk:
        """R3. A state that is what its recorder held also agrees with what readers hold."""
        self.state_verified = self.state.digest({}, self.state.rules) == recorded
        if self.state_verified:
            self.corrections, self.doubtful = {}, False
        elif not self.doubtful:
            yield Notice("alarm", "state_differs", f"epoch {epoch}: the state is not the one recorded")

    def _step(self, accepted: Accepted, records: Mapping[str, tuple[Record, ...]]) -> Outcome:
        for record in records.get(topics.POLICIES, ()):
            self.book.feed(record)
        epoch = Epoch(accepted.mark.resolved_at_ms, records)
        return step(self.state, epoch, self.scope, self.verify, self._complete(accepted.head.epoch))

    def _complete(self, epoch: int) -> Complete:
        until = self.complete_until
        return (lambda node_id: until.get(node_id, -1) >= epoch) if until else none_complete

    def _compare(self, accepted: Accepted, outcome: Outcome) -> Talk:
        """Readers hold what is recorded. Where the fold says otherwise, alarm, and let the first own epoch say so."""
        complete = self._complete(accepted.head.epoch)
        recorded = {key: (fresh, held) for key, fresh, held in map(read_change, accepted.changes)}
        expected = {change.key: content(orjson.loads(change.decision)) for change in outcome.changes}
        wrong = {key for key in expected if key not in recorded}
        for key, (fresh, held) in recorded.items():
            node_id, _, profile_id = key.partition("/")
            if complete(node_id):
                continue
            self.corrections.pop(key, None)
            mine = expected.get(key) if fresh else self.held_by_state(node_id, profile_id, outcome)
            if mine != content(held):
                wrong.add(key)
                self.corrections[key] = Correction(held)
        for key in wrong - self.corrections.keys():
            self.corrections[key] = Correction({})
        if wrong and not self.doubtful:
            yield Notice("alarm", "fold_differs", f"epoch {accepted.head.epoch}: {len(wrong)} keys, first {min(wrong)}")

    def held_by_state(self, node_id: str, profile_id: str, outcome: Outcome | None = None) -> dict[str, object] | None:
        """The content last decided on a key, after an outcome if one is given; None where nothing is known."""
        node = (outcome.nodes.get(node_id) if outcome else None) or self.state.nodes.get(node_id)
        last = node.published.get(profile_id) if node else None
        return orjson.loads(last.body) if last else None

    def absorb(self, outcome: Outcome) -> None:
        """Fold the outcome of an accepted epoch in."""
        self.state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
        self.dirty.update(outcome.nodes)

    def confirmed(self, accepted: Accepted, outcome: Outcome, own: bool) -> Confirmed:
        """Account for the epoch just absorbed: move the rotation on, and say what happened."""
        keys = [key for key, _, _ in map(read_change, accepted.changes)]
        self.rotation.confirm(accepted.head, own, keys, self.live_keys)
        return Confirmed(
            accepted.head, own, outcome.admitted, count_codes(outcome.refused),
            len(outcome.changes), len(keys) - len(outcome.changes), _codes(outcome.changes), self.state.eligible, self.state.lost,
        )  # fmt: skip

    def correct(self, published: Mapping[str, Change]) -> list[Change]:
        """Changes that bring readers to what the state holds, for keys not published anyway."""
        changes = []
        for key, correction in self.corrections.items():
            if key in published:
                continue
            node_id, _, profile_id = key.partition("/")
            node = self.state.nodes.get(node_id)
            if node and (last := node.published.get(profile_id)):
                changes.append(compose(node_id, profile_id, node, last, self.state.rules))
            elif correction.decision.get("eligible"):
                changes.append(_withdrawn(key, correction.decision, self.head.resolved_at_ms))
        return changes


def read_change(value: bytes) -> tuple[str, bool, dict[str, object]]:
    """(key, whether it is a change rather than a refresh, decision) of an accepted change value."""
    try:
        outer = orjson.loads(value)
        decision = dict(outer["decision"])
        return f"{decision['node_id']}/{decision['profile_id']}", outer["refresh"] is False, decision
    except (ValueError, KeyError, TypeError):
        return "~unreadable", True, {}


def content(decision: Mapping[str, object]) -> dict[str, object]:
    """A decision without the revision, moment and evidence it was decided under: what makes two decisions differ."""
    return {name: value for name, value in decision.items() if name not in _OUTSIDE_CONTENT}


def _withdrawn(key: str, held: Mapping[str, object], at_ms: int) -> Change:
    """A "no" for a key that readers hold as eligible and that the state knows nothing of."""
    failing = {"code": "profile_missing", "gate": "runtime", "since_ms": at_ms, "observed": "not known", "required": "known"}
    gates = dict.fromkeys(("node", "route", "protocol", "runtime", "policy"), "unknown")
    decision = {**held, "eligible": False, "gates": gates, "failing": [failing], "valid_until_ms": 0,
                "decided_at_ms": at_ms, "evidence": []}  # fmt: skip
    return Change(key, False, False, orjson.dumps(decision))


def _codes(changes: tuple[Change, ...]) -> dict[str, int]:
    """How often each leaf code appears among changes; `eligible` counts those that opened."""
    counts: dict[str, int] = {}
    for change in changes:
        failing = [item["code"] for item in orjson.loads(change.decision)["failing"]] or ["eligible"]
        for code in failing:
            counts[code] = counts.get(code, 0) + 1
    return counts
