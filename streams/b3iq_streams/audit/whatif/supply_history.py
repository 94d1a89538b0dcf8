"""What the chain of one partition said of its profiles lately, epoch by epoch, and beside it what the re-fold makes of them.

Walks forwards on demand and forgets what no question can be about any more, so that memory holds the state and a short window;
of older epochs only what tells one from another is kept, on disk. Judges no decision.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from b3iq_schemas.eligibility import Decision
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.routing.codes import Code
from b3iq_streams.audit.routing.versions import EpochFile, Place, Versions
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.chain import Head, PolicyUnknown
from b3iq_streams.core.refold import InputsGone, Refolded
from b3iq_streams.core.values import Published
from b3iq_streams.router.supply import Candidate, read_change


class Truth(NamedTuple):
    """The re-folded decision on one profile. `since_ms` = since when the first of `codes` to fail has failed.

    `proven` False: it rests on evidence that is gone. `gone`: the profile is not known any more, and absent is a "no".
    """

    eligible: bool
    model_id: str
    valid_until_ms: int
    decided_at_ms: int
    codes: tuple[str, ...]
    since_ms: int
    proven: bool = True
    gone: bool = False

    @classmethod
    def of(cls, body: bytes, decided_at_ms: int, proven: bool, gone: bool = False) -> "Truth":
        """From the JSON of a decision's content."""
        said: dict[str, Any] = orjson.loads(body)
        failing = said["failing"]
        return cls(
            said["eligible"], said["model_id"], said["valid_until_ms"], decided_at_ms,
            tuple(found["code"] for found in failing),
            min((found["since_ms"] for found in failing), default=decided_at_ms), proven, gone,
        )  # fmt: skip


