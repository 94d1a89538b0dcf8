"""From a line of JSON to a signed record: complete it, check it against its schema, sign it. Sends nothing."""

from typing import Any, NamedTuple

import orjson
from nacl.signing import SigningKey
from pydantic import BaseModel, ValidationError

from b3iq_schemas import events, topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.envelope import sign
from b3iq_streams.errors import UserError, first_problem

KINDS: dict[str, tuple[str, type[events.Fact]]] = {
    "heartbeat": (topics.HEARTBEATS, events.Heartbeat),
    "registration": (topics.REGISTRATIONS, events.Registration),
    "benchmark": (topics.BENCHMARKS, events.Benchmark),
    "route-health": (topics.ROUTE_HEALTH, events.RouteHealth),
    "hold": (topics.HOLDS, events.Hold),
}
"""Topic and model of every fact that can be emitted."""
_OVERHEAD_BYTES = 512
"""Room for what a batch adds to a record; the broker's limit is on the batch."""


class Emission(NamedTuple):
    """A record to append, on the partition its key hashes to."""

    topic: str
    key: bytes
    value: bytes


def from_line(kind: str, line: bytes, key: SigningKey, now_ms: int, seq: int) -> Emission:
    """The signed record for one line of JSON; raises UserError that says what is wrong with it.

    `sent_at_ms` is filled in when absent, `seq` too except in heartbeats: those count within a boot, and only the host
    agent knows how far it got.
    """
    topic, model = KINDS[kind]
    try:
        payload = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}") from None
    if not isinstance(payload, dict):
        raise UserError("not a JSON object")
    defaults = {"sent_at_ms": now_ms} if kind == "heartbeat" else {"sent_at_ms": now_ms, "seq": seq}
    try:
        event = model.model_validate_json(orjson.dumps(defaults | payload))
    except ValidationError as error:
        raise UserError(first_problem(error)) from None
    return from_event(topic, event, key)


def from_event(topic: str, event: BaseModel | dict[str, Any], key: SigningKey) -> Emission:
    """A signed record of an event that is known to be sound; raises UserError if it is too large to be accepted."""
    payload = event.model_dump(mode="json") if isinstance(event, BaseModel) else event
    return signed(topic, payload["node_id"], canonical(payload), key)


def signed(topic: str, subject: str, payload: bytes, key: SigningKey) -> Emission:
    """A record of exactly these payload bytes, keyed by the subject."""
    described = topics.TOPICS[topic]
    value = sign(described.payload_type or "", payload, [key])
    if len(value) > described.message_bytes_max - _OVERHEAD_BYTES:
        raise UserError(f"too large: {len(value)} bytes signed, at most {described.message_bytes_max - _OVERHEAD_BYTES} fit")
    return Emission(topic, subject.encode(), value)
