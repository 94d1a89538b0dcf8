"""Asks local runtimes over HTTP what they really serve. Whatever is not a clear answer in time is "not reachable".

A server is believed to be of a kind only if it speaks that kind's own paths, so that an Ollama is not taken for a vLLM.
Redirects are refused, proxies of the environment ignored, answers cut off at `ANSWER_BYTES_MAX`.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx2

from b3iq_streams.errors import UserError
from b3iq_streams.node import formats
from b3iq_streams.node.inventory import Inventory, Offer, Runtime
from b3iq_streams.private_files import read_private

ANSWER_BYTES_MAX = 2 << 20
TOKEN_BYTES_MAX = 4096


class NoAnswer(Exception):
    """Why a runtime counts as not reachable; for the host's eyes only."""


class Found(NamedTuple):
    """One runtime as the probe found it; `why` is empty if it answered, and never leaves the host."""

    models: formats.Models = MappingProxyType({})
    queue_health: str = "unhealthy"
    why: str = ""


NOT_ASKED = Found(why="not asked yet")


class Observed(NamedTuple):
    """What the probe decides of a profile."""

    status: str
    runtime_reachable: bool
    queue_health: str
    context_tokens_max: int
    why: str


class _Server:
    """One runtime behind a client; `get` answers with a body or raises NoAnswer."""

    def __init__(self, client: httpx2.AsyncClient, runtime: Runtime, token: str) -> None:
        self._client, self._base = client, runtime.url.rstrip("/").removesuffix("/v1")
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})

    async def get(self, path: str) -> bytes:
        """The body of a 200."""
        body = bytearray()
        try:
            async with self._client.stream("GET", self._base + path, headers=self._headers) as response:
                if response.is_redirect:
                    raise NoAnswer(f"{path} redirects, which is refused")
                if response.status_code != 200:
                    raise NoAnswer(f"{path} answers {response.status_code}")
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX:
                        raise NoAnswer(f"{path} answers with more than {ANSWER_BYTES_MAX} bytes")
        except httpx2.ConnectError:
            raise NoAnswer("nothing listens there, or not what its address promises") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise NoAnswer(f"{path}: {type(error).__name__}") from None
        return bytes(body)


async def _vllm(server: _Server) -> formats.Models:
    formats.parse(formats.Version, await server.get("/version"))
    await server.get("/health")
    return formats.openai_models(await server.get("/v1/models"))


async def _sglang(server: _Server) -> formats.Models:
    formats.parse(formats.SglangModel, await server.get("/get_model_info"))
    await server.get("/health")
    return formats.openai_models(await server.get("/v1/models"))


async def _ollama(server: _Server) -> formats.Models:
    formats.parse(formats.Version, await server.get("/api/version"))
    return formats.ollama_models(await server.get("/api/tags"))


async def _openai(server: _Server) -> formats.Models:
    return formats.openai_models(await server.get("/v1/models"))


_KINDS: Mapping[str, Callable[[_Server], Awaitable[formats.Models]]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "ollama": _ollama,
    "openai": _openai,
}
"""How each kind is asked; each raises NoAnswer or Malformed."""


class Prober:
    """Probes all runtimes of an inventory at once. Tokens are read when it is made, so that a bad file is told then."""

    def __init__(self, inventory: Inventory, timeout_s: float) -> None:
        self._inventory, self._timeout_s = inventory, timeout_s
        self._tls = ssl.create_default_context()  # once: reading the system's certificates takes longer than a probe
        self._tokens = {name: _token(runtime.token_file) for name, runtime in inventory.runtimes.items()}

    async def look(self) -> dict[str, Observed]:
        """Every profile, by its id, as it stands now; takes no longer than the time-out."""
        settings: dict[str, Any] = {"verify": self._tls, "trust_env": False, "follow_redirects": False}
        async with httpx2.AsyncClient(timeout=self._timeout_s, **settings) as client:
            runtimes = self._inventory.runtimes
            results = await asyncio.gather(*(self._ask(client, name, runtime) for name, runtime in runtimes.items()))
        found = dict(zip(runtimes, results, strict=True))
        return {offer.profile_id: observed(offer, found[offer.runtime]) for offer in self._inventory.profiles}

    async def _ask(self, client: httpx2.AsyncClient, name: str, runtime: Runtime) -> Found:
        server = _Server(client, runtime, self._tokens[name])
        try:
            async with asyncio.timeout(self._timeout_s):
                models = await _KINDS[runtime.kind](server)
                return Found(models, await _queue_health(server, runtime))
        except TimeoutError:
            return Found(why=f"no answer within {self._timeout_s:g} s")
        except formats.Malformed:
            return Found(why=f"does not answer as {runtime.kind} does")
        except NoAnswer as error:
            return Found(why=str(error))


def observed(offer: Offer, found: Found) -> Observed:
    """What holds of a profile, given what its runtime answered."""
    if found.why:
        return Observed("runtime_missing", False, found.queue_health, offer.context_tokens_max, found.why)
    if offer.local_name not in found.models:
        why = f"the runtime answers, but does not serve {offer.local_name}"
        return Observed("ready_to_install", True, found.queue_health, offer.context_tokens_max, why)
    longest = found.models[offer.local_name]
    context = offer.context_tokens_max if longest is None else min(longest, offer.context_tokens_max)
    return Observed("installed", True, found.queue_health, context, "")


async def _queue_health(server: _Server, runtime: Runtime) -> str:
    if not runtime.counts_queue:
        return "healthy"
    waiting = formats.waiting_requests(runtime.kind, await server.get("/metrics"))
    if runtime.queue_blocked_at is not None and waiting >= runtime.queue_blocked_at:
        return "blocked"
    return "degraded" if runtime.queue_degraded_at is not None and waiting >= runtime.queue_degraded_at else "healthy"


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    token = read_private(path, "token file", TOKEN_BYTES_MAX).strip()
    if not token or not token.isascii() or any(byte <= 32 for byte in token):
        raise UserError(f"token file {path} must hold one token")
    return token.decode()
