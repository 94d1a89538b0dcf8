"""Whoever looks for something finds it: by filter, by page, by keyboard alone."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.browser.conftest import STAGES
from tests.catalog.browser.stage import Stage
from tests.catalog.browser.steps import live, row, visit


def test_the_filter_narrows_and_is_in_the_address(page: Page, stage: Stage) -> None:
    """Text and choices narrow the rows, the address carries them, and Clear removes them."""
    visit(page, stage, "profiles")
    total = len(stage.fleet.profiles)
    stale = sum("heartbeat_stale" in profile.reasons for profile in stage.fleet.profiles.values())
    page.get_by_label("Reason").select_option("heartbeat_stale")
    expect(page.locator(".profiles tbody tr")).to_have_count(stale)
    expect(page).to_have_url(re.compile("code=heartbeat_stale"))
    page.reload()
    expect(page.locator(".profiles tbody tr")).to_have_count(stale)
    expect(page.get_by_label("Reason")).to_have_value("heartbeat_stale")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".total")).to_have_text(f"{total} profiles")
    page.get_by_role("searchbox").fill("node-07")
    own = sum(profile.node_id == "node-07" for profile in stage.fleet.profiles.values())
    expect(page.locator(".profiles tbody tr")).to_have_count(own)
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.locator(".empty")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text("No profile matches")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("no such thing")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(page.locator(".total")).to_have_text(f"{total} profiles")


def test_every_choice_narrows(page: Page, stage: Stage) -> None:
    """Model, tier, gate and state each show exactly the profiles they name."""
    visit(page, stage, "profiles")
    profiles = list(stage.fleet.profiles.values())
    model, tier = profiles[0].model_id, "portable_local"
    wanted = {
        ("Model", model): sum(profile.model_id == model for profile in profiles),
        ("Tier", tier): sum(profile.route_tier == tier for profile in profiles),
        ("Blocked at", "node"): sum(profile.gates()["node"] != "pass" for profile in profiles),
        ("State", "true"): sum(not profile.reasons for profile in profiles),
        ("State", "false"): sum(bool(profile.reasons) for profile in profiles),
    }
    for (label, value), expected in wanted.items():
        page.get_by_label(label, exact=True).select_option(value)
        expect(page.locator(".total")).to_have_text(f"{expected} profile{'s' * (expected != 1)}")
        page.get_by_role("button", name="Clear").click()


def test_a_row_that_no_longer_matches_leaves(page: Page, stage: Stage) -> None:
    """Under the filter "Eligible", a profile that is blocked disappears by itself, and the count follows."""
    page.goto(stage.address + "#/profiles?eligible=true")
    live(page)
    expect(row(page, "node-00/p0")).to_be_visible()
    stage.block("node-00", "p0", "queue_blocked")
    expect(row(page, "node-00/p0")).to_have_count(0)


def test_a_node_is_found_from_the_overview(page: Page, stage: Stage) -> None:
    """From a reason on the overview one comes to its profiles, and from there to the node."""
    visit(page, stage, "overview")
    page.locator(".reason", has_text="The last heartbeat is older").get_by_role("link").click()
    expect(page.get_by_label("Reason")).to_have_value("heartbeat_stale")
    page.get_by_role("link", name="node-03 / p0").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("node-03")
    page.go_back()
    expect(page.get_by_label("Reason")).to_have_value("heartbeat_stale")


def test_the_keyboard_is_enough(page: Page, stage: Stage) -> None:
    """Skip link, views, filter, rows and the node's page are all reached without a pointer, and focus is always seen."""
    visit(page, stage, "nodes")
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    assert page.locator("#skip").bounding_box()["y"] >= 0  # type: ignore[index]  # it is on the page, so it has a box
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nodes")
    page.keyboard.press("2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Profiles")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("node-07")
    expect(page).to_have_url(re.compile("q=node-07"))
    expect(row(page, "node-00/p0")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    first = row(page, "node-07/p0").get_by_role("link").first
    expect(first).to_be_focused()
    assert "none" != first.evaluate("(element) => getComputedStyle(element).outlineStyle")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("node-07")
    expect(page.locator("#main")).to_be_focused()


def test_escape_clears_then_leaves(page: Page, stage: Stage) -> None:
    """Esc first empties the filter, then goes to the rows; ? opens the list of keys and Esc closes it."""
    visit(page, stage, "profiles")
    page.keyboard.press("/")
    page.keyboard.type("node-07")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(row(page, "node-00/p0")).to_be_visible()
    page.keyboard.press("Escape")
    expect(row(page, "node-00/p0").get_by_role("link").first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(row(page, "node-00/p0").get_by_role("link").first).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_single_keys_can_be_turned_off(page: Page, stage: Stage) -> None:
    """Whoever turns single keys off is not moved by them, also after a reload."""
    visit(page, stage, "overview")
    page.get_by_role("button", name="Keyboard").click()
    page.get_by_label("Single keys do this").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    live(page)
    page.keyboard.press("2")
    page.keyboard.press("/")
    expect(page.get_by_role("link", name="Overview")).to_have_attribute("aria-current", "page")
    page.get_by_role("button", name="Keyboard").click()
    page.get_by_label("Single keys do this").check()
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Profiles")


def test_focus_stays_in_a_row_that_changes(page: Page, stage: Stage) -> None:
    """A row that is drawn anew while it has the focus keeps it."""
    visit(page, stage, "profiles")
    row(page, "node-00/p0").get_by_role("link").first.focus()
    stage.block("node-00", "p0", "queue_blocked")
    expect(row(page, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
    expect(row(page, "node-00/p0").get_by_role("link").first).to_be_focused()


@pytest.mark.parametrize("played_by", STAGES)
def test_five_thousand_profiles(page: Page, played_by: str) -> None:
    """With 5,000 profiles the page holds one page of rows at a time, turns pages, finds one, and follows a storm."""
    with STAGES[played_by](2_500, per_node=2) as stage:
        visit(page, stage, "profiles")
        expect(page.locator(".total")).to_have_text("5,000 profiles")
        expect(page.locator(".pager")).to_contain_text("1–50 of 5,000")
        assert page.locator(".profiles tbody tr").count() <= 50
        page.get_by_role("button", name="Next").click()
        expect(page.locator(".pager")).to_contain_text("51–100 of 5,000")
        expect(row(page, "node-0025/p0")).to_be_visible()
        page.get_by_role("button", name="Previous").click()
        expect(row(page, "node-0000/p0")).to_be_visible()
        for number in range(0, 1_200, 4):
            stage.block(f"node-{number:04d}", "p1", "queue_blocked")
        expect(row(page, "node-0000/p1").locator(".verdict")).to_have_text("Blocked")
        page.get_by_role("searchbox").fill("node-1196")
        expect(page.locator(".total")).to_have_text("2 profiles")
        expect(row(page, "node-1196/p1").locator(".verdict")).to_have_text("Blocked")
        page.get_by_role("link", name="Changes").click()
        expect(page.locator(".feed-item").first).to_contain_text("node-1196")
        assert page.locator(".feed-item").count() <= 200
