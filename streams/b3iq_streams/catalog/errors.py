"""Errors over HTTP in the network's two forms. Clients branch on the code; nothing of what they sent is repeated to them."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from b3iq_schemas.codes import ROUTE_REFUSAL_MEANING, RouteRefusal
from b3iq_streams.catalog.envelopes import NativeError, OpenAIError, OpenAIProblem, Problem

OPENAI_PATHS = ("/v1/models", "/v1/route")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}
_STATUSES = {
    404: ("not_found", "there is no such page"),
    405: ("method_not_allowed", "the page does not take this method"),
}
_SAYS = {
    "missing": "is missing",
    "extra_forbidden": "has a field that is not known",
    "json_invalid": "is not JSON",
    "string_pattern_mismatch": "does not have the form it must have",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "too_long": "has too many entries",
    "less_than_equal": "is too large",
    "greater_than_equal": "is too small",
    "literal_error": "is not one of the words it may be",
}
"""What is wrong, in words that cannot carry what was sent."""


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.detail, self.headers = status, code, detail, dict(headers or {})


def refused(refusal: RouteRefusal) -> ApiError:
    """The router's "no" as an error."""
    status, detail = ROUTE_REFUSAL_MEANING[refusal]
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return ApiError(status, refusal, detail, headers)


def answer(path: str, error: ApiError) -> Response:
    """The error in the form that belongs to a path."""
    title = HTTPStatus(error.status).phrase
    problem = Problem(status=error.status, title=title, detail=error.detail, code=error.code)
    body: NativeError | OpenAIError = NativeError(error=problem)
    if path.startswith(OPENAI_PATHS):
        kind = _TYPES.get(error.status, "api_error")
        body = OpenAIError(error=OpenAIProblem(message=error.detail, type=kind, code=error.code, b3iq=problem))
    headers = {"cache-control": "no-store"} | error.headers
    return Response(body.body, error.status, headers, media_type="application/json")


def unexpected(path: str, error: Exception, log: logging.Logger) -> Response:
    """The answer to a bug; the log gets where it is and of which kind, never a value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    log.error("unexpected %s at %s", type(error).__name__, place)
    return answer(path, ApiError(503, "catalog_error", "the catalog failed to answer; nothing is claimed"))


def invalid(problems: Sequence[Any], names: frozenset[str]) -> ApiError:
    """What a schema objects to first, naming the place only by names that are the schema's own."""
    first: Mapping[str, Any] = problems[0] if problems else {}
    place = ".".join(str(part) for part in first.get("loc", ()) if isinstance(part, int) or part in names)
    says = _SAYS.get(first.get("type", ""), "is not what it must be")
    return ApiError(400, "invalid_request", f"{place or 'the request'} {says}")


def install(app: FastAPI, names: frozenset[str]) -> None:
    """Answer every error of the framework in our forms. `names`: those that a detail may contain."""

    async def on_api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return answer(request.url.path, error)

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request.url.path, invalid(error.errors(), names))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, detail = _STATUSES.get(error.status_code, ("invalid_request", "the request cannot be answered"))
        status = error.status_code if error.status_code in _STATUSES else 400
        return answer(request.url.path, ApiError(status, code, detail, error.headers))

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
