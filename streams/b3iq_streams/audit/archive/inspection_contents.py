"""What no fold vouches for: dead letters against the records they name, routing decisions against the routers' keys."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pybase64
from pydantic import ValidationError

from b3iq_schemas import envelope, topics
from b3iq_schemas.canonical import parse_canonical, sha256_hex
from b3iq_schemas.codes import Refusal
from b3iq_schemas.decisions import RAW_BYTES_MAX, ROUTING_DECISION_V1, DeadLetter, RoutingDecision
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.archive.finding import Finding, hidden
from b3iq_streams.audit.archive.origin import ArchiveOrigin, ArchiveSource
from b3iq_streams.core.admit import Refused, Scope, Verify, admit, open_record
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules, keys_by_id, prepare
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place

LETTER_KEY_MAX = 512
_CODES = frozenset(code.value for code in Refusal)


class LetterCheck:
    """Holds each dead letter against the record it names, where the archive has that record."""

    def __init__(self, origin: ArchiveOrigin, source: ArchiveSource) -> None:
        self._bounds, self._source = origin.bounds, source
        self._near: dict[Place, Sequence[Record]] = {}

    def __call__(self, record: Record) -> Iterator[Finding]:
        """What is wrong with a dead letter."""
        place, offset = Place(record.topic, record.partition), record.offset
        letter = _letter(record.value or b"")
        if letter is None:
            yield Finding(*place, offset, "dead letter", "", "not as the schema says")
            return
        if letter.code not in _CODES:
            yield Finding(*place, offset, "dead letter: code", letter.code, "")
        source = Place(letter.topic, letter.partition)
        if letter.topic not in topics.INPUTS:
            yield Finding(*place, offset, "dead letter: topic is no input", letter.topic, "")
            return
        refused = self._record(source, letter.offset)
        if refused is None:
            return
        for what, recorded, found in _differences(record, letter, refused):
            yield Finding(
                *place, offset, f"dead letter of {source.topic}/{source.partition} {letter.offset}: {what}", recorded, found
            )

    def _record(self, place: Place, offset: int) -> Record | None:
        """The record at a place; the group of rows it came with is kept, for letters come in the order of their records."""
        start, end = self._bounds.get(place, (0, 0))
        if not start <= offset < end:
            return None
        near = self._near.get(place, ())
        if not (near and near[0].offset <= offset <= near[-1].offset):
            try:
                near = next(iter(self._source.read(place, offset, end)), ())
            except UserError:  # the file it is in is found elsewhere
                return None
            self._near[place] = near
        at = bisect_left(near, offset, key=lambda record: record.offset)
        return near[at] if at < len(near) and near[at].offset == offset else None


def _letter(value: bytes) -> DeadLetter | None:
    try:
        parse_canonical(value)
        return DeadLetter.model_validate_json(value)
    except (ValidationError, ValueError):
        return None


def _differences(record: Record, letter: DeadLetter, refused: Record) -> Iterator[tuple[str, str, str]]:
    value, key = refused.value or b"", (refused.key or b"")[:LETTER_KEY_MAX]
    if letter.value_sha256 != (found := sha256_hex(value)):
        yield "SHA-256 of the value", letter.value_sha256, found
    if letter.value_bytes != len(value):
        yield "length of the value", str(letter.value_bytes), str(len(value))
    if letter.logged_at_ms != refused.timestamp_ms:
        yield "log time", str(letter.logged_at_ms), str(refused.timestamp_ms)
    if letter.value != pybase64.b64encode_as_string(value[:RAW_BYTES_MAX]):
        yield "first bytes of the value", hidden(letter.value.encode()), hidden(pybase64.b64encode(value[:RAW_BYTES_MAX]))
    if letter.key != pybase64.b64encode_as_string(key):
        yield "first bytes of the key", hidden(letter.key.encode()), hidden(pybase64.b64encode(key))
    if (record.key or b"") != key:
        yield "Kafka key", hidden(record.key), hidden(key)


class DecisionCheck:
    """Holds each routing decision against the router keys of the newest policy logged at or before it."""

    def __init__(self, origin: ArchiveOrigin, source: ArchiveSource, trust: RootTrust, verify: Verify) -> None:
        self._trust, self._verify = trust, verify
        self._rules = _rules(origin, source, trust, verify)

    def __call__(self, record: Record) -> Iterator[Finding]:
        """Why a decision is none: the code of the first check that it fails, as for a fact."""
        if (code := self._refusal(record)) is not None:
            yield Finding(record.topic, record.partition, record.offset, "routing decision", "", code.value)

    def _refusal(self, record: Record) -> Refusal | None:
        if not record.value:
            return Refusal.RECORD_EMPTY
        try:
            sealed = envelope.parse(record.value)
        except envelope.EnvelopeError as error:
            return error.code
        if sealed.payload_type != ROUTING_DECISION_V1:
            return Refusal.PAYLOAD_TYPE_UNEXPECTED
        keys = self._keys(record.timestamp_ms)
        claimed = [signature for signature in sealed.signatures if signature.keyid in keys]
        if not claimed:
            return Refusal.UNAUTHORIZED
        if not any(self._verify(keys[signature.keyid], sealed.signed_bytes, signature.sig) for signature in claimed):
            return Refusal.INVALID_SIGNATURE
        try:
            parse_canonical(sealed.payload)
        except ValueError:
            return Refusal.PAYLOAD_NOT_CANONICAL
        try:
            decision = RoutingDecision.model_validate_json(sealed.payload)
        except ValidationError:
            return Refusal.PAYLOAD_INVALID
        if decision.network != self._trust.network:
            return Refusal.NETWORK_MISMATCH
        return None if record.key == decision.decision_id.encode() else Refusal.KEY_MISMATCH

    def _keys(self, logged_at_ms: int) -> dict[str, bytes]:
        rules = self._rules.at(logged_at_ms) if self._rules else None
        if rules is None or rules.proof.logged_at_ms > logged_at_ms:
            return {}
        return dict(keys_by_id(rules.policy.roles.router))


def _rules(origin: ArchiveOrigin, source: ArchiveSource, trust: RootTrust, verify: Verify) -> Rules | None:
    """The revisions that partition 0 admitted, as far as they can be read; a file that cannot is found elsewhere."""
    place, rules = Place(topics.POLICIES, 0), None
    scope = Scope(trust, 0, origin.partitions, origin.stamped)
    start, end = origin.bounds.get(place, (0, 0))
    try:
        for batch in source.read(place, start, end) if start < end else ():
            for record in batch:
                fact = admit(open_record(record, scope.roots, scope, verify), rules, None, scope, verify)
                if not isinstance(fact, Refused):
                    rules = replace(prepare(fact.payload, fact.proof), before=rules)
    except UserError:
        pass
    return rules
