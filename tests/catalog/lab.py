"""A catalog over chains made by hand, on a clock that is set: the router's lab with everything the catalog keeps beside it."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx2
import orjson
from fastapi import FastAPI

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.catalog.app import create_app
from b3iq_streams.catalog.gateway import Gateway
from b3iq_streams.catalog.live import DEFAULTS, Live, LiveSettings
from b3iq_streams.catalog.pages import Assets
from b3iq_streams.catalog.standing import Moment
from b3iq_streams.core.records import Record
from tests.factory import T0
from tests.shells.router_lab import RouterLab

ADDRESS = "http://catalog.test"
NO_ASSETS = Assets({})


class CatalogLab(RouterLab):
    """A view whose accepted epochs reach a `Live`, and the clock that both read."""

    def __init__(self, partitions: int = 1, settings: LiveSettings = DEFAULTS) -> None:
        super().__init__(partitions)
        self.now_ms = T0
        self._read_ms: Callable[[], int] | None = None
        self.live = Live(self.view, self.clock, settings)

    @cached_property
    def app(self) -> FastAPI:
        """The pages, without routing and without files."""
        return application(self)

    def clock(self) -> Moment:
        """Both clocks agree."""
        now_ms = self._read_ms() if self._read_ms else self.now_ms
        return Moment(now_ms, now_ms)

    @contextmanager
    def clock_of(self, read_ms: Callable[[], int]) -> Iterator[None]:
        """Another clock for the length of a block."""
        self._read_ms = read_ms
        try:
            yield
        finally:
            self._read_ms = None

    def policy(self, revision: int = 1, at_ms: int = T0, partition: int = 0, **changes: Any) -> Record:
        """Write and feed a policy revision."""
        apply, steps = self.view.apply, []

        def noted(record: Record) -> list[Any]:
            found = apply(record)
            steps.extend(found)
            return found

        self.view.apply = noted  # type: ignore[method-assign]  # what is held back until a policy comes is accepted with it
        try:
            return super().policy(revision, at_ms, partition, **changes)
        finally:
            self.view.apply = apply  # type: ignore[method-assign]
            for step in steps:
                self.live.absorb(step)

    def feed(self) -> None:
        """Feed everything that the view has not been fed yet, as the client does."""
        for partition, chain in enumerate(self.chains):
            for record in chain.records[self.view.parts[partition].position :]:
                for step in self.view.apply(record):
                    self.live.absorb(step)

    def epoch(self, *decisions: Mapping[str, Any], partition: int = 0, **options: Any) -> None:
        """An accepted epoch, resolved now unless told otherwise, and read at once."""
        self.chains[partition].epoch(*decisions, **({"at_ms": self.now_ms} | options))
        self.feed()

    def restart(self, partition: int = 0) -> None:
        """The view of a partition begins anew, with everything that its log holds."""
        self.view.parts[partition].lost(RouteRefusal.VIEW_NOT_SYNCED, restart=True)
        self.boot()

    def pass_ms(self, passed_ms: int, idle: bool = True) -> None:
        """Let time pass; with an empty epoch on each partition unless the processor is silent."""
        self.now_ms += passed_ms
        if idle:
            for partition in range(len(self.chains)):
                self.epoch(partition=partition)
        self.live.tick()


def ready(partitions: int = 1, settings: LiveSettings = DEFAULTS) -> CatalogLab:
    """A synced catalog under policy 1, with an epoch resolved now on every partition."""
    lab = CatalogLab(partitions, settings)
    lab.policy()
    for chain in lab.chains:
        chain.policy_revision = 1
        chain.epoch(at_ms=T0)
    lab.boot()
    lab.live.tick()
    return lab


@dataclass
class Answer:
    """An answer over HTTP."""

    status: int
    headers: httpx2.Headers
    content: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return orjson.loads(self.content)

    @property
    def code(self) -> str:
        """The code of an error, the same in both forms."""
        error = self.json["error"]
        assert error.get("b3iq", error)["code"] == error["code"]
        return str(error["code"])


def application(lab: CatalogLab, gateway: Gateway | None = None, **options: Any) -> FastAPI:
    """The pages over a lab."""
    return create_app(lab.live, gateway, **({"assets": NO_ASSETS} | options))


def client(app: FastAPI) -> httpx2.AsyncClient:
    """A client without a network in between."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ADDRESS)


def ask(app: FastAPI, path: str, method: str = "GET", **options: Any) -> Answer:
    """One request from outside any event loop."""
    return ask_all(app, [(method, path, options)])[0]


def ask_all(app: FastAPI, requests: Iterable[tuple[str, str, dict[str, Any]]]) -> list[Answer]:
    """Several, one after the other."""

    async def run() -> list[Answer]:
        async with client(app) as http:
            found = [await http.request(method, path, **options) for method, path, options in requests]
        return [Answer(one.status_code, one.headers, one.content) for one in found]

    return asyncio.run(run())


def get(lab: CatalogLab, path: str, **options: Any) -> Answer:
    """One GET of a lab's pages."""
    return ask(lab.app, path, **options)
