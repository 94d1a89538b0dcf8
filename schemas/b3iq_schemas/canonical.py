"""Canonical JSON and hashes. Canonical = what orjson writes: compact, UTF-8, no needless escapes.

Reading demands only that the bytes round-trip (any key order); that alone kills duplicate keys, whitespace tricks,
negative zero, exponents and integers beyond 64 bits, so that one payload has one meaning in every language.
"""

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel


def canonical(value: object) -> bytes:
    """`value` (plain data or a model) as canonical JSON bytes; raises TypeError for what JSON cannot hold."""
    return orjson.dumps(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)


def parse_canonical(raw: bytes) -> Any:
    """The data in `raw`; raises ValueError unless `raw` is exactly what `canonical` would write for it."""
    value = orjson.loads(raw)
    if orjson.dumps(value) != raw:
        raise ValueError("not canonical JSON")
    return value


def sha256_hex(raw: bytes) -> str:
    """Lower-case hex SHA-256 of `raw`."""
    return hashlib.sha256(raw).hexdigest()
