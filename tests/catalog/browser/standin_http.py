"""The stand-in's HTTP: the page's files, the answers as JSON, the stream of changes. What they say is decided elsewhere."""

import mimetypes
import queue
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

if TYPE_CHECKING:
    from tests.catalog.browser.standin import Standin

ASSETS = Path(__file__).parents[3] / "streams/b3iq_streams/catalog/assets"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATUS_PERIOD_S = 0.5
END = object()


class Handler(BaseHTTPRequestHandler):
    """Answers for the `stage` it is bound to."""

    stage: "Standin"
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the reader left: nobody is waiting for an answer

    def do_GET(self) -> None:
        """Answer, unless silent."""
        if self.stage.silent:
            self.close_connection = True
            return
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        if url.path == "/v1/public/changes":
            self._changes(self.headers.get("Last-Event-ID") or query.get("since"))
        elif url.path.startswith(("/v1/", "/openapi.json")):
            self._json(url.path, query)
        else:
            self._file(url.path)

    def _json(self, path: str, query: dict[str, str]) -> None:
        answers = self.stage.answers
        with self.stage.lock:
            self.stage.fleet.sample()
            match path.removeprefix("/v1/").removeprefix("public/").split("/"):
                case ["models"]:
                    body = answers.models()
                case ["status"]:
                    body = answers.status()
                case ["overview"]:
                    body = answers.overview()
                case ["profiles"]:
                    body = answers.profiles(query)
                case ["nodes"]:
                    body = answers.nodes(query)
                case ["nodes", node_id, "route-readiness"]:
                    body = answers.readiness(unquote(node_id), query)
                case ["policy"]:
                    body = answers.policy()
                case ["", "openapi.json"]:
                    body = {"openapi": "3.1.0", "info": {"title": "stand-in", "version": "0"}, "paths": {}}
                case _:
                    return self._error(404, "not_found", path)
        return self._send(200, "application/json", orjson.dumps(body))

    def _file(self, path: str) -> None:
        file = ASSETS / ("index.html" if path == "/" else path.removeprefix("/assets/"))
        if not file.resolve().is_relative_to(ASSETS) or not file.is_file():
            return self._send(404, "text/plain", b"not found")
        return self._send(200, mimetypes.guess_type(file)[0] or "application/octet-stream", file.read_bytes())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (HEADERS | {"Content-Type": kind, "Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _changes(self, since: str | None) -> None:
        if self.stage.full:
            return self._error(503, "too_many_readers", "too many readers")
        if since is not None and not self.stage.understands_positions:
            return self._error(400, "invalid_request", "query.since is not a position")
        return self._stream(since)

    def _error(self, status: int, code: str, detail: str) -> None:
        error = {"status": status, "title": code.replace("_", " "), "detail": detail, "code": code}
        self._send(status, "application/json", orjson.dumps({"error": error}))

    def _stream(self, since: str | None) -> None:
        self.close_connection = True
        self.send_response(200)
        for name, value in (HEADERS | {"Content-Type": "text/event-stream"}).items():
            self.send_header(name, value)
        self.end_headers()
        with self.stage.reading(since) as waiting:
            while True:
                if self.stage.stalled:
                    self.stage.pause.wait(STATUS_PERIOD_S)
                    continue
                with self.stage.lock:
                    position = self.stage.fleet.position() if waiting.empty() else None
                    status = self.stage.answers.status(partitions=False)
                self._event("status", position, status)
                for item in _drain(waiting):
                    if item is END:
                        return
                    self._event(*item)

    def _event(self, name: str, position: str | None, data: dict[str, Any]) -> None:
        head = f"event: {name}\n" + (f"id: {position}\n" if position else "")
        self.wfile.write(head.encode() + b"data: " + orjson.dumps(data) + b"\n\n")


def _drain(waiting: "queue.SimpleQueue[Any]") -> Iterator[Any]:
    """What is waiting now, or within a status period."""
    try:
        yield waiting.get(timeout=STATUS_PERIOD_S)
        while True:
            yield waiting.get_nowait()
    except queue.Empty:
        return
