"""Round every request: the headers that every answer carries, the answer to a bug, and the count. Judges no content."""

import logging

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from b3iq_streams.catalog.errors import unexpected
from b3iq_streams.catalog.live import Clock
from b3iq_streams.catalog.metrics import Metrics

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock) -> None:
        self._app, self._metrics, self._clock = app, metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_ms, status = self._clock().monotonic_ms, 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                self._metrics.answered(_route(scope), status, self._clock().monotonic_ms - began_ms)
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except ClientDisconnect:
            return
        except Exception as error:
            response = unexpected(scope["path"], error, _log)
            if not status:  # else all there is to do is to leave the answer incomplete, and the server hangs up
                await response(scope, receive, guarded)


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "none"))
