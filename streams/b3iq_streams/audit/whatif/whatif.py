"""`whatif`: replay under a candidate policy. Who flips, when and why; eligible time and paid requests won and lost.

One job per partition folds both sides (`whatif_twin.py`) and keeps the account (`whatif_ledger.py`); what changed goes to disk,
where the decisions meet it (`whatif_requests.py`). Nothing is published, and the candidate need not be signed.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import orjson

from b3iq_schemas import envelope
from b3iq_schemas.policy import Policy, RootTrust
from b3iq_streams import policies
from b3iq_streams.audit import parallel
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.routing.codes import Limits
from b3iq_streams.audit.routing.ids import first_of_each
from b3iq_streams.audit.routing.policies import read_revisions
from b3iq_streams.audit.routing.records import topic_partitions
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.spool import Spool, rows, workplace
from b3iq_streams.audit.walk import Walk
from b3iq_streams.audit.whatif.ledger import Flip, Ledger, Span, Spans, keys_of
from b3iq_streams.audit.whatif.requests import Asked, Requests, compare, merged, take_in, told_path
from b3iq_streams.audit.whatif.twin import Twin
from b3iq_streams.core.admit import Verify
from b3iq_streams.core.chain import PolicyUnknown
from b3iq_streams.core.refold import InputsGone, Refolded
from b3iq_streams.errors import UserError

REMEMBERED_SIGNATURES = 4_096
"""Each signature is checked once for both folds, as long as an epoch has no more records than that."""


class Account(NamedTuple):
    """What one partition comes to. `first_ms`, `last_ms` = the first and the last epoch that both sides judged, None without
    any; `inherited` = there was a policy before the first one; `earliest_ms` = where the fold of what is left could begin, 0 if
    nothing is gone; `unproven` = profiles that rest on evidence that is gone.
    """

    partition: int
    first_ms: int | None
    last_ms: int | None
    inherited: bool
    earliest_ms: int
    flips: list[Flip]
    spans: Spans
    unproven: int
    expired: tuple[str, int | None] | None = None
    broken: str | None = None


@dataclass(frozen=True)
class Report:
    """The whole answer. Times are of the first and the last epoch that was judged under the candidate, None without any."""

    revision: int
    first_ms: int | None
    last_ms: int | None
    flips: list[Flip]
    spans: Spans
    requests: Requests
    unproven: int
    late: tuple[tuple[int, int], ...]
    """Partitions of which older evidence is gone, each with the moment from which it is accounted for."""


def read_candidate(raw: bytes, trust: RootTrust) -> Policy:
    """The policy in a file as `policy new` or `policy sign` writes it. Raises UserError unless it could come into force here."""
    policy = policies.read(raw)
    if policy.network != trust.network:
        raise UserError(f"a policy of network {policy.network}, not of {trust.network}")
    for role in type(policy.roles).model_fields:
        if not all(envelope.is_safe_key(bytes.fromhex(key)) for key in getattr(policy.roles, role)):
            raise UserError(f"roles.{role}: one of the keys is not a safe Ed25519 point")
    return policy


def whatif(
    origin: Origin, trust: RootTrust, candidate: Policy, limits: Limits, processes: int | None = None,
    verify: Verify = envelope.verify,
) -> Report:  # fmt: skip
    """Replay from `limits.from_ms` to `limits.to_ms` with the candidate in force.

    Raises EvidenceExpired when the range, or what led up to it, is not kept any more.
    """
    partitions = range(origin.partitions)
    with workplace() as directory:
        accounts = parallel.run(account, partitions, (origin, trust, candidate, limits, verify, directory), processes)
        _fail(accounts)
        with origin.open() as source:
            revisions = read_revisions(origin, source, trust, limits)
        topic = topic_partitions(origin)
        parallel.run(take_in, topic, (origin, trust, revisions, limits, verify, directory), processes)
        told = (row for q in topic for row in rows(told_path(directory, q)))
        asked = (Asked(*orjson.loads(data)) for data in first_of_each(directory / "ids", told))
        changes = merged([changes_path(directory, p) for p in partitions])
        judged_from_ms = max((one.first_ms for one in accounts if one.inherited and one.first_ms is not None), default=0)
        return _report(candidate, limits.from_ms, accounts, compare(asked, changes, judged_from_ms))


def changes_path(directory: Path, p: int) -> Path:
    """Where the changes of a partition of the chain are put."""
    return directory / f"changes-{p}"


def account(
    desk: Desk, origin: Origin, trust: RootTrust, candidate: Policy, limits: Limits, verify: Verify, directory: Path
) -> Account:
    """The job: fold one partition on both sides and account for it."""
    checked = lru_cache(REMEMBERED_SIGNATURES)(verify)
    with origin.open() as source:
        walk = Walk(origin, source, trust, desk.partition, checked)
        work = _Accounting(walk, Twin(walk, checked, candidate, limits.from_ms), changes_path(directory, desk.partition))
        try:
            for seen in walk.until(limits.to_ms):
                if 0 < limits.from_ms < (walk.earliest_ms or 0):
                    return work.end(expired=(f"partition {desk.partition} does not reach back that far", walk.earliest_ms))
                if isinstance(seen.verdict, Refolded):
                    work.take(seen.verdict)
                if desk.stopped:
                    break
        except EvidenceExpired as error:
            return work.end(expired=(f"partition {desk.partition} cannot be folded any more", error.earliest_ms))
        except PolicyUnknown as error:
            return work.end(expired=(f"partition {desk.partition}: {error}", walk.earliest_ms))
        except InputsGone as gone:
            what = f"partition {desk.partition}: {gone}"
            return work.end(expired=(what, walk.earliest_ms)) if gone.expired else work.end(broken=what)
        return work.end()


class _Accounting:
    """One partition under way."""

    def __init__(self, walk: Walk, twin: Twin, path: Path) -> None:
        self.walk, self.twin, self.ledger, self.spool = walk, twin, Ledger(), Spool(path)
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.inherited = False
        self.unproven = frozenset[str]()

    def take(self, epoch: Refolded) -> None:
        """Account for an epoch."""
        twin, at_ms = self.twin, epoch.outcome.resolved_at_ms
        if twin.other is None:
            return
        unproven = frozenset(twin.unproven)
        keys = {change.key for change in epoch.outcome.changes} | {*twin.moved} | (self.unproven - unproven)
        if twin.whole:
            keys |= keys_of(twin.state) | keys_of(twin.other)
        for change in self.ledger.take(at_ms, keys - unproven, twin.state, twin.other):
            self.spool.put(change)
        for change in self.ledger.forget(at_ms, unproven - self.unproven):
            self.spool.put(change)
        if self.first_ms is None:
            rules = twin.other.rules
            self.first_ms, self.inherited = at_ms, rules is not None and rules.before is not None
        self.last_ms, self.unproven = at_ms, unproven

    def end(self, expired: tuple[str, int | None] | None = None, broken: str | None = None) -> Account:
        """The account of everything taken."""
        self.spool.close()
        if self.last_ms is not None:
            self.ledger.end(self.last_ms)
        flips = [self.ledger.flips[key] for key in sorted(self.ledger.flips)]
        return Account(
            self.walk.partition, self.first_ms, self.last_ms, self.inherited, self.walk.earliest_ms or 0, flips,
            dict(self.ledger.spans), len(self.unproven), expired, broken,
        )  # fmt: skip


def _fail(accounts: list[Account]) -> None:
    for one in accounts:
        if one.broken is not None:
            raise UserError(f"{one.broken}, though the chain says that they were folded: see `audit verify`")
    if expired := [one.expired for one in accounts if one.expired is not None]:
        earliest = [earliest_ms for _, earliest_ms in expired]
        known = [earliest_ms for earliest_ms in earliest if earliest_ms is not None]
        raise EvidenceExpired(expired[0][0], max(known) if len(known) == len(earliest) else None)


def _report(candidate: Policy, from_ms: int, accounts: list[Account], requests: Requests) -> Report:
    spans: Spans = defaultdict(Span)
    for one in accounts:
        for name, span in one.spans.items():
            spans[name].add(span)
    flips = sorted((flip for one in accounts for flip in one.flips), key=lambda flip: flip.key)
    first = [one.first_ms for one in accounts if one.first_ms is not None]
    last = [one.last_ms for one in accounts if one.last_ms is not None]
    return Report(
        candidate.revision, min(first, default=None), max(last, default=None), flips, dict(sorted(spans.items())), requests,
        sum(one.unproven for one in accounts),
        tuple((one.partition, one.first_ms) for one in accounts if one.earliest_ms > from_ms and one.first_ms is not None),
    )  # fmt: skip
