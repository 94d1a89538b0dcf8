"""The catalog as somebody would run it: a real network of a worker and a fleet behind the real command."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson

from b3iq_schemas import topics
from b3iq_schemas.decisions import RoutingDecision
from b3iq_schemas.envelope import parse
from b3iq_streams import kafka
from b3iq_streams.catalog import apikeys
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.emit import from_event
from b3iq_streams.world import TRUST_FILE
from tests.kafka.load import Load
from tests.kafka.network import PATIENCE_S, ROOT, Network, until
from tests.kafka.support import raised

BOUND_MS = 2_000
SLACK_MS = 1_500
"""For a request, a poll and a busy machine."""
SECRET = "a secret that keys the hash of callers"
COMMAND = [sys.executable, "-m", "b3iq_streams.cli", "catalog"]


class Catalog:
    """A catalog as a process, and a client of it."""

    def __init__(self, network: Network, *arguments: str, port: int = 0) -> None:
        world = network.directory / "world"
        command = [*COMMAND, "--bootstrap", network.settings.bootstrap, "--trust", str(world / TRUST_FILE)]
        command += ["--bound", str(BOUND_MS), "--port", str(port), "--log-level", "debug", *arguments]
        self.log_path = network.directory / "catalog.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, text=True, env=os.environ | {"B3IQ_CALLER_SECRET": SECRET}
            )

    async def address(self) -> str:
        """Where it says it is."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await asyncio.to_thread(self.process.stdout.readline)
        found = re.fullmatch(r"catalog of \S+ on (http://\S+)\n", line)
        assert found, line + self.log_path.read_text()[-2_000:]
        return found[1]

    async def ends(self) -> int:
        """Wait for its end; its exit code."""
        await until(lambda: self.process.poll() is not None, "the end of the catalog", 20)
        return int(self.process.returncode)

    def remove(self) -> None:
        """Take it away, however it is."""
        self.process.kill()
        self.process.communicate()


@asynccontextmanager
async def catalog(network: Network, *arguments: str, port: int = 0) -> AsyncIterator[tuple[Catalog, httpx2.AsyncClient]]:
    """A catalog and a client for the length of a block."""
    made = Catalog(network, *arguments, port=port)
    try:
        async with httpx2.AsyncClient(base_url=await made.address(), timeout=10) as http:
            yield made, http
    finally:
        made.remove()


async def becomes(ask: Callable[[], Awaitable[Any]], what: str, within_s: float = PATIENCE_S) -> Any:
    """Ask again and again until the answer is something, and return it."""
    try:
        async with asyncio.timeout(within_s):
            while not (found := await ask()):  # noqa: ASYNC110  answers of another process, which signals nothing
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None


async def error_code(http: httpx2.AsyncClient, path: str = "/v1/models") -> str:
    """The code of an error, empty where there is none."""
    answer = await http.get(path)
    return "" if answer.status_code == 200 else str(answer.json()["error"]["code"])


async def models(http: httpx2.AsyncClient) -> list[str]:
    """The models listed now; none while nothing can be claimed."""
    answer = await http.get("/v1/models")
    return [model["id"] for model in answer.json()["data"]] if answer.status_code == 200 else []


async def hold(network: Network, node_id: str) -> None:
    """An operator pauses a node."""
    event = {
        "network": network.world.network, "node_id": node_id, "seq": now_ms(), "sent_at_ms": now_ms(),
        "held": True, "reason": "planted reason", "actor": "planted@actor",
    }  # fmt: skip
    async with kafka.publisher(network.settings) as publisher:
        await publisher.publish([from_event(topics.HOLDS, event, network.world.roles["operator"])])


async def decisions(network: Network) -> list[RoutingDecision]:
    """What is on `routing-decisions`."""
    async with kafka.source(network.settings) as source:
        records = await source.read(topics.ROUTING_DECISIONS)
    return [RoutingDecision.model_validate_json(parse(record.value or b"").payload) for record in records]


def routing(directory: Path) -> tuple[str, list[str]]:
    """An API key, and the flags with which calls are routed."""
    key, entry = apikeys.new_key("test", None, None)
    apikeys.save(apikeys.KeyFile(keys=(entry,)), directory / "api-keys.json")
    return key, ["--router-key", str(directory / "world" / "router.json"), "--api-keys", str(directory / "api-keys.json")]


