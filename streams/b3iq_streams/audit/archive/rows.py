"""Records as rows of an archive and back, exactly: nothing is parsed, changed or left out. Knows no files.

Reading takes whole columns out of their buffers; a value at a time would cost as much as folding what it holds.
"""

import hashlib
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import pyarrow as pa

from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place

HEADERS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))
LOGGED_AT = pa.timestamp("ms", "UTC")
RAW: dict[str, Any] = {
    "offset": pa.int64(),
    "logged_at": LOGGED_AT,
    "timestamp_type": pa.int8(),
    "key": pa.binary(),
    "value": pa.binary(),
    "headers": HEADERS,
}
"""The columns from which a record is made again; topic and partition are the file's."""
_HASHED_AS = b"b3iq-archive-record-v1"
_ABSENT = b"\x00"


def record_sha256(record: Record) -> bytes:
    """SHA-256 over everything a record is: what varies in length goes after its length, and absent is not empty."""
    topic = record.topic.encode()
    parts = [
        _HASHED_AS, struct.pack("<I", len(topic)), topic,
        struct.pack("<qqqb", record.partition, record.offset, record.timestamp_ms, record.timestamp_type),
        *_framed(record.key), *_framed(record.value), struct.pack("<I", len(record.headers)),
    ]  # fmt: skip
    for name, value in record.headers:
        parts += [*_framed(name.encode()), *_framed(value)]
    return hashlib.sha256(b"".join(parts)).digest()


def _framed(raw: bytes | None) -> tuple[bytes, ...]:
    return (_ABSENT,) if raw is None else (b"\x01", struct.pack("<Q", len(raw)), raw)


def raw_columns(records: Sequence[Record]) -> dict[str, Any]:
    """The columns of `RAW`, filled from records of one partition."""
    headers = [[{"name": name, "value": value} for name, value in record.headers] for record in records]
    return {
        "offset": pa.array([record.offset for record in records], RAW["offset"]),
        "logged_at": pa.array([record.timestamp_ms for record in records], RAW["logged_at"]),
        "timestamp_type": pa.array([record.timestamp_type for record in records], RAW["timestamp_type"]),
        "key": pa.array([record.key for record in records], RAW["key"]),
        "value": pa.array([record.value for record in records], RAW["value"]),
        "headers": pa.array(headers, HEADERS),
    }


def read_records(table: Any, place: Place) -> list[Record]:
    """The records in a table that has the columns of `RAW`. Raises ValueError when it is not such a table."""
    for name, kind in RAW.items():
        if name not in table.column_names or table.schema.field(name).type != kind:
            raise ValueError(f"column {name} is not there as {kind}")
    column = {name: table.column(name).combine_chunks() for name in RAW}
    headers = _headers(column["headers"])
    topic, partition = place
    return [
        Record(topic, partition, offset, key, value, at_ms, stamp, extra)
        for offset, key, value, at_ms, stamp, extra in zip(
            _numbers(column["offset"], "q"), _binary(column["key"]), _binary(column["value"]),
            _numbers(column["logged_at"], "q"), _numbers(column["timestamp_type"], "b"), headers, strict=True,
        )
    ]  # fmt: skip


def _numbers(array: Any, code: Literal["b", "q"]) -> list[int]:
    if array.null_count:
        raise ValueError("a record lacks its offset, time or type of time")
    if not len(array):
        return []
    whole: memoryview[int] = memoryview(array.buffers()[1]).cast("B").cast(code)
    return whole[array.offset : array.offset + len(array)].tolist()


def _binary(array: Any) -> list[bytes | None]:
    if array.null_count or not len(array):
        found: list[bytes | None] = array.to_pylist()
        return found
    _, starts, data = array.buffers()
    at = memoryview(starts).cast("B").cast("i")[array.offset : array.offset + len(array) + 1].tolist()
    held = memoryview(data) if data is not None else memoryview(b"")
    return [bytes(held[low:high]) for low, high in pairwise(at)]


def _headers(array: Any) -> list[tuple[tuple[str, bytes | None], ...]]:
    """Of each row; nearly always there are none at all."""
    if array.null_count:
        raise ValueError("a record lacks its list of headers")
    if not len(array.flatten()):
        return [()] * len(array)
    return [tuple((item["name"], item["value"]) for item in row) for row in array.to_pylist()]
