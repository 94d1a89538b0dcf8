"""The claim check: while processors are killed and started again, every list of models is held against a second router.

The catalog and that router follow the same real log, each at its own pace. What the router held at each epoch is kept, so
that a list can be judged by what a router standing exactly there would have granted.
"""

import asyncio
import os
import random
import signal
from typing import NamedTuple

import httpx2

from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams.catalog.app import create_app
from b3iq_streams.catalog.opening import Opened, opened
from b3iq_streams.catalog.pages import Assets
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.kafka import Place
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.partition import Step, ViewSettings
from tests.kafka.load import Load
from tests.kafka.network import Network, Worker, until

SOAK_MS = int(os.environ.get("B3IQ_SOAK_S", "60")) * 1_000
BOUND_MS = 2_000
PAUSE_S = 0.02
NODES = 16
"""Few enough that a model loses its last candidate now and then."""
UP_S = (3.0, 7.0)
DOWN_S = (0.0, 4.0)
"""How long a worker is left alone, and how long there is none: around the bound, so that some outages close and some do not."""


class Held(NamedTuple):
    """What a router held of one partition at one epoch: resolved time, and the latest end of evidence by model."""

    resolved_at_ms: int
    valid_until_ms: dict[str, int]


class Seen(NamedTuple):
    """One list as it was answered: when it was asked for, where the catalog stood, what was on it (None: no claims)."""

    asked_at_ms: int
    digests: tuple[str, ...]
    models: tuple[str, ...] | None


class Router:
    """A router of its own, which remembers what it held at every epoch."""

    def __init__(self, network: Network) -> None:
        self.held: dict[tuple[int, str], Held] = {}
        settings = ViewSettings(bound_ms=BOUND_MS)
        self.client = RouterClient(network.settings, network.trust, settings, absorb=self._absorb)

    def _absorb(self, step: Step) -> None:
        ends: dict[str, int] = {}
        for candidate in self.client.view.entries(step.partition).values():
            if candidate.eligible:
                ends[candidate.model_id] = max(candidate.valid_until_ms, ends.get(candidate.model_id, 0))
        head = step.accepted.head
        self.held[step.partition, head.digest] = Held(head.resolved_at_ms, ends)


async def _look(catalog: Opened, http: httpx2.AsyncClient) -> Seen | None:
    """Ask for the list; None if the view moved on meanwhile."""
    asked_at_ms, before = now_ms(), tuple(head.digest for head in catalog.client.view.heads())
    answer = await http.get("/v1/models")
    if before != tuple(head.digest for head in catalog.client.view.heads()):
        return None
    if answer.status_code != 200:
        assert (503, "processor_lag") == (answer.status_code, answer.json()["error"]["code"])
        return Seen(asked_at_ms, before, None)
    return Seen(asked_at_ms, before, tuple(model["id"] for model in answer.json()["data"]))


async def _torment(network: Network, worker: Worker, load: Load, rng: random.Random, until_ms: int) -> int:
    """Kill the worker and start another, while nodes fall silent and speak again, until the time is up; how often."""
    places, kills = [Place(HEARTBEATS, partition) for partition in range(network.partitions)], 0
    while monotonic_ms() < until_ms:
        load.mute()
        load.mute(*rng.sample(places, rng.randint(0, len(places))))
        await asyncio.sleep(rng.uniform(*UP_S))
        worker.signal(signal.SIGKILL)
        await worker.ends()
        await asyncio.sleep(rng.uniform(*DOWN_S))
        worker, kills = network.worker(), kills + 1
    return kills


def wrongly_listed(seen: Seen, router: Router, skew_ms: int) -> list[str]:
    """The models on a list that a router standing at the same epochs refuses at the moment the list was asked for."""
    held = [router.held[number, digest] for number, digest in enumerate(seen.digests)]
    fresh = all(seen.asked_at_ms <= one.resolved_at_ms + BOUND_MS for one in held)
    ends = {model: max(one.valid_until_ms.get(model, 0) for one in held) for model in seen.models or ()}
    return [model for model, end_ms in ends.items() if not fresh or end_ms <= seen.asked_at_ms + skew_ms]


async def test_no_list_claims_what_a_router_at_the_same_place_refuses(network: Network) -> None:
    """Over a minute of kills, with nodes in every kind of trouble, no model is listed that the router would refuse."""
    router, rng, seen = Router(network), random.Random(7), list[Seen]()
    worker = network.worker()
    async with (
        router.client,
        opened(network.settings, network.trust, ViewSettings(bound_ms=BOUND_MS)) as catalog,
        Load(network, nodes=NODES, junk=False).running() as load,
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(catalog.live, assets=Assets({}))), base_url="http://catalog.test"
        ) as http,
    ):
        view = catalog.client.view
        await until(lambda: catalog.live.look().ready and any(True for _ in view.models()), "a first claim")
        torment = asyncio.create_task(_torment(network, worker, load, rng, monotonic_ms() + SOAK_MS))
        while not torment.done():
            found = await _look(catalog, http)
            seen += [found] if found is not None else []
            await asyncio.sleep(PAUSE_S)
        kills = torment.result()
        await until(lambda: all((n, digest) in router.held for one in seen for n, digest in enumerate(one.digests)), "the router")
    claims = [one for one in seen if one.models]
    assert [] == [(one, wrong) for one in claims if (wrong := wrongly_listed(one, router, network.trust.skew_ms))]
    assert kills >= 1
    assert len(claims) > SOAK_MS / 1_000
    assert any(one.models is None for one in seen)
    different = len({one.models for one in claims})
    assert different > 1
    print(f"{kills} kills, {len(seen)} lists, {len(claims)} of them with claims, {different} different")
