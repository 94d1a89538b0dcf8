"""Server-sent events over ASGI: one task per reader, ended by whoever goes first, the reader or the hub.

What is sent, and when, is the hub's; here is only that a reader who takes nothing for a while loses the connection.
"""

import asyncio
from contextlib import suppress

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from b3iq_streams.catalog.hub import Reader

SEND_S = 20.0


class EventStream(StreamingResponse):
    """The frames of a reader until it or the hub ends. `send_s`: how long one frame may take to go out."""

    media_type = "text/event-stream"

    def __init__(self, reader: Reader, send_s: float = SEND_S) -> None:
        super().__init__(reader.frames(), headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._reader, self._send_s = reader, send_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        gone = asyncio.create_task(self._gone(receive), name="catalog-reader")
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with suppress(TimeoutError):  # the server closes a response that was not completed
                async for data in self.body_iterator:
                    await self._send(send, data, more=True)
                await self._send(send, b"", more=False)
        finally:
            self._reader.close()
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    async def _send(self, send: Send, data: object, more: bool) -> None:
        async with asyncio.timeout(self._send_s):
            await send({"type": "http.response.body", "body": data, "more_body": more})

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._reader.close()
