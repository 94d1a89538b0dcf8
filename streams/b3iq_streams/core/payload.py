"""From authenticated bytes to an event: canonical JSON first, then the strict model. Nothing here checks who signed.

Heartbeats are nearly all of the traffic and mostly repeat themselves: a node's list of profiles is parsed and validated
when it changes and recognised by the hash of its bytes otherwise, which also lets the fold see that nothing changed.
"""

from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from b3iq_schemas import events, topics
from b3iq_schemas.canonical import parse_canonical, sha256_hex
from b3iq_schemas.codes import Refusal
from b3iq_schemas.policy import Policy
from b3iq_streams.core.values import Beat, Claims

_MODELS: dict[str, type[BaseModel]] = {
    topics.POLICIES: Policy,
    topics.REGISTRATIONS: events.Registration,
    topics.HOLDS: events.Hold,
    topics.BENCHMARKS: events.Benchmark,
    topics.ROUTE_HEALTH: events.RouteHealth,
    topics.HEARTBEATS: events.Heartbeat,
}
_LISTING = b'"profiles":['
_HEARTBEAT = events.Heartbeat.__pydantic_validator__.validate_python


class Read(NamedTuple):
    """An event as its topic's model; what a heartbeat lists stands in `claims`, and not in the event."""

    event: BaseModel
    claims: tuple[Claims, ...] = ()
    listing: str = ""


def read_payload(topic: str, payload: bytes, last: Beat | None = None) -> Read | Refusal:
    """The event in a payload of `topic`; or the refusal: not canonical, or not to the schema.

    `last` = the node's last heartbeat, if it has one: a list of profiles with the same bytes is taken over from there.
    """
    if topic == topics.HEARTBEATS and last is not None and (short := _without_listing(payload, last.listing)):
        return _read(topic, short, last)
    return _read(topic, payload, None)


def _without_listing(payload: bytes, listing: str) -> bytes | None:
    """The payload with an empty list for its profiles, if they are, byte for byte, the list of that hash.

    A quote ends or begins a string, so what follows `"profiles":` is a value; the list that stands there was canonical
    when it was admitted. So the payload is canonical, and holds what the short one holds, exactly if that one is and does.
    """
    start, end = payload.find(_LISTING) + len(_LISTING) - 1, payload.rfind(b"]") + 1
    if start < len(_LISTING) - 1 or sha256_hex(payload[start:end]) != listing:
        return None
    return payload[:start] + b"[]" + payload[end:]


def _read(topic: str, payload: bytes, last: Beat | None) -> Read | Refusal:
    try:
        plain = parse_canonical(payload)
    except (ValueError, TypeError):
        return Refusal.PAYLOAD_NOT_CANONICAL
    try:
        if topic == topics.HEARTBEATS and type(plain) is dict and type(plain.get("profiles")) is list:
            return _heartbeat(plain, last)
        return Read(_MODELS[topic].model_validate_json(payload))
    except ValidationError:  # never rendered: its text can be larger than memory
        return Refusal.PAYLOAD_INVALID


def _heartbeat(plain: dict[str, Any], last: Beat | None) -> Read:
    """A heartbeat; with `last`, its list of profiles is that one's and was taken out."""
    if last is not None:
        claims, listing = last.profiles, last.listing
    else:
        raw = orjson.dumps(plain["profiles"])
        claims, listing = _claims(raw), sha256_hex(raw)
    plain["profiles"] = ()
    return Read(_HEARTBEAT(plain), claims, listing)


def _claims(raw: bytes) -> tuple[Claims, ...]:
    profiles = events.Profiles.model_validate_json(b'{"profiles":%b}' % raw).profiles
    return tuple([Claims(*(getattr(profile, name) for name in Claims._fields)) for profile in profiles])
