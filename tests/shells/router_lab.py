"""A router's view over chains made by hand: answers its searches from lists of records, feeds it, asks it."""

from collections.abc import Sequence
from typing import Any

from b3iq_schemas import topics
from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.core.records import Record
from b3iq_streams.router.bootstrap import Answer, AskBounds, Bounds, Search, Start
from b3iq_streams.router.partition import ViewSettings
from b3iq_streams.router.request import CallerPolicy, Request
from b3iq_streams.router.view import Choice, RouterView
from tests.chainlab import MODEL, ChainLab
from tests.factory import T0, TRUST, VERIFY, Log, policy_event

BOUND_MS = 3_000
RICH = "1000000000000000000"


def caller(**changes: Any) -> CallerPolicy:
    """A caller whom nothing restricts."""
    return CallerPolicy(**({"caller_id": "c", "account_status": "active", "balance_wei": RICH} | changes))


def request(model: str = MODEL, est_tokens: int = 0, tried: frozenset[str] = frozenset(), **changes: Any) -> Request:
    """A request by such a caller."""
    return Request(model, caller(**changes), est_tokens, tried)


def drive(search: Search, records: Sequence[Record], start: int = 0) -> Start | None:
    """Run a search to its end on a log that keeps `records` from offset `start` on."""
    answer: Answer | None = None
    try:
        while True:
            ask = search.send(answer) if answer is not None else next(search)
            if isinstance(ask, AskBounds):
                answer = Bounds(start, len(records))
            else:
                answer = tuple(record for record in records if ask.first <= record.offset < ask.last)
    except StopIteration as stop:
        found: Start | None = stop.value
        return found


class RouterLab:
    """Chains, one per partition, the policies, and a view on them with clocks that agree."""

    def __init__(self, partitions: int = 1) -> None:
        self.chains = [ChainLab(partition, partitions) for partition in range(partitions)]
        self.policies = Log()
        self.view = RouterView(TRUST, partitions, VERIFY, ViewSettings(BOUND_MS))

    def policy(self, revision: int = 1, at_ms: int = T0, partition: int = 0, **changes: Any) -> Record:
        """Write and feed a policy revision on one partition of `policies`."""
        record = self.policies.put(topics.POLICIES, policy_event(revision=revision, **changes), at_ms)
        self.view.apply(record._replace(partition=partition))
        return record

    def boot(self) -> None:
        """Start every partition that wants it, and feed all there is."""
        self.view.policies_known()
        for partition, chain in enumerate(self.chains):
            if self.view.wants_bootstrap(partition):
                number, search = self.view.search(partition)
                self.view.start(partition, number, drive(search, chain.records))
        self.feed()

    def feed(self) -> None:
        """Feed everything that the view has not been fed yet."""
        for partition, chain in enumerate(self.chains):
            for record in chain.records[self.view.parts[partition].position :]:
                self.view.apply(record)

    def pick(self, now_ms: int, wanted: Request | None = None) -> Choice:
        """Ask at a moment on which both clocks agree."""
        return self.view.pick(wanted or request(), now_ms, now_ms)

    def refusal(self, now_ms: int, wanted: Request | None = None) -> RouteRefusal | None:
        """The code of the answer, None for a grant."""
        return self.pick(now_ms, wanted).refusal
