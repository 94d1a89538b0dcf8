"""The demo's pure parts: who pays, what is counted, what an outage is, what is kept of the log, what is said in the end."""

from collections import Counter
from io import StringIO
from itertools import islice

import orjson
import pytest
from rich.console import Console

from b3iq_schemas.codes import Gate, RouteRefusal
from b3iq_schemas.topics import DEAD_LETTERS, HEARTBEATS, ROUTING_DECISIONS
from b3iq_streams.core.records import Record
from b3iq_streams.demo.callers import ALLOWED, callers, calls
from b3iq_streams.demo.lines import EVERY_MS, Lines, status
from b3iq_streams.demo.outage import Outage
from b3iq_streams.demo.screen import frame
from b3iq_streams.demo.summary import Plan, Summary
from b3iq_streams.demo.tail import FOLLOWED, Tail
from b3iq_streams.demo.tally import Blocker, Change, Lane, Picture, Tally, blockers, gates
from b3iq_streams.demo.verdict import Verdict
from b3iq_streams.kafka import Place
from b3iq_streams.router.partition import Flip
from b3iq_streams.router.request import Request
from b3iq_streams.router.supply import Candidate
from tests.chainlab import decision
from tests.factory import T0
from tests.shells.router_lab import RouterLab

MODELS = ("a.gguf", "b.gguf", "c.gguf")
DECK = sum(caller.weight for caller in callers(MODELS))
LAG = RouteRefusal.PROCESSOR_LAG


def asked(request: Request) -> tuple[str, str, int]:
    """What tells two calls apart."""
    return request.model, request.caller.caller_id, request.est_tokens


class TestCallers:
    """Each caller stands for one answer."""

    def test_the_same_seed_gives_the_same_calls(self) -> None:
        """And another seed gives others."""
        first, again, other = (list(map(asked, islice(calls(MODELS, seed), 200))) for seed in (7, 7, 8))
        assert first == again
        assert first != other

    def test_everybody_calls_within_a_deck(self) -> None:
        """As often as its weight says."""
        names = Counter(request.caller.caller_id for request in islice(calls(MODELS, 7), DECK))
        assert {caller.policy.caller_id: caller.weight for caller in callers(MODELS)} == names

    def test_answers_on_healthy_supply(self) -> None:
        """The router gives each caller the answer of its row."""
        lab = RouterLab()
        lab.policy()
        lab.chains[0].policy_revision = 1
        for model in MODELS:
            lab.chains[0].epoch(decision(f"node-{model[0]}/p0", model_id=model, price_wei_per_mtok=str(25 * 10**13)), at_ms=T0)
        lab.boot()
        codes = {caller.policy.caller_id: caller.code for caller in callers(MODELS)}
        for request in islice(calls(MODELS, 7), 4 * DECK):
            assert codes[request.caller.caller_id] == lab.pick(T0, request).code


def candidate(key: str, *failing: str) -> Candidate:
    """An entry of the view that these codes block."""
    items = [{"code": code, "gate": "node", "since_ms": T0, "observed": "", "required": ""} for code in failing]
    made = RouterLab()
    made.chains[0].epoch(decision(key, not failing, failing=items), at_ms=T0)
    made.boot()
    return made.view.entries(0)[key]


class TestTally:
    """Counts of a run."""

    def test_blockers_stand_in_the_order_of_explanation(self) -> None:
        """With gates; a code that is not known blocks at the policy gate, and comes last."""
        entries = [
            candidate("n1/p0"),
            candidate("n2/p0", "queue_blocked", "node_offline"),
            candidate("n3/p0", "new_code", "queue_blocked"),
        ]
        assert [
            Blocker(Gate.NODE, "node_offline", 1),
            Blocker(Gate.POLICY, "queue_blocked", 2),
            Blocker(Gate.POLICY, "new_code", 1),
        ] == blockers(entries)
        expected = {Gate.NODE: 2, Gate.ROUTE: 3, Gate.PROTOCOL: 3, Gate.RUNTIME: 3, Gate.POLICY: 1}
        assert expected == gates(entries)

    def test_answers_are_counted(self) -> None:
        """By code, and the first allowed one has its time."""
        tally = Tally()
        for elapsed_ms, code in enumerate([LAG, ALLOWED, ALLOWED, LAG]):
            tally.answered(code, elapsed_ms)
        assert (2, {"processor_lag": 2}, 1) == (tally.allowed, tally.refused_calls, tally.first_allowed_after_ms)

    def test_a_profile_counts_once_for_each_code(self) -> None:
        """However often it was seen."""
        tally = Tally()
        tally.look([candidate("n1/p0", "node_offline"), candidate("n2/p0", "node_offline", "queue_blocked")])
        tally.look([candidate("n1/p0", "node_offline")])
        assert {"node_offline": 2, "queue_blocked": 1} == tally.blockers


class TestOutage:
    """Closed is closed everywhere, open again is open everywhere."""

    def test_times_are_of_the_whole_view(self) -> None:
        """A partition alone neither closes nor opens it."""
        outage = Outage(1_000)
        for at_ms, states in ((1_100, [None, None]), (3_000, [LAG, None]), (4_000, [LAG, LAG]), (9_000, [None, LAG])):
            outage.observe(states, at_ms)
        assert (True, False) == (outage.closed, outage.over)
        outage.observe([None, None], 9_500)
        outage.observe([LAG, LAG], 9_900)
        assert outage.over
        expected = {"killed_at_ms": 1_000, "closed_after_ms": 3_000, "reopened_after_ms": 8_500, "code": "processor_lag"}
        assert expected == outage.as_data()

    def test_another_reason_is_not_this_outage(self) -> None:
        """A view that was lost says nothing about the processor."""
        outage = Outage(0)
        outage.observe([RouteRefusal.VIEW_NOT_SYNCED], 5)
        assert not outage.closed


