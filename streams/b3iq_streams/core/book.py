"""The policy revisions that were ever signed, from any partition of `policies`. Judges signatures, forgets nothing.

Acceptance asks it for the processor keys of a revision (A4), the router whether a newer one is out (D4).
"""

from collections.abc import Mapping

from b3iq_streams.core.admit import Refused, Scope, Verify, admit, open_record
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules, keys_by_id, prepare


class PolicyBook:
    """Revisions by number; the first record of a revision fixes its content, the earliest log time is kept."""

    def __init__(self, scope: Scope, verify: Verify) -> None:
        self._scope, self._verify = scope, verify
        self._genesis = keys_by_id(scope.trust.genesis_processors)
        self._revisions: dict[int, Rules] = {}
        self._logged_at_ms: dict[int, int] = {}

    def feed(self, record: Record) -> bool:
        """Take a record of `policies`; False if it is not a revision signed by enough roots."""
        opened = open_record(record, self._scope.roots, self._scope, self._verify)
        fact = admit(opened, None, None, self._scope, self._verify)
        if isinstance(fact, Refused):
            return False
        revision = fact.event.revision
        self._revisions.setdefault(revision, prepare(fact.payload, fact.proof))
        earliest_ms = self._logged_at_ms.get(revision, record.timestamp_ms)
        self._logged_at_ms[revision] = min(earliest_ms, record.timestamp_ms)
        return True

    def processors_of(self, revision: int) -> Mapping[str, bytes] | None:
        """Processor keys under a revision; None while it is unknown. Revision 0: the configured genesis keys."""
        if revision == 0:
            return self._genesis
        rules = self._revisions.get(revision)
        return rules.processors if rules else None

    @property
    def newest(self) -> Rules | None:
        """The highest revision known."""
        return self._revisions[max(self._revisions)] if self._revisions else None

    @property
    def revisions(self) -> tuple[Rules, ...]:
        """Every revision known, lowest first."""
        return tuple(rules for _, rules in sorted(self._revisions.items()))

    def newer_logged_before(self, revision: int, moment_ms: int) -> bool:
        """Whether a revision above `revision` was logged, on any partition, before `moment_ms`."""
        return any(at_ms < moment_ms for number, at_ms in self._logged_at_ms.items() if number > revision)
