"""The second pass over the decisions, one job per partition of the chain: it is walked once, beside the questions put to it.

Spools: `answer-p-q`, what p answers to the decisions of q, in their order: rows of the decision's offset and an `Answer` (for
an allowed decision) or a `Part` (for a refusal).
"""

import heapq
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit.parallel import Desk
from b3iq_streams.audit.routing.allowed import judge_allowed
from b3iq_streams.audit.routing.codes import Limits
from b3iq_streams.audit.routing.intake import Ask, ask_path
from b3iq_streams.audit.routing.policies import Revisions
from b3iq_streams.audit.routing.records import topic_partitions
from b3iq_streams.audit.routing.refused import judge_part
from b3iq_streams.audit.source import Origin
from b3iq_streams.audit.spool import Spool, close_all, rows
from b3iq_streams.audit.walk import Walk
from b3iq_streams.audit.whatif.supply_history import SupplyHistory
from b3iq_streams.core.admit import Verify


def answer_path(workplace: Path, p: int, q: int) -> Path:
    """`answer-p-q`."""
    return workplace / f"answer-{p}-{q}"


def answer(
    desk: Desk, origin: Origin, trust: RootTrust, revisions: Revisions, limits: Limits, verify: Verify, workplace: Path
) -> None:
    """The job: answer every question that was put to one partition of the chain."""
    asks = _merged(workplace, topic_partitions(origin), desk.partition)
    first = next(asks, None)
    if first is None:
        return  # nobody asks: no need to walk
    with origin.open() as source:
        walk = Walk(origin, source, trust, desk.partition, verify)
        history = SupplyHistory(walk, workplace / f"epochs-{desk.partition}")
        try:
            _answer_all(desk, chain([first], asks), history, revisions, limits, workplace)
        finally:
            history.close()


def _merged(workplace: Path, partitions: list[int], p: int) -> Iterator[Ask]:
    """The questions to p by log time; those of one partition of decisions keep their order."""
    each = [(Ask(*row) for row in rows(ask_path(workplace, q, p))) for q in partitions]
    return heapq.merge(*each, key=lambda ask: (ask.logged_at_ms, ask.partition))


def _answer_all(
    desk: Desk, asks: Iterator[Ask], history: SupplyHistory, revisions: Revisions, limits: Limits, workplace: Path
) -> None:
    spools: dict[int, Spool] = {}
    reach_ms = limits.log_delay_ms_max + 2 * limits.skew_ms + limits.bound_ms
    for ask in asks:
        history.forget(ask.logged_at_ms - reach_ms)
        history.advance(ask.decided_at_ms + limits.skew_ms)
        judge = judge_part if ask.key is None else judge_allowed
        spool = spools.setdefault(ask.partition, Spool(answer_path(workplace, desk.partition, ask.partition)))
        spool.put((ask.offset, *judge(ask, desk.partition, history, revisions, limits)))
        if desk.stopped:
            return
    close_all(spools.values())
