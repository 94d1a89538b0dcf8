"""Everybody can read it: both themes, small screens, screen readers, paper, and those whom motion disturbs."""

from collections import deque
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.catalog.browser.conftest import NewPage
from tests.catalog.browser.standin import Standin
from tests.catalog.browser.steps import VIEWS, row, unfold, visit, withheld

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(246, 246, 243)", "rgb(14, 16, 20)"


def violations(page: Page) -> list[tuple[str, str]]:
    """(rule, first element) of everything that axe-core finds wrong; waits for animations, which blur colours."""
    page.evaluate("() => Promise.allSettled(document.getAnimations().map((animation) => animation.finished))")
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [(violation["id"], violation["nodes"][0]["html"]) for violation in found["violations"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(new_page: NewPage, standin: Standin, view: str, theme: str) -> None:
    """Each view is clean by every rule of axe-core in each theme, with claims made and with claims withheld."""
    page = new_page(color_scheme=theme, bypass_csp=True)
    visit(page, standin, view)
    standin.block("node-03", "p0", "observed_benchmark_missing")
    if view == "changes":
        expect(page.locator(".feed-item")).to_have_count(1)
    unfold(page)
    assert [] == violations(page)
    standin.lag()
    withheld(page)
    assert [] == violations(page)


def test_axe_finds_what_is_wrong(new_page: NewPage, standin: Standin) -> None:
    """The check itself works: a picture without words and text without contrast are found."""
    page = new_page(bypass_csp=True)
    visit(page, standin, "policy")
    page.evaluate(
        """() => {
          document.querySelector('h1').style.color = '#eee';
          document.querySelector('main').append(document.createElement('img'));
        }"""
    )
    assert {"color-contrast", "image-alt"} <= {rule for rule, _ in violations(page)}


def test_the_list_of_keys_is_accessible(new_page: NewPage, standin: Standin) -> None:
    """The dialog is clean by axe-core too."""
    page = new_page(bypass_csp=True)
    visit(page, standin, "overview")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    assert [] == violations(page)


def test_the_theme_is_the_systems_until_chosen_and_then_remembered(new_page: NewPage, standin: Standin) -> None:
    """A dark system shows dark; a choice turns it light at once and after a reload; nobody else is affected."""
    page = new_page(color_scheme="dark")
    visit(page, standin, "overview")
    assert DARK == page.evaluate(BACKGROUND)
    page.get_by_role("button", name="Switch to light theme").click()
    assert LIGHT == page.evaluate(BACKGROUND)
    page.reload()
    assert LIGHT == page.evaluate(BACKGROUND)
    expect(page.get_by_role("button", name="Switch to dark theme")).to_be_visible()
    other = new_page(color_scheme="dark")
    visit(other, standin, "overview")
    assert DARK == other.evaluate(BACKGROUND)


def lengthen(standin: Standin) -> None:
    """Give one profile a model id and a node id of the greatest length, without a place to break."""
    fleet = standin.fleet
    profile = fleet.profiles["node-03", "p0"]
    profile.model_id = "M" * 128
    fleet.sparks[profile.model_id, profile.route_tier] = deque([0, 1])
    other = fleet.profiles.pop(("node-00", "p0"))
    other.node_id = other.profile_id = "N" * 64
    fleet.profiles[other.node_id, other.profile_id] = other


@pytest.mark.parametrize("width", [320, 390, 768, 900, 1100])
def test_no_width_scrolls_sideways(new_page: NewPage, standin: Standin, width: int) -> None:
    """At every width, with claims made and withheld, each view fits, even with ids as long as ids may be."""
    lengthen(standin)
    page = new_page(viewport={"width": width, "height": 800})
    for view in VIEWS:
        visit(page, standin, view)
        standin.block("node-03", "p0", "observed_benchmark_missing")
        unfold(page)
        standin.lag()
        withheld(page)
        assert (view, width) == (view, page.evaluate("() => document.documentElement.scrollWidth"))
        standin.catch_up()
        standin.clear("node-03", "p0", "observed_benchmark_missing")
    page.goto(standin.address + "#/nodes/nobody")
    expect(page.locator(".node-summary")).to_contain_text("Nothing is known")
    assert width == page.evaluate("() => document.documentElement.scrollWidth")


def test_a_phone_keeps_the_words(new_page: NewPage, standin: Standin) -> None:
    """On a phone a row is a card with verdict, gates by name and the reason, and still a row for screen readers."""
    page = new_page(viewport={"width": 390, "height": 844})
    visit(page, standin, "profiles")
    card = row(page, "node-03/p0")
    expect(card.locator(".verdict")).to_be_visible()
    expect(card.locator(".gate-short").first).to_be_visible()
    expect(card).to_contain_text("The last heartbeat is older than its time to live")
    expect(page.get_by_role("row").filter(has_text="node-03 / p0")).to_be_visible()
    expect(page.get_by_role("table", name="Profiles and their gates")).to_be_visible()


def test_motion_can_be_refused(new_page: NewPage, standin: Standin) -> None:
    """A changed row lights up, but not for those who asked for less motion."""
    moving: dict[str, int] = {}
    for wish in ("no-preference", "reduce"):
        page = new_page(reduced_motion=wish)
        visit(page, standin, "profiles")
        standin.block("node-00", "p0", "queue_blocked")
        expect(row(page, "node-00/p0").locator(".verdict")).to_have_text("Blocked")
        moving[wish] = page.evaluate("() => document.getAnimations().length")
        standin.clear("node-00", "p0", "queue_blocked")
    assert (True, 0) == (moving["no-preference"] > 0, moving["reduce"])


def test_paper_is_light_and_says_when(new_page: NewPage, standin: Standin) -> None:
    """In print there are no controls, the ground is white even in the dark theme, and the moment is on it."""
    page = new_page(color_scheme="dark")
    visit(page, standin, "profiles")
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator(".nav")).to_be_hidden()
    expect(page.locator(".filters")).to_be_hidden()
    assert "rgb(255, 255, 255)" == page.evaluate(BACKGROUND)
    moment = page.evaluate("() => getComputedStyle(document.querySelector('#fresh'), '::after').content")
    assert "Z" in moment
    expect(row(page, "node-03/p0")).to_be_visible()


def test_nothing_is_announced_over_and_over(page: Page, standin: Standin) -> None:
    """What screen readers are told when claims are withheld is said once; the age that ticks is not in a live region."""
    visit(page, standin, "overview")
    page.evaluate(
        """() => {
          window.told = 0;
          new MutationObserver(() => { window.told += 1; }).observe(document.getElementById('announce'), {childList: true});
        }"""
    )
    standin.lag()
    withheld(page)
    before = page.locator("#banner-age").inner_text()
    expect(page.locator("#banner-age")).not_to_have_text(before)
    assert 1 == page.evaluate("() => window.told")
    assert 0 == page.locator("#banner [aria-live], #banner[aria-live], #banner [role=status]").count()