class SupplyHistory:
    """One partition under way. `end` says why it goes no further: None while it does.

    `recorded` is what a router that read an epoch holds, `folded` what the inputs say, both by key.
    """

    def __init__(self, walk: Walk, path: Path) -> None:
        self.recorded: Versions[Candidate] = Versions()
        self.folded: Versions[Truth] = Versions()
        self.epochs = EpochFile(path)
        self.end: Code | None = None
        self.floor_ms = -(2**53)
        """Questions that look back before this moment cannot be answered any more."""
        self._walk, self._heads = walk, deque[Head]()
        self._best: dict[int, dict[str, Candidate | None]] = {}
        self._open: dict[int, dict[str, list[tuple[str, Truth]]]] = {}
        self._unproven = frozenset[str]()
        self._steps = self._epochs()
        if walk.earliest_ms == 0:
            self._append(walk.chain.genesis_head())

    def advance(self, past_ms: int) -> None:
        """Walk until an epoch was resolved after a moment, or to the end."""
        while self.end is None and (not self._heads or self._heads[-1].resolved_at_ms <= past_ms):
            try:
                epoch = next(self._steps, None)
            except (EvidenceExpired, PolicyUnknown):
                self.end = Code.EVIDENCE_EXPIRED
            except InputsGone as gone:
                self.end = Code.EVIDENCE_EXPIRED if gone.expired else Code.NOT_REFOLDABLE
            else:
                if epoch is None:
                    self.end = Code.NOT_SETTLED
                else:
                    self._take(epoch)

    def forget(self, before_ms: int) -> None:
        """Nobody will ask about moments before this one any more; the last epoch before it stays."""
        self.floor_ms = max(self.floor_ms, before_ms)
        if len(self._heads) < 2 or self._heads[1].resolved_at_ms > before_ms:
            return
        while len(self._heads) > 1 and self._heads[1].resolved_at_ms <= before_ms:
            gone = self._heads.popleft().epoch
            self._best.pop(gone, None)
            self._open.pop(gone, None)
        first = self._heads[0].epoch
        for _ in self.recorded.forget(first):
            pass
        for key, truth in self.folded.forget(first):
            if truth is not None and truth.gone and not _offered(self.recorded.at(self._heads[-1].epoch, key)):
                self.folded.drop(key)
                self.recorded.drop(key)

    @property
    def first(self) -> int:
        """The number of the oldest epoch that can be asked about; -1 if there is none."""
        return self.epochs.first

    @property
    def unknown(self) -> Code:
        """Why nothing can be said of what was before the first epoch."""
        return Code.NOT_REFOLDABLE if self.end is Code.NOT_REFOLDABLE and not self._heads else Code.EVIDENCE_EXPIRED

    @property
    def last(self) -> int:
        """The number of the newest epoch walked so far; -1 if there is none."""
        return self._heads[-1].epoch if self._heads else -1

    def head(self, epoch: int) -> Head | None:
        """An epoch of the window."""
        at = epoch - self._heads[0].epoch if self._heads else -1
        return self._heads[at] if 0 <= at < len(self._heads) else None

    def before(self, at_ms: int) -> Head | None:
        """The last epoch resolved at or before a moment."""
        at = bisect_right(self._heads, at_ms, key=_resolved)
        return self._heads[at - 1] if at else None

    def after(self, at_ms: int) -> Head | None:
        """The first epoch resolved at or after a moment."""
        at = bisect_left(self._heads, at_ms, key=_resolved)
        return self._heads[at] if at < len(self._heads) else None

    def best(self, epoch: int, model_id: str) -> Candidate | None:
        """Of the candidates that a router held for a model at an epoch the one whose evidence lasts longest; None without any."""
        known = self._best.setdefault(epoch, {})
        if model_id not in known:
            offers = (found for _, found in self.recorded.serving(epoch, model_id) if found.eligible)
            known[model_id] = min(offers, key=lambda found: (-found.valid_until_ms, found.key), default=None)
        return known[model_id]

    def open(self, epoch: int, model_id: str) -> Sequence[tuple[str, Truth]]:
        """The profiles that the inputs say were eligible for a model at an epoch, by key."""
        known = self._open.setdefault(epoch, {})
        if model_id not in known:
            known[model_id] = sorted(found for found in self.folded.serving(epoch, model_id) if found[1].eligible)
        return known[model_id]

    def close(self) -> None:
        """End the walk."""
        self._steps.close()
        self.epochs.close()

    def _epochs(self) -> Generator[Refolded, None, None]:
        for seen in self._walk:
            if isinstance(seen.verdict, Refolded):
                yield seen.verdict

    def _append(self, head: Head) -> None:
        self._heads.append(head)
        self.epochs.append(head.epoch, Place(head.digest, head.resolved_at_ms, head.policy_revision, head.keyid))

    def _take(self, epoch: Refolded) -> None:
        head, state = epoch.accepted.head, self._walk.refolding.state
        whole = not self._heads or epoch.accepted.mark.rebuilt is not None
        published = {
            f"{node_id}/{profile_id}": last
            for node_id, node in (state.nodes.items() if whole else ())
            for profile_id, last in node.published.items()
        }
        if not self._heads:
            self.recorded.put(head.epoch, {key: self._candidate(key, last) for key, last in published.items()})
        changed = self._read(epoch.accepted.changes)
        self.recorded.put(head.epoch, changed)
        unproven = frozenset(self._walk.refolding.unproven)
        touched = {change.key for change in epoch.outcome.changes} | changed.keys() | (self._unproven ^ unproven)
        self._unproven = unproven
        if whole:
            touched.update(published, self.folded.keys())
        self.folded.put(head.epoch, self._truths(sorted(touched), epoch))
        self._append(head)

    def _read(self, changes: Sequence[bytes]) -> dict[str, Candidate | None]:
        """What the recorded changes say of each key, as a router reads them."""
        found: dict[str, Candidate | None] = {}
        for value in changes:
            read = read_change(value, self._walk.partition)
            if isinstance(read, Candidate):
                found[read.key] = read
            else:
                found.update(dict.fromkeys([read.key] if read.key else [*self.recorded.keys(), *found]))
        return found

    def _truths(self, keys: Sequence[str], epoch: Refolded) -> dict[str, Truth | None]:
        decided = {change.key: change.decision for change in epoch.outcome.changes}
        at_ms, nodes = epoch.outcome.resolved_at_ms, self._walk.refolding.state.nodes
        found: dict[str, Truth | None] = {}
        for key in keys:
            node_id, _, profile_id = key.partition("/")
            last = nodes[node_id].published.get(profile_id) if node_id in nodes else None
            proven = key not in self._unproven
            if last is not None:
                found[key] = Truth.of(last.body, last.decided_at_ms, proven)
            elif key in decided:
                found[key] = Truth.of(decided[key], at_ms, proven, gone=True)
            else:
                known = self.folded.at(epoch.accepted.head.epoch, key)
                found[key] = Truth(False, known.model_id if known else "", 0, at_ms, (), at_ms, proven, gone=True)
        return found

    def _candidate(self, key: str, last: Published) -> Candidate:
        """What a router holds of a key that was published before the walk began."""
        rest = {"policy_revision": last.policy_revision, "decided_at_ms": last.decided_at_ms, "evidence": []}
        whole = last.body[:-1] + b"," + orjson.dumps(rest)[1:]
        return Candidate(self._walk.partition, Decision.model_validate_json(whole))


def _resolved(head: Head) -> int:
    return head.resolved_at_ms


def _offered(found: Candidate | None) -> bool:
    return found is not None and found.eligible
