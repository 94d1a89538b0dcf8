"""What must never be public, planted wherever somebody could put it, is in no answer, no event, no metric and no log line.

From signed facts through the processor's own fold to every page; from callers through the gateway; and through a real server.
"""

import asyncio
import logging
import os
import signal
from hashlib import sha256
from typing import Any

import httpx2
import pytest

from b3iq_schemas import topics
from b3iq_schemas.decisions import RoutingDecision
from b3iq_streams.catalog import serving
from b3iq_streams.catalog.apikeys import ApiKeys, KeyFile, new_key
from b3iq_streams.catalog.gateway import Gateway
from b3iq_streams.catalog.wording import HIDDEN, public_id, public_text
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place
from b3iq_streams.router.log import DecisionLog
from b3iq_streams.router.request import Request
from b3iq_streams.router.view import Choice
from tests.audit.lab import Lab
from tests.catalog.lab import CatalogLab, application, client, get, ready
from tests.catalog.reading import reading
from tests.chainlab import MODEL, decision
from tests.factory import key, policy_event, profile, public

PLANT = "planted"
"""Part of every secret that is not random."""
SECRET = b"planted secret of caller hashes"
PAGES = (
    "/v1/models", "/v1/public/status", "/v1/public/overview", "/v1/public/profiles?limit=500", "/v1/public/nodes?limit=500",
    "/v1/public/policy", "/healthz", "/readyz", "/metrics", "/openapi.json", "/",
)  # fmt: skip
ATTACKS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", f"/v1/models/b3iq_gateway_{PLANT}", {}),
    ("GET", f"/{PLANT}/x", {}),
    ("GET", f"/v1/public/profiles?q={PLANT}&model={PLANT}&tier={PLANT}&code={PLANT}", {}),
    ("GET", f"/v1/public/profiles?cursor={PLANT}", {}),
    ("GET", f"/v1/public/profiles?gate={PLANT}", {}),
    ("GET", f"/v1/public/profiles?limit={PLANT}", {}),
    ("GET", f"/v1/public/changes?since={PLANT}", {}),
    ("GET", f"/v1/public/nodes/b3iq_local_{PLANT}/route-readiness", {}),
    ("GET", f"/v1/public/nodes/{PLANT}%20x/route-readiness", {}),
    ("PUT", f"/v1/models?{PLANT}={PLANT}", {}),
    ("GET", "/v1/models", {"headers": {"authorization": f"Bearer b3iq_gateway_{PLANT}", "if-none-match": PLANT}}),
    ("POST", "/v1/route", {"headers": {"authorization": f"Bearer b3iq_gateway_{PLANT}"}, "json": {PLANT: PLANT}}),
]


