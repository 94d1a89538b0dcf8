"""`verify` for one partition: every signature checked, every accepted epoch folded again, everything recorded compared.

Also says which epochs lost their race and why, and whether every refused record has its dead letter. It reads; what it
finds is reported, never mended.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from b3iq_schemas import envelope, topics
from b3iq_schemas.canonical import canonical, sha256_hex
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit import saved
from b3iq_streams.audit.expiry import EvidenceExpired
from b3iq_streams.audit.letters import Letters
from b3iq_streams.audit.parallel import PER_TICK, Desk
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.walk import Walk
from b3iq_streams.core.chain import Ignored, PolicyUnknown, head_at
from b3iq_streams.core.proposal import count_codes
from b3iq_streams.core.records import Record
from b3iq_streams.core.refold import Difference, InputsGone, Refolded
from b3iq_streams.errors import UserError

DIFFERENCES_MAX = 20
LOSSES_MAX = 1_000
SAVE_EVERY_RECORDS = 200_000
"""How much work may be lost when a run that saves is killed."""


class Plan(NamedTuple):
    """What to verify: epochs resolved from `from_ms` to `to_ms`; `resume` = directory of saved folds."""

    trust: RootTrust
    from_ms: int
    to_ms: int
    resume: Path | None = None


class Loss(NamedTuple):
    """A mark that does not count: where it stands, its attempt, and why."""

    partition: int
    offset: int
    attempt: str
    reason: str


class Losses:
    """How many marks did not count, by reason, and the first of them."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.first: list[Loss] = []

    def add(self, loss: Loss) -> None:
        """Take a loss."""
        self.reasons[loss.reason] += 1
        self.first += [loss][: LOSSES_MAX - len(self.first)]

    def merge(self, later: "Losses") -> None:
        """Take those that came after these."""
        self.reasons += later.reasons
        self.first += later.first[: LOSSES_MAX - len(self.first)]


@dataclass
class Report:
    """What was found in one partition. Counts are of the range; differences are of everything up to its end.

    `unproven` = keys whose last decision rests on evidence that is gone; `expired` says so when nothing could be folded.
    """

    partition: int
    epoch: int = 0
    digest: str = ""
    resolved_at_ms: int = 0
    earliest_ms: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    admitted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    lost: Losses = field(default_factory=Losses)
    differences: list[Difference] = field(default_factory=list)
    unfolded: int = 0
    """Records after the cut of the last epoch that was folded."""
    unproven: int = 0
    expired: str = ""

    def take(self, epoch: Refolded, from_ms: int) -> None:
        """Account for an epoch."""
        head, mark = epoch.accepted.head, epoch.accepted.mark
        self.epoch, self.digest, self.resolved_at_ms = head.epoch, head.digest, head.resolved_at_ms
        for difference in epoch.differences:
            self.differ(difference)
        if head.resolved_at_ms < from_ms:
            return
        changes = len(epoch.accepted.changes)
        self.counts.update(
            epochs=1, changes=changes - epoch.refreshed, refreshed=epoch.refreshed,
            state_digests=mark.state_sha256 is not None, rebuilt=mark.rebuilt is not None,
        )  # fmt: skip
        self.admitted.update(epoch.outcome.admitted)
        self.refused.update(count_codes(epoch.outcome.refused))

    def differ(self, difference: Difference) -> None:
        """Take a difference; only the first ones are kept, for one draws others after it."""
        self.counts["differences"] += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(difference)

    def as_notes(self) -> dict[str, Any]:
        """As plain data, to be saved; `from_notes` takes it back."""
        return {
            "head": [self.epoch, self.digest, self.resolved_at_ms, self.earliest_ms], "counts": self.counts,
            "admitted": self.admitted, "refused": self.refused, "lost": self.lost.reasons,
            "losses": [list(loss) for loss in self.lost.first], "differences": [list(found) for found in self.differences],
        }  # fmt: skip

    @classmethod
    def from_notes(cls, partition: int, notes: dict[str, Any]) -> "Report":
        """A report as it was when it was saved."""
        epoch, digest, resolved_at_ms, earliest_ms = notes["head"]
        made = cls(partition, epoch, digest, resolved_at_ms, earliest_ms)
        made.counts, made.admitted, made.refused = (Counter(notes[name]) for name in ("counts", "admitted", "refused"))
        made.lost.reasons, made.lost.first = Counter(notes["lost"]), [Loss(*row) for row in notes["losses"]]
        made.differences = [Difference(*row) for row in notes["differences"]]
        return made


