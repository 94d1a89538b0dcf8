"""The public pages: status, overview, profiles, nodes, one node's readiness, policy, and the stream of changes."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Header, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from b3iq_schemas.ids import ModelId, NodeId, Token
from b3iq_streams.catalog import answers
from b3iq_streams.catalog import models as m
from b3iq_streams.catalog.cursors import CURSOR_MAX, BadCursor, decode_node, decode_row
from b3iq_streams.catalog.envelopes import NativeError
from b3iq_streams.catalog.errors import ApiError
from b3iq_streams.catalog.hub import TooManyReaders
from b3iq_streams.catalog.index import Filter
from b3iq_streams.catalog.live import Live
from b3iq_streams.catalog.policy_page import policy_in_force
from b3iq_streams.catalog.positions import TEXT_MAX, decode
from b3iq_streams.catalog.stream import EventStream
from b3iq_streams.catalog.wording import public_id

PAGE_MAX = 500
Place = TypeVar("Place")
Cursor = Annotated[str | None, Query(max_length=CURSOR_MAX, pattern=r"^[A-Za-z0-9_-]+$")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Search = Annotated[str | None, Query(min_length=1, max_length=128)]
_FAILED: dict[int | str, dict[str, Any]] = {503: {"model": NativeError}}
_ERRORS: dict[int | str, dict[str, Any]] = {400: {"model": NativeError}}
_EVENTS = {
    "itemSchema": {
        "type": "object",
        "properties": {
            "event": {"enum": ["change", "status", "reset", "lagged"]},
            "id": {"type": "string", "description": "The position after it, to resume from"},
            "data": {"type": "string", "description": "JSON: ChangeEvent, StatusEvent, or {}"},
        },
    }
}


def _showable(node_id: str) -> str:
    if not public_id(node_id):
        raise ValueError("not an id that is shown")
    return node_id


Shown = Annotated[NodeId, Path(), AfterValidator(_showable)]


def router(live: Live) -> APIRouter:
    """Everything that is asked with one request and answered with one."""
    pages = APIRouter(prefix="/v1/public", tags=["public"], responses=_FAILED)

    @pages.get("/status", response_model=m.Status)
    async def status() -> Response:
        """How things stand; nothing is claimed about any node."""
        return _json(answers.status(live, live.look()))

    @pages.get("/overview", response_model=m.Overview)
    async def overview() -> Response:
        """Counts per model and tier, per gate and per code."""
        return _json(answers.overview(live, live.look()))

    @pages.get("/profiles", response_model=m.Profiles, responses=_ERRORS)
    async def profiles(
        cursor: Cursor = None,
        limit: Limit = 100,
        model: Annotated[ModelId | None, Query()] = None,
        tier: Annotated[Token | None, Query()] = None,
        eligible: Annotated[Literal["true", "false"] | None, Query()] = None,
        code: Annotated[Token | None, Query()] = None,
        gate: Annotated[m.GateName | None, Query()] = None,
        q: Search = None,
    ) -> Response:
        """Profiles by node and profile id. While nothing can be claimed, `eligible` as a filter finds none."""
        claim = None if eligible is None else eligible == "true"
        wanted = Filter(model, tier, code, gate, claim, q.lower() if q else None)
        after = _decoded(cursor, decode_row)
        return _json(answers.profiles(live, live.look(), wanted, after, limit))

    @pages.get("/nodes", response_model=m.Nodes, responses=_ERRORS)
    async def nodes(cursor: Cursor = None, limit: Limit = 100, q: Search = None) -> Response:
        """Nodes by id."""
        after = _decoded(cursor, decode_node)
        return _json(answers.nodes(live, live.look(), q.lower() if q else None, after, limit))

    @pages.get("/nodes/{node_id}/route-readiness", response_model=m.Readiness, responses=_ERRORS)
    async def readiness(node_id: Shown, model: Annotated[ModelId | None, Query()] = None) -> Response:
        """One node's profiles with what blocks them and what to do next; an unknown node has none."""
        return _json(answers.readiness(live, live.look(), node_id, model))

    @pages.get("/policy", response_model=m.PolicyInForce)
    async def policy() -> Response:
        """The policy in force, and what each revision changed."""
        return _json(policy_in_force(live.view.book))

    return pages


def changes_router(live: Live) -> APIRouter:
    """The stream of changes."""
    pages = APIRouter(prefix="/v1/public", tags=["public"], responses=_FAILED)
    stream: dict[int | str, dict[str, Any]] = {
        200: {"description": "Server-sent events, for as long as the reader stays", "content": {"text/event-stream": _EVENTS}}
    }

    @pages.get("/changes", status_code=200, response_class=Response, responses=_ERRORS | stream)
    async def changes(
        since: Annotated[str | None, Query(max_length=TEXT_MAX)] = None,
        last_event_id: Annotated[str | None, Header(max_length=TEXT_MAX)] = None,
    ) -> Response:
        """What changes, as it happens; from `since` or Last-Event-ID on where that is still kept, else after a `reset`."""
        place = last_event_id or since
        position = decode(place) if place else None
        if position is None and since and not last_event_id:
            raise ApiError(400, "invalid_request", "query.since is not a position")
        live.tell(live.look())
        try:
            reader = live.hub.open(position, resuming=bool(place))
        except TooManyReaders:
            raise ApiError(503, "too_many_readers", "as many readers as may be are connected", {"Retry-After": "5"}) from None
        return EventStream(reader)

    return pages


def _json(answer: m.Answer) -> Response:
    return Response(answer.body, media_type="application/json")


def _decoded(cursor: str | None, decode: Callable[[str], Place]) -> Place | None:
    if cursor is None:
        return None
    try:
        return decode(cursor)
    except BadCursor:
        raise ApiError(400, "invalid_request", "query.cursor is not one that was handed out here") from None
