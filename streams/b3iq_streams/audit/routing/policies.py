"""Which policy revision a router could know at a moment, from the log times of `policies` on every partition.

A router reads revisions as it reads the chain, so it must know what was logged more than B + σ before its decision (or more
than σ before a position that is older still), and may know what was logged up to σ after it. Between the two it is given the
benefit of the doubt, either way. Knows nothing of nodes.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.policy import RootTrust
from b3iq_streams import policies
from b3iq_streams.audit.routing.codes import Limits
from b3iq_streams.audit.source import Origin, Source
from b3iq_streams.core.admit import Refused
from b3iq_streams.core.rules import keys_by_id, prepare
from b3iq_streams.kafka.connection import Place

Keys = Mapping[str, bytes]
BEFORE_ALL_MS = -(2**53)


class Revision(NamedTuple):
    """One revision: when it was first logged on any partition, its grace, and the keys it lists, by key id."""

    number: int
    logged_at_ms: int
    grace_ms: int
    processors: Keys
    routers: Keys


class Sight(NamedTuple):
    """How far a router had read `policies`: surely all that was logged before `read_ms`, perhaps all until `latest_ms`."""

    read_ms: int
    latest_ms: int


class Doubt(NamedTuple):
    """Something a router would hold to be so: surely, or perhaps."""

    surely: bool
    perhaps: bool


class Revisions:
    """Every revision that was ever signed by enough roots. Revision 0 is the configuration, known before anything is logged."""

    def __init__(self, genesis: Keys, known: Sequence[Revision], limits: Limits) -> None:
        configured = Revision(0, BEFORE_ALL_MS, 0, genesis, {})
        self._known, self._limits = (configured, *sorted(known, key=lambda revision: revision.number)), limits

    def routers(self, logged_at_ms: int) -> Keys:
        """The keys that may sign a decision logged then.

        A revision takes a while to reach everybody: so much is its grace, and then σ (D4).
        """
        skew_ms = self._limits.skew_ms
        grace_ms = max(revision.grace_ms for revision in self._newest(logged_at_ms, logged_at_ms))
        found: dict[str, bytes] = {}
        for revision in self._newest(logged_at_ms - grace_ms - skew_ms, logged_at_ms + skew_ms):
            found.update(revision.routers)
        return found

    def key_dropped(self, keyid: str, view: Sight) -> Doubt:
        """Whether a processor's key is not listed by the newest revision that a router knows (D1)."""
        listed = [keyid in revision.processors for revision in self._newest(view.read_ms, view.latest_ms)]
        return Doubt(not any(listed), not all(listed))

    def lag(self, revision: int, resolved_at_ms: int, view: Sight) -> Doubt:
        """Whether an epoch that knows this revision, resolved then, is one that a router must not act on (D4)."""
        graces = [newest.grace_ms for newest in self._newest(view.read_ms, view.latest_ms)]
        later = [known.logged_at_ms for known in self._known if known.number > revision]
        return Doubt(
            any(logged_ms < min(resolved_at_ms - max(graces), view.read_ms) for logged_ms in later),
            any(logged_ms < resolved_at_ms - min(graces) and logged_ms <= view.latest_ms for logged_ms in later),
        )

    def _newest(self, first_ms: int, last_ms: int) -> list[Revision]:
        """The revisions that were the newest at some moment of a range, give or take their order in it; never none."""
        before = [revision for revision in self._known if revision.logged_at_ms <= first_ms][-1]
        later = (revision for revision in self._known if first_ms < revision.logged_at_ms <= last_ms)
        return [before, *(revision for revision in later if revision.number > before.number)]


def read_revisions(origin: Origin, source: Source, trust: RootTrust, limits: Limits) -> Revisions:
    """The revisions on all partitions; the first record of a revision fixes its content, the earliest log time counts."""
    found: dict[int, Revision] = {}
    for partition in range(origin.partitions):
        place = Place(topics.POLICIES, partition)
        bounds = origin.bounds.get(place)
        for batch in source.read(place, *bounds) if bounds and bounds.start < bounds.end else ():
            for record in batch:
                fact = policies.judge(record, None, trust, origin.stamped)
                if isinstance(fact, Refused):
                    continue
                rules = prepare(fact.payload, fact.proof)
                policy = rules.policy
                known = found.get(policy.revision)
                if known is None:
                    known = Revision(
                        policy.revision, record.timestamp_ms, policy.grace_ms, rules.processors, keys_by_id(policy.roles.router)
                    )
                found[policy.revision] = known._replace(logged_at_ms=min(known.logged_at_ms, record.timestamp_ms))
    return Revisions(keys_by_id(trust.genesis_processors), list(found.values()), limits)
