"""A reader of the stream of changes, without a network: it takes what it is sent, or does not, and leaves when it wants."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import orjson
from fastapi import FastAPI

PATIENCE_S = 5


class Event(NamedTuple):
    """One event as a browser would hand it over; a comment has no name."""

    name: str
    id: str
    data: Any


class Reading:
    """A request for `/v1/public/changes` under way."""

    def __init__(self, app: FastAPI, query: str = "", headers: dict[str, str] | None = None) -> None:
        self.status, self.body = 0, b""
        self.headers: dict[str, str] = {}
        self.taking = asyncio.Event()
        self.taking.set()
        self._left = asyncio.Event()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._events: list[Event] = []
        self._asked = False
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": "/v1/public/changes", "raw_path": b"/v1/public/changes", "root_path": "",
            "query_string": query.encode(), "server": ("catalog.test", 80), "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def next(self) -> Event:
        """The next event."""
        while not self._events:
            async with asyncio.timeout(PATIENCE_S):
                self._events += _parse(await self._chunks.get())
        return self._events.pop(0)

    async def next_of(self, *names: str) -> Event:
        """The next event of one of these names; others are passed over."""
        while (event := await self.next()).name not in names:
            pass
        return event

    async def quiet(self) -> bool:
        """Whether nothing but comments and statuses is on its way now."""
        for _ in range(20):
            await asyncio.sleep(0)
        while not self._chunks.empty():
            self._events += _parse(self._chunks.get_nowait())
        return all(event.name in ("", "status") for event in self._events)

    async def end(self) -> list[Event]:
        """What is left, up to the end of the answer."""
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        while not self._chunks.empty():
            self._events += _parse(self._chunks.get_nowait())
        return self._events

    def leave(self) -> None:
        """Hang up."""
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.taking.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif self.status != 200:
            self.body += message["body"]
        elif message["body"]:
            self._chunks.put_nowait(message["body"])


@asynccontextmanager
async def reading(app: FastAPI, query: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[Reading]:
    """A reader for the length of a block."""
    reader = Reading(app, query, headers)
    try:
        yield reader
    finally:
        reader.leave()
        reader.task.cancel()
        with suppress(asyncio.CancelledError):
            await reader.task


def _parse(chunk: bytes) -> Iterator[Event]:
    """The events of a chunk; the catalog never sends a part of one."""
    assert chunk.endswith(b"\n\n")
    for block in chunk[:-2].split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
        data = orjson.loads(fields[b"data"]) if b"data" in fields else None
        yield Event(fields.get(b"event", b"").decode(), fields.get(b"id", b"").decode(), data)
