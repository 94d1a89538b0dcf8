"""The router's live view of who may serve paid calls, and the one rule by which a call is allowed or refused.

No I/O and no clock: records, moments and answers about the log are handed in. A *usable* grant passes D1 to D4 of the
protocol and the caller's policy. The answer to a request, in this order:

1. The best ranked usable grant, whatever state other partitions are in.
2. No candidate of the model passes D1, D2, D4: the first code, in the order of `RouteRefusal`, of any partition that
   cannot be acted on, for who knows what it would say; if there is none, `grant_expired` if a candidate would be eligible
   but for its evidence's end; else `no_healthy_candidates`.
3. A caller who would be refused whoever serves: that code, for it needs no view.
4. Some partition cannot be acted on: its code, since "all are too dear" would claim something about it as well.
5. Else the first rule of the caller's that leaves no candidate.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core.admit import Scope, Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import ChainId, Head
from b3iq_streams.core.records import Record
from b3iq_streams.router.bootstrap import Search, Start
from b3iq_streams.router.moments import Moments
from b3iq_streams.router.partition import PartitionView, Step, ViewSettings
from b3iq_streams.router.request import Request
from b3iq_streams.router.supply import Candidate, Supply

DEFAULTS = ViewSettings()
_ORDER = {code: at for at, code in enumerate(RouteRefusal)}


class Choice(NamedTuple):
    """The answer to a request: a candidate, or why there is none."""

    candidate: Candidate | None
    refusal: RouteRefusal | None

    @property
    def allowed(self) -> bool:
        """Whether the call may be dispatched."""
        return self.candidate is not None

    @property
    def code(self) -> str:
        """`allowed`, or the refusal's code."""
        return self.refusal or "allowed"


