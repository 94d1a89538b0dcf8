"""What an inspection of an archive names, and how values are shown in it."""

from typing import Any, NamedTuple

import orjson

from b3iq_schemas.canonical import sha256_hex

SHOWN_MAX = 96


class Finding(NamedTuple):
    """Something that is not as it should be: where, what, what stands there and what should.

    `topic` is `manifest.json` for what is of no topic; `offset` names the record, or the first of a file; None where there is
    none.
    """

    topic: str
    partition: int | None
    offset: int | None
    what: str
    recorded: str
    found: str


def shown(value: Any) -> str:
    """A value on one line, cut where it is long; bytes in hex, nothing for what is absent."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()[:SHOWN_MAX]
    text = value if isinstance(value, str) and value.isprintable() else orjson.dumps(value, default=str).decode()
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def hidden(value: bytes | None) -> str:
    """What may not be shown: its length and its hash."""
    return "" if value is None else f"{len(value)} bytes, SHA-256 {sha256_hex(value)}"
