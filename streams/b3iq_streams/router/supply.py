"""What a router holds of each (node, profile), and which candidates it would offer for a model, best first.

Ranked as decisions arrive, not when somebody asks: price, then throughput of the observed benchmark, then a stable hash of
the key. Judges neither time nor callers, and keeps no evidence: whoever wants to know more reads the log.
"""

import sys
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from b3iq_schemas.eligibility import Decision, EligibilityChange

Rank = tuple[int, int, int]


class Candidate:
    """One (node, profile) as last decided: compact, never changed. `codes` = what blocks it; empty iff eligible."""

    __slots__ = (
        "benchmarked_at_ms",
        "codes",
        "eligible",
        "key",
        "model_id",
        "partition",
        "price_wei",
        "route_tier",
        "runtime_kind",
        "throughput",
        "tie",
        "valid_until_ms",
    )

    def __init__(self, partition: int, decision: Decision) -> None:
        """Words that repeat over a fleet are kept once."""
        self.key = f"{decision.node_id}/{decision.profile_id}"
        self.partition = partition
        self.eligible = _holds_together(decision)
        self.codes = tuple([sys.intern(failing.code) for failing in decision.failing])
        self.model_id = sys.intern(decision.model_id)
        self.route_tier = sys.intern(decision.route_tier)
        self.runtime_kind = sys.intern(decision.runtime_kind)
        self.price_wei = int(decision.price_wei_per_mtok)
        self.throughput = decision.throughput_mtok_per_s
        self.benchmarked_at_ms = decision.benchmarked_at_ms
        self.valid_until_ms = decision.valid_until_ms
        self.tie = int.from_bytes(blake2b(self.key.encode(), digest_size=7).digest(), "big")

    @property
    def node_id(self) -> str:
        """The node's part of the key."""
        return self.key.partition("/")[0]

    @property
    def profile_id(self) -> str:
        """The profile's part of the key."""
        return self.key.partition("/")[2]

    @property
    def offer(self) -> tuple[str, str, str, int, int]:
        """What a caller would get."""
        return self.model_id, self.route_tier, self.runtime_kind, self.price_wei, self.throughput

    @property
    def rank(self) -> Rank:
        """Lowest first."""
        return self.price_wei, -self.throughput, self.tie


def _holds_together(decision: Decision) -> bool:
    """Eligible, with nothing failing and every gate passed: a decision at odds with itself is a "no"."""
    gates = decision.gates
    passed = gates.node == gates.route == gates.protocol == gates.runtime == gates.policy == "pass"
    return decision.eligible and passed and not decision.failing


class Unreadable(NamedTuple):
    """A change that is not the contract's; `key` is what it is about, None if not even that can be read."""

    key: str | None


def read_change(value: bytes, partition: int) -> Candidate | Unreadable:
    """The decision in a change of an accepted epoch. Whatever cannot be read is a "no", of one key or of all."""
    try:
        return Candidate(partition, EligibilityChange.model_validate_json(value).decision)
    except ValidationError:
        return Unreadable(_key_of(value))


def _key_of(value: bytes) -> str | None:
    try:
        decision: Any = orjson.loads(value)["decision"]
        node_id, profile_id = decision["node_id"], decision["profile_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return f"{node_id}/{profile_id}" if type(node_id) is str and type(profile_id) is str else None


class Supply:
    """Eligible candidates by model, each list in the order of rank."""

    def __init__(self) -> None:
        self._models: dict[str, list[Candidate]] = {}

    def ranked(self, model_id: str) -> Sequence[Candidate]:
        """The candidates for a model, best first."""
        return self._models.get(model_id, ())

    def models(self) -> Iterable[str]:
        """Models with at least one candidate."""
        return self._models.keys()

    def add(self, candidate: Candidate) -> None:
        """Offer a candidate from now on."""
        insort(self._models.setdefault(candidate.model_id, []), candidate, key=_rank)

    def remove(self, candidate: Candidate) -> None:
        """Offer it no longer."""
        ranked = self._models[candidate.model_id]
        at = bisect_left(ranked, candidate.rank, key=_rank)
        while ranked[at] is not candidate:
            at += 1
        del ranked[at]
        if not ranked:
            del self._models[candidate.model_id]

    def drop(self, partition: int) -> None:
        """Forget every candidate of a partition."""
        kept = {model: [c for c in ranked if c.partition != partition] for model, ranked in self._models.items()}
        self._models = {model: ranked for model, ranked in kept.items() if ranked}


def _rank(candidate: Candidate) -> Rank:
    return candidate.rank
