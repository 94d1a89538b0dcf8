"""Looks from the end of one partition back for what was last said of, or by, a node. Reads; decides nothing."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from b3iq_schemas import envelope
from b3iq_schemas.events import HEARTBEAT_V1, Heartbeat
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import HEARTBEATS, REGISTRATIONS
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import UNSEEN, Place, Source

WINDOW_RECORDS = 500
WINDOW_RECORDS_MAX = 16_000
T = TypeVar("T")


async def place_of(reader: Source, topic: str, node_id: str) -> Place:
    """The partition of a node's records; raises UserError if there is no such topic."""
    count = len(await reader.partitions(topic))
    if count == 0:
        raise UserError(f"topic {topic} {UNSEEN}")
    return Place(topic, partition_for(node_id.encode(), count))


async def look_back(
    reader: Source, place: Place, node_id: str, read: Callable[[Record], T | None], records_max: int | None = None,
    since_ms: int = 0,
) -> list[T]:  # fmt: skip
    """What `read` makes of the node's records in the newest stretch of the log that has any, oldest first.

    Goes back to what was logged at `since_ms`, or over about `records_max` records. Each stretch is read whole: a newest
    heartbeat that was passed over would have its number used again. Raises UserError if the broker stays silent.
    """
    (start,) = (await reader.start_offsets([place])).values()
    (last,) = (await reader.end_offsets([place])).values()
    if since_ms:
        start = max(start, await reader.offset_at(place, since_ms))
    if records_max is not None:
        start = max(start, last - records_max)
    size = WINDOW_RECORDS
    while last > start:
        first = max(start, last - size)
        mine = (record async for record in reader.stretch(place, first, last) if record.key == node_id.encode())
        if found := [item async for record in mine if (item := read(record)) is not None]:
            return found
        last, size = first, min(2 * size, WINDOW_RECORDS_MAX)
    return []


async def registered_since_ms(reader: Source, node_id: str) -> int | None:
    """When the oldest registration of a node was logged; None if there is none, 0 if this user may not look.

    Unsigned, or signed by anybody: it only says from when on heartbeats of the node can have counted.
    """
    if not await reader.partitions(REGISTRATIONS):
        return 0
    place = await place_of(reader, REGISTRATIONS, node_id)
    (start,), (end,) = (await reader.start_offsets([place])).values(), (await reader.end_offsets([place])).values()
    async for record in reader.stretch(place, start, end):
        if record.key == node_id.encode():
            return record.timestamp_ms
    return None


async def highest_boot(
    reader: Source, network: str, node_id: str, public_keys: tuple[bytes, ...], records_max: int | None, since_ms: int = 0
) -> int | None:
    """The highest boot that one of these keys signed for, in the newest stretch of the log; None if there is none.

    Where to stop looking is `look_back`'s.
    """
    by_id = {envelope.keyid(key): key for key in public_keys}

    def read(record: Record) -> int | None:
        beat = own_beat(record, network, by_id)
        return beat.boot if beat else None

    place = await place_of(reader, HEARTBEATS, node_id)
    return max(await look_back(reader, place, node_id, read, records_max, since_ms), default=None)


def own_beat(record: Record, network: str, keys: dict[str, bytes]) -> Heartbeat | None:
    """The heartbeat in a record, if one of these keys (by id) signed it; anybody may have written it there."""
    try:
        sealed = envelope.parse(record.value or b"")
        beat = Heartbeat.model_validate_json(sealed.payload)
    except (envelope.EnvelopeError, ValidationError):
        return None
    if sealed.payload_type != HEARTBEAT_V1 or beat.network != network or beat.node_id.encode() != record.key:
        return None
    signed = any(s.keyid in keys and envelope.verify(keys[s.keyid], sealed.signed_bytes, s.sig) for s in sealed.signatures)
    return beat if signed else None
