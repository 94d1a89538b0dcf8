"""The page's pure parts, in the browser that runs them: what may be claimed, and how numbers are said."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.catalog.browser.standin import Standin
from tests.catalog.browser.steps import visit

NOW = 1_800_000_000_000
READY = {"ready": True, "code": None, "resolved_at_ms": NOW - 500, "bound_ms": 3_000}

JUDGED: tuple[tuple[str, dict[str, Any] | None, str], ...] = (
    ("connecting", None, "pending"),
    ("connecting", READY, "open"),
    ("open", None, "pending"),
    ("open", READY, "open"),
    ("open", READY | {"resolved_at_ms": NOW - 3_000}, "open"),
    ("open", READY | {"resolved_at_ms": NOW - 3_001}, "withheld"),
    ("open", READY | {"ready": False, "code": "processor_lag"}, "withheld"),
    ("open", READY | {"ready": False, "code": "a_code_of_tomorrow"}, "withheld"),
    ("open", READY | {"ready": False, "resolved_at_ms": None}, "withheld"),
    ("open", READY | {"resolved_at_ms": None}, "withheld"),
    ("again", READY, "open"),
    ("again", READY | {"resolved_at_ms": NOW - 3_001}, "withheld"),
    ("polling", READY, "open"),
    ("polling", READY | {"ready": False, "code": "policy_lag"}, "withheld"),
    ("lost", READY, "withheld"),
    ("lost", None, "withheld"),
)

SAID: tuple[tuple[str, Any, str], ...] = (
    ("duration", 400, "0.4 s"),
    ("duration", 14_000, "14 s"),
    ("duration", 125_000, "2 min 5 s"),
    ("duration", 600_000, "10 min"),
    ("duration", 12_000_000, "3 h 20 min"),
    ("duration", 86_400_000, "1 day"),
    ("duration", 604_800_000, "7 days"),
    ("duration", 0, "0 s"),
    ("watched", 0, "0.0 s"),
    ("watched", 2_000, "2.0 s"),
    ("watched", 14_999, "14 s"),
    ("ago", 300, "just now"),
    ("ago", 59_999, "59 s ago"),
    ("ago", 7_200_000, "2 h ago"),
    ("ago", 172_800_000, "2 days ago"),
    ("ago", -300_000, "in 5 min"),
    ("wei", "1000", "1,000 wei"),
    ("wei", "1000000000000000000", "1 × 10¹⁸ wei"),
    ("wei", "2500000000000000000", "2.5 × 10¹⁸ wei"),
    ("wei", "1234567890123456789", "1,234,567,890,123,456,789 wei"),
    ("wei", "none", "none wei"),
    ("readable", "at most 30000 ms old", "at most 30 s old"),
    ("readable", "250000000000000000 wei", "2.5 × 10¹⁷ wei"),
    ("readable", "one of: healthy degraded", "one of: healthy degraded"),
    ("rate", 38_240, "38.2 tok/s"),
)


@pytest.fixture
def modules(page: Page, standin: Standin) -> Page:
    """A page from whose origin modules can be imported."""
    visit(page, standin, "policy")
    return page


def test_claims_are_judged_by_link_status_and_age(modules: Page) -> None:
    """Only a ready status within its bound, over a link that is not lost, opens claims."""
    judge = "async (cases) => { const { judge } = await import('/assets/claims.js');\
             return cases.map(([link, status, , now]) => judge({ state: link }, status, now).state); }"
    told = modules.evaluate(judge, [[*case, NOW] for case in JUDGED])
    assert [verdict for _, _, verdict in JUDGED] == told


def test_what_was_long_on_its_way_does_not_look_fresh(modules: Page) -> None:
    """A time told late never sets the page's clock back, so that old claims do not become young again."""
    late = "async () => { const { adopt, now } = await import('/assets/clock.js?alone');\
            adopt(50_000); adopt(41_000); const held = now(); adopt(60_000); return [held >= 50_000, now() >= 60_000]; }"
    assert [True, True] == modules.evaluate(late)


def test_numbers_are_said_as_people_say_them(modules: Page) -> None:
    """Durations, ages, rates and amounts have units and are short."""
    say = "async (cases) => { const all = await import('/assets/format.js'); return cases.map(([how, what]) => all[how](what)); }"
    assert [words for _, _, words in SAID] == modules.evaluate(say, [list(case) for case in SAID])


def test_a_time_in_a_check_is_a_date(modules: Page) -> None:
    """Bare Unix milliseconds never reach the reader."""
    said = modules.evaluate("async () => (await import('/assets/format.js')).readable('logged at 1800000000000')")
    assert "2027" in said
    assert "1800000000000" not in said
