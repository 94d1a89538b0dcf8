"""Serves an application on a socket until a signal, and ends it so that no reader hangs: uvicorn, with its bounds set.

Asks for no file and no setting; what a request may cost is bounded here, what it is answered by the application.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from b3iq_streams import listening as listening_sockets

HEAD_BYTES_MAX = 48 * 1024
"""Of a request's line and headers; a position of a thousand partitions fits."""
CONNECTIONS_MAX = 1_000
BACKLOG = 512
STUCK_MS = 30_000
"""A connection whose peer acknowledges nothing for so long is dropped."""
GRACE_S = 5


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again at its end, which would turn a proper end into a death."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises UserError in one line when there can be none."""
    listening = listening_sockets.listen(host, port, BACKLOG)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MS)
    return listening


def address_of(listening: socket.socket) -> str:
    """Where it can be reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def running(app: ASGIApp, listening: socket.socket, ending: Callable[[], None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve for the length of a block, as a task that should not end before. `ending` ends answers that have no end."""
    server = _Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            limit_concurrency=CONNECTIONS_MAX,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]), name="catalog-server")
    try:
        yield task
    finally:
        ending()
        server.should_exit = True
        await task


async def serve(app: ASGIApp, listening: socket.socket, ending: Callable[[], None]) -> signal.Signals:
    """Serve until SIGTERM or SIGINT, and say which. `ending` is called then, to end answers that have no end."""
    loop, received = asyncio.get_running_loop(), asyncio.Queue[signal.Signals]()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received.put_nowait, number)
    try:
        async with running(app, listening, ending) as server:
            asked = asyncio.create_task(received.get())
            await asyncio.wait({server, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return signal.SIGTERM if asked.cancelled() else asked.result()


def quiet() -> None:
    """What the server says of single requests is no news, and could repeat what was sent."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.access").disabled = True
