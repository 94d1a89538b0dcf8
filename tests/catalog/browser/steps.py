"""What the tests do and look at on the page, in its own words."""

from playwright.sync_api import Locator, Page, expect

from tests.catalog.browser.stage import Stage

VIEWS = {
    "overview": ("#/", "Fleet overview"),
    "profiles": ("#/profiles", "Profiles"),
    "nodes": ("#/nodes", "Nodes"),
    "node": ("#/nodes/node-03", "node-03"),
    "changes": ("#/changes", "Changes"),
    "policy": ("#/policy", "Policy"),
}
"""Address and heading of every view."""

GREEN = """() => [...document.querySelectorAll('body *')].flatMap((element) => {
  const style = getComputedStyle(element);
  return ['color', 'backgroundColor', 'fill', 'stroke', 'borderLeftColor'].map((name) => style[name]);
}).filter((color) => {
  const [r, g, b] = (color.match(/[0-9.]+/g) ?? []).map(Number);
  return g > r + 24 && g > b + 24;
}).length"""
"""Counts what is green on the page."""


def visit(page: Page, stage: Stage, view: str) -> None:
    """Open a view and wait until claims are made and its content is there."""
    address, heading = VIEWS[view]
    page.goto(stage.address + address)
    live(page)
    expect(page.get_by_role("heading", level=1, name=heading, exact=True)).to_be_attached()
    settled(page, view)


def settled(page: Page, view: str) -> None:
    """Wait for the first answer to be drawn."""
    first = {
        "overview": "#eligible-now",
        "profiles": ".profiles tbody tr",
        "nodes": ".nodes tbody tr",
        "node": ".profile-card",
        "changes": ".feed-tools .button",
        "policy": ".limits dd",
    }[view]
    expect(page.locator(first).first).to_be_visible()


def unfold(page: Page) -> None:
    """Open everything that can be opened."""
    page.evaluate("() => document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")


def live(page: Page) -> None:
    """Wait until the page makes claims."""
    expect(page.locator("html")).to_have_attribute("data-claims", "open")


def withheld(page: Page) -> None:
    """Wait until the page withholds them, and says so."""
    expect(page.locator("html")).to_have_attribute("data-claims", "withheld")
    expect(page.locator("#banner")).to_contain_text("claims withheld")


def row(page: Page, key: str) -> Locator:
    """The row of "node/profile"."""
    return page.locator(f'tr[data-key="{key}"]')