async def test_a_catalog_over_its_life(network: Network) -> None:
    """Models appear, calls are routed, a held node is blocked; a dead worker withdraws every claim in time, a new one brings
    them back; the end is clean with readers connected, and the next start is as good."""
    key, flags = routing(network.directory)
    worker = network.worker()
    async with Load(network, nodes=8, scenario="healthy", junk=False).running() as load:
        expected = sorted({profile["model_id"] for node in load.fleet.nodes for profile in node.profiles})
        async with catalog(network, *flags) as (process, http):

            async def all_listed() -> bool:
                return await models(http) == expected

            await becomes(all_listed, "every model of the fleet")
            assert (await http.get("/readyz")).status_code == 200
            await _routes(network, http, key, expected[0])
            await _holds(network, http, load.fleet.nodes[0].node_id)
            await _withdraws_and_returns(network, worker, http)
            port = http.base_url.port
            assert port is not None
            second = Catalog(network, port=port)
            assert (2, "") == (await second.ends(), second.process.communicate()[0])
            await _ends(process, http)
        async with catalog(network, port=port) as (process, http):
            assert await becomes(lambda: models(http), "models after a second start")
            assert (await http.post("/v1/route")).status_code == 404
            process.process.send_signal(signal.SIGINT)
            assert 130 == await process.ends()
    log = process.log_path.read_text()
    assert [] == raised(log)
    assert [] == [secret for secret in (key, SECRET, "planted", "customer-1") if secret in log]


async def _routes(network: Network, http: httpx2.AsyncClient, key: str, model: str) -> None:
    call = {"model": model, "caller": {"caller_id": "customer-1", "account_status": "active", "balance_wei": "1000"}}
    answer = await http.post("/v1/route", json=call, headers={"authorization": f"Bearer {key}"})
    assert (200, model) == (answer.status_code, answer.json()["model_id"])
    (decided,) = await decisions(network)
    assert (True, answer.json()["node_id"]) == (decided.allowed, decided.node_id)
    assert "customer-1" not in decided.model_dump_json()
    refused = await http.post("/v1/route", json=call | {"model": "none"}, headers={"authorization": f"Bearer {key}"})
    assert "no_healthy_candidates" == refused.json()["error"]["code"]
    assert 2 == len(await decisions(network))


async def _holds(network: Network, http: httpx2.AsyncClient, node_id: str) -> None:
    async with http.stream("GET", "/v1/public/changes") as stream:
        lines = stream.aiter_lines()
        await anext(lines)
        await hold(network, node_id)
        async with asyncio.timeout(PATIENCE_S):
            async for line in lines:
                if line.startswith("data: ") and orjson.loads(line[6:]).get("what") == "closed":
                    break
    told = orjson.loads(line[6:])
    assert (node_id, ["operator_hold"], False) == (told["node_id"], told["codes"], told["eligible"])
    readiness = (await http.get(f"/v1/public/nodes/{node_id}/route-readiness")).json()
    assert {(False, "operator_hold", "holds")} == {
        (profile["eligible"], blocker["code"], next(one["topic"] for one in profile["evidence"] if one["topic"] == "holds"))
        for profile in readiness["profiles"] for blocker in profile["blockers"]
    }  # fmt: skip
    assert "closed" == readiness["history"][0]["what"]
    assert "planted" not in str(readiness)


async def _withdraws_and_returns(network: Network, worker: Any, http: httpx2.AsyncClient) -> None:
    worker.signal(signal.SIGKILL)
    killed_ms = monotonic_ms()
    assert "processor_lag" == await becomes(lambda: error_code(http), "a refusal", 20)
    assert monotonic_ms() - killed_ms <= BOUND_MS + network.trust.skew_ms + SLACK_MS
    status = (await http.get("/v1/public/status")).json()
    assert (False, "processor_lag", None) == (status["ready"], status["code"], status["eligible"])
    assert "processor_lag" == await error_code(http, "/readyz")
    profiles = (await http.get("/v1/public/profiles?limit=500")).json()["items"]
    assert profiles
    assert {None} == {profile["eligible"] for profile in profiles}
    await worker.ends()
    network.worker()
    assert await becomes(lambda: models(http), "models after the worker's return")


async def _ends(process: Catalog, http: httpx2.AsyncClient) -> None:
    async with http.stream("GET", "/v1/public/changes") as stream:
        chunks = stream.aiter_bytes()
        assert (await anext(chunks)).startswith(b"event: status\n")
        process.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            async for _ in chunks:
                pass
    assert 0 == await process.ends()
