"""What readers hold by the log's own word: who is eligible, since which epoch, and whether an anchor may be trusted.

Kept beside the fold by whoever audits it, to check the two things the fold alone cannot: that an anchor is a true statement
(P6: apply the accepted epochs after it, and you hold every live key), and that the first epoch of a rebuilt segment brought
readers to what the state says.
"""

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from b3iq_streams.core.chain import Accepted, Anchor, Head
from b3iq_streams.core.memory import read_change
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.values import Published

Problem = tuple[str, str, str]
"""What differs, what is recorded, what should be."""
_DECISION, _TAIL = b'"decision":', b',"policy_revision":'


class Holding(NamedTuple):
    """The last published decision on a key: in which epoch, whether it is eligible, a digest of its content."""

    epoch: int
    eligible: bool
    content: bytes


class Held:
    """Accepted epochs since the last anchor, and what each key was last said to be; fed with accepted epochs in order."""

    def __init__(self, head: Head) -> None:
        self.anchor = head.anchor
        self.recent: deque[Anchor] = deque([head.here])
        self.keys: dict[str, Holding] = {}

    def confirm(self, accepted: Accepted, state: PartitionState) -> Iterator[Problem]:
        """Take an accepted epoch; `state` stands on it. Yields what is wrong with it. Must be read to its end."""
        head = accepted.head
        for value in accepted.changes:
            key, _, decision = read_change(value)
            self.keys[key] = Holding(head.epoch, decision.get("eligible") is True, _digest(value))
        if accepted.mark.rebuilt is not None:
            yield from self._compare(state)
        if head.anchor != self.anchor:
            problem = self._judge(head.anchor, state)
            if problem is None:
                self._move(head.anchor)
            else:
                yield problem
        self.recent.append(head.here)

    def _compare(self, state: PartitionState) -> Iterator[Problem]:
        """After the first epoch of a segment readers hold what the state says; of what it does not know, a "no"."""
        known = set[str]()
        for node_id in sorted(state.nodes):
            for profile_id, last in state.nodes[node_id].published.items():
                known.add(key := f"{node_id}/{profile_id}")
                held = self.keys.get(key)
                if held is None or held.content != _digest(last.body):
                    yield f"decision on {key} after a rebuild", _state(held), f"eligible: {str(last.eligible).lower()}"
        for key in sorted(self.keys.keys() - known):
            if self.keys[key].eligible:
                yield f"decision on {key} after a rebuild", "eligible: true", "eligible: false, for nothing is known of it"

    def _judge(self, anchor: Anchor, state: PartitionState) -> Problem | None:
        if anchor not in self.recent:
            return "anchor", _words(anchor), f"{_words(self.anchor)}, or an accepted epoch after it"
        for node_id in sorted(state.nodes):
            for profile_id in state.nodes[node_id].published:
                held = self.keys.get(f"{node_id}/{profile_id}")
                if held is None or held.epoch <= anchor.epoch:
                    return "anchor", _words(anchor), f"an epoch after which {node_id}/{profile_id} was published"
        return None

    def _move(self, anchor: Anchor) -> None:
        """What was not published after the anchor is not live: for a reader that starts there it is absent, a "no"."""
        self.anchor = anchor
        while self.recent[0] != anchor:
            self.recent.popleft()
        self.keys = {key: held for key, held in self.keys.items() if held.epoch > anchor.epoch}


def as_published(value: bytes) -> Published:
    """What a state would remember of a recorded change; the flips that led to a hold-down only as far as it says."""
    raw = value[value.index(_DECISION) + len(_DECISION) : -1]
    decision: dict[str, Any] = orjson.loads(raw)
    flips_ms, until_ms = _hold_down(decision["failing"])
    body = raw[: raw.rindex(_TAIL)] + b"}"
    return Published(decision["eligible"], body, decision["policy_revision"], decision["decided_at_ms"], flips_ms, until_ms)


def _hold_down(failing: list[dict[str, Any]]) -> tuple[tuple[int, ...], int]:
    for found in failing:
        if found["code"] == "hold_down":
            flips, until = found["observed"].partition(" ")[0], found["required"].rpartition(" ")[2]
            if flips.isdecimal() and until.isdecimal():
                return (found["since_ms"],) * int(flips), int(until)
    return (), 0


def _digest(raw: bytes) -> bytes:
    """Of the content in a change's value, or in a state's body: up to the revision it was decided under."""
    start = raw.find(b'{"node_id":')
    end = raw.rfind(_TAIL)
    return blake2b(raw[start:end] if end >= 0 else raw[start:-1], digest_size=16).digest()


def _state(held: Holding | None) -> str:
    return "not published" if held is None else f"eligible: {str(held.eligible).lower()}"


def _words(anchor: Anchor) -> str:
    return f"epoch {anchor.epoch} at offset {anchor.offset}, {anchor.digest}"
