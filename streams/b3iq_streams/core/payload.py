"""From authenticated bytes to an event: canonical JSON first, then the strict model. Nothing here checks who signed.

Heartbeats are nearly all of the traffic and mostly repeat themselves: the profiles they list are validated once per
distinct list and then recognised by their bytes, which also lets the fold see at a glance that nothing changed.
"""

from functools import lru_cache
from typing import NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from b3iq_schemas import events, topics
from b3iq_schemas.canonical import parse_canonical
from b3iq_schemas.codes import Refusal
from b3iq_schemas.policy import Policy
from b3iq_streams.core.values import Claims

_MODELS: dict[str, type[BaseModel]] = {
    topics.POLICIES: Policy,
    topics.REGISTRATIONS: events.Registration,
    topics.HOLDS: events.Hold,
    topics.BENCHMARKS: events.Benchmark,
    topics.ROUTE_HEALTH: events.RouteHealth,
    topics.HEARTBEATS: events.Heartbeat,
}
_HEARTBEAT = events.Heartbeat.__pydantic_validator__.validate_python
PROFILE_LISTS_MAX = 65_536


class Read(NamedTuple):
    """An event as its topic's model; what a heartbeat lists stands in `claims`, and not in the event."""

    event: BaseModel
    claims: tuple[Claims, ...] = ()


def read_payload(topic: str, payload: bytes) -> Read | Refusal:
    """The event in a payload of `topic`; or the refusal: not canonical, or not to the schema."""
    try:
        plain = parse_canonical(payload)
    except (ValueError, TypeError):
        return Refusal.PAYLOAD_NOT_CANONICAL
    try:
        if topic == topics.HEARTBEATS and type(plain) is dict and type(plain.get("profiles")) is list:
            claims = _claims(orjson.dumps(plain["profiles"]))
            plain["profiles"] = ()
            return Read(_HEARTBEAT(plain), claims)
        return Read(_MODELS[topic].model_validate_json(payload))
    except ValidationError:  # never rendered: its text can be larger than memory
        return Refusal.PAYLOAD_INVALID


@lru_cache(maxsize=PROFILE_LISTS_MAX)
def _claims(raw: bytes) -> tuple[Claims, ...]:
    """The profiles in a JSON list; raises ValidationError (which is not cached)."""
    profiles = events.Profiles.model_validate_json(b'{"profiles":%b}' % raw).profiles
    return tuple([Claims(*(getattr(profile, name) for name in Claims._fields)) for profile in profiles])
