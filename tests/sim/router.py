"""A simulated router: its own clock, its own pace, the real chain reader and bootstrap, and the rules D1–D4 spelled out."""

import orjson

from b3iq_schemas import topics
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainReader, PolicyUnknown
from b3iq_streams.router.bootstrap import AskBounds, Bounds, Following, ReadRange, find_start
from tests.factory import SCOPE
from tests.sim import crypto
from tests.sim.history import Grant, History, Sight
from tests.sim.knobs import BOUND_MS, GRACE_MS, SKEW_MS
from tests.sim.loop import Process
from tests.sim.worker import CHAIN
from tests.sim.world import World

EARLY_MS = SKEW_MS
"""So much before `valid_until` a router stops granting (D2)."""


class Router:
    """Follows the chain and says, whenever it looks, which keys it would grant."""

    def __init__(self, world: World, history: History, number: int) -> None:
        self.world, self.history, self.number = world, history, number
        self.ahead_ms = world.clock()
        self.book = PolicyBook(SCOPE, crypto.verify)
        self.policies = 0
        self.reader: ChainReader | None = None
        self.target = 0
        self.patience_ms = 0
        self.valid_until: dict[str, int] = {}

    def run(self) -> Process:
        """Read a little, answer, rest; sometimes for long."""
        world, rng = self.world, self.world.rng
        while True:
            yield rng.randint(1_000, 4_000) if world.chance(world.faults.stall * 3) else rng.choice((30, 200, 500))
            self.read_policies()
            if self.lags() and world.now_ms >= self.patience_ms:
                self.bootstrap()
            self.read()
            self.answer()

    def now(self) -> int:
        """The router's clock."""
        return self.world.now_ms + self.ahead_ms

    def read_policies(self) -> None:
        """Policies come over another connection, and may be a little behind too."""
        log = self.world.inputs[topics.POLICIES]
        end = log.stale_end(self.world.stale())
        for record in log.records[self.policies : end]:
            self.book.feed(record)
        self.policies = max(self.policies, end)

    def lags(self) -> bool:
        """Whether it is time to look for another start."""
        if self.reader and self.reader.position < self.world.chain.start:
            self.reader = None
        return self.reader is None or self.now() > self.reader.head.resolved_at_ms + BOUND_MS

    def bootstrap(self) -> None:
        """Rule A6, with the router's own code; not at every look, since that costs."""
        self.patience_ms = self.world.now_ms + 700
        newest, log = self.book.newest, self.world.chain
        keys = newest.processors if newest else self.book.processors_of(0) or {}
        following = Following(self.reader.head, self.reader.position) if self.reader else None
        search = find_start(CHAIN, keys, crypto.verify, following)
        try:
            ask = next(search)
            while True:
                if isinstance(ask, AskBounds):
                    ask = search.send(Bounds(log.start, log.end))
                else:
                    assert isinstance(ask, ReadRange)
                    ask = search.send(log.read(ask.first, ask.last))
        except StopIteration as end:
            start = end.value
        if start is None:
            return
        self.target = start.target
        if start.fresh:
            self.reader, self.valid_until = ChainReader(CHAIN, start.head, self.book.processors_of, crypto.verify), {}

    def read(self) -> None:
        """Feed on some of what there is; epochs apply whole."""
        if self.reader is None:
            return
        log, rng = self.world.chain, self.world.rng
        last = rng.randint(self.reader.position, max(log.end, self.reader.position)) if rng.random() < 0.3 else log.end
        for record in log.records[self.reader.position : last]:
            try:
                verdict = self.reader.feed(record)
            except PolicyUnknown:
                return
            if isinstance(verdict, Accepted):
                for value in verdict.changes:
                    decision = orjson.loads(value)["decision"]
                    key = f"{decision['node_id']}/{decision['profile_id']}"
                    self.valid_until[key] = decision["valid_until_ms"] if decision["eligible"] else 0

    def answer(self) -> None:
        """Grant what D1–D4 allow, and let the checkers know what is held."""
        reader = self.reader
        if reader is None or reader.position < self.target or reader.head.epoch == 0:
            return
        eligible = {key: until for key, until in self.valid_until.items() if until}
        head, now, newest = reader.head, self.now(), self.book.newest
        self.history.sights.append(Sight(reader.position, head.digest, eligible))
        if newest is None or head.keyid not in newest.processors:
            return
        if not now - BOUND_MS <= head.resolved_at_ms <= now + SKEW_MS:
            return
        if self.book.newer_logged_before(head.policy_revision, head.resolved_at_ms - GRACE_MS):
            return
        for key, until in eligible.items():
            if now + EARLY_MS < until:
                self.history.grants.append(Grant(self.world.now_ms, self.number, key, head.digest))
