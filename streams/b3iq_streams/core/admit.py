"""Admission: a raw record becomes a fact, or is refused with a code. It never changes state and never raises.

The order of the checks is the contract's (`Refusal`): size, timestamp type, envelope, payload type, key, signature over
the exact bytes, canonical payload, schema, network, Kafka key, partition, sequence, time window. `open_record` does what
needs no state (and may run on another thread); `admit` finishes, against the state the fact is about to join.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from b3iq_schemas import envelope, events, topics
from b3iq_schemas.canonical import sha256_hex
from b3iq_schemas.codes import Refusal
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.policy import Policy, RootTrust
from b3iq_streams.core.payload import read_payload
from b3iq_streams.core.records import LOG_APPEND_TIME, Record
from b3iq_streams.core.rules import NO_KEYS, Rules, keys_by_id
from b3iq_streams.core.values import Claims, NodeState, Proof

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) → whether it verifies."""


@dataclass(frozen=True)
class Scope:
    """What one partition's records are admitted against, whatever the policy: the trust that is configuration."""

    trust: RootTrust
    partition: int
    partitions: int
    require_log_append_time: bool = True

    @property
    def roots(self) -> Mapping[str, bytes]:
        """Root public keys by key id."""
        return keys_by_id(self.trust.roots)


class Opened(NamedTuple):
    """A record with its envelope parsed; `valid` = key ids whose signature verified, of those in `tried`."""

    record: Record
    envelope: envelope.Envelope | None
    refusal: Refusal | None
    tried: Mapping[str, bytes] = NO_KEYS
    valid: frozenset[str] = frozenset()


class Fact(NamedTuple):
    """An admitted fact: `event` is the topic's model (a heartbeat's profiles are in `claims`, not in the event)."""

    event: Any
    proof: Proof
    payload: bytes
    claims: tuple[Claims, ...] = ()
    listing: str = ""


class Refused(NamedTuple):
    """A record that was not admitted."""

    record: Record
    code: Refusal


def open_record(record: Record, keys: Mapping[str, bytes], scope: Scope, verify: Verify) -> Opened:
    """Checks up to the envelope, then verifies the signatures that claim one of `keys`."""
    try:
        return _checked(record, _unseal(record, scope), keys, verify)
    except envelope.EnvelopeError as error:
        return Opened(record, None, error.code)
    except Exception:  # as in `admit`: it refuses this record and stops nothing
        return Opened(record, None, Refusal.ADMISSION_ERROR)


def _unseal(record: Record, scope: Scope) -> envelope.Envelope:
    topic = topics.TOPICS[record.topic]
    if not record.value:
        raise envelope.EnvelopeError(Refusal.RECORD_EMPTY)
    if len(record.value) > topic.message_bytes_max:
        raise envelope.EnvelopeError(Refusal.RECORD_TOO_LARGE)
    if record.timestamp_type != LOG_APPEND_TIME and scope.require_log_append_time:
        raise envelope.EnvelopeError(Refusal.TIMESTAMP_TYPE_WRONG)
    sealed = envelope.parse(record.value)
    if sealed.payload_type != topic.payload_type:
        raise envelope.EnvelopeError(Refusal.PAYLOAD_TYPE_UNEXPECTED)
    return sealed


def _checked(record: Record, sealed: envelope.Envelope, keys: Mapping[str, bytes], verify: Verify) -> Opened:
    claimed = [signature for signature in sealed.signatures if signature.keyid in keys]
    if not claimed:
        return Opened(record, sealed, None, keys)
    message = sealed.signed_bytes
    return Opened(record, sealed, None, keys, frozenset([s.keyid for s in claimed if verify(keys[s.keyid], message, s.sig)]))


def keys_for(topic: str, rules: Rules | None, node: NodeState | None, scope: Scope) -> Mapping[str, bytes]:
    """The keys that may sign on `topic` about `node`, by key id, under the rules and registration given."""
    if topic == topics.POLICIES:
        return scope.roots
    if topic == topics.HEARTBEATS:
        return node.registration.keys if node and node.registration else NO_KEYS
    return rules.keys_by_topic[topic] if rules else NO_KEYS


def admit(opened: Opened, rules: Rules | None, node: NodeState | None, scope: Scope, verify: Verify) -> Fact | Refused:
    """The fact in a record, judged under the rules and against the node it is about; or why it is refused."""
    record = opened.record
    try:
        result = _admit(opened, rules, node, scope, verify)
    except Exception:  # a check that breaks on hostile input refuses that input; it never stops the stream
        return Refused(record, Refusal.ADMISSION_ERROR)
    return Refused(record, result) if isinstance(result, Refusal) else result


def _admit(opened: Opened, rules: Rules | None, node: NodeState | None, scope: Scope, verify: Verify) -> Fact | Refusal:
    if opened.refusal is not None:
        return opened.refusal
    record, topic = opened.record, opened.record.topic
    keys = keys_for(topic, rules, node, scope)
    if rules is not None and topic != topics.POLICIES and (then := rules.at(record.timestamp_ms)) is not rules:
        keys = {**keys_for(topic, then, node, scope), **keys}  # a key counts if it is named now, or was when this was logged
        rules = then
    sealed = opened.envelope
    assert sealed is not None
    if opened.tried is not keys and opened.tried != keys:
        opened = _checked(record, sealed, keys, verify)
    if refusal := _unsigned(topic, opened, keys, scope):
        return refusal
    read = read_payload(topic, sealed.payload, node.beat if node else None)
    if isinstance(read, Refusal):
        return read
    event: Any = read.event
    if event.network != scope.trust.network:
        return Refusal.NETWORK_MISMATCH
    signer = next(s.keyid for s in sealed.signatures if s.keyid in opened.valid)
    proof = Proof(record.offset, sha256_hex(sealed.payload), signer, record.timestamp_ms)
    if refusal := (_misplaced(event, record, node, scope) or _SUBJECT_CHECKS[topic](event, proof, rules, node)):
        return refusal
    if topic != topics.POLICIES and (refusal := _untimely(topic, event, record.timestamp_ms, rules)):
        return refusal
    return Fact(event, proof, sealed.payload, read.claims, read.listing)


