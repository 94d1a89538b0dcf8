"""How an epoch is proposed: what of an intake it takes, the moment it resolves, and the records that go out (P1–P3).

Pure functions; when they are called, and what happens to what they make, is the owner's.
"""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nacl.signing import SigningKey

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.decisions import RAW_BYTES_MAX
from b3iq_schemas.eligibility import MARK_KEY, MARK_V1
from b3iq_schemas.envelope import sign
from b3iq_streams.core.actions import Intake
from b3iq_streams.core.admit import Opened, Refused
from b3iq_streams.core.chain import Anchor, ChainId, Head, changes_sha256
from b3iq_streams.core.decide import Change
from b3iq_streams.core.records import Outgoing, Record
from b3iq_streams.core.step import FOLD

TRUST_FIRST = (topics.POLICIES, topics.REGISTRATIONS)
"""Trust comes first: while one of these is not read to its end, topics whose admission depends on it wait. Kafka gives no
order between topics, and a good record must not be refused because its key was fetched a moment later."""


class Taken(NamedTuple):
    """The part of an intake that the epoch folds, the cut after it, and the log time of each topic's last record."""

    records: Mapping[str, Sequence[Record | Opened]]
    cut: Mapping[str, int]
    logged_at_ms: Mapping[str, int]


def take(intake: Intake, head: Head, logged_at_ms: Mapping[str, int]) -> Taken:
    """What an epoch on top of `head` takes of `intake`; `logged_at_ms` = last consumed log time per topic so far."""
    allowed = set(topics.INPUTS)
    for i, topic in enumerate(TRUST_FIRST):
        if intake.positions[topic] < intake.ends[topic]:
            allowed = set(TRUST_FIRST[: i + 1])
            break
    records = {topic: found for topic, found in intake.records.items() if found and topic in allowed}
    cut = {topic: intake.positions[topic] if topic in allowed else head.cut.get(topic, 0) for topic in topics.INPUTS}
    last = {topic: (found[-1].record if isinstance(found[-1], Opened) else found[-1]) for topic, found in records.items()}
    return Taken(records, cut, {**logged_at_ms, **{topic: record.timestamp_ms for topic, record in last.items()}})


def resolved_at_ms(intake: Intake, taken: Taken, head: Head) -> int:
    """Rule P2: the clock that was read before the ends were asked, unless an input is late; never regressing."""
    late = [topic for topic in topics.INPUTS if taken.cut[topic] < intake.ends[topic]]
    if any(topic not in taken.logged_at_ms for topic in late):
        return head.resolved_at_ms
    return max(head.resolved_at_ms, min([intake.clock_ms, *(taken.logged_at_ms[topic] for topic in late)]))


def change_records(attempt: str, changes: Sequence[Change]) -> tuple[Outgoing, ...]:
    """The changes of one attempt as records, numbered from 0."""
    return tuple(
        Outgoing(
            change.key.encode(),
            b'{"attempt":"%b","i":%d,"refresh":%b,"decision":%b}'
            % (attempt.encode(), i, b"true" if change.refresh else b"false", change.decision),
        )
        for i, change in enumerate(changes)
    )


def mark_record(
    chain: ChainId,
    head: Head,
    attempt: str,
    resolved: int,
    cut: Mapping[str, int],
    changes: tuple[Outgoing, ...],
    policy_revision: int,
    anchor: Anchor,
    key: SigningKey,
    state_sha256: str | None,
    rebuilt: Mapping[str, int] | None,
) -> Outgoing:
    """The signed mark that ends the epoch after `head`."""
    payload: dict[str, object] = {
        "network": chain.trust.network,
        "generation": chain.trust.generation,
        "partition": chain.partition,
        "attempt": attempt,
        "epoch": head.epoch + 1,
        "prev": head.digest,
        "resolved_at_ms": resolved,
        "cut": {topic: cut[topic] for topic in topics.INPUTS},
        "n": len(changes),
        "changes_sha256": changes_sha256(tuple(change.value or b"" for change in changes)),
        "policy_revision": policy_revision,
        "fold": FOLD,
        "anchor": anchor._asdict(),
    }
    if state_sha256 is not None:
        payload["state_sha256"] = state_sha256
    if rebuilt is not None:
        payload["rebuilt"] = dict(rebuilt)
    return Outgoing(MARK_KEY, sign(MARK_V1, canonical(payload), [key]))


def letter_record(refused: Refused) -> Outgoing:
    """The dead letter of a refused record: code, coordinates, its first bytes."""
    record = refused.record
    value, key = record.value or b"", record.key or b""
    letter = {
        "schema_version": 1,
        "code": refused.code,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "logged_at_ms": record.timestamp_ms,
        "key": base64.b64encode(key[:512]).decode(),
        "value": base64.b64encode(value[:RAW_BYTES_MAX]).decode(),
        "value_bytes": len(value),
        "value_sha256": sha256_hex(value),
    }
    return Outgoing(key[:512], canonical(letter))


def count_codes(refused: Sequence[Refused]) -> dict[str, int]:
    """Refusals by code."""
    return dict(Counter(item.code.value for item in refused))
