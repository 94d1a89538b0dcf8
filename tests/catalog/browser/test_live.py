"""The page follows the network without reloading, and claims nothing that it cannot know."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.browser.stage import Stage
from tests.catalog.browser.steps import GREEN, live, row, visit, withheld

STAY = "() => { window.stayed = true; }"


@pytest.fixture
def watched(page: Page, stage: Stage) -> Page:
    """The profiles, open and live."""
    visit(page, stage, "profiles")
    page.evaluate(STAY)
    return page


def test_a_profile_that_is_blocked_says_so_without_reload(watched: Page, stage: Stage) -> None:
    """A row turns to Blocked with the reason in words in the very same page, and back to Eligible."""
    stage.block("node-00", "p0", "queue_blocked")
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
    expect(row(watched, "node-00/p0")).to_contain_text("The runtime's queue is blocked")
    expect(row(watched, "node-00/p0")).to_contain_text("Clear queue, overload or backend health, then publish a heartbeat")
    stage.clear("node-00", "p0", "queue_blocked")
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Eligible")
    assert watched.evaluate("() => window.stayed")


def test_the_overview_follows(page: Page, stage: Stage) -> None:
    """The great number and the reasons follow a change."""
    visit(page, stage, "overview")
    before = int(page.locator("#eligible-now").inner_text())
    stage.block("node-00", "p0", "operator_hold")
    expect(page.locator("#eligible-now")).to_have_text(str(before - 1))


def test_a_node_page_follows_and_keeps_what_was_unfolded(page: Page, stage: Stage) -> None:
    """A new reason appears on the node's page with its observed value, and what the visitor opened stays open."""
    visit(page, stage, "node")
    page.locator('[data-fold="p0 evidence"] > summary').click()
    stage.block("node-03", "p0", "route_unhealthy")
    expect(page.locator('.profile-card[data-key="p0"] .check')).to_have_count(2)
    expect(page.locator('[data-fold="p0 route"] .check')).to_contain_text("The broker sees the route as unhealthy")
    expect(page.locator('[data-fold="p0 evidence"]')).to_have_attribute("open", "")
    expect(page.locator(".history li").first).to_contain_text("Reasons changed")
    stage.clear("node-03", "p0", "route_unhealthy")
    expect(page.locator('.profile-card[data-key="p0"] .check')).to_have_count(1)


def test_the_feed_tells_changes_and_can_be_paused(page: Page, stage: Stage) -> None:
    """Changes appear newest first; while paused they are counted, and shown when resumed."""
    visit(page, stage, "changes")
    stage.block("node-00", "p0", "queue_blocked")
    expect(page.locator(".feed-item").first).to_contain_text("the runtime's queue is blocked")
    page.get_by_role("button", name="Pause").click()
    stage.clear("node-00", "p0", "queue_blocked")
    stage.block("node-01", "p0", "node_draining")
    expect(page.locator(".feed-tools")).to_contain_text("Paused · 2 waiting")
    expect(page.locator(".feed-item")).to_have_count(1)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".feed-item")).to_have_count(3)
    expect(page.locator(".feed-item").nth(1)).to_contain_text("Became eligible")


def test_a_silent_processor_withholds_every_claim(watched: Page, stage: Stage) -> None:
    """When the processor lags, nothing is called eligible and nothing is green; when it is back, all is as before."""
    expect(watched.locator(".verdict", has_text="Eligible").first).to_be_visible()
    assert watched.evaluate(GREEN) > 0
    stage.lag()
    withheld(watched)
    expect(watched.locator("#banner")).to_contain_text(re.compile(r"Last resolved \d+(\.\d)? s ago: claims withheld\."))
    expect(watched.locator("#banner")).to_contain_text("nothing can be said about any node")
    expect(watched.locator(".verdict", has_text=re.compile("Eligible|Blocked"))).to_have_count(0)
    expect(row(watched, "node-00/p0").locator(".gate-cell").first).to_contain_text("Node: passed when last resolved")
    assert 0 == watched.evaluate(GREEN)
    expect(watched.locator("#announce")).to_contain_text("Claims withheld.")
    stage.catch_up()
    live(watched)
    expect(watched.locator("#banner")).to_be_hidden()
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Eligible")


@pytest.mark.parametrize("view", ["overview", "node"])
def test_numbers_are_withheld_too(page: Page, stage: Stage, view: str) -> None:
    """Counts of eligible profiles become a dash, and nothing is green."""
    visit(page, stage, view)
    assert page.evaluate(GREEN) > 0
    stage.lag()
    withheld(page)
    figure = page.locator("#eligible-now" if view == "overview" else ".node-summary strong")
    expect(figure).to_contain_text("—")
    expect(figure).not_to_contain_text(re.compile(r"\d"))
    assert 0 == page.evaluate(GREEN)


def test_a_lost_connection_withholds_and_loses_no_change(watched: Page, stage: Stage) -> None:
    """After an outage the page is live by itself, its rows are right, and the feed has every change exactly once."""
    stage.block("node-00", "p0", "queue_blocked")
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
    stage.hang_up()
    withheld(watched)
    expect(watched.locator("#banner")).to_contain_text("The connection to the catalog is lost.")
    expect(watched.locator(".verdict", has_text=re.compile("Eligible|Blocked"))).to_have_count(0)
    stage.clear("node-00", "p0", "queue_blocked")
    stage.block("node-01", "p0", "node_draining")
    stage.answer()
    live(watched)
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Eligible")
    expect(row(watched, "node-01/p0")).to_contain_text("The node says it is draining")
    assert watched.evaluate("() => window.stayed")
    watched.get_by_role("link", name="Changes").click()
    expect(watched.locator(".feed-item")).to_have_count(3)
    expect(watched.locator(".feed-gap")).to_have_count(0)


def test_a_page_opened_while_nobody_answers_comes_alive(page: Page, stage: Stage) -> None:
    """A page whose first connection fails says so, claims nothing, and is live once the catalog answers."""
    page.goto(stage.address + "#/changes")
    live(page)
    stage.hang_up()
    page.evaluate("() => { location.hash = '#/'; }")
    withheld(page)
    expect(page.locator("main .note")).to_contain_text("Trying again.")
    stage.answer()
    live(page)
    expect(page.locator("#eligible-now")).to_have_text(re.compile(r"^\d+$"))
    expect(page.locator("main .note")).to_have_count(0)


def test_a_forgotten_past_is_said_and_read_anew(watched: Page, stage: Stage) -> None:
    """When the catalog can no longer tell the changes, the rows are read anew and the feed names the gap."""
    stage.block("node-00", "p0", "queue_blocked")
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
    stage.hang_up()
    withheld(watched)
    stage.clear("node-00", "p0", "queue_blocked")
    stage.forget()
    stage.answer()
    live(watched)
    expect(row(watched, "node-00/p0").locator(".verdict")).to_have_text("Eligible")
    watched.get_by_role("link", name="Changes").click()
    expect(watched.locator(".feed-gap")).to_contain_text("Some changes were missed here")
