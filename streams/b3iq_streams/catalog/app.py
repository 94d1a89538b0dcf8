"""The application: pages, errors, guards. Made from a live half and nothing else, so without I/O until it is served."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from b3iq_streams.catalog import errors, openai_pages, public_pages, service_pages
from b3iq_streams.catalog.gateway import Gateway, RouteRequest
from b3iq_streams.catalog.guard import Guard
from b3iq_streams.catalog.live import Live
from b3iq_streams.catalog.metrics import Metrics
from b3iq_streams.catalog.models import ChangeEvent, StatusEvent
from b3iq_streams.catalog.pages import Assets

_DESCRIPTION = (
    "What the network's paid-route readiness is, as the router sees it: claims are made only while the whole view can be acted "
    "on. All times are Unix milliseconds, money is a decimal string in wei. Clients branch on `code`."
)
_PARAMETERS = frozenset(
    {"query", "path", "header", "cursor", "limit", "model", "tier", "eligible", "code", "gate", "q", "since", "node_id"}
)  # fmt: skip


def create_app(
    live: Live, gateway: Gateway | None = None, cors_origins: Sequence[str] = (), assets: Assets | None = None
) -> FastAPI:
    """The pages over a live half; `/v1/route` only with a gateway, CORS only for the origins given."""
    metrics = Metrics(live)
    cors = Middleware(CORSMiddleware, allow_origins=list(cors_origins), allow_methods=["GET"], expose_headers=["ETag"])
    app = FastAPI(
        title="b3iq catalog",
        version="1",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Guard, metrics=metrics, clock=live.clock), *([cors] if cors_origins else [])],
    )
    app.include_router(openai_pages.models_router(live))
    app.include_router(public_pages.router(live))
    app.include_router(public_pages.changes_router(live))
    if gateway is not None:
        app.include_router(openai_pages.route_router(gateway))
    app.include_router(service_pages.router(live, metrics))
    app.include_router(service_pages.assets_router(Assets.packaged() if assets is None else assets))
    errors.install(app, _PARAMETERS)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """The framework documents 422 for whatever takes parameters; here that is 400, as documented at each page."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        for page in document["paths"].values():
            for operation in page.values():
                operation["responses"].pop("422", None)
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        if "/v1/route" in document["paths"]:
            document["components"]["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
            schemas |= _schemas(RouteRequest)
        schemas |= _schemas(ChangeEvent, StatusEvent)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the framework's own way to change the document


def _schemas(*kinds: type[BaseModel]) -> dict[str, Any]:
    """What the framework does not see: bodies read by hand, and the data of events."""
    _, found = models_json_schema([(kind, "serialization") for kind in kinds], ref_template="#/components/schemas/{model}")
    return dict(found["$defs"])
