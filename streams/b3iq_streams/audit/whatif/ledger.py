"""Who differs between two folds of one partition, since when and why, and for how long each was eligible on either side.

Fed epoch by epoch; an epoch's verdicts hold until the next one. Remembers what is eligible now and who ever differed, so it
grows with the state and not with the log. Folds nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from b3iq_streams.core.state import PartitionState

ABSENT = ("not_published",)


class Standing(NamedTuple):
    """One profile on one side: what a router would rank it by, and what blocks it (nothing: it is eligible)."""

    eligible: bool
    model_id: str
    route_tier: str
    price_wei: int
    throughput: int
    codes: tuple[str, ...]


class Pair(NamedTuple):
    """One profile on both sides."""

    recorded: Standing
    candidate: Standing


NOBODY = Standing(False, "", "unknown", 0, 0, ABSENT)


class Change(NamedTuple):
    """From a moment on a profile stands like this."""

    at_ms: int
    key: str
    pair: Pair

    @classmethod
    def of(cls, row: list[Any]) -> "Change":
        """From a spooled row."""
        at_ms, key, (recorded, candidate) = row
        return cls(at_ms, key, Pair(Standing(*recorded), Standing(*candidate)))


@dataclass
class Flip:
    """A profile whose verdicts differ: from when on, why on either side, and how long it was eligible on one side only."""

    key: str
    first_ms: int
    model_id: str
    route_tier: str
    recorded: tuple[str, ...]
    candidate: tuple[str, ...]
    won_ms: int = 0
    lost_ms: int = 0


@dataclass
class Span:
    """How long profiles of one model and tier were eligible: on either side, and on one side only."""

    recorded_ms: int = 0
    candidate_ms: int = 0
    won_ms: int = 0
    lost_ms: int = 0

    def add(self, other: "Span") -> None:
        """Add another one's."""
        self.recorded_ms += other.recorded_ms
        self.candidate_ms += other.candidate_ms
        self.won_ms += other.won_ms
        self.lost_ms += other.lost_ms


Spans = dict[tuple[str, str], Span]
"""By model and tier."""


class Ledger:
    """One partition's account."""

    def __init__(self) -> None:
        self.flips: dict[str, Flip] = {}
        self.spans: Spans = defaultdict(Span)
        self._standing: dict[str, tuple[int, Pair]] = {}

    def take(self, at_ms: int, keys: Iterable[str], recorded: PartitionState, candidate: PartitionState) -> Iterator[Change]:
        """What changed, at an epoch's resolved time, about profiles that may have; read it to the end."""
        for key in sorted(keys):
            pair = Pair(_standing(recorded, key), _standing(candidate, key))
            yield from self._set(at_ms, key, pair)

    def forget(self, at_ms: int, keys: Iterable[str]) -> Iterator[Change]:
        """Of these profiles nothing can be said for now; read it to the end."""
        for key in sorted(keys):
            yield from self._set(at_ms, key, Pair(NOBODY, NOBODY))

    def _set(self, at_ms: int, key: str, pair: Pair) -> Iterator[Change]:
        since_ms, last = self._standing.get(key, (at_ms, Pair(NOBODY, NOBODY)))
        if pair == last:
            return
        self._close(key, last, at_ms - since_ms)
        if pair.recorded.eligible or pair.candidate.eligible:
            self._standing[key] = at_ms, pair
        else:
            self._standing.pop(key, None)
        if pair.recorded.eligible != pair.candidate.eligible and key not in self.flips:
            side = pair.recorded if pair.recorded.eligible else pair.candidate
            self.flips[key] = Flip(key, at_ms, side.model_id, side.route_tier, pair.recorded.codes, pair.candidate.codes)
        if (last.recorded.eligible, last.candidate.eligible) != (False, False) or key in self._standing:
            yield Change(at_ms, key, pair)

    def end(self, at_ms: int) -> None:
        """The account ends."""
        for key, (since_ms, pair) in self._standing.items():
            self._close(key, pair, at_ms - since_ms)
        self._standing = {}

    def _close(self, key: str, pair: Pair, lasted_ms: int) -> None:
        recorded, candidate = pair
        if recorded.eligible:
            self._span(recorded).recorded_ms += lasted_ms
        if candidate.eligible:
            self._span(candidate).candidate_ms += lasted_ms
        if recorded.eligible and not candidate.eligible:
            self._span(recorded).lost_ms += lasted_ms
            self.flips[key].lost_ms += lasted_ms
        if candidate.eligible and not recorded.eligible:
            self._span(candidate).won_ms += lasted_ms
            self.flips[key].won_ms += lasted_ms

    def _span(self, side: Standing) -> Span:
        return self.spans[side.model_id, side.route_tier]


def keys_of(state: PartitionState) -> set[str]:
    """Every profile that a state has decided on."""
    return {f"{node_id}/{profile_id}" for node_id, node in state.nodes.items() for profile_id in node.published}


def _standing(state: PartitionState, key: str) -> Standing:
    node_id, _, profile_id = key.partition("/")
    node = state.nodes.get(node_id)
    last = node.published.get(profile_id) if node else None
    if last is None:
        return NOBODY
    said: dict[str, Any] = orjson.loads(last.body)
    return Standing(
        said["eligible"], said["model_id"], said["route_tier"], int(said["price_wei_per_mtok"]), said["throughput_mtok_per_s"],
        tuple(found["code"] for found in said["failing"]),
    )  # fmt: skip
