"""The page over a real network, in a real browser: a fleet, a worker, the real command, and nobody who reloads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright, expect

from b3iq_schemas.codes import LEAVES
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams.clock import monotonic_ms
from b3iq_streams.kafka import Place
from tests.catalog.browser.chromium import MISSING, chromium
from tests.kafka.load import Load
from tests.kafka.network import PATIENCE_S, TIMES, Network
from tests.kafka.test_catalog import BOUND_MS, SLACK_MS, catalog

PATIENCE_MS = PATIENCE_S * 1_000
BEAT_MS = 500
"""The fleet's nodes speak twice a second: a node that falls silent may just have spoken."""


@asynccontextmanager
async def browsing(mistakes: list[str]) -> AsyncIterator[Page]:
    """A page in the system's browser; what goes wrong on it, and whom it asks, is noted."""
    path = chromium()
    if path is None:
        pytest.fail(MISSING, pytrace=False)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda said: mistakes.append(said.text) if said.type == "error" else None)
        yield page
        await browser.close()


async def test_a_node_killed_in_the_fleet_turns_blocked_on_the_open_page(network: Network) -> None:
    """Within its time to live, the bound and the skew, in the right words, with its next action; and back, without reload."""
    network.worker()
    mistakes: list[str] = []
    asked: set[str] = set()
    async with (
        Load(network, nodes=6, scenario="healthy", junk=False).running() as load,
        catalog(network) as (_, http),
        browsing(mistakes) as page,
    ):
        address = str(http.base_url).rstrip("/")
        page.on("request", lambda request: asked.add(request.url.removeprefix(address)))
        node_id = load.fleet.nodes[0].node_id
        await page.goto(f"{address}/#/profiles")
        await page.evaluate("() => { window.stayed = true; }")
        verdict = page.locator(f'tr[data-key="{node_id}/p0"] .verdict')
        await expect(verdict).to_have_text("Eligible", timeout=PATIENCE_MS)
        load.mute(Place(HEARTBEATS, partition_for(node_id.encode(), network.partitions)))
        muted_ms = monotonic_ms()
        await expect(verdict).to_have_text("Blocked", timeout=PATIENCE_MS)
        bound_ms = int(TIMES["heartbeat_ttl_ms"]) + BEAT_MS + BOUND_MS + network.trust.skew_ms
        assert monotonic_ms() - muted_ms <= bound_ms + SLACK_MS
        leaf = LEAVES["heartbeat_stale"]
        for said in (leaf.condition, leaf.next_action):
            await expect(page.locator(f'tr[data-key="{node_id}/p0"]')).to_contain_text(said, ignore_case=True)
        load.mute()
        await expect(verdict).to_have_text("Eligible", timeout=PATIENCE_MS)
        assert await page.evaluate("() => window.stayed")
    assert [] == mistakes
    assert set() == {url for url in asked if not url.startswith("/")}
