"""Time as the router believes it: it never goes back, and a jump of the wall clock puts the view in doubt."""

import pytest

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.router.moments import Moments
from tests.chainlab import SKEW_MS
from tests.factory import T0
from tests.shells.router_lab import BOUND_MS, RouterLab, request
from tests.shells.test_router_rules import ready


def test_now_never_goes_back() -> None:
    """A wall clock that is set back a little does not revive what had expired."""
    lab = ready()
    assert lab.view.pick(request(), T0 + BOUND_MS + 1, 0).refusal is RouteRefusal.PROCESSOR_LAG
    assert lab.view.pick(request(), T0 + BOUND_MS, 1).refusal is RouteRefusal.PROCESSOR_LAG


@pytest.mark.parametrize(("passed_ms", "jumped"), [(500, False), (501, True), (-500, False), (-501, True)])
def test_a_jump_is_more_than_skew(passed_ms: int, jumped: bool) -> None:
    """Wall clock and monotonic clock may differ by σ between two looks."""
    moments = Moments(500)
    moments.observe(T0, 77)
    assert jumped == moments.observe(T0 + passed_ms, 77)[1]


def test_a_slewed_clock_is_no_jump() -> None:
    """An hour between two looks at a clock that runs 500 ppm fast is not an alarm."""
    moments = Moments(SKEW_MS)
    moments.observe(T0, 0)
    assert not moments.observe(T0 + 3_601_800, 3_600_000)[1]


def jumped(lab: RouterLab) -> int:
    """Let the wall clock leap by a second while nothing passes on the other; the moment it shows then."""
    lab.view.tick(T0, 0)
    lab.view.tick(T0 + 1_000, 0)
    return T0 + 1_000


def test_after_a_jump_nothing_is_granted_until_the_log_was_asked_again() -> None:
    """The code says that the clock is to blame; a search that finds nothing new goes on with the view there is."""
    lab = ready()
    now_ms = jumped(lab)
    assert lab.view.pick(request(), now_ms, 0).refusal is RouteRefusal.CLOCK_BEHIND
    assert lab.view.wants_bootstrap(0)
    lab.boot()
    assert lab.view.pick(request(), now_ms, 0).allowed


def test_a_search_that_began_before_the_jump_does_not_end_the_doubt() -> None:
    """Its end offset may have been asked by a process that slept since."""
    lab = ready()
    lab.view.tick(T0, 0)
    lab.view.lost()
    number, _ = lab.view.search(0)
    now_ms = jumped(lab)
    assert lab.view.start(0, number, None) is None
    assert lab.view.pick(request(), now_ms, 0).refusal is RouteRefusal.CLOCK_BEHIND
