"""An unmodified OpenAI client: it lists models, gets one, and sees every "no" as an error of its own, with our code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest
from fastapi import FastAPI

from tests.catalog.lab import ADDRESS, ready
from tests.catalog.test_gateway import ACCOUNT, CALL, RATE, Desk, desk
from tests.chainlab import MODEL, decision
from tests.factory import T0
from tests.shells.router_lab import BOUND_MS


@asynccontextmanager
async def openai_client(app: FastAPI, key: str = "anything") -> AsyncIterator[openai.AsyncOpenAI]:
    """The client as anybody would make it, but for the network in between."""
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app))
    async with openai.AsyncOpenAI(base_url=f"{ADDRESS}/v1", api_key=key, http_client=http, max_retries=0) as client:
        yield client


async def test_models() -> None:
    """The list, page by page as the client sees it, and single ones, with and without slashes."""
    lab = ready()
    lab.epoch(decision(), decision("node-2/p0", model_id="org/name"), decision("node-3/p0", False, model_id="no"))
    async with openai_client(lab.app) as client:
        listed = [model async for model in client.models.list()]
        single = [await client.models.retrieve(model.id) for model in listed]
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("no")
    assert [(MODEL, "model", T0 // 1_000, "b3iq"), ("org/name", "model", T0 // 1_000, "b3iq")] == [
        (model.id, model.object, model.created, model.owned_by) for model in listed
    ]
    assert listed == single
    assert ("model_not_found", "not_found_error", None) == (missing.value.code, missing.value.type, missing.value.param)


async def test_lag() -> None:
    """503 is an InternalServerError whose code says why."""
    lab = ready()
    lab.pass_ms(BOUND_MS + 1, idle=False)
    async with openai_client(lab.app) as client:
        with pytest.raises(openai.InternalServerError) as error:
            await client.models.list()
    assert (503, "processor_lag", "api_error") == (error.value.status_code, error.value.code, error.value.type)
    assert "bound" in error.value.message


def narrow() -> Desk:
    """A key for another model."""
    return desk(models=["other"])


def exhausted() -> Desk:
    """A key that made all its calls."""
    made = desk()
    for _ in range(RATE):
        made.call()
    return made


@pytest.mark.parametrize(
    ("make", "body", "kind", "code"),
    [
        (desk, CALL, None, ""),
        (narrow, CALL, openai.PermissionDeniedError, "gateway_api_key_scope_denied"),
        (exhausted, CALL, openai.RateLimitError, "rate_limited"),
        (desk, {}, openai.BadRequestError, "invalid_request"),
        (desk, CALL | {"caller": ACCOUNT | {"account_status": "suspended"}}, openai.AuthenticationError, "unauthorized"),
        (desk, CALL | {"caller": ACCOUNT | {"balance_wei": "0"}}, openai.APIStatusError, "insufficient_balance"),
        (desk, CALL | {"model": "none"}, openai.InternalServerError, "no_healthy_candidates"),
    ],
)
async def test_routing(make: Any, body: Any, kind: type[openai.APIStatusError] | None, code: str) -> None:
    """With the client's own way to call a page it does not know."""
    made = await asyncio.to_thread(make)
    async with openai_client(made.app, made.key) as client:
        if kind is None:
            assert "node-1" == (await client.post("/route", body=body, cast_to=dict[str, Any]))["node_id"]
            return
        with pytest.raises(kind) as error:
            await client.post("/route", body=body, cast_to=dict[str, Any])
    assert code == error.value.code
