"""Every view says what the network's facts are, in words, and asks nobody but its own catalog."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.browser.stage import Stage
from tests.catalog.browser.standin import Standin
from tests.catalog.browser.standin_fleet import LOOKS
from tests.catalog.browser.standin_http import ASSETS
from tests.catalog.browser.steps import VIEWS, row, visit


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_renders_without_errors_and_from_one_origin(page: Page, stage: Stage, view: str) -> None:
    """Each view shows its content with nothing on the console and no request to another origin."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: asked.append(request.url))
    visit(page, stage, view)
    assert [] == said
    assert [] == [url for url in asked if not url.startswith((stage.address, "data:"))]


def test_the_overview_counts_what_is_eligible(page: Page, stage: Stage) -> None:
    """The great number is the fleet's eligible profiles, and each gate and reason says how many it blocks."""
    profiles = stage.fleet.profiles.values()
    eligible = sum(not profile.reasons for profile in profiles)
    at_node = sum(profile.gates()["node"] != "pass" for profile in profiles)
    visit(page, stage, "overview")
    expect(page.locator("#eligible-now")).to_have_text(str(eligible))
    expect(page.locator(".figure-words")).to_contain_text(f"of {len(profiles)} profiles")
    expect(page.locator(".gate", has_text="enrolled, online")).to_contain_text(f"{at_node} blocked")
    stale = sum("heartbeat_stale" in profile.reasons for profile in profiles)
    reason = page.locator(".reason", has_text="The last heartbeat is older than its time to live")
    expect(reason.locator(".reason-count")).to_have_text(f"{stale} profiles")
    expect(page.locator(".groups tbody tr")).to_have_count(len(stage.fleet.groups()))
    expect(page.locator(".groups .spark")).to_have_count(len(stage.fleet.groups()))
    expect(page.locator(".partitions li").first).to_contain_text("in time")


def test_the_freshness_is_said(page: Page, stage: Stage) -> None:
    """The head says how long ago everything was resolved, in tenths of a second."""
    visit(page, stage, "overview")
    expect(page.locator("#fresh-text")).to_have_text(re.compile(r"^Resolved \d\.\d s ago$"))


def test_a_profile_says_why_in_words(page: Page, stage: Stage) -> None:
    """A blocked row says condition, next action and code, and marks the gate by shape and word."""
    visit(page, stage, "profiles")
    blocked = row(page, "node-03/p0")
    expect(blocked.locator(".verdict")).to_have_text("Blocked")
    expect(blocked).to_contain_text("The last heartbeat is older than its time to live")
    expect(blocked).to_contain_text("Bring the host agent online and publish a fresh heartbeat")
    expect(blocked.locator(".code")).to_have_text("heartbeat_stale")
    expect(blocked.locator(".gate-cell").first).to_contain_text("Node: blocks")
    expect(blocked.locator(".gate-cell").first.locator("svg")).to_have_count(1)
    expect(row(page, "node-00/p0").locator(".verdict")).to_have_text("Eligible")


def test_a_node_explains_every_check(page: Page, stage: Stage) -> None:
    """A node's page has each profile's facts, failing checks with what was observed and required, records, and the past."""
    visit(page, stage, "node")
    expect(page.locator(".todo li").first).to_contain_text("Bring the host agent online and publish a fresh heartbeat")
    card = page.locator('.profile-card[data-key="p0"]')
    check = card.locator(".check")
    expect(check).to_contain_text("blocks")
    expect(check).to_contain_text("at most 30 s old")
    expect(check).to_contain_text("Since")
    expect(check).not_to_contain_text(re.compile(r"\d{13}"))
    card.locator('[data-fold="p0 evidence"] > summary').click()
    expect(card.locator(".evidence li").first).to_contain_text(re.compile(r"heartbeats / \d @ [\d,]+"))
    expect(card.locator(".evidence li").first).to_contain_text(re.compile(r"sha256 [0-9a-f]{64}"))
    card.locator('[data-fold="p0 route"] > summary').click()
    expect(card.locator('[data-fold="p0 route"] .checks-passing li').first).to_contain_text(
        "no broker-owned public route is known"
    )
    expect(page.locator(".history li").first).to_contain_text("the last heartbeat is older than its time to live")


def test_a_check_names_its_record_and_whether_it_can_tell(page: Page, standin: Standin) -> None:
    """Beside a failing check stands the record that it judged; one that cannot tell says so instead of blocking."""
    standin.block("node-00", "p0", "observed_benchmark_missing")
    page.goto(standin.address + "#/nodes/node-00")
    expect(page.locator(".check")).to_contain_text("cannot tell")
    expect(page.locator(".check")).not_to_contain_text("Evidence")
    visit(page, standin, "node")
    check = page.locator('.profile-card[data-key="p0"] .check')
    expect(check).to_contain_text("blocks")
    expect(check).to_contain_text(re.compile(r"Evidence\s*heartbeats / \d @ [\d,]+"))


def test_an_unknown_node_is_not_ready(page: Page, stage: Stage) -> None:
    """Of a node that nobody knows, the page says that it is not ready, and why."""
    page.goto(stage.address + "#/nodes/nobody")
    expect(page.locator(".node-summary")).to_contain_text("Nothing is known about this node")


def test_the_policy_is_in_units_of_people(page: Page, standin: Standin) -> None:
    """Times are in seconds to days, the stake in wei, tiers by name, and each revision says what it changed."""
    visit(page, standin, "policy")
    limits = page.locator(".limits")
    for words in (
        "30 s",
        "1 min",
        "1 day",
        "7 days",
        "1 × 10¹⁸ wei",
        "healthy, degraded",
        "after 3 losses of eligibility within 10 min",
    ):
        expect(limits).to_contain_text(words)
    expect(page.locator(".tiers tr", has_text="Local convenience")).to_contain_text("blocked")
    expect(page.locator(".tiers tr", has_text="Network beta")).to_contain_text("OpenAI-compatible, SGLang, vLLM")
    newest = page.locator(".revisions > li").first
    expect(newest).to_contain_text("Revision 7")
    expect(newest).to_contain_text("from 45 s→to 30 s")


def test_data_is_never_markup(page: Page, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text of a node that looks like markup is shown letter for letter."""
    evil = '<img src="x" onerror="document.title=1"><b>'
    monkeypatch.setitem(LOOKS, "enrolment_incomplete", (evil, evil))
    visit(page, stage, "node")
    stage.block("node-03", "p0", "enrolment_incomplete")
    expect(page.locator(".check dd").first).to_have_text(evil)
    assert 0 == page.locator("main img, main b").count()


def _sources(pattern: str) -> list[Path]:
    return sorted(ASSETS.glob(pattern))


def test_sources_build_no_markup_and_name_no_other_origin() -> None:
    """No file inserts markup, evaluates text, styles inline, or names an address other than the SVG namespace."""
    files = [*_sources("*.js"), *_sources("*.css"), *_sources("*.html"), *_sources("*.svg")]
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\sstyle=|<style|url\(")
    foreign = re.compile(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9.-]+\.[a-z]{2,}")
    assert len(files) > 20
    assert [] == [file.name for file in files if forbidden.search(file.read_text()) or foreign.search(file.read_text())]


def test_sources_stay_readable() -> None:
    """No file of the page has more than 250 lines, and each module says first what it does."""
    long = [file.name for file in ASSETS.iterdir() if len(file.read_text().splitlines()) > 250]
    silent = [file.name for file in ASSETS.iterdir() if file.suffix in (".js", ".css") and not file.read_text().startswith("/")]
    assert ([], []) == (long, silent)
