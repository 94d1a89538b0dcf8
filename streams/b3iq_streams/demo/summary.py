"""What a demo was asked for, what came of it, and whether that is as it must be."""

from typing import Any, NamedTuple

from b3iq_schemas.topics import DEAD_LETTERS, ELIGIBILITY_CHANGES, INPUTS, ROUTING_DECISIONS
from b3iq_streams.demo.outage import Outage
from b3iq_streams.demo.tail import Tail
from b3iq_streams.demo.tally import Tally
from b3iq_streams.demo.verdict import Verdict


class Plan(NamedTuple):
    """What was asked for; `seconds` None: until somebody stops it."""

    nodes: int
    seed: int
    seconds: float | None


class Summary(NamedTuple):
    """One run. `stopped`: by a person, before the script was over."""

    plan: Plan
    broker: str
    stopped: bool
    elapsed_ms: int
    tally: Tally
    tail: Tail
    outage: Outage | None
    verdict: Verdict

    @property
    def failures(self) -> list[str]:
        """What is not as it must be. A run that was stopped need not have come to the outage, or to a first call."""
        found = list(self.verdict.differences) if self.verdict.equal is False else []
        if not self.stopped and not self.tally.allowed:
            found.append("no call was ever allowed")
        if not self.stopped and not (self.outage and self.outage.over):
            found.append("the router was not seen to close and to open again")
        return found

    @property
    def data(self) -> dict[str, Any]:
        """The line of counts."""
        tally, log, verdict = self.tally, self.tail, self.verdict
        return {
            "broker": self.broker,
            "nodes": self.plan.nodes,
            "seed": self.plan.seed,
            "seconds": round(self.elapsed_ms / 1_000, 1),
            "stopped": self.stopped,
            "first_allowed_after_ms": tally.first_allowed_after_ms,
            "events": {"total": log.events} | {topic: log.counts[topic] for topic in INPUTS},
            "admitted": verdict.admitted,
            "refused": verdict.refused,
            "not_folded": verdict.not_folded,
            "epochs": verdict.epochs,
            "changes": verdict.changes,
            "refreshed": verdict.refreshed,
            "blockers": tally.blockers,
            "allowed": tally.allowed,
            "refused_calls": tally.refused_calls,
            "records": {topic: log.counts[topic] for topic in (ELIGIBILITY_CHANGES, DEAD_LETTERS, ROUTING_DECISIONS)},
            "outage": self.outage.as_data() if self.outage else None,
            "replay_equal": verdict.equal,
            "differences": list(verdict.differences),
        }
