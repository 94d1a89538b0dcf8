"""Decisions of real routers over drawn histories: late readers, clocks that differ, policies on their way, dead processors.

Whatever an honest router does, no audit calls it a violation; and what it says is what a naive look at the chain says.
"""

from base64 import b64decode
from collections import Counter
from random import Random
from typing import Any, NamedTuple

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.eligibility import MARK_KEY
from b3iq_schemas.topics import POLICIES
from b3iq_streams.audit.routing.codes import Code, Limits, Verdict
from b3iq_streams.audit.routing.decisions import Finding, audit
from b3iq_streams.router.log import DecisionLog
from b3iq_streams.router.partition import ViewSettings
from b3iq_streams.router.request import CallerPolicy, Request
from b3iq_streams.router.view import RouterView
from tests import factory
from tests.audit.lab import MODEL, Lab
from tests.factory import TRUST, key
from tests.shells.router_lab import drive
from tests.sim.crypto import verify

SKEW_MS, BOUND_MS = TRUST.skew_ms, 3_000
LIMITS = Limits(SKEW_MS, BOUND_MS)
NODES = ("node-1", "node-2", "node-3", "node-4")
CALLERS: tuple[dict[str, Any], ...] = (
    {}, {}, {}, {"tiers": ("portable_local",)}, {"price_max_wei_per_mtok": "1"}, {"balance_wei": "0"}, {"spend_cap_wei": "0"},
    {"account_status": "closed"}, {"models_denied": (MODEL,)},
)  # fmt: skip


class Router:
    """A router that reads the log some time late, by a clock of its own, and writes its decisions down."""

    def __init__(self, lab: Lab, rng: Random) -> None:
        self.lab, self.rng = lab, rng
        self.view = RouterView(TRUST, len(lab.parts), verify, ViewSettings(BOUND_MS))
        self.log = DecisionLog(None, key("router"), bytes(32))  # type: ignore[arg-type]  # it only composes here
        self.ahead_ms = rng.randint(-SKEW_MS, SKEW_MS)
        self.read_ms = 0
        self._policies = [0] * len(lab.parts)

    def look(self, real_ms: int) -> None:
        """Read what was logged until a while ago; sometimes a long while. Clocks get corrected, connections lost."""
        if self.rng.random() < 0.2:
            self.ahead_ms = self.rng.randint(-SKEW_MS, SKEW_MS)
        if self.rng.random() < 0.05:
            self.view.lost()
        late_ms = self.rng.choice((0, 5, 300, 1_500, 2_900, 6_000))
        self.read_ms = max(self.read_ms, real_ms - late_ms)
        for number, part in enumerate(self.lab.parts):
            for record in part.inputs.records[POLICIES][self._policies[number] :]:
                if record.timestamp_ms <= self.read_ms:
                    self.view.apply(record)
                    self._policies[number] += 1
        self.view.policies_known()
        self.view.tick(real_ms + self.ahead_ms, real_ms)
        for number, part in enumerate(self.lab.parts if self.rng.random() < 0.9 else ()):
            there = [record for record in part.chain if record.timestamp_ms <= self.read_ms]
            if self.view.wants_bootstrap(number):
                token, search = self.view.search(number)
                self.view.start(number, token, drive(search, there))
            for record in there[self.view.parts[number].position :]:
                self.view.apply(record)

    def decide(self, real_ms: int) -> RouteRefusal | None:
        """Answer a caller; log the decision a moment later."""
        caller = {"caller_id": "c", "account_status": "active", "balance_wei": "9" * 30} | self.rng.choice(CALLERS)
        model = MODEL if self.rng.random() < 0.9 else "a-model-that-nobody-serves"
        tried = frozenset({"node-1/p0"}) if self.rng.random() < 0.1 else frozenset()
        request = Request(model, CallerPolicy(**caller), 1_000, tried)
        now_ms = real_ms + self.ahead_ms
        choice = self.view.pick(request, now_ms, real_ms)
        told = self.log.compose(self.view, request, choice, now_ms, real_ms).model_dump(mode="json")
        del told["decision_id"]  # the lab's own are the same in every run
        partition = self.rng.randrange(2)
        self.lab.log_decision(partition=partition, delay_ms=self.rng.randint(0, 2_000) - self.ahead_ms, **told)
        return choice.refusal


EVENTS = {"nothing": 4, "hold": 2, "free": 3, "shut": 2, "sick": 2, "route": 2, "renew": 4, "policy": 2, "half": 1, "drop": 1}


def happen(lab: Lab, rng: Random) -> None:
    """Something of what happens in a network, and heartbeats of most."""
    node = rng.choice(NODES)
    match rng.choices(list(EVENTS), list(EVENTS.values()))[0]:
        case "hold":
            lab.put(topics.HOLDS, node)
        case "free":
            lab.put(topics.HOLDS, node, held=False)
        case "shut":
            for each in NODES:
                lab.put(topics.HOLDS, each)
        case "sick":
            lab.put(topics.ROUTE_HEALTH, node, state="unhealthy")
        case "route":
            lab.put(topics.ROUTE_HEALTH, node)
        case "renew":
            lab.put(topics.REGISTRATIONS, node)
        case "policy":
            publish(lab, lab.parts, grace_ms=rng.choice((0, 500, 10_000)))
        case "half":
            publish(lab, lab.parts[:1], grace_ms=rng.choice((0, 500)))
        case "drop":
            roles = {role: [factory.public(role)] for role in factory.ROLES} | {"processor": [factory.public("spare")]}
            publish(lab, lab.parts[1:], roles=roles, grace_ms=2_000)
    lab.beat(*(node for node in NODES if rng.random() < 0.9))


