"""The worker's own pages beside Faust's: liveness, readiness, metrics.

| page | 200 when |
|---|---|
| `/healthz` | the event loop answers (the watchdog ends a process that makes no progress) |
| `/readyz` | the group has given out its partitions, and each held here has a recent accepted epoch; a standby is ready, too |
| `/metrics` | always: Prometheus text format |
"""

from typing import Any

from b3iq_streams.processor.app import ProcessorApp
from b3iq_streams.processor.metrics import Metrics

RESOLVED_LAG_MAX_S = 10.0


def add_pages(app: ProcessorApp, metrics: Metrics) -> None:
    """Serve the pages from the app's web server."""

    @app.page("/healthz", name="healthz")
    async def healthz(web: Any, request: Any) -> Any:
        return web.json({"alive": True})

    @app.page("/readyz", name="readyz")
    async def readyz(web: Any, request: Any) -> Any:
        waiting = sorted(str(vital.what) for vital in app.shell.vitals() if not vital.live)
        lag_s = metrics.resolved_lag_seconds_max
        ready = app.shell.settled and not waiting and (lag_s is None or lag_s <= RESOLVED_LAG_MAX_S)
        return web.json({"ready": ready, "waiting_for": waiting, "resolved_lag_seconds": lag_s}, status=200 if ready else 503)

    @app.page("/metrics", name="metrics")
    async def exposition(web: Any, request: Any) -> Any:
        return web.bytes(metrics.render(), content_type="text/plain; version=0.0.4")
