"""`decisions`: each record of `routing-decisions` joined with the truth at the moment and the position it names.

Two passes over processes (`decision_intake.py`, `decision_answers.py`), then one merge of what they put on disk, in the order
of the decisions' coordinates: memory holds a window of the chain, however long the log. Words nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from b3iq_schemas import envelope
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit import parallel
from b3iq_streams.audit.routing.allowed import Answer
from b3iq_streams.audit.routing.answers import answer, answer_path
from b3iq_streams.audit.routing.codes import Code, Limits, Verdict
from b3iq_streams.audit.routing.ids import Repeat, repeats
from b3iq_streams.audit.routing.intake import Said, Seen, ids_path, seen_path, take_in
from b3iq_streams.audit.routing.policies import read_revisions
from b3iq_streams.audit.routing.records import ALLOWED, topic_partitions
from b3iq_streams.audit.routing.refused import Part, judge_refused
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.spool import Row, rows, workplace
from b3iq_streams.core.admit import Verify


class Finding(NamedTuple):
    """What is said of one decision: where it stands, the SHA-256 of its value, the verdict, and what that rests on.

    `verdict` None: a copy of a decision that was judged before. `codes`: a justified or stale decision's own, else every
    reason, the first of which counts. `said` None: nobody who may vouches for the record.
    """

    partition: int
    offset: int
    logged_at_ms: int
    value_sha256: str
    verdict: Verdict | None
    codes: tuple[str, ...]
    said: Said | None
    because: dict[str, Any]


@dataclass
class Summary:
    """Counts of findings."""

    copies: int = 0
    codes: dict[Verdict, Counter[str]] = field(default_factory=lambda: {verdict: Counter() for verdict in Verdict})

    def add(self, found: Finding) -> None:
        """Count a finding."""
        if found.verdict is None:
            self.copies += 1
        else:
            self.codes[found.verdict][found.codes[0]] += 1

    def count(self, verdict: Verdict) -> int:
        """How many decisions have a verdict."""
        return self.codes[verdict].total()

    @property
    def decisions(self) -> int:
        """How many decisions were judged."""
        return sum(self.count(verdict) for verdict in Verdict)

    @property
    def expired(self) -> bool:
        """Whether some cannot be verified because evidence is not kept any more."""
        return self.codes[Verdict.UNVERIFIABLE][Code.EVIDENCE_EXPIRED] > 0


def audit(
    origin: Origin, trust: RootTrust, limits: Limits, processes: int | None = None, verify: Verify = envelope.verify
) -> Iterator[Finding]:
    """A finding on every decision that was logged in the range, by partition and offset."""
    partitions = topic_partitions(origin)
    with workplace() as directory:
        with origin.open() as source:
            revisions = read_revisions(origin, source, trust, limits)
        arguments = (origin, trust, revisions, limits, verify, directory)
        parallel.run(take_in, partitions, arguments, processes)
        parallel.run(answer, range(origin.partitions), arguments, processes)
        ids = (row for q in partitions for row in rows(ids_path(directory, q)))
        again = _Ahead(repeats(directory / "ids", ids))
        for q in partitions:
            answers = [rows(answer_path(directory, p, q)) for p in range(origin.partitions)]
            for row in rows(seen_path(directory, q)):
                seen = Seen.of(row)
                given = [_next(answers[p], seen.offset) for p in range(seen.first_asked, seen.last_asked)]
                yield _finding(q, seen, again.take(q, seen.offset), given, limits)


class _Ahead:
    """Repeats in order, looked at as the decisions pass."""

    def __init__(self, found: Iterator[Repeat]) -> None:
        self._found = found
        self._next = next(found, None)

    def take(self, partition: int, offset: int) -> Repeat | None:
        """The repeat that stands there."""
        found = self._next
        if found is None or (found.partition, found.offset) != (partition, offset):
            return None
        self._next = next(self._found, None)
        return found


def _next(answers: Iterator[Row], offset: int) -> Row:
    at, *said = next(answers)
    assert at == offset
    return said


def _finding(q: int, seen: Seen, repeat: Repeat | None, given: list[Row], limits: Limits) -> Finding:
    if repeat is not None and repeat.same:
        found = Answer(None, (), {})
    elif repeat is not None:
        found = Answer(Verdict.VIOLATION, (Code.DECISION_ID_REUSED,), {})
    elif seen.fault is not None or seen.said is None:
        found = Answer(Verdict.VIOLATION, (seen.fault or "",), {})
    elif not given:
        found = Answer(Verdict.UNVERIFIABLE, (Code.ONLY_ROUTER_KNEW,), {})
    elif seen.said.code == ALLOWED:
        verdict, codes, because = given[0]
        found = Answer(Verdict(verdict), tuple(codes), because)
    else:
        found = judge_refused(seen.said.code, [Part.of(part) for part in given], limits)
    codes = tuple(str(code) for code in found.codes)
    return Finding(q, seen.offset, seen.logged_at_ms, seen.value_sha256, found.verdict, codes, seen.said, found.because)