def started(starts: int = 0, bytes_max: int = 10_000) -> Tail:
    """A tail of one partition."""
    places = [Place(topic, 0) for topic in FOLLOWED]
    tail = Tail(bytes_max)
    tail.begin(dict.fromkeys(places, starts), dict.fromkeys(places, starts + 2))
    return tail


def record(topic: str, offset: int, value: bytes = b"{}") -> Record:
    """One record of partition 0."""
    return Record(topic, 0, offset, b"k", value, T0)


class TestTail:
    """What is kept is everything, or nothing."""

    def test_kept_and_counted(self) -> None:
        """Facts and chain are kept, decisions only counted, dead letters once per refused record, the newest code."""
        tail = started()
        letters = [{"topic": HEARTBEATS, "partition": 0, "offset": 3, "code": code} for code in ("unauthorized", "equivocation")]
        for offset, letter in enumerate(letters):
            tail.take(record(DEAD_LETTERS, offset, orjson.dumps(letter)))
            tail.take(record(HEARTBEATS, offset))
            tail.take(record(ROUTING_DECISIONS, offset))
        assert {Place(HEARTBEATS, 0): 2} == {place: len(records) for place, records in tail.records.items()}
        assert {"equivocation": 1} == tail.letter_codes
        assert (2, 2, 2) == (tail.events, tail.counts[ROUTING_DECISIONS], tail.before[HEARTBEATS])
        assert tail.reached({Place(HEARTBEATS, 0): 2})
        assert not tail.reached({Place(HEARTBEATS, 0): 3})

    @pytest.mark.parametrize(
        ("tail", "offset", "size", "said"),
        [
            (started(), 1, 2, "gap"),
            (started(starts=5), 5, 2, "begins at offset 5"),
            (started(bytes_max=100), 0, 101, "outgrew"),
        ],
    )
    def test_what_cannot_be_recounted_is_forgotten(self, tail: Tail, offset: int, size: int, said: str) -> None:
        """A gap, a beginning that is gone, too much: nothing is kept, and the reason is."""
        tail.take(record(HEARTBEATS, offset, bytes(size)))
        assert said in tail.incomplete
        assert {} == tail.records
        assert tail.events == 1


def summary(stopped: bool = False, allowed: int = 1, outage: Outage | None = None, equal: bool | None = True) -> Summary:
    """A run that ended like this."""
    tally = Tally()
    tally.calls[ALLOWED] = allowed
    verdict = Verdict(equal, () if equal else ("they differ",))
    return Summary(Plan(1, 7, 30), "embedded", stopped, 30_000, tally, Tail(), outage, verdict)


def over() -> Outage:
    """An outage as it should be."""
    outage = Outage(0)
    outage.observe([LAG], 3_000)
    outage.observe([None], 9_000)
    return outage


@pytest.mark.parametrize(
    ("run", "failures"),
    [
        (summary(outage=over()), []),
        (summary(outage=over(), equal=False), ["they differ"]),
        (summary(outage=over(), equal=None), []),
        (summary(outage=over(), allowed=0), ["no call was ever allowed"]),
        (summary(outage=Outage(0)), ["the router was not seen to close and to open again"]),
        (summary(stopped=True, allowed=0), []),
        (summary(stopped=True, equal=False), ["they differ"]),
    ],
)
def test_what_makes_a_run_fail(run: Summary, failures: list[str]) -> None:
    """A person may stop before the outage; a recount that differs is never fine."""
    assert failures == run.failures
    assert orjson.loads(orjson.dumps(run.data))["replay_equal"] is run.verdict.equal


PICTURE = Picture(
    elapsed_ms=12_000, doing="paid calls are served", address="http://127.0.0.1:8080", profiles=3, eligible=1,
    gates=dict.fromkeys(Gate, 2), blockers=[Blocker(Gate.NODE, "heartbeat_stale", 1)],
    changes=[Change(T0, Flip("closed", "node-7/p0", ("heartbeat_stale",)))],
    calls={"processor_lag": 4, ALLOWED: 9}, refused_facts={"invalid_signature": 2}, events=77,
    lanes=[Lane(None, 80), Lane(LAG, 3_100), Lane(RouteRefusal.VIEW_NOT_SYNCED, None)],
)  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (20, 5)])
def test_the_view_fits_any_terminal(width: int, height: int) -> None:
    """It is cut, never broken; in a usual one everything is on it."""
    console = Console(width=width, height=height, record=True, force_terminal=True, file=StringIO())
    console.print(frame(PICTURE), height=height)
    text = console.export_text()
    assert height >= text.count("\n")
    if width == 120:
        for shown in (
            "heartbeat_stale",
            "node-7/p0",
            "invalid_signature",
            "processor_lag",
            "3100 ms",
            "allowed",
            "77 facts",
            "http://127.0.0.1:8080",
        ):
            assert shown in text


def test_lines_come_now_and_then() -> None:
    """Without a terminal there is a line for what happens, and a status every few seconds."""
    said: list[str] = []
    lines = Lines(said.append)
    lines.say(0, "begins")
    for elapsed_ms in (EVERY_MS - 1, EVERY_MS, EVERY_MS + 1, 2 * EVERY_MS):
        lines.show(PICTURE._replace(elapsed_ms=elapsed_ms))
    assert ["   0.0 s  begins", f"   3.0 s  {status(PICTURE)}", f"   6.0 s  {status(PICTURE)}"] == said
    assert "9 allowed, 4 refused; closed: processor_lag view_not_synced" in status(PICTURE)