class Logged:
    """A partition of the chain as the processor wrote it."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records


def planted_network() -> CatalogLab:
    """Facts with something planted in every field that takes it, folded by real owners, read by a catalog."""
    lab = Lab(2)
    word = f"b3iq_gateway_{PLANT}"
    lab.ready("good")
    lab.ready("queue", profiles=[profile(queue_health=word)])
    lab.ready("state", state=f"b3iq_local_{PLANT}", agent_version=PLANT)
    lab.ready("install", profiles=[profile(status=f"b3iq_support_{PLANT}")])
    lab.ready("tier", profiles=[profile(route_tier=word)])
    lab.ready("kind", profiles=[profile(runtime_kind=word)])
    lab.ready("url", profiles=[profile(model_id=f"http://10.0.0.7:8000/{PLANT}")])
    lab.ready("local", profiles=[profile(model_id=f"localhost:11434/{PLANT}")])
    lab.ready("ids", profiles=[profile(f"b3iq_support_{PLANT}")])
    lab.ready(f"b3iq_local_{PLANT}")
    lab.ready("route", "held")
    lab.put(topics.ROUTE_HEALTH, "route", broker_id=PLANT, state=word)
    lab.put(topics.HOLDS, "held", reason=f"{PLANT} at /home/{PLANT}/.ssh", actor=f"{PLANT}@example")
    lab.epochs(2)
    lab.policy(2, roles=policy_event()["roles"] | {"router": [public("router"), public("next")]})
    lab.epochs(1)
    made = CatalogLab(2)
    made.now_ms = lab.now_ms
    made.chains = [Logged(lab.records[Place(topics.ELIGIBILITY_CHANGES, p)]) for p in range(2)]  # type: ignore[misc]
    for partition in range(2):
        for record in lab.records[Place(topics.POLICIES, partition)]:
            made.view.apply(record)
    made.boot()
    made.live.tick()
    return made


class Gate:
    """A gateway whose decisions are composed as in production, and kept."""

    def __init__(self, lab: CatalogLab) -> None:
        self.lab, self.decisions = lab, list[RoutingDecision]()
        self.key, entry = new_key("planted-name", None, None)
        self.gateway = Gateway(ApiKeys(KeyFile(keys=(entry,))), self._pick, lab.clock, 1_000)
        self._log = DecisionLog(None, key("router"), SECRET)  # type: ignore[arg-type]  # nothing is written

    async def _pick(self, request: Request) -> Choice:
        moment = self.lab.clock()
        choice = self.lab.view.pick(request, *moment)
        self.decisions.append(self._log.compose(self.lab.view, request, choice, *moment))
        return choice

    def calls(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Calls that are allowed, refused and malformed, each with everything secret in it."""
        account = {"caller_id": f"customer-{PLANT}", "account_status": "active", "balance_wei": "7777777777777777777"}
        bodies: list[Any] = [
            {"model": MODEL, "caller": account},
            {"model": PLANT, "caller": account},
            {"model": MODEL, "caller": account | {"account_status": PLANT}},
            {"model": MODEL, "caller": account | {"tiers": [PLANT]}, "tried": [f"{PLANT}/p"]},
            {"model": MODEL, "caller": account | {"balance_wei": PLANT}},
            {"model": MODEL, "caller": account, "prompt": PLANT, PLANT: PLANT},
            {"model": MODEL, "caller": account | {PLANT: PLANT}},
            PLANT,
        ]
        return [("POST", "/v1/route", {"json": body, "headers": {"authorization": f"Bearer {self.key}"}}) for body in bodies]

    @property
    def secrets(self) -> set[str]:
        """Everything that must not be seen anywhere."""
        found = {PLANT, self.key, self.key[13:], sha256(self.key.encode()).hexdigest(), "7777777777777777777"}
        for made in self.decisions:
            found |= {made.decision_id, made.caller_hash, made.request_policy_sha256}
        names = ("processor", "router", "operator", "broker", "observer", "control_plane", "root0", "root1", "good", "next")
        return found | {public(name) for name in names} | {bytes(key(name)).hex() for name in names}


def leaks(text: str, secrets: set[str]) -> list[str]:
    """Which of them are in a text, in any case."""
    lower = text.lower()
    return [secret for secret in secrets if secret.lower() in lower]


def test_the_plants_are_really_there() -> None:
    """The processor let them through to the chain, so that it is the catalog that keeps them back; the good node is shown."""
    lab = planted_network()
    entries = {key: entry for part in range(2) for key, entry in lab.view.entries(part).items()}
    assert {"good/p0", f"ids/b3iq_support_{PLANT}", f"b3iq_local_{PLANT}/p0", "url/p0", "local/p0", "tier/p0"} <= entries.keys()
    values = [record.value or b"" for chain in lab.chains for record in chain.records]
    assert 6 <= sum(PLANT.encode() in value for value in values)


