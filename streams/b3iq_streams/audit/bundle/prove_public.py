"""What of a record may stand in a bundle for everybody. With `operator`, all of it may.

A record that was admitted, or refused only after its signature and its schema had been checked, holds what its event model
allows and nothing else. Of all models only a hold's has words that are not public: its reason and its actor.
"""

from collections.abc import Mapping

import orjson

from b3iq_schemas import envelope, topics
from b3iq_schemas.canonical import canonical, parse_canonical, sha256_hex
from b3iq_schemas.codes import Refusal
from b3iq_streams.audit.bundle.contents import Entry, Fact, Unshown, Withheld, encode
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.records import Record
from b3iq_streams.core.values import Proof

SCHEMA_PASSED = frozenset(
    {
        Refusal.KEY_UNSAFE, Refusal.POSSESSION_UNPROVEN, Refusal.EQUIVOCATION, Refusal.SEQUENCE_REPLAYED,
        Refusal.SEQUENCE_JUMP, Refusal.SENT_AT_OUTSIDE_WINDOW,
    }
)  # fmt: skip
"""Refusals that come after the signature, the schema and the subject were found sound."""


def fact(record: Record, refused: Refusal | None = None) -> Fact:
    """A record as it was logged."""
    return Fact(
        kind="fact", topic=record.topic, partition=record.partition, offset=record.offset, logged_at_ms=record.timestamp_ms,
        key=encode(record.key or b""), value=encode(record.value or b""), refused=refused.value if refused else None,
    )  # fmt: skip


def withheld(partition: int, proof: Proof, held: bool) -> Withheld:
    """A hold without its reason and actor."""
    return Withheld(
        kind="withheld", topic="holds", partition=partition, offset=proof.offset, logged_at_ms=proof.logged_at_ms,
        held=held, payload_sha256=proof.sha256, keyid=proof.keyid,
    )  # fmt: skip


def entry(record: Record, refused: Refusal | None, keys: Mapping[str, bytes], verify: Verify, operator: bool) -> Entry:
    """The record as it may stand in a bundle. `keys` = the keys that may have signed it, by key id."""
    public = refused is None or (refused in SCHEMA_PASSED and record.topic != topics.HOLDS)
    if refused is Refusal.TIMESTAMP_TYPE_WRONG or not (operator or public):
        return Unshown(
            kind="refused", topic=record.topic, partition=record.partition, offset=record.offset,
            logged_at_ms=record.timestamp_ms, refused=str(refused), value_sha256=sha256_hex(record.value or b""),
        )  # fmt: skip
    if operator:
        return fact(record, refused)
    sealed = envelope.parse(record.value or b"")
    signed = _signatures(sealed, keys, verify)
    if record.topic == topics.HOLDS:
        proof = Proof(record.offset, sha256_hex(sealed.payload), next(iter(signed)), record.timestamp_ms)
        return withheld(record.partition, proof, parse_canonical(sealed.payload)["held"])
    return fact(record._replace(value=trimmed(record.value or b"", keys, verify)), refused)


def trimmed(value: bytes, keys: Mapping[str, bytes], verify: Verify) -> bytes:
    """An envelope without whatever else somebody put into it: written in one way, and only signatures that verify."""
    sealed = envelope.parse(value)
    signed = _signatures(sealed, keys, verify)
    if len(signed) == len(sealed.signatures) and canonical(orjson.loads(value)) == value:
        return value
    return envelope.seal(sealed.payload_type, sealed.payload, {keys[keyid]: sig for keyid, sig in signed.items()})


def _signatures(sealed: envelope.Envelope, keys: Mapping[str, bytes], verify: Verify) -> dict[str, bytes]:
    """The signatures that verify, by key id, in the order in which they stand."""
    return {
        found.keyid: found.sig
        for found in sealed.signatures
        if found.keyid in keys and verify(keys[found.keyid], sealed.signed_bytes, found.sig)
    }
