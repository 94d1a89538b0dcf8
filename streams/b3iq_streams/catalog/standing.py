"""What may be claimed at one moment: which partitions can be acted on, and which grants reach beyond the skew (D1, D2, D4).

Every word of it is the router's view's; a claim is made only when the whole view can be acted on. Knows no callers: what a
caller may have is the router's question.
"""

from typing import NamedTuple

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.router.request import ACTIVE, CallerPolicy, Request
from b3iq_streams.router.supply import Candidate
from b3iq_streams.router.view import RouterView

_ORDER = {code: at for at, code in enumerate(RouteRefusal)}
_ANYBODY = CallerPolicy(caller_id="catalog", account_status=ACTIVE, balance_wei="9" * 78)


class Moment(NamedTuple):
    """Both clocks of the machine, read together."""

    now_ms: int
    monotonic_ms: int


class Standing(NamedTuple):
    """The state of every partition at a moment. `until_ms`: evidence must last longer than this to count.

    `code` is why nothing can be claimed: the first one, in the router's order, of any partition; None if all is well.
    """

    at_ms: int
    until_ms: int
    codes: tuple[RouteRefusal | None, ...]
    code: RouteRefusal | None

    @property
    def ready(self) -> bool:
        """Whether every partition can be acted on."""
        return self.code is None

    def grants(self, candidate: Candidate) -> bool:
        """Whether the router would grant it to a caller whom nothing restricts."""
        return candidate.eligible and candidate.valid_until_ms > self.until_ms and self.code is None


def stand(view: RouterView, moment: Moment) -> Standing:
    """How the view stands now."""
    at_ms = view.tick(*moment)
    codes = tuple(view.states(*moment))
    code = min((code for code in codes if code), key=_ORDER.__getitem__, default=None)
    return Standing(at_ms, at_ms + view.trust.skew_ms, codes, code)


def anybody(model: str) -> Request:
    """A request for a model by a caller whom nothing restricts."""
    return Request(model, _ANYBODY)