class RouterView:
    """All partitions of one network, as far as this process has read them."""

    def __init__(self, trust: RootTrust, partitions: int, verify: Verify, settings: ViewSettings = DEFAULTS) -> None:
        self.trust, self.settings = trust, settings
        self.book = PolicyBook(Scope(trust, 0, partitions, settings.stamped), verify)
        self._supply = Supply()
        self._moments = Moments(trust.skew_ms)
        self._policies_known = False
        self.parts = tuple(
            PartitionView(ChainId(trust, p, partitions, trust.skew_ms), self.book, verify, self._supply, settings)
            for p in range(partitions)
        )

    def apply(self, record: Record) -> list[Step]:
        """Take a record of `policies` (any partition) or `eligibility-changes`; the epochs that count because of it."""
        if record.topic != topics.POLICIES:
            return self.parts[record.partition].take(record)
        steps: list[Step] = []
        if self.book.feed(record):
            for part in self.parts:
                part.judge_head()
                steps += part.drain()
        return steps

    def policies_known(self) -> None:
        """From now on searches may begin: `policies` was read, on every partition, to the end offset it had at the start."""
        self._policies_known = True

    def wants_bootstrap(self, partition: int) -> bool:
        """Whether the partition needs a search for where to start (A6): not started, lost, or lagging for B."""
        return self._policies_known and self.parts[partition].wants_bootstrap(self._moments.now_ms)

    def search(self, partition: int) -> tuple[int, Search]:
        """Begin a search; drive the generator to its end, then hand number and result to `start`."""
        return self.parts[partition].search()

    def start(self, partition: int, number: int, found: Start | None) -> int | None:
        """Act on the result; the offset from which the partition must be read *from now on*, None for no change."""
        return self.parts[partition].start(number, found, self._moments.now_ms)

    def lost(self) -> None:
        """The connection to the log was lost: nothing is granted before every partition has been looked at again."""
        for part in self.parts:
            part.lost(RouteRefusal.VIEW_NOT_SYNCED)

    def tick(self, now_ms: int, monotonic_ms: int) -> int:
        """The moment to judge at: never before an earlier one. A clock that jumped puts every partition in doubt."""
        moment_ms, jumped = self._moments.observe(now_ms, monotonic_ms)
        if jumped:
            for part in self.parts:
                part.lost(RouteRefusal.CLOCK_BEHIND)
        return moment_ms

    def pick(self, request: Request, now_ms: int, monotonic_ms: int) -> Choice:
        """The best candidate that may serve the request now, or the code of the refusal."""
        moment_ms = self.tick(now_ms, monotonic_ms)
        if request.refusal is None:
            parts, until_ms = self.parts, moment_ms + self.trust.skew_ms
            for candidate in self._supply.ranked(request.model):
                if candidate.valid_until_ms <= until_ms or parts[candidate.partition].refusal(moment_ms) is not None:
                    continue
                refusal = request.check(candidate)
                if refusal is None:
                    return Choice(candidate, None)
                if refusal is RouteRefusal.PRICE_ABOVE_MAX:
                    break  # ranked by price: so are all that follow
        return Choice(None, self._refusal(request, moment_ms))

    def holds(self, choice: Choice, request: Request, now_ms: int, monotonic_ms: int) -> bool:
        """Whether an answer given a moment ago still is one; a refusal always is."""
        moment_ms, candidate = self.tick(now_ms, monotonic_ms), choice.candidate
        if candidate is None:
            return True
        known = self.parts[candidate.partition].entries.get(candidate.key)
        return known is candidate and self._check(candidate, request, moment_ms) is None

    def _refusal(self, request: Request, moment_ms: int) -> RouteRefusal:
        ranked = self._supply.ranked(request.model)
        codes = {part.chain.partition: part.refusal(moment_ms) for part in self.parts}
        blind = min((code for code in codes.values() if code), key=_ORDER.__getitem__, default=None)
        until_ms = moment_ms + self.trust.skew_ms
        live = (c for c in ranked if codes[c.partition] is None and c.valid_until_ms > until_ms)
        first = next(live, None)
        if first is None:
            return blind or (RouteRefusal.GRANT_EXPIRED if ranked else RouteRefusal.NO_HEALTHY_CANDIDATES)
        return request.refusal or blind or self._furthest(request, first, live)

    @staticmethod
    def _furthest(request: Request, first: Candidate, others: Iterable[Candidate]) -> RouteRefusal:
        """The first rule of the caller's that leaves none of the candidates: the last that any of them gets to."""
        furthest = request.check(first)
        for candidate in others:
            if furthest is RouteRefusal.PRICE_ABOVE_MAX:
                break  # ranked by price: nothing that follows gets further
            refusal = request.check(candidate)
            if refusal is not None and (furthest is None or _ORDER[refusal] > _ORDER[furthest]):
                furthest = refusal
        assert furthest is not None
        return furthest

    def candidates(self, request: Request, now_ms: int, monotonic_ms: int) -> Iterator[tuple[Candidate, RouteRefusal | None]]:
        """Every candidate for the request, best first, with the code of the first rule that it fails, None if usable."""
        moment_ms = self.tick(now_ms, monotonic_ms)
        for candidate in self._supply.ranked(request.model):
            yield candidate, self._check(candidate, request, moment_ms)

    def _check(self, candidate: Candidate, request: Request, moment_ms: int) -> RouteRefusal | None:
        code = self.parts[candidate.partition].refusal(moment_ms)
        if code is None and candidate.valid_until_ms <= moment_ms + self.trust.skew_ms:
            code = RouteRefusal.GRANT_EXPIRED
        return code or request.check(candidate)

    @property
    def synced(self) -> bool:
        """Whether every partition has been read as far as its search asked."""
        return all(part.synced for part in self.parts)

    def count(self, model: str) -> int:
        """How many candidates there are for a model, usable or not."""
        return len(self._supply.ranked(model))

    def models(self) -> Iterable[str]:
        """Models with at least one candidate, usable or not."""
        return self._supply.models()

    def heads(self) -> list[Head]:
        """The last accepted epoch of each partition."""
        return [part.head for part in self.parts]

    def states(self, now_ms: int, monotonic_ms: int) -> list[RouteRefusal | None]:
        """Per partition why it cannot be acted on, None if it can."""
        moment_ms = self.tick(now_ms, monotonic_ms)
        return [part.refusal(moment_ms) for part in self.parts]

    def entries(self, partition: int) -> Mapping[str, Candidate]:
        """What the partition says of each key; a key that is absent is a "no"."""
        return self.parts[partition].entries

    def positions(self) -> dict[int, int]:
        """The next offset to read, of each partition that was started."""
        return {part.chain.partition: part.position for part in self.parts if part.started}