def _unsigned(topic: str, opened: Opened, keys: Mapping[str, bytes], scope: Scope) -> Refusal | None:
    sealed = opened.envelope
    assert sealed is not None
    claimed = [s.keyid for s in sealed.signatures if s.keyid in keys]
    if not claimed:
        return Refusal.UNAUTHORIZED
    needed = scope.trust.threshold if topic == topics.POLICIES else 1
    if len(opened.valid) >= needed:
        return None
    return Refusal.INVALID_SIGNATURE if len(opened.valid) < len(claimed) else Refusal.THRESHOLD_UNMET


def _misplaced(event: Any, record: Record, node: NodeState | None, scope: Scope) -> Refusal | None:
    subject = str(event.revision) if record.topic == topics.POLICIES else event.node_id
    if record.key != subject.encode():
        return Refusal.KEY_MISMATCH
    if node is None and record.topic != topics.POLICIES and partition_for(record.key, scope.partitions) != scope.partition:
        return Refusal.PARTITION_MISMATCH
    return None


def _untimely(topic: str, event: Any, logged_at_ms: int, rules: Rules | None) -> Refusal | None:
    """The time window; and a role's `seq` may not run ahead of the time in ms, or one stolen key, once dropped, could
    leave a number behind that no honest fact can ever exceed."""
    assert rules is not None
    earliest_ms, latest_ms = logged_at_ms - rules.policy.sent_at_past_ms, logged_at_ms + rules.policy.sent_at_future_ms
    if topic != topics.HEARTBEATS and event.seq > latest_ms:
        return Refusal.SEQUENCE_JUMP
    return None if earliest_ms <= event.sent_at_ms <= latest_ms else Refusal.SENT_AT_OUTSIDE_WINDOW


def _check_policy(event: Policy, proof: Proof, rules: Rules | None, node: NodeState | None) -> Refusal | None:
    if rules and event.revision <= rules.policy.revision:
        return Refusal.SEQUENCE_REPLAYED
    named = (key for role in type(event.roles).model_fields for key in getattr(event.roles, role))
    return None if all(envelope.is_safe_key(bytes.fromhex(key)) for key in named) else Refusal.KEY_UNSAFE


def _check_registration(event: events.Registration, proof: Proof, rules: Rules | None, node: NodeState | None) -> Refusal | None:
    if refusal := _after(event.seq, proof, node.registration if node else None):
        return refusal
    proven = node.registration.keys.values() if node and node.registration else ()
    for key in event.keys:
        public_key = bytes.fromhex(key.public_key)
        if public_key in proven:
            continue
        if not envelope.is_safe_key(public_key):
            return Refusal.KEY_UNSAFE
        claim = events.possession_payload(event.network, event.node_id, public_key)
        if not envelope.verify(public_key, envelope.pae(events.POSSESSION_V1, claim), bytes.fromhex(key.proof)):
            return Refusal.POSSESSION_UNPROVEN
    return None


def _check_hold(event: events.Hold, proof: Proof, rules: Rules | None, node: NodeState | None) -> Refusal | None:
    last = node.hold if node else None
    if last is not None and event.seq == last.seq and event.held and not last.held:
        return None  # a pause and a resume in the same millisecond: the "no" wins
    return _after(event.seq, proof, last)


def _check_benchmark(event: events.Benchmark, proof: Proof, rules: Rules | None, node: NodeState | None) -> Refusal | None:
    return _after(event.seq, proof, node.benchmarks.get(event.profile_id) if node else None)


def _check_route(event: events.RouteHealth, proof: Proof, rules: Rules | None, node: NodeState | None) -> Refusal | None:
    return _after(event.seq, proof, node.route if node else None)


def _check_heartbeat(event: events.Heartbeat, proof: Proof, rules: Rules | None, node: NodeState | None) -> Refusal | None:
    last = node.beat if node else None
    if last is None or rules is None:
        return None
    if (event.boot, event.seq) == (last.boot, last.seq):
        return Refusal.SEQUENCE_REPLAYED if proof.sha256 == last.proof.sha256 else Refusal.EQUIVOCATION
    if (event.boot, event.seq) < (last.boot, last.seq):
        return Refusal.SEQUENCE_REPLAYED
    ahead = event.seq - last.seq if event.boot == last.boot else event.seq
    if event.boot - last.boot > rules.policy.boot_jump_max or ahead > rules.policy.seq_jump_max:
        return Refusal.SEQUENCE_JUMP
    return None


def _after(seq: int, proof: Proof, last: Any) -> Refusal | None:
    """Facts of a role: only newer ones count; the same number with other content is the signer's equivocation."""
    if last is None or seq > last.seq:
        return None
    return Refusal.EQUIVOCATION if seq == last.seq and proof.sha256 != last.proof.sha256 else Refusal.SEQUENCE_REPLAYED


_SUBJECT_CHECKS: dict[str, Callable[..., Refusal | None]] = {
    topics.POLICIES: _check_policy,
    topics.REGISTRATIONS: _check_registration,
    topics.HOLDS: _check_hold,
    topics.BENCHMARKS: _check_benchmark,
    topics.ROUTE_HEALTH: _check_route,
    topics.HEARTBEATS: _check_heartbeat,
}