async def test_no_answer_tells() -> None:
    """Every page, every error, every stream."""
    lab = planted_network()
    gate = Gate(lab)
    app = application(lab, gate.gateway)
    said: dict[str, str] = {}
    async with client(app) as http:
        nodes = [node["node_id"] for node in (await http.get("/v1/public/nodes?limit=500")).json()["items"]]
        readiness: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", f"/v1/public/nodes/{node}/route-readiness", {}) for node in nodes
        ]
        pages: list[tuple[str, str, dict[str, Any]]] = [("GET", path, {}) for path in PAGES]
        for number, (method, path, options) in enumerate([*pages, *readiness, *ATTACKS, *gate.calls(), *pages]):
            answer = await http.request(method, path, **options)
            said[f"{number} {method} {path}"] = f"{answer.status_code} {answer.headers} {answer.text}"
    assert {"good", "queue", "state", "install", "tier", "kind", "route", "held", "ids"} == set(nodes)
    async with reading(app, headers={"last-event-id": PLANT}) as reader:
        said["stream"] = f"{await reader.next()} {await reader.next_of('reset')} {reader.headers}"
    assert {"allowed", "no_healthy_candidates", "unauthorized", "route_tier_not_allowed"} == {d.code for d in gate.decisions}
    assert {} == {asked: found for asked, text in said.items() if (found := leaks(text, gate.secrets))}
    assert 5 <= sum(text.count(HIDDEN) for text in said.values())


async def test_no_log_line_tells(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """A real server at its most talkative, asked all of it over a socket, and some things that are not HTTP at all."""
    lab = planted_network()
    gate = Gate(lab)
    serving.quiet()
    listening = serving.listen("127.0.0.1", 0)
    with listening, caplog.at_level(logging.DEBUG):
        server = asyncio.create_task(serving.serve(application(lab, gate.gateway), listening, lab.live.hub.close))
        async with httpx2.AsyncClient(base_url=serving.address_of(listening)) as http:
            caplog.clear()
            for method, path, options in [*ATTACKS, *gate.calls()]:
                await http.request(method, path, **options)
        host, port = listening.getsockname()[:2]
        for raw in (
            f"GET /{PLANT} HTTP/1.1 {PLANT}\r\n\r\n",
            f"{PLANT}\r\n\r\n",
            f"GET / HTTP/1.1\r\nhost: x\r\n{PLANT}\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(raw.encode())
            await reader.read()
            writer.close()
        assert not server.done()  # or the signal would end the tests
        os.kill(os.getpid(), signal.SIGTERM)
        await server
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    said = "\n".join(f"{record.name} {record.getMessage()} {record.exc_info} {record.args}" for record in ours)
    out, err = capfd.readouterr()
    assert [] == leaks(said + out + err, gate.secrets)


def test_what_is_hidden_is_hidden_everywhere() -> None:
    """A key with an id that may not be shown counts nowhere, and is no reason for an error."""
    lab = planted_network()
    assert 9 == len(lab.live.store.index.rows)
    held = [value for part in range(2) for value in lab.live.store.rows_of(part).values()]
    assert 4 == held.count(None)
    assert PLANT not in str([row.id for row in held if row])


def test_a_model_is_not_listed_for_a_node_that_is_not_shown() -> None:
    """However ready the node is; and whatever happens to it changes nothing of what is listed for another."""
    lab, hidden = ready(), f"b3iq_local_{PLANT}/p"
    listed = []
    for shown_eligible, hidden_eligible in ((False, True), (True, True), (True, False), (False, True), (False, False)):
        lab.epoch(decision("shown/p", shown_eligible), decision(hidden, hidden_eligible))
        listed.append(len(get(lab, "/v1/models").json["data"]))
    assert [0, 1, 1, 0, 0] == listed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (MODEL, True), ("org/name@1.0", True), ("node-1/p0", True), ("m:3", True), ("b3iq-streams", True), ("home/model", True),
        ("x-B3IQ_LOCAL_y", False), ("http://h/m", False), ("localhost:11434/m", False), ("127.0.0.1:8000", False),
        ("C:/models/m.gguf", False), ("home/ada/models/m.gguf", False),
    ],
)  # fmt: skip
def test_ids_that_are_shown(text: str, shown: bool) -> None:
    """Names are; tokens, addresses and files of somebody's machine are not."""
    assert shown is public_id(text)


@pytest.mark.parametrize("text", ["b3iq_support_x", "see http://h", "/etc/passwd", "at ~/x", "in C:\\x"])
def test_texts_that_are_withheld(text: str) -> None:
    """And plain findings are not."""
    assert (HIDDEN, "5000 wei", "one of: healthy degraded") == tuple(
        public_text(one) for one in (text, "5000 wei", "one of: healthy degraded")
    )
