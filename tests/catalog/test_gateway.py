"""`POST /v1/route`: who may ask, for what, how often, with how much; every answer of the router with its status and code."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from b3iq_schemas.codes import ROUTE_REFUSAL_MEANING, RouteRefusal
from b3iq_streams.catalog.apikeys import ApiKeys, KeyFile, new_key
from b3iq_streams.catalog.gateway import BODY_BYTES_MAX, Gateway
from b3iq_streams.kafka import KafkaRefused
from b3iq_streams.router.request import Request
from b3iq_streams.router.view import Choice
from tests.catalog.lab import Answer, CatalogLab, application, ask, client, get, ready
from tests.chainlab import MODEL, decision
from tests.shells.router_lab import BOUND_MS, RICH

ACCOUNT = {"caller_id": "customer-17", "account_status": "active", "balance_wei": RICH}
CALL: dict[str, Any] = {"model": MODEL, "caller": ACCOUNT}
RATE = 5


class Desk:
    """A lab with a gateway: its keys, and every request that reached the router."""

    def __init__(self, lab: CatalogLab | None = None, **scope: Any) -> None:
        self.lab = lab or ready()
        self.key, entry = new_key("test", scope.get("models"), scope.get("tiers"))
        self.other, second = new_key("second", None, None)
        self.asked: list[Request] = []
        self.failing: Exception | None = None
        keys = ApiKeys(KeyFile(keys=(entry, second)))
        self.app = application(self.lab, Gateway(keys, self._pick, self.lab.clock, RATE))

    async def _pick(self, request: Request) -> Choice:
        self.asked.append(request)
        if self.failing is not None:
            raise self.failing
        return self.lab.view.pick(request, *self.lab.clock())

    def call(self, body: Any = CALL, key: str | None = None, **headers: str) -> Answer:
        """One call, with the desk's own key unless told otherwise."""
        given = {"authorization": f"Bearer {self.key if key is None else key}", "content-type": "application/json"} | headers
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return ask(self.app, "/v1/route", "POST", content=content, headers=given)


def desk(*decisions: dict[str, Any], **scope: Any) -> Desk:
    """A gateway over one node that is ready, unless told otherwise."""
    made = Desk(**scope)
    made.lab.epoch(*(decisions or (decision(),)))
    return made


def test_an_allowed_call() -> None:
    """Who serves it, and at which price."""
    answer = desk().call()
    assert (200, "no-store") == (answer.status, answer.headers["cache-control"])
    assert answer.json == {
        "allowed": True, "code": "allowed", "node_id": "node-1", "profile_id": "p0", "model_id": MODEL,
        "route_tier": "network_beta", "runtime_kind": "vllm", "price_wei_per_mtok": "250000000000000",
        "throughput_mtok_per_s": 90_000,
    }  # fmt: skip


PRICE = 250_000_000_000_000
REFUSED: list[tuple[dict[str, Any], RouteRefusal]] = [
    ({"caller": ACCOUNT | {"account_status": "suspended"}}, RouteRefusal.UNAUTHORIZED),
    ({"caller": ACCOUNT | {"balance_wei": "0"}}, RouteRefusal.INSUFFICIENT_BALANCE),
    ({"caller": ACCOUNT | {"balance_wei": str(PRICE - 1)}, "est_tokens": 1_000_000}, RouteRefusal.INSUFFICIENT_BALANCE),
    ({"caller": ACCOUNT | {"spend_cap_wei": "1", "spent_wei": "1"}}, RouteRefusal.SPEND_CAP_EXCEEDED),
    ({"caller": ACCOUNT | {"models_denied": [MODEL]}}, RouteRefusal.SCOPE_DENIED),
    ({"caller": ACCOUNT | {"tiers": ["portable_local"]}}, RouteRefusal.TIER_NOT_ALLOWED),
    ({"caller": ACCOUNT | {"price_max_wei_per_mtok": "1"}}, RouteRefusal.PRICE_ABOVE_MAX),
    ({"tried": ["node-1/p0"]}, RouteRefusal.ROUTER_DISPATCH_FAILED),
    ({"model": "nobody/serves-it"}, RouteRefusal.NO_HEALTHY_CANDIDATES),
]


