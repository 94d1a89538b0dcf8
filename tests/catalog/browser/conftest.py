"""A real browser over the page, and a network behind it that a test can move. Needs a Chromium of the system."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.catalog.browser import catalog_stage
from tests.catalog.browser import standin as stand_in
from tests.catalog.browser.chromium import MISSING, chromium
from tests.catalog.browser.stage import Stage
from tests.catalog.browser.standin import Standin

DESK: ViewportSize = {"width": 1280, "height": 900}
PATIENCE_MS = 15_000
NODES = 12
STAGES: dict[str, Callable[..., AbstractContextManager[Stage]]] = {"standin": stand_in.serve, "catalog": catalog_stage.serve}
"""Who may play the network behind the page, by name: called with nodes and profiles per node."""

NewPage = Callable[..., Page]
"""Keyword arguments of a browser context → a page in it, whose mistakes fail the test at its end."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for the package; it ends before tests elsewhere run event loops of their own."""
    path = chromium()
    if path is None:
        pytest.fail(MISSING, pytrace=False)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def standin() -> Iterator[Standin]:
    """A small scripted network, on its own for each test."""
    with stand_in.serve(NODES) as stage:
        yield stage


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The same network, once played by the stand-in and once told by the real catalog."""
    with STAGES[request.param](NODES) as stage:
        yield stage


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Makes pages; fails if one of them threw, or ran into its own content security policy."""
    contexts: list[BrowserContext] = []
    mistakes: list[str] = []

    def make(**options: Any) -> Page:
        context = browser.new_context(**({"viewport": DESK, "color_scheme": "light"} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda said: mistakes.append(said.text) if "Content Security Policy" in said.text else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert [] == mistakes


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page as wide as a desk's screen, in the light theme."""
    return new_page()
