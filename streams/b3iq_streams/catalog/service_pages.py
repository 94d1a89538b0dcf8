"""The process's own pages, and the page for people: liveness, readiness, metrics, files."""

from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from starlette.responses import Response

from b3iq_schemas.codes import ROUTE_REFUSAL_MEANING
from b3iq_streams.catalog.envelopes import Alive, NativeError, Ready
from b3iq_streams.catalog.errors import ApiError
from b3iq_streams.catalog.live import Live
from b3iq_streams.catalog.metrics import Metrics
from b3iq_streams.catalog.pages import Assets, respond

_JSON = "application/json"
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


def router(live: Live, metrics: Metrics) -> APIRouter:
    """What a supervisor asks."""
    pages = APIRouter(tags=["service"], responses={503: {"model": NativeError}})

    @pages.get("/healthz", response_model=Alive)
    async def healthz() -> Response:
        """The event loop answers."""
        return Response(Alive().body, media_type=_JSON)

    @pages.get("/readyz", response_model=Ready)
    async def readyz() -> Response:
        """Every partition is synced and within the bound."""
        standing = live.look()
        if standing.code is not None:
            waiting = ", ".join(f"{partition} {code}" for partition, code in enumerate(standing.codes) if code)
            raise ApiError(503, standing.code, f"{ROUTE_REFUSAL_MEANING[standing.code][1]} (partitions: {waiting})")
        return Response(Ready().body, media_type=_JSON)

    @pages.get("/metrics", response_class=Response, responses=_TEXT)
    async def exposition() -> Response:
        """Prometheus text format."""
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return pages


def assets_router(assets: Assets) -> APIRouter:
    """The page and its files."""
    pages = APIRouter(include_in_schema=False)

    @pages.get("/")
    async def page(request: HttpRequest) -> Response:
        if assets.page is None:
            raise ApiError(404, "not_found", "this installation has no page; the API is described at /openapi.json")
        return respond(assets.page, False, request.headers.get("if-none-match"))

    @pages.get("/assets/{path:path}")
    async def asset(path: str, request: HttpRequest) -> Response:
        found = assets.find(path)
        if found is None:
            raise ApiError(404, "not_found", "there is no such page")
        return respond(*found, request.headers.get("if-none-match"))

    return pages
