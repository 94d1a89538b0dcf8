"""What a vector is made of: a record, the trust, policy and history it meets, and the verdict. No clock, no randomness."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from b3iq_schemas import envelope, events, topics
from b3iq_schemas.canonical import canonical
from b3iq_streams.core.records import LOG_APPEND_TIME
from tests import factory
from tests.factory import PAYLOAD_TYPE, T0, key

PARTITIONS = 12
PARTITION = 10
"""Where node-1 and node-54 belong."""
ADMITTED = "admitted"
KEY_NAMES = ("root0", "root1", "root2", *factory.ROLES, "node-1", "node-1-next", "node-54", "stranger")
"""Every test key goes by a name; its seed is the SHA-256 of that name."""
NAME_OF_KEYID = {envelope.keyid(bytes(key(name).verify_key)): name for name in KEY_NAMES}
POLICY = factory.policy_event()
EVENTS = {
    topics.POLICIES: factory.policy_event(revision=2),
    topics.REGISTRATIONS: factory.registration_event(),
    topics.HOLDS: factory.hold_event(),
    topics.BENCHMARKS: factory.benchmark_event(),
    topics.ROUTE_HEALTH: factory.route_event(),
    topics.HEARTBEATS: factory.heartbeat_event(),
}
"""One sound event per input topic; cases bend one thing of it."""


@dataclass(frozen=True)
class Past:
    """A record that was admitted before."""

    topic: str
    key: bytes
    value: bytes
    at_ms: int = T0


@dataclass(frozen=True)
class Case:
    """One vector."""

    description: str
    expect: str
    value: bytes | None
    topic: str = topics.HEARTBEATS
    key: bytes | None = b"node-1"
    state: tuple[Past, ...] = ()
    policy: Mapping[str, Any] | None = None
    at_ms: int = T0
    timestamp_type: int = LOG_APPEND_TIME
    partition: int = PARTITION


def signers(topic: str) -> tuple[str, ...]:
    """Names of the keys that sign a sound record on `topic` about node-1."""
    return ("root0", "root1") if topic == topics.POLICIES else (factory.SIGNER.get(topic, "node-1"),)


def seal(topic: str, payload: object, names: tuple[str, ...] = (), payload_type: str | None = None) -> bytes:
    """A signed record value; `payload` is exact bytes, or data to be written canonically."""
    raw = payload if isinstance(payload, bytes) else canonical(payload)
    return envelope.sign(
        PAYLOAD_TYPE[topic] if payload_type is None else payload_type, raw, [key(name) for name in names or signers(topic)]
    )


def wrap(**fields: Any) -> bytes:
    """An envelope around node-1's sound heartbeat with fields replaced; a field given as None is left out."""
    outer = orjson.loads(seal(topics.HEARTBEATS, EVENTS[topics.HEARTBEATS])) | fields
    return orjson.dumps({name: value for name, value in outer.items() if value is not None})


def signature(name: str, sig: bytes, keyid: str = "") -> dict[str, str]:
    """One entry of an envelope's signatures, with any bytes as the signature."""
    return {"keyid": keyid or envelope.keyid(bytes(key(name).verify_key)), "sig": b64encode(sig).decode()}


def past(topic: str, at_ms: int = T0, names: tuple[str, ...] = (), **changes: Any) -> Past:
    """An earlier sound record about node-1 (or the node that `changes` names)."""
    event = EVENTS[topic] | changes
    return Past(topic, subject(topic, event), seal(topic, event, names), at_ms)


def subject(topic: str, event: Mapping[str, Any]) -> bytes:
    """The Kafka key of an event."""
    return str(event["revision"] if topic == topics.POLICIES else event["node_id"]).encode()


REGISTERED = (past(topics.REGISTRATIONS),)
"""History of a node that may send heartbeats."""


def case(topic: str, expect: str, description: str, value: bytes | None = b"\0", **more: Any) -> Case:
    """A case on `topic` with the usual history; without a value it is the topic's sound event."""
    if value == b"\0":
        value = seal(topic, EVENTS[topic])
    usual = {"key": subject(topic, EVENTS[topic]), "state": REGISTERED if topic == topics.HEARTBEATS else (), "policy": POLICY}
    return Case(description, expect, value, topic, **(usual | more))


def to_json(made: Case) -> dict[str, Any]:
    """The vector as it stands in its file; admitted ones also show the steps to their signatures."""
    vector = {
        "description": made.description,
        "expect": made.expect,
        "topic": made.topic,
        "partition": made.partition,
        "partitions": PARTITIONS,
        "timestamp_ms": made.at_ms,
        "timestamp_type": made.timestamp_type,
        "key": _base64(made.key),
        "value": _base64(made.value),
    }
    if made.expect == ADMITTED and made.value:
        vector["steps"] = _steps(envelope.parse(made.value))
    state = [
        {
            "topic": p.topic,
            "offset": i,
            "timestamp_ms": p.at_ms,
            "timestamp_type": 1,
            "key": _base64(p.key),
            "value": _base64(p.value),
        }
        for i, p in enumerate(made.state)
    ]
    trust = factory.TRUST.model_dump(mode="json")
    return vector | {"context": {"trust": trust, "policy": made.policy, "state": state}}


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()


def _steps(sealed: envelope.Envelope) -> dict[str, Any]:
    steps = {
        "payload": sealed.payload.decode(),
        "payload_sha256": sha256(sealed.payload).hexdigest(),
        "pae": _base64(sealed.signed_bytes),
        "signatures": [
            {"signer": NAME_OF_KEYID.get(s.keyid), "keyid": s.keyid, "sig_hex": s.sig.hex()} for s in sealed.signatures
        ],
    }
    if sealed.payload_type == events.REGISTRATION_V1:
        steps["possession"] = [_possession(sealed, entry) for entry in orjson.loads(sealed.payload)["keys"]]
    return steps


def _possession(sealed: envelope.Envelope, entry: Mapping[str, str]) -> dict[str, Any]:
    event = orjson.loads(sealed.payload)
    claim = events.possession_payload(event["network"], event["node_id"], bytes.fromhex(entry["public_key"]))
    return {"payload": claim.decode(), "pae": _base64(envelope.pae(events.POSSESSION_V1, claim)), **entry}
