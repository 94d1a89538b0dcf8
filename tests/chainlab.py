"""Chains for tests: epochs of decisions, signed with the factory's keys, honest unless told otherwise. No clock, no luck.

`propose` builds an epoch without writing it, so that tests can lose, tear, repeat and reorder what honest writers send;
`append` writes one. The lab keeps no opinion on what counts: it extends the epoch it is told to, by default its last one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.eligibility import MARK_KEY, MARK_V1
from b3iq_schemas.envelope import sign
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core.chain import ChainId, changes_sha256
from b3iq_streams.core.records import Record
from tests.factory import T0, TRUST, key

SKEW_MS = 500
MODEL = "Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf"
GATES = ("node", "route", "protocol", "runtime", "policy")
NO = {"code": "heartbeat_stale", "gate": "node", "since_ms": T0, "observed": "logged earlier", "required": "at most 30000 ms old"}
EVIDENCE = {"topic": "heartbeats", "offset": 7, "sha256": "ab" * 32, "keyid": "cd" * 32}


def decision(name: str = "node-1/p0", eligible: bool = True, **changes: Any) -> dict[str, Any]:
    """A whole decision on `node/profile`; a "no" is for a stale heartbeat."""
    node_id, profile_id = name.split("/")
    states = dict.fromkeys(GATES, "pass") | ({} if eligible else {"node": "fail"})
    made: dict[str, Any] = {
        "node_id": node_id,
        "profile_id": profile_id,
        "eligible": eligible,
        "gates": states,
        "failing": [] if eligible else [NO],
        "model_id": MODEL,
        "route_tier": "network_beta",
        "runtime_kind": "vllm",
        "price_wei_per_mtok": "250000000000000",
        "throughput_mtok_per_s": 90_000,
        "benchmarked_at_ms": T0,
        "valid_until_ms": T0 + 3_600_000 if eligible else 0,
        "policy_revision": 1,
        "decided_at_ms": T0,
        "evidence": [EVIDENCE],
    }
    return made | changes


class Parent(NamedTuple):
    """What an epoch extends."""

    epoch: int
    digest: str
    resolved_at_ms: int = T0


class Proposal(NamedTuple):
    """An epoch nobody has written yet: the exact values of its changes, and its mark as data and sealed."""

    keys: tuple[bytes, ...]
    changes: tuple[bytes, ...]
    mark: Mapping[str, Any]
    sealed: bytes

    @property
    def digest(self) -> str:
        """What the next mark calls this epoch."""
        return sha256_hex(canonical(dict(self.mark)))

    @property
    def parent(self) -> Parent:
        """This epoch as something to extend."""
        return Parent(self.mark["epoch"], self.digest, self.mark["resolved_at_ms"])

    @property
    def outgoing(self) -> tuple[tuple[bytes, bytes], ...]:
        """Its records as (key, value), in the order of an honest writer."""
        return (*zip(self.keys, self.changes, strict=True), (MARK_KEY, self.sealed))


class ChainLab:
    """One partition of `eligibility-changes` as a list of records."""

    def __init__(self, partition: int = 0, partitions: int = 1, trust: RootTrust = TRUST) -> None:
        self.chain = ChainId(trust, partition, partitions, SKEW_MS)
        self.records: list[Record] = []
        self.parent = Parent(0, self.chain.genesis)
        self.anchor: dict[str, Any] = {"offset": -1, "epoch": 0, "digest": self.chain.genesis}
        self.policy_revision = 0
        self._attempts = 0

    def attempt(self) -> str:
        """A fresh attempt id; the same ones in every run."""
        self._attempts += 1
        return sha256_hex(f"{self.chain.partition}/{self._attempts}".encode())[:32]

    def propose(
        self,
        *decisions: Mapping[str, Any],
        parent: Parent | None = None,
        at_ms: int | None = None,
        refresh: bool = False,
        signers: Iterable[str] = ("processor",),
        **bent: Any,
    ) -> Proposal:
        """An epoch that extends `parent`; `bent` replaces fields of the mark before it is signed."""
        parent = parent or self.parent
        attempt = bent.get("attempt") or self.attempt()
        changes = tuple(change(attempt, i, made, refresh) for i, made in enumerate(decisions))
        mark = {
            "network": self.chain.trust.network,
            "generation": self.chain.trust.generation,
            "partition": self.chain.partition,
            "attempt": attempt,
            "epoch": parent.epoch + 1,
            "prev": parent.digest,
            "resolved_at_ms": parent.resolved_at_ms + 1_000 if at_ms is None else at_ms,
            "cut": dict.fromkeys(topics.INPUTS, 0),
            "n": len(changes),
            "changes_sha256": changes_sha256(changes),
            "policy_revision": self.policy_revision,
            "fold": 1,
            "anchor": dict(self.anchor),
            "state_sha256": None,
            "rebuilt": None,
        } | bent
        keys = tuple(f"{made['node_id']}/{made['profile_id']}".encode() for made in decisions)
        return Proposal(keys, changes, mark, sign(MARK_V1, canonical(mark), [key(name) for name in signers]))

    def put(self, kafka_key: bytes | None, value: bytes | None, at_ms: int) -> Record:
        """Append one record as it stands."""
        record = Record(topics.ELIGIBILITY_CHANGES, self.chain.partition, len(self.records), kafka_key, value, at_ms)
        self.records.append(record)
        return record

    def append(self, proposal: Proposal, at_ms: int | None = None) -> list[Record]:
        """Write a whole epoch, logged at `at_ms` (its resolved time by default), and extend it from now on."""
        at_ms = proposal.mark["resolved_at_ms"] if at_ms is None else at_ms
        written = [self.put(kafka_key, value, at_ms) for kafka_key, value in proposal.outgoing]
        self.parent = proposal.parent
        return written

    def epoch(self, *decisions: Mapping[str, Any], **options: Any) -> list[Record]:
        """Propose and append."""
        return self.append(self.propose(*decisions, **options))

    def move_anchor(self, written: list[Record]) -> None:
        """Marks from now on name the epoch that ended with these records as their anchor."""
        self.anchor = {"offset": written[-1].offset, "epoch": self.parent.epoch, "digest": self.parent.digest}


def change(attempt: str, i: int, made: Mapping[str, Any], refresh: bool = False) -> bytes:
    """The value of one change record."""
    return canonical({"attempt": attempt, "i": i, "refresh": refresh, "decision": dict(made)})
