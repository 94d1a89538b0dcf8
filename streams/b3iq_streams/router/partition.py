"""One partition of the router's view: its chain, what that says of each key, and whether it may be acted on (D1, D4).

Time comes in, nothing goes out. Which candidate a caller gets is `view.py`'s, where to start reading `bootstrap.py`'s.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from b3iq_schemas.codes import RouteRefusal
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainId, ChainReader, Head, PolicyUnknown
from b3iq_streams.core.records import Record
from b3iq_streams.router.bootstrap import Following, Search, Start, find_start
from b3iq_streams.router.supply import Candidate, Supply, Unreadable, read_change

BACKOFF_DOUBLINGS_MAX = 4


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """What a router may choose: B, and bounds on memory. σ is the network's constant and part of its trust."""

    bound_ms: int = 3_000
    """B: at least the idle epoch, the latency of the log, and σ."""
    held_bytes_max: int = 64 * 1024 * 1024
    """Records that wait for a policy revision; beyond it the partition starts again."""
    stamped: bool = True
    """False for a broker that does not stamp records: then a policy with the sender's time is taken, too."""


class Flip(NamedTuple):
    """What an accepted epoch changed about one key. `codes` = what blocks it now."""

    what: Literal["opened", "closed", "changed"]
    key: str
    codes: tuple[str, ...]


class Step(NamedTuple):
    """An epoch that was accepted on a partition, and what it changed."""

    partition: int
    accepted: Accepted
    flips: tuple[Flip, ...]


