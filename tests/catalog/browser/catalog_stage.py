"""The real catalog as a stage: a chain made by hand, on a clock that runs, served on a socket. Without Kafka.

What its decisions say follows the same script as the stand-in's; everything from there on is the catalog's own doing.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from b3iq_streams.catalog.live import DEFAULTS, LiveSettings
from b3iq_streams.catalog.serving import listen
from b3iq_streams.catalog.standing import Moment
from b3iq_streams.clock import monotonic_ms
from tests.catalog.browser.standin_answers import blocker, evidence
from tests.catalog.browser.standin_fleet import Fleet, Profile
from tests.catalog.lab import CatalogLab, application
from tests.chainlab import decision
from tests.factory import T0

BEAT_S = 0.25
SPARK_STEP_MS = 500
HOUR_MS = 3_600_000


class RunningLab(CatalogLab):
    """A catalog's lab whose clock runs; `ahead_ms` moves it forward."""

    def __init__(self, settings: LiveSettings = DEFAULTS) -> None:
        self.began_ms, self.ahead_ms = monotonic_ms(), 0
        super().__init__(1, settings)

    @property
    def now_ms(self) -> int:
        """Time since the lab began, on a clock that began at T0."""
        return T0 + monotonic_ms() - self.began_ms + self.ahead_ms

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        """The base class sets it once, to where it begins anyway."""

    def clock(self) -> Moment:
        """Both clocks agree."""
        return Moment(self.now_ms, self.now_ms)


class CatalogStage:
    """A stage (see `stage.Stage`) played by the real catalog."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._listening = listen("127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self.silent, self._lagging = False, False
        self.hung_up = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)

    def start(self) -> None:
        """Answer from now on, in the background."""
        self._thread.start()
        assert self._up.wait(30)

    def close(self) -> None:
        """End every connection, then the server."""
        self.hang_up()
        self._do(self._end)
        self._thread.join(30)
        self._loop.close()

    def block(self, node_id: str, profile_id: str, code: str) -> None:
        """See `Stage`."""
        self.fleet.block(node_id, profile_id, code)
        self._do(lambda: self._lab.epoch(self._decision(self.fleet.profiles[node_id, profile_id])))

    def clear(self, node_id: str, profile_id: str, code: str) -> None:
        """See `Stage`."""
        self.fleet.clear(node_id, profile_id, code)
        self._do(lambda: self._lab.epoch(self._decision(self.fleet.profiles[node_id, profile_id])))

    def lag(self) -> None:
        """See `Stage`. The bound has passed already, so that nobody has to wait for it."""
        self._lagging = True
        self._do(self._pass_bound)

    def catch_up(self) -> None:
        """See `Stage`."""
        self._lagging = False

    def hang_up(self) -> None:
        """See `Stage`."""
        self.silent = True
        self._do(self.hung_up.set)

    def answer(self) -> None:
        """See `Stage`."""
        self.silent = False
        self._do(self.hung_up.clear)

    def forget(self) -> None:
        """See `Stage`."""
        live = self._lab.live
        self._do(lambda: live.hub.reset([head.epoch for head in live.view.heads()]))

    def _do(self, act: Callable[[], object]) -> None:
        async def done() -> None:
            act()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(30)

    def _pass_bound(self) -> None:
        self._lab.ahead_ms += 4_000

    def _end(self) -> None:
        self._lab.live.hub.close()
        self._beating.cancel()
        self._server.should_exit = True

    async def _run(self) -> None:
        self._lab = RunningLab(LiveSettings(spark_step_ms=SPARK_STEP_MS))
        self._lab.policy()
        chain = self._lab.chains[0]
        chain.policy_revision = 1
        chain.epoch(*(self._decision(profile) for profile in self.fleet.profiles.values()), at_ms=self._lab.now_ms)
        self._lab.boot()
        app = _HangsUp(application(self._lab, assets=None), self)
        config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._beating = asyncio.create_task(self._beat())
        with suppress(asyncio.CancelledError):
            await self._server.serve(sockets=[self._listening])
            await self._beating

    async def _beat(self) -> None:
        while True:
            if not self._lagging:
                self._lab.epoch()
            self._lab.live.tick()
            self._up.set()
            await asyncio.sleep(BEAT_S)

    def _decision(self, profile: Profile) -> dict[str, Any]:
        now_ms = self._lab.now_ms
        failing = [blocker(profile, code) for code in profile.codes]
        for one in failing:
            del one["next_action"], one["condition"]
        records = evidence(profile)
        for record in records:
            del record["partition"]
        return decision(
            f"{profile.node_id}/{profile.profile_id}", not failing, gates=profile.gates(), failing=failing,
            model_id=profile.model_id, route_tier=profile.route_tier, runtime_kind=profile.runtime_kind,
            throughput_mtok_per_s=profile.throughput_mtok_per_s, benchmarked_at_ms=now_ms - HOUR_MS,
            valid_until_ms=0 if failing else now_ms + HOUR_MS, decided_at_ms=now_ms, evidence=records,
        )  # fmt: skip


class _HangsUp:
    """ASGI middleware that tells every answer under way that its reader left, and lets no new one begin."""

    def __init__(self, app: ASGIApp, stage: CatalogStage) -> None:
        self._app, self._stage = app, stage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, unless silent."""
        if self._stage.silent:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body"})
            return
        gone = asyncio.ensure_future(self._stage.hung_up.wait())

        async def received() -> Message:
            heard = asyncio.ensure_future(receive())
            await asyncio.wait({heard, gone}, return_when=asyncio.FIRST_COMPLETED)
            if heard.done():
                return heard.result()
            heard.cancel()
            return {"type": "http.disconnect"}

        try:
            await self._app(scope, received, send)
        finally:
            gone.cancel()


@contextmanager
def serve(nodes: int = 24, per_node: int | None = None) -> Iterator[CatalogStage]:
    """A catalog that answers while the block runs."""
    stage = CatalogStage(Fleet(nodes, per_node=per_node))
    stage.start()
    try:
        yield stage
    finally:
        stage.close()
