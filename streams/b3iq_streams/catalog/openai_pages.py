"""The pages that OpenAI clients call: the models that can be had now, and where a call goes. Never a stale list."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi import Request as HttpRequest
from starlette.responses import Response

from b3iq_streams.catalog.envelopes import Model, ModelList, OpenAIError, RouteAllowed
from b3iq_streams.catalog.errors import ApiError, refused
from b3iq_streams.catalog.gateway import Gateway, RouteRequest
from b3iq_streams.catalog.listing import Listed
from b3iq_streams.catalog.live import Live
from b3iq_streams.catalog.pages import matches

NoneMatch = Annotated[str | None, Header(max_length=4_096)]
_JSON = "application/json"


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": OpenAIError} for status in statuses}


def models_router(live: Live) -> APIRouter:
    """`GET /v1/models`, the list and one."""
    router = APIRouter(tags=["models"])

    def listed() -> Listed:
        found = live.models()
        if isinstance(found, Listed):
            return found
        assert found.code is not None
        raise refused(found.code)

    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "The list is the one named in If-None-Match"}}

    @router.get("/v1/models", response_model=ModelList, responses=unchanged | _errors(400, 503))
    async def list_models(if_none_match: NoneMatch = None) -> Response:
        """Every model that can be had now."""
        found = listed()
        headers = {"etag": found.etag, "cache-control": "no-cache"}
        if matches(if_none_match, found.etag):
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers=headers, media_type=_JSON)

    @router.get("/v1/models/{model_id:path}", response_model=Model, responses=_errors(404, 503))
    async def get_model(model_id: str) -> Response:
        """One model that can be had now; its id may contain slashes."""
        model = listed().models.get(model_id)
        if model is None:
            raise ApiError(404, "model_not_found", "no model of this id can be had now")
        return Response(model.body, media_type=_JSON)

    return router


def route_router(gateway: Gateway) -> APIRouter:
    """`POST /v1/route`."""
    router = APIRouter(tags=["route"])
    reference = {"$ref": f"#/components/schemas/{RouteRequest.__name__}"}
    body = {"required": True, "content": {_JSON: {"schema": reference}}}
    extra = {"requestBody": body, "security": [{"apiKey": []}]}
    errors = _errors(400, 401, 402, 403, 413, 415, 429, 502, 503)

    @router.post("/v1/route", response_model=RouteAllowed, responses=errors, openapi_extra=extra)
    async def route(request: HttpRequest) -> Response:
        """Who serves a call, or why nobody does; in the log before it is answered."""
        return Response((await gateway.route(request)).body, media_type=_JSON)

    return router
