"""`POST /v1/route`: who serves a call, for callers with an API key. The decision is in the log before the answer is given.

In this order: key, rate, type and size of the body, its content, the key's scope, the router. The account's policy comes with
the request, from the gateway that holds the key; the body is never kept and never repeated.
"""

from collections.abc import Awaitable, Callable
from math import ceil
from typing import Annotated

from fastapi import Request as HttpRequest
from pydantic import Field, ValidationError
from pyrate_limiter import Duration, Rate, RateItem, StateBucket

from b3iq_schemas.ids import Contract, Count, ModelId
from b3iq_streams.catalog.apikeys import ApiKeys, KeyEntry
from b3iq_streams.catalog.envelopes import RouteAllowed
from b3iq_streams.catalog.errors import ApiError, invalid, refused
from b3iq_streams.catalog.live import Clock
from b3iq_streams.errors import UserError
from b3iq_streams.router.request import CallerPolicy, Request
from b3iq_streams.router.supply import Candidate
from b3iq_streams.router.view import Choice

BODY_BYTES_MAX = 64 * 1024
Pick = Callable[[Request], Awaitable[Choice]]
"""The router's answer to a request, once its record is in the log."""
Key = Annotated[str, Field(max_length=129)]


class RouteRequest(Contract):
    """A call to be routed. `tried`: `node_id/profile_id` of each whose dispatch failed already."""

    model: ModelId
    est_tokens: Count = 0
    tried: Annotated[tuple[Key, ...], Field(max_length=64)] = ()
    caller: CallerPolicy


NAMES = frozenset(RouteRequest.model_fields) | frozenset(CallerPolicy.model_fields)


class Gateway:
    """Routes calls. `rate`: calls a second that each key may make, and how many at once."""

    def __init__(self, keys: ApiKeys, pick: Pick, clock: Clock, rate: int) -> None:
        self._keys, self._pick, self._clock, self._rate = keys, pick, clock, rate
        self._buckets: dict[str, StateBucket] = {}

    async def route(self, request: HttpRequest) -> RouteAllowed:
        """The answer to a call; raises ApiError with the code of a refusal."""
        entry = self._authenticate(request)
        self._limit(entry)
        wanted = _parse(await _body(request))
        if not entry.covers(wanted.model, wanted.caller.tiers):
            raise ApiError(403, "gateway_api_key_scope_denied", "the API key does not reach as far as the request")
        try:
            choice = await self._pick(Request(wanted.model, wanted.caller, wanted.est_tokens, frozenset(wanted.tried)))
        except UserError:
            raise ApiError(503, "decision_not_logged", "the decision could not be logged, so there is none") from None
        if choice.refusal is not None:
            raise refused(choice.refusal)
        assert choice.candidate is not None
        return _allowed(choice.candidate)

    def _authenticate(self, request: HttpRequest) -> KeyEntry:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        entry = self._keys.find(key.strip()) if scheme.lower() == "bearer" else None
        if entry is None:
            raise ApiError(401, "unauthorized", "a valid API key is required", {"WWW-Authenticate": "Bearer"})
        return entry

    def _limit(self, entry: KeyEntry) -> None:
        bucket = self._buckets.get(entry.name)
        if bucket is None:
            bucket = self._buckets[entry.name] = StateBucket([Rate(self._rate, Duration.SECOND)])
        item = RateItem(entry.name, self._clock().monotonic_ms)
        if not bucket.put(item):
            wait_ms = bucket.waiting(item)
            assert isinstance(wait_ms, int)
            seconds = max(1, ceil(wait_ms / 1_000))
            raise ApiError(429, "rate_limited", "the API key makes too many calls", {"Retry-After": str(seconds)})


async def _body(request: HttpRequest) -> bytes:
    """The body, as long as it is JSON by its type and no larger than it may be, whatever was announced."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "unsupported_media_type", "the body must be application/json")
    too_large = ApiError(413, "body_too_large", f"the body has more than {BODY_BYTES_MAX} bytes", {"Connection": "close"})
    announced = request.headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit() or int(announced[:20]) > BODY_BYTES_MAX:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise too_large
    return bytes(body)


def _parse(body: bytes) -> RouteRequest:
    try:
        return RouteRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False), NAMES) from None


def _allowed(chosen: Candidate) -> RouteAllowed:
    return RouteAllowed(
        node_id=chosen.node_id,
        profile_id=chosen.profile_id,
        model_id=chosen.model_id,
        route_tier=chosen.route_tier,
        runtime_kind=chosen.runtime_kind,
        price_wei_per_mtok=str(chosen.price_wei),
        throughput_mtok_per_s=chosen.throughput,
    )
