"""The stream of changes fails in every way a stream can, and the page goes on or says that it cannot."""

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.browser.standin import Standin
from tests.catalog.browser.steps import live, row, visit, withheld


@pytest.fixture
def watched(page: Page, standin: Standin) -> Page:
    """The profiles, open and live."""
    visit(page, standin, "profiles")
    return page


def test_a_reader_too_slow_reads_anew(watched: Page, standin: Standin) -> None:
    """After `lagged` the rows are read anew, and the page connects again by itself and hears what changes next."""
    standin.outrun()
    standin.block("node-00", "p0", "queue_blocked")
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
    watched.get_by_role("link", name="Changes").click()
    standin.block("node-01", "p0", "node_draining")
    expect(watched.locator(".feed-item").first).to_contain_text("node-01")
    live(watched)


def test_a_stream_that_falls_silent_is_not_believed(watched: Page, standin: Standin) -> None:
    """A connection that stays but says nothing withholds claims by the page's own clock."""
    standin.stall()
    withheld(watched)
    expect(watched.locator(".verdict", has_text="Eligible")).to_have_count(0)
    standin.flow()
    live(watched)


def test_a_position_that_is_refused_is_given_up(watched: Page, standin: Standin) -> None:
    """A catalog that no longer understands where the page stood is asked anew, without it."""
    standin.refuse_positions()
    standin.hang_up()
    withheld(watched)
    standin.answer()
    expect(watched.locator("html")).to_have_attribute("data-link", "open")
    standin.block("node-00", "p0", "queue_blocked")
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
    watched.get_by_role("link", name="Changes").click()
    expect(watched.locator(".feed-item").first).to_contain_text("node-00")


def test_without_a_stream_the_page_polls(watched: Page, standin: Standin) -> None:
    """Where no stream is to be had, the page asks for the status, says that it polls, and still follows."""
    standin.fill()
    expect(watched.locator("#fresh-text")).to_contain_text("Polling")
    standin.block("node-00", "p0", "queue_blocked")
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
    live(watched)