def verify(desk: Desk, origin: Origin, plan: Plan) -> Report:
    """Verify one partition, or go on where a saved fold stopped. Returns what was found so far when told to stop."""
    with origin.open() as source:
        work = _Verifying(Walk(origin, source, plan.trust, desk.partition, envelope.verify), plan, desk)
        work.resume()
        work.run()
        return work.end()


class _Verifying:
    """One partition under way. What is saved always stands on an epoch: `tail` = marks that lost since then."""

    def __init__(self, walk: Walk, plan: Plan, desk: Desk) -> None:
        self.walk, self.plan, self.desk = walk, plan, desk
        self.report, self.letters, self.tail = Report(desk.partition), Letters(walk), Losses()
        self.path = plan.resume / f"p{desk.partition:05d}.fold" if plan.resume else None
        self.identity = sha256_hex(canonical([walk.chain.genesis, plan.trust.model_dump(mode="json"), plan.from_ms]))
        self.told = self.saved = self.done = 0

    def resume(self) -> None:
        """Take up a saved fold, if there is one. Raises UserError if it does not stand in this log."""
        walk, found = self.walk, saved.load(self.path, self.identity) if self.path else None
        if found is None:
            return
        record = walk.record(topics.ELIGIBILITY_CHANGES, found.head.offset) if found.head.epoch else None
        if record is not None and head_at(record, found.head.digest, walk.chain) is None:
            raise UserError(f"{self.path} stands on epoch {found.head.epoch}, which is not in this log: give another directory")
        found.restore(walk.refolding)
        self.report = Report.from_notes(walk.partition, found.notes["report"])
        self.letters = Letters(walk, found.notes["letters"])
        walk.earliest_ms = self.report.earliest_ms

    def run(self) -> None:
        """Walk as far as the range, the log, or the user's patience go."""
        try:
            for seen in self.walk.until(self.plan.to_ms):
                if isinstance(seen.verdict, Ignored):
                    self.lose(seen.record, seen.verdict)
                    continue
                self.take(seen.verdict)
                if self.desk.stopped:
                    return
        except EvidenceExpired as error:
            self.report.expired = str(error)
        except PolicyUnknown as error:
            self.report.expired = f"evidence expired: {error}"
        except InputsGone as gone:
            self.report.differ(self.gone(gone))

    def lose(self, record: Record, ignored: Ignored) -> None:
        if self.walk.refolding.head.resolved_at_ms >= self.plan.from_ms or not self.plan.from_ms:
            self.tail.add(Loss(self.walk.partition, record.offset, ignored.attempt, ignored.reason.value))

    def take(self, epoch: Refolded) -> None:
        self.report.take(epoch, self.plan.from_ms)
        self.report.earliest_ms = self.walk.earliest_ms or 0
        self.report.lost.merge(self.tail)
        self.tail = Losses()
        self.letters.expect(epoch.outcome.refused, epoch.accepted.head)
        self.done += sum(epoch.outcome.admitted.values()) + len(epoch.outcome.refused)
        if self.done - self.told >= PER_TICK:
            self.desk.done(self.done - self.told)
            self.told = self.done
        if self.done - self.saved >= SAVE_EVERY_RECORDS:
            self.save()

    def save(self) -> None:
        """Put the fold aside, if a place for it was given."""
        if self.path is not None and not self.report.expired:
            notes = {"report": self.report.as_notes(), "letters": self.letters.as_notes()}
            saved.save(self.path, self.walk.refolding, self.identity, notes)
        self.saved = self.done

    def end(self) -> Report:
        """The report, after the fold was put aside for the next run."""
        self.save()
        self.desk.done(self.done - self.told)
        report = self.report
        report.lost.merge(self.tail)
        report.counts["lost"] = report.lost.reasons.total()
        report.unfolded = self.walk.unfolded
        report.unproven = len(self.walk.refolding.unproven)
        for (topic, offset, digest), code in sorted(self.letters.owed.items()) if not self.desk.stopped else ():
            wanted = f"{code}, SHA-256 {digest}"
            report.differ(Difference(report.partition, offset, report.epoch, f"dead letter of {topic}", "none", wanted))
        return report

    def gone(self, gone: InputsGone) -> Difference:
        """Records that an accepted epoch says it folded, and that are not there."""
        head = self.walk.refolding.reader.head
        folded = f"offsets {gone.first} to {gone.last - 1} were folded"
        return Difference(self.walk.partition, head.offset, head.epoch, f"records of {gone.topic}", folded, "not all are there")
