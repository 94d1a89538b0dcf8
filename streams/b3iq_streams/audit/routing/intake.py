"""The first pass over the decisions, one job per partition of `routing-decisions`: every record is judged by itself, and what
only the chain can answer is put aside for the partitions that must.

Spools, with q a partition of the decisions and p one of the chain, each in the order of offsets of q:
`seen-q` one row per record (`Seen`), `ask-q-p` the questions that q puts to p (`Ask`), `ids-q` the decision ids.
"""

from pathlib import Path
from typing import Any, NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.codes import Refusal
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.routing.codes import Limits
from b3iq_streams.audit.routing.policies import Revisions
from b3iq_streams.audit.routing.records import Reader, Told, asked, fault, read_decision
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.spool import Spool, close_all
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place


class Said(NamedTuple):
    """What a decision says. The last three are for operators only."""

    decided_at_ms: int
    code: str
    model_id: str
    node_id: str | None
    profile_id: str | None
    decision_id: str
    caller_hash: str
    request_policy_sha256: str


class Seen(NamedTuple):
    """One record: what it says if a router vouches for it, what is wrong with it in itself, which partitions answer for it."""

    offset: int
    logged_at_ms: int
    value_sha256: str
    said: Said | None
    fault: str | None
    first_asked: int
    last_asked: int

    @classmethod
    def of(cls, row: list[Any]) -> "Seen":
        """From a spooled row."""
        offset, logged_at_ms, digest, said, wrong, first, last = row
        return cls(offset, logged_at_ms, digest, Said(*said) if said else None, wrong, first, last)


class Ask(NamedTuple):
    """A question to a partition p of the chain; `key` = the chosen node and profile, None for a refusal."""

    logged_at_ms: int
    partition: int
    offset: int
    decided_at_ms: int
    code: str
    model_id: str
    key: str | None
    epoch: int
    digest: str
    resolved_at_ms: int


def seen_path(workplace: Path, q: int) -> Path:
    """`seen-q`."""
    return workplace / f"seen-{q}"


def ask_path(workplace: Path, q: int, p: int) -> Path:
    """`ask-q-p`."""
    return workplace / f"ask-{q}-{p}"


def ids_path(workplace: Path, q: int) -> Path:
    """`ids-q`: rows of decision id, log time, partition, offset, SHA-256 of the payload."""
    return workplace / f"ids-{q}"


def take_in(
    desk: Desk, origin: Origin, trust: RootTrust, revisions: Revisions, limits: Limits, verify: Verify, workplace: Path
) -> None:
    """The job: put every decision of the range that one partition holds on the spools."""
    intake = _Intake(desk.partition, Reader.of(origin, trust, revisions, verify, limits), workplace)
    place = Place(topics.ROUTING_DECISIONS, desk.partition)
    bounds = origin.bounds[place]
    if bounds.start < bounds.end:
        with origin.open() as source:
            for batch in source.read(place, *bounds):
                for record in batch:
                    if limits.from_ms <= record.timestamp_ms <= limits.to_ms:
                        intake.take(record)
                desk.done(len(batch))
                if desk.stopped:
                    return
    intake.close()


class _Intake:
    def __init__(self, partition: int, reader: Reader, workplace: Path) -> None:
        self.partition, self.reader = partition, reader
        self.seen, self.ids = Spool(seen_path(workplace, partition)), Spool(ids_path(workplace, partition))
        self.asks = [Spool(ask_path(workplace, partition, p)) for p in range(reader.scope.partitions)]

    def take(self, record: Record) -> None:
        """Judge one record by itself."""
        told = read_decision(record, self.reader)
        place = record.offset, record.timestamp_ms, sha256_hex(record.value or b"")
        if isinstance(told, Refusal):
            self.seen.put((*place, None, told, 0, 0))
            return
        decision = told.decision
        self.ids.put((decision.decision_id, record.timestamp_ms, self.partition, record.offset, told.payload_sha256))
        wrong = fault(told, record.timestamp_ms, self.reader)
        partitions = range(0) if wrong else asked(told, self.reader.scope.partitions)
        self.seen.put((*place, _said(told), wrong, partitions.start, partitions.stop))
        positions = {position.partition: position for position in decision.view}
        for p in partitions:
            ask = Ask(
                record.timestamp_ms, self.partition, record.offset, decision.decided_at_ms, decision.code, decision.model_id,
                told.key if decision.allowed else None, positions[p].epoch, positions[p].digest, positions[p].resolved_at_ms,
            )  # fmt: skip
            self.asks[p].put(ask)

    def close(self) -> None:
        """Nothing more will come."""
        close_all((self.seen, self.ids, *self.asks))


def _said(told: Told) -> Said:
    decision = told.decision
    return Said(
        decision.decided_at_ms, decision.code, decision.model_id, decision.node_id, decision.profile_id, decision.decision_id,
        decision.caller_hash, decision.request_policy_sha256,
    )  # fmt: skip