class PartitionView:
    """Fed with the records of one partition of `eligibility-changes`; puts what is eligible into the shared supply."""

    def __init__(self, chain: ChainId, book: PolicyBook, verify: Verify, supply: Supply, settings: ViewSettings) -> None:
        self.chain, self.book, self.verify, self.supply, self.settings = chain, book, verify, supply, settings
        self.entries: dict[str, Candidate] = {}
        self.head = chain.genesis_head()
        self.position = 0
        """The next offset to be fed."""
        self._reader: ChainReader | None = None
        self._held: deque[Record] = deque()
        self._held_bytes = 0
        self._doubt: RouteRefusal | None = RouteRefusal.VIEW_NOT_SYNCED
        self._target: int | None = None
        self._key_valid, self._policy_lag = True, False
        self._searching, self._losses, self._tries, self._again_at_ms = False, 0, 0, 0
        self._seen = -1

    @property
    def started(self) -> bool:
        """Whether it reads the log, synced or not."""
        return self._reader is not None

    @property
    def synced(self) -> bool:
        """Whether it has been read as far as the search asked."""
        return self._doubt is None

    def refusal(self, now_ms: int) -> RouteRefusal | None:
        """Why nothing of this partition may be granted now; None if its grants count."""
        if self._doubt is not None:
            return self._doubt
        if not self._key_valid:
            return RouteRefusal.PROCESSOR_KEY_REVOKED
        resolved_at_ms = self.head.resolved_at_ms
        if now_ms > resolved_at_ms + self.settings.bound_ms:
            return RouteRefusal.PROCESSOR_LAG
        if resolved_at_ms > now_ms + self.chain.skew_ms:
            return RouteRefusal.CLOCK_BEHIND
        return RouteRefusal.POLICY_LAG if self._policy_lag else None

    def take(self, record: Record) -> list[Step]:
        """The next record of the partition; those below the position were fed before."""
        if self._reader is None or record.offset < self.position:
            return []
        self.position = record.offset + 1
        self._held.append(record)
        self._held_bytes += len(record.value or b"")
        return self.drain()

    def drain(self) -> list[Step]:
        """Feed the chain with what is held, as far as the policies known allow."""
        steps: list[Step] = []
        while self._held and self._reader is not None:
            try:
                verdict = self._reader.feed(self._held[0])
            except PolicyUnknown:
                if self._held_bytes > self.settings.held_bytes_max:
                    self.lost(RouteRefusal.VIEW_NOT_SYNCED, restart=True)
                break
            self._held_bytes -= len(self._held.popleft().value or b"")
            if isinstance(verdict, Accepted):
                steps.append(self._absorb(verdict))
        self._settle()
        return steps

    def judge_head(self) -> None:
        """Judge the head against the policies known: is its key still listed (D1), is it too old a revision's (D4)."""
        newest, head = self.book.newest, self.head
        self._key_valid = head.epoch == 0 or head.keyid in current_processors(self.book)
        grace_ms = newest.policy.grace_ms if newest else 0
        self._policy_lag = self.book.newer_logged_before(head.policy_revision, head.resolved_at_ms - grace_ms)

    def lost(self, doubt: RouteRefusal, restart: bool = False) -> None:
        """From now on nothing here may be granted, until a new search has ended and the log was read beyond its end."""
        self._doubt, self._target = doubt, None
        self._losses, self._tries, self._again_at_ms = self._losses + 1, 0, 0
        if restart:
            self._reader, self._held_bytes = None, 0
            self._held.clear()

    def wants_bootstrap(self, now_ms: int) -> bool:
        """Whether a search is due: at first, after a loss, and when it has been lagging for B (catching up, stuck for B)."""
        if self._searching or now_ms < self._again_at_ms:
            return False
        if self._target is None:
            return True
        if self._doubt is not None and self.position != self._seen:
            self._seen, self._again_at_ms = self.position, now_ms + self.settings.bound_ms
            return False
        if now_ms <= self.head.resolved_at_ms + 2 * self.settings.bound_ms:
            self._tries = 0
            return False
        return True

    def search(self) -> tuple[int, Search]:
        """A search for where to start, and the number that `start` must be handed back with what it found."""
        self._searching = True
        following = Following(self.head, self.position) if self._reader is not None else None
        return self._losses, find_start(self.chain, current_processors(self.book), self.verify, following)

    def start(self, number: int, found: Start | None, now_ms: int) -> int | None:
        """Act on what a search found; the offset to read from, or None: go on as before, another search will be due."""
        self._searching = False
        self._again_at_ms = now_ms + (self.settings.bound_ms << min(self._tries, BACKOFF_DOUBLINGS_MAX))
        self._tries += 1
        if found is None or number != self._losses:
            return None
        if found.fresh:
            self._restart(found.head)
        self._doubt, self._target = self._doubt or RouteRefusal.VIEW_NOT_SYNCED, found.target
        self._settle()
        return self.position

    def _restart(self, head: Head) -> None:
        self.supply.drop(self.chain.partition)
        self.entries, self.head, self.position = {}, head, head.offset + 1
        self._held.clear()
        self._held_bytes = 0
        self._reader = ChainReader(self.chain, head, self.book.processors_of, self.verify)
        self.judge_head()

    def _settle(self) -> None:
        if self._doubt is not None and self._target is not None and not self._held and self.position >= self._target:
            self._doubt = None

    def _absorb(self, accepted: Accepted) -> Step:
        flips: list[Flip] = []
        for value in accepted.changes:
            flips += self._decide(read_change(value, self.chain.partition))
        self.head = accepted.head
        self.judge_head()
        return Step(self.chain.partition, accepted, tuple(flips))

    def _decide(self, found: Candidate | Unreadable) -> list[Flip]:
        if isinstance(found, Unreadable):
            return [flip for key in ([found.key] if found.key else list(self.entries)) for flip in self._forget(key)]
        before = self.entries.get(found.key)
        if before is not None and before.eligible:
            self.supply.remove(before)
        if found.eligible:
            self.supply.add(found)
        self.entries[found.key] = found
        return _flips(before, found)

    def _forget(self, key: str) -> list[Flip]:
        before = self.entries.pop(key, None)
        if before is None or not before.eligible:
            return []
        self.supply.remove(before)
        return [Flip("closed", key, ("decision_unreadable",))]


def _flips(before: Candidate | None, now: Candidate) -> list[Flip]:
    was = before is not None and before.eligible
    if was != now.eligible:
        return [Flip("opened" if now.eligible else "closed", now.key, now.codes)]
    if before is None or (before.codes, before.offer) != (now.codes, now.offer):
        return [Flip("changed", now.key, now.codes)]
    return []


def current_processors(book: PolicyBook) -> Mapping[str, bytes]:
    """Processor keys under the newest policy known, by key id; the configured ones before any."""
    keys = book.processors_of(book.newest.policy.revision if book.newest else 0)
    assert keys is not None
    return keys
