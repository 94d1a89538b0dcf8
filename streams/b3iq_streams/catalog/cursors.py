"""Where the next page begins, as a word that readers hand back and need not understand."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from b3iq_schemas.ids import NodeId, ProfileId
from b3iq_streams.catalog.rows import RowId

CURSOR_MAX = 256
Place = TypeVar("Place")
_ROW: TypeAdapter[tuple[str, str, int]] = TypeAdapter(tuple[NodeId, ProfileId, Annotated[int, Field(ge=0, lt=1 << 31)]])
_NODE: TypeAdapter[tuple[str]] = TypeAdapter(tuple[NodeId])


class BadCursor(Exception):
    """The cursor is not one that was handed out here."""


def encode_row(row: RowId) -> str:
    """The cursor after a row."""
    return _encode(row)


def encode_node(node_id: str) -> str:
    """The cursor after a node."""
    return _encode((node_id,))


def decode_row(cursor: str) -> RowId:
    """The row a cursor stands after; raises BadCursor."""
    return RowId(*_decode(cursor, _ROW))


def decode_node(cursor: str) -> str:
    """The node a cursor stands after; raises BadCursor."""
    return _decode(cursor, _NODE)[0]


def _encode(place: tuple[str | int, ...]) -> str:
    return urlsafe_b64encode(orjson.dumps(tuple(place))).decode().rstrip("=")


def _decode(cursor: str, kind: TypeAdapter[Place]) -> Place:
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        return kind.validate_python(tuple(orjson.loads(raw)), strict=True)
    except (ValueError, TypeError, ValidationError, binascii.Error):
        raise BadCursor from None
