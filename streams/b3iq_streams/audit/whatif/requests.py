"""Which paid requests a candidate policy would have won or lost: past decisions beside who was eligible on either side.

Changes and decisions come by time, each decision after the changes of its moment; memory holds who is eligible now. A request
counts as won or lost only where the two folds differ, so that a router's own staleness is not put down to the policy.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from b3iq_schemas import topics
from b3iq_schemas.codes import Refusal
from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.routing.codes import Limits
from b3iq_streams.audit.routing.policies import Revisions
from b3iq_streams.audit.routing.records import ALLOWED, SUPPLY_CODES, Reader, fault, read_decision
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.spool import Spool, rows
from b3iq_streams.audit.whatif.ledger import Change, Standing
from b3iq_streams.core.admit import Verify
from b3iq_streams.kafka.connection import Place


class Asked(NamedTuple):
    """A past decision that a policy could have changed; `key` = who served it, None if nobody was eligible."""

    at_ms: int
    model_id: str
    key: str | None


@dataclass
class Requests:
    """How many decisions were looked at, and by model and tier how many were lost, moved to another profile, or won."""

    considered: int = 0
    unjudged: int = 0
    """Decisions before the first moment that can be judged."""
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    won: Counter[tuple[str, str]] = field(default_factory=Counter)


def told_path(workplace: Path, q: int) -> Path:
    """Where the decisions of one partition are put: the rows of `decision_ids.first_of_each`."""
    return workplace / f"told-{q}"


def take_in(
    desk: Desk, origin: Origin, trust: RootTrust, revisions: Revisions, limits: Limits, verify: Verify, workplace: Path
) -> None:
    """The job, per partition of `routing-decisions`: put aside what was decided in the range and a router vouches for."""
    reader = Reader.of(origin, trust, revisions, verify, limits)
    spool = Spool(told_path(workplace, desk.partition))
    place = Place(topics.ROUTING_DECISIONS, desk.partition)
    bounds = origin.bounds[place]
    with origin.open() as source:
        for batch in source.read(place, *bounds) if bounds.start < bounds.end else ():
            for record in batch:
                told = read_decision(record, reader)
                if isinstance(told, Refusal) or fault(told, record.timestamp_ms, reader):
                    continue
                said = told.decision
                if limits.from_ms <= said.decided_at_ms <= limits.to_ms and said.code in (ALLOWED, *SUPPLY_CODES):
                    asked = Asked(said.decided_at_ms, said.model_id, told.key if said.allowed else None)
                    place_of = said.decision_id, record.timestamp_ms, desk.partition, record.offset, told.payload_sha256
                    spool.put((*place_of, said.decided_at_ms, orjson.dumps(tuple(asked)).decode()))
            if desk.stopped:
                return
    spool.close()


class Market:
    """Who is eligible on one side, by model."""

    def __init__(self) -> None:
        self._offers: dict[str, dict[str, Standing]] = {}
        self._model_of: dict[str, str] = {}

    def set(self, key: str, standing: Standing) -> None:
        """A profile stands like this from now on."""
        if (model := self._model_of.pop(key, None)) is not None:
            del self._offers[model][key]
            if not self._offers[model]:
                del self._offers[model]
        if standing.eligible:
            self._model_of[key] = standing.model_id
            self._offers.setdefault(standing.model_id, {})[key] = standing

    def offer(self, model_id: str, key: str | None) -> Standing | None:
        """A profile, if it is eligible and serves the model."""
        return self._offers.get(model_id, {}).get(key or "")

    def best(self, model_id: str) -> Standing | None:
        """The offer that a router ranks first for a caller whom nothing restricts, but for ties; None without any."""
        offers = self._offers.get(model_id, {})
        first = min(offers, key=lambda key: (offers[key].price_wei, -offers[key].throughput, key), default=None)
        return offers[first] if first is not None else None


def compare(asked: Iterable[Asked], changes: Iterator[Change], judged_from_ms: int) -> Requests:
    """What becomes of decisions, in the order of their moments, given the changes in the order of theirs."""
    recorded, candidate, found = Market(), Market(), Requests()
    change = next(changes, None)
    for one in asked:
        while change is not None and change.at_ms <= one.at_ms:
            recorded.set(change.key, change.pair.recorded)
            candidate.set(change.key, change.pair.candidate)
            change = next(changes, None)
        if one.at_ms < judged_from_ms:
            found.unjudged += 1
        else:
            _judge(one, recorded, candidate, found)
    return found


def _judge(one: Asked, recorded: Market, candidate: Market, found: Requests) -> None:
    found.considered += 1
    before, after, served = recorded.best(one.model_id), candidate.best(one.model_id), recorded.offer(one.model_id, one.key)
    if one.key is None:
        if before is None and after is not None:
            found.won[one.model_id, after.route_tier] += 1
    elif after is None:
        if before is not None:
            found.lost[one.model_id, (served or before).route_tier] += 1
    elif served is not None and candidate.offer(one.model_id, one.key) is None:
        found.moved[one.model_id, served.route_tier] += 1


def merged(paths: Sequence[Path]) -> Iterator[Change]:
    """The changes of all partitions by time; of one moment in the order of the partitions."""
    each = [(Change.of(row) for row in rows(path)) for path in paths]
    return heapq.merge(*each, key=lambda change: change.at_ms)