def publish(lab: Lab, parts: Any, **changes: Any) -> None:
    """A revision above all others, on some partitions."""
    newest = max(int(record.key or b"0") for part in lab.parts for record in part.inputs.records[POLICIES])
    event = factory.policy_event(revision=newest + 1, sent_at_ms=lab.now_ms, **TIMES, **changes)
    for part in parts:
        part.inputs.put(POLICIES, event, part.now_ms)


TIMES = {"heartbeat_ttl_ms": 8_000, "registration_ttl_ms": 20_000}


class Told(NamedTuple):
    """A history, what its routers answered, and what the audit says of it."""

    lab: Lab
    answers: Counter[str]
    findings: list[Finding]


def history(seed: int) -> Told:
    """A minute of a network with two routers."""
    rng, answers = Random(seed), Counter[str]()
    lab = Lab(**TIMES)
    lab.ready(*NODES)
    lab.epochs(2)
    routers = [Router(lab, rng) for _ in range(2)]
    for _ in range(14):
        happen(lab, rng)
        before_ms = lab.now_ms
        for part in lab.parts:
            if rng.random() < 0.9:
                part.drive(part.owner(), rng.randint(0, 3), stop=True)
        after_ms = max(part.now_ms for part in lab.parts)
        for part in lab.parts:
            part.now_ms = after_ms
        for moment in sorted(rng.randint(before_ms, after_ms) for _ in range(4)):
            for router in routers:
                router.look(moment)
                answers[router.decide(moment) or "allowed"] += 1
    lab.epochs(2)
    return Told(lab, answers, list(audit(lab.origin, TRUST, LIMITS, 1, verify)))


def check(found: Told) -> None:
    """No violation; and an allowed decision is justified exactly if the chain says so at the last epoch before it and the next
    one closes nothing earlier. What only routers know is all that is unverifiable, but for the end of the chain."""
    assert [] == [(one.said, one.codes, one.because) for one in found.findings if one.verdict in (Verdict.VIOLATION, None)]
    assert found.answers.total() == len(found.findings)
    chains = [Naive(found.lab, part.partition) for part in found.lab.parts]
    for one in found.findings:
        assert one.said is not None
        if one.verdict is Verdict.UNVERIFIABLE:
            assert one.codes[0] in (Code.ONLY_ROUTER_KNEW, Code.NOT_SETTLED)
        elif one.said.code == "allowed":
            at_ms = max(one.said.decided_at_ms, one.because["resolved_at_ms"])
            expected = chains[one.because["partition"]].eligible(f"{one.said.node_id}/{one.said.profile_id}", at_ms)
            assert (Verdict.JUSTIFIED if expected else Verdict.STALE) == one.verdict


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_an_honest_router_never_violates(seed: int) -> None:
    """Late by anything, with a clock that is off by up to σ: its decisions are justified, stale, or unverifiable."""
    check(history(seed))


def test_the_histories_hold_something_of_everything() -> None:
    """A few of them reach every answer of the router, and every verdict but a violation."""
    answers, verdicts = Counter[str](), Counter[tuple[Verdict | None, str]]()
    for seed in (2, 48, 50, 78):
        found = history(seed)
        check(found)
        answers += found.answers
        verdicts.update((one.verdict, one.codes[0]) for one in found.findings)
    assert {"allowed", *RouteRefusal} == answers.keys()
    assert {"allowed", RouteRefusal.NO_HEALTHY_CANDIDATES} == {code for verdict, code in verdicts if verdict is Verdict.STALE}


class Naive:
    """The chain of one honest partition, read without any of the audit's code: what was said of each key after each epoch."""

    def __init__(self, lab: Lab, partition: int) -> None:
        self.epochs: list[tuple[int, dict[str, Any]]] = []
        view: dict[str, Any] = {}
        for record in lab.parts[partition].chain:
            said = orjson.loads(record.value or b"")
            if record.key == MARK_KEY:
                mark = orjson.loads(b64decode(said["payload"]))
                self.epochs.append((mark["resolved_at_ms"], dict(view)))
            else:
                view[(record.key or b"").decode()] = said["decision"]

    def eligible(self, key: str, at_ms: int) -> bool:
        """At a moment."""
        before = [view for resolved_ms, view in self.epochs if resolved_ms <= at_ms][-1]
        after = next(view for resolved_ms, view in self.epochs if resolved_ms >= at_ms)
        if not before.get(key, {"eligible": False})["eligible"]:
            return False
        return bool(after[key]["eligible"] or min(leaf["since_ms"] for leaf in after[key]["failing"]) > at_ms)