@pytest.mark.parametrize(("changes", "refusal"), REFUSED)
def test_a_refusal_has_the_routers_status_and_code(changes: dict[str, Any], refusal: RouteRefusal) -> None:
    """In the OpenAI form."""
    answer = desk().call(CALL | changes)
    assert (ROUTE_REFUSAL_MEANING[refusal][0], refusal) == (answer.status, answer.code)


def test_a_lagging_view_refuses() -> None:
    """The view's own code."""
    made = desk()
    made.lab.pass_ms(BOUND_MS + 1, idle=False)
    answer = made.call()
    assert (503, "processor_lag", "1") == (answer.status, answer.code, answer.headers["retry-after"])


def test_a_decision_that_cannot_be_logged_is_no_answer() -> None:
    """503 with its own code; the caller is not told who would have served."""
    made = desk()
    made.failing = KafkaRefused("broker b3iq-secret-host:9092 is away")
    answer = made.call()
    assert (503, "decision_not_logged") == (answer.status, answer.code)
    assert b"9092" not in answer.content


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer {key}x", "Bearer b3iq_local_x", "Bearer \xe9"]
)
def test_without_a_known_key_nothing_is_looked_at(authorization: str) -> None:
    """401 before the body is read, however wrong that is."""
    made = desk()
    header = authorization.format(key=made.key)
    answer = ask(made.app, "/v1/route", "POST", content=b"{" * 100, headers={"authorization": header.encode("latin-1")})
    assert (401, "unauthorized", "Bearer") == (answer.status, answer.code, answer.headers["www-authenticate"])
    assert [] == made.asked


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_known_in_any_case(scheme: str) -> None:
    """As HTTP has it."""
    made = desk()
    assert 200 == made.call(authorization=f"{scheme} {made.key}").status


@pytest.mark.parametrize(
    ("scope", "changes", "covered"),
    [
        ({"models": [MODEL]}, {}, True),
        ({"models": ["other"]}, {}, False),
        ({"models": []}, {}, False),
        ({"tiers": ["network_beta"]}, {}, False),
        ({"tiers": ["network_beta"]}, {"caller": ACCOUNT | {"tiers": ["network_beta"]}}, True),
        ({"tiers": ["network_beta"]}, {"caller": ACCOUNT | {"tiers": ["network_beta", "portable_local"]}}, False),
        ({"tiers": ["network_beta", "x"]}, {"caller": ACCOUNT | {"tiers": []}}, None),
    ],
)
def test_a_key_reaches_no_further_than_its_scope(scope: dict[str, Any], changes: dict[str, Any], covered: bool | None) -> None:
    """A request for more than the key may have is refused before the router is asked, however rich the account."""
    made = desk(**scope)
    answer = made.call(CALL | changes)
    if covered is False:
        assert (403, "gateway_api_key_scope_denied", []) == (answer.status, answer.code, made.asked)
    else:
        assert (200 if covered else 403, 1) == (answer.status, len(made.asked))


def test_a_key_is_limited_by_itself() -> None:
    """So many calls at once, then one per interval; another key is not touched."""
    made = desk()
    statuses = [made.call().status for _ in range(RATE + 2)]
    assert [200] * RATE + [429] * 2 == statuses
    refused = made.call()
    assert ("rate_limited", "1") == (refused.code, refused.headers["retry-after"])
    assert 200 == made.call(key=made.other).status
    made.lab.now_ms += 1_000 // RATE
    assert [200, 429] == [made.call().status for _ in range(2)]


# --- bodies -----------------------------------------------------------------------------------------------------------


def of_size(size: int) -> bytes:
    """A well-formed call of so many bytes."""
    call = orjson.dumps(CALL)
    return call[:-1] + b" " * (size - len(call)) + b"}"


def test_a_body_may_have_64_kib() -> None:
    """Not one byte more."""
    assert [200, 413] == [desk().call(of_size(size)).status for size in (BODY_BYTES_MAX, BODY_BYTES_MAX + 1)]


async def test_a_body_that_does_not_say_how_long_it_is_may_not_have_more() -> None:
    """Chunked: the answer comes as soon as there is too much, and the rest is not read."""
    made, sent = await asyncio.to_thread(desk), 0

    async def chunks(count: int) -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(count):
            sent += 1
            yield b" " * 1_024

    headers = {"authorization": f"Bearer {made.key}", "content-type": "application/json"}
    async with client(made.app) as http:
        answer = await http.post("/v1/route", content=chunks(10_000), headers=headers)
        assert (413, "body_too_large") == (answer.status_code, answer.json()["error"]["code"])
        assert 65 == sent
        assert 400 == (await http.post("/v1/route", content=chunks(64), headers=headers)).status_code


@pytest.mark.parametrize("length", ["65537", "9" * 30, "-1", "x", "١"])
def test_a_length_that_is_announced_counts(length: str) -> None:
    """A body that says it is too long, or how long it is in no number, is not read."""
    made = desk()
    given = {"authorization": f"Bearer {made.key}", "content-type": "application/json", "content-length": length}
    headers = {name.encode(): value.encode() for name, value in given.items()}
    answer = ask(made.app, "/v1/route", "POST", content=orjson.dumps(CALL), headers=headers)
    assert (413, "body_too_large", "close") == (answer.status, answer.code, answer.headers["connection"])


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application"])
def test_another_type_is_not_read(kind: str) -> None:
    """Which also keeps plain web forms of other sites away."""
    answer = desk().call(**{"content-type": kind})
    assert (415, "unsupported_media_type") == (answer.status, answer.code)


def test_a_type_may_have_parameters() -> None:
    """As HTTP has it."""
    assert 200 == desk().call(**{"content-type": "Application/JSON; charset=utf-8"}).status


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "the request is not JSON"),
    (b"{", "the request is not JSON"),
    (b"\xff\xfe", "the request is not JSON"),
    (b"[" * 60_000, "the request"),
    (b"[]", "the request"),
    (b"null", "the request"),
    (orjson.dumps({"model": MODEL}), "caller is missing"),
    (orjson.dumps(CALL | {"b3iq_gateway_planted": 1}), "the request has a field that is not known"),
    (orjson.dumps(CALL | {"caller": ACCOUNT | {"prompt": "planted"}}), "caller has a field that is not known"),
    (orjson.dumps(CALL | {"model": "pla nted"}), "model does not have the form it must have"),
    (orjson.dumps(CALL | {"est_tokens": "1"}), "est_tokens"),
    (orjson.dumps(CALL | {"est_tokens": -1}), "est_tokens is too small"),
    (orjson.dumps(CALL | {"est_tokens": 1.5}), "est_tokens"),
    (orjson.dumps(CALL | {"tried": ["x"] * 65}), "tried has too many entries"),
    (orjson.dumps(CALL | {"caller": ACCOUNT | {"balance_wei": 7}}), "caller.balance_wei"),
    (orjson.dumps(CALL | {"caller": ACCOUNT | {"balance_wei": "planted"}}), "caller.balance_wei"),
    (b'{"model":"m","est_tokens":NaN}', "est_tokens is not"),
]


@pytest.mark.parametrize(("body", "detail"), BAD_BODIES)
def test_a_body_that_is_no_call(body: bytes, detail: str) -> None:
    """400, with the place by the schema's names and nothing of what was sent."""
    made = desk()
    answer = made.call(body)
    assert (400, "invalid_request", []) == (answer.status, answer.code, made.asked)
    assert answer.json["error"]["message"].startswith(detail)
    assert b"planted" not in answer.content
    assert b"customer-17" not in answer.content


def test_without_a_gateway_there_is_no_such_page() -> None:
    """404, as if it had never been; and the description does not mention it."""
    lab = ready()
    assert 404 == ask(lab.app, "/v1/route", "POST").status
    assert "/v1/route" not in get(lab, "/openapi.json").json["paths"]
    assert "/v1/route" in ask(desk().app, "/openapi.json").json["paths"]
