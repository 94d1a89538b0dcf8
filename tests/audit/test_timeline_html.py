"""The picture of a history: one file that fetches nothing, says everything in words too, and escapes what came from outside."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES, Gate
from b3iq_streams.audit.story.timeline import Interval, ProfileHistory, Timeline
from b3iq_streams.audit.story.timeline_axis import STEPS_MS, TICKS_MAX, Axis, clock
from b3iq_streams.audit.story.timeline_chart import STOPS_MAX, Backdrop, chart, segments
from b3iq_streams.audit.story.timeline_html import as_html
from tests import factory
from tests.audit.lab import Lab
from tests.audit.said import NODES, batched, lab, lied_about
from tests.audit.test_timeline import told, whole
from tests.factory import T0

VOID = {"meta", "br", "wbr", "line", "rect"}
HOSTILE = '"><script>alert(1)</script><b onload=x>&'


class Page(HTMLParser):
    """What a browser would make of it: elements with attributes and text; unbalanced tags are an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert [] == self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), attrs
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "wbr"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, as it is read."""
        return "".join(self.texts)

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        """Attributes of the elements with this tag and class."""
        return [attrs for name, attrs in self.found if name == tag and kind in [*(attrs.get("class") or "").split(), ""]]


def page(found: Timeline) -> Page:
    """A history as a browser sees it."""
    return Page(as_html(found))


@pytest.mark.parametrize("node_id", [*NODES, "ghost"])
def test_the_page_needs_nothing_from_elsewhere(node_id: str) -> None:
    """No script, no address, no style or picture from another place, and a policy that would forbid them."""
    source, found = as_html(whole(node_id)), page(whole(node_id))
    assert not re.search(r"https?:|//|@import|javascript:|url\((?!#)", source)
    attributes = {name for _, attrs in found.found for name in attrs}
    assert not attributes & {"src", "href", "srcset", "data", "action", "xlink:href"}
    assert not [name for name in attributes if name.startswith("on")]
    assert not {"script", "iframe", "link", "img", "object", "base", "form"} & {tag for tag, _ in found.found}
    (policy,) = [attrs["content"] for attrs in found.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'; style-src 'unsafe-inline'" == policy


def test_every_interval_is_in_the_picture_and_in_the_table() -> None:
    """The same verdicts, times and codes stand in both; what blocks is named on the picture."""
    found, (profile,) = page(whole("node-5")), whole("node-5").profiles
    stops = found.all("g", "stop")
    assert len(profile.intervals) == len(stops) == len(found.all("rect", "yes")) + len(found.all("rect", "no")) - 2  # legend
    for interval, stop in zip(profile.intervals, stops, strict=True):
        label = stop["aria-label"] or ""
        assert ("0", "img", True) == (stop["tabindex"], stop["role"], label.startswith(clock(interval.from_ms)))
        assert all(code in label for code in interval.codes)
        assert clock(interval.from_ms) in found.text.partition("as a table")[2]
    for code in ("heartbeat_stale", "protocol_stake_unsatisfied", "hold_down"):
        assert code in found.text.partition("What blocked it")[0]
        assert LEAVES[code].next_action in found.text


def test_revisions_are_lines_with_a_name() -> None:
    """Each policy revision is a line through every row, with its number in words."""
    found = page(whole("node-5"))
    assert 3 * 6 + 1 == len(found.all("line", "revision"))  # three revisions, six rows, and the legend
    assert all(f"policy {number}" in found.text for number in (1, 2, 3))
    assert "policy revision 2 from 2027-01-15 08:02:16" in found.text


def test_five_gates_and_the_verdict_have_rows() -> None:
    """Rows are groups with a name, for those who do not see them."""
    labels = [attrs["aria-label"] for attrs in page(whole("node-2")).all("svg") if attrs.get("role") == "group"]
    assert ["eligible", *(gate.value for gate in Gate)] == labels


@pytest.mark.parametrize("node_id", NODES)
def test_bands_cover_the_whole_time(node_id: str) -> None:
    """Each gate's stretches follow each other without a gap, and two neighbours never say the same."""
    (profile,) = whole(node_id).profiles
    for gate in Gate:
        parts = segments(profile.intervals, gate)
        assert (profile.intervals[0].from_ms, profile.intervals[-1].until_ms) == (parts[0].from_ms, parts[-1].until_ms)
        for before, after in pairwise(parts):
            assert before.until_ms == after.from_ms
            assert before[2:] != after[2:]
        for part in parts:
            inside = [one for one in profile.intervals if part.from_ms <= one.from_ms < part.until_ms]
            assert {part.state} == {one.gates[gate.value] for one in inside}
            assert {part.codes} == {tuple(code for code in one.codes if LEAVES[code].gate is gate) for one in inside}


def interval(from_ms: int, until_ms: int, *codes: str) -> Interval:
    """An interval, blocked by these codes or eligible."""
    gates = dict.fromkeys((gate.value for gate in Gate), "pass") | {LEAVES[code].gate.value: "fail" for code in codes}
    return Interval(from_ms, until_ms, not codes, gates, codes, 1, 1, True)


def history(*intervals: Interval) -> ProfileHistory:
    """A profile with these intervals."""
    return ProfileHistory("p0", intervals, len(intervals))


def drawn(profile: ProfileHistory) -> Page:
    """The rows of a profile over the time that its intervals cover."""
    axis = Axis(profile.intervals[0].from_ms, profile.intervals[-1].until_ms)
    return Page(chart(profile, Backdrop(axis, (), ())))


def test_neighbours_that_say_another_thing_are_two() -> None:
    """One gate failing for one reason and then for another is two stretches; for the same reason it is one."""
    told_twice = [interval(T0, T0 + 5, "hold_down"), interval(T0 + 5, T0 + 9, "hold_down", "route_missing")]
    assert [(T0, T0 + 9, "fail", ("hold_down",))] == segments(told_twice, Gate.POLICY)
    another = [*told_twice, interval(T0 + 9, T0 + 12, "operator_hold")]
    assert [(T0, T0 + 9), (T0 + 9, T0 + 12)] == [part[:2] for part in segments(another, Gate.POLICY)]
    assert ["pass", "fail", "pass"] == [part.state for part in segments(another, Gate.ROUTE)]


def test_a_short_no_is_still_drawn() -> None:
    """A millisecond of "no" in a year is a rectangle of its own, with a stroke that makes it visible, in both rows."""
    year_ms = 365 * 86_400_000
    found = drawn(
        history(interval(T0, T0 + 1_000), interval(T0 + 1_000, T0 + 1_001, "hold_down"), interval(T0 + 1_001, T0 + year_ms))
    )
    assert (1, 1) == (len(found.all("rect", "no")), len(found.all("rect", "fail")))
    assert ".no,.fail{fill:var(--no);stroke:var(--no);stroke-width:1}" in as_html(whole("node-1"))


def test_a_long_history_has_no_stops_for_the_keyboard() -> None:
    """Hundreds of stops are a trap: then the table, which has them all, is the way."""
    turns = [interval(T0 + n * 1_000, T0 + (n + 1) * 1_000, *(["hold_down"] if n % 2 else [])) for n in range(STOPS_MAX + 1)]
    assert STOPS_MAX == len([stop for stop in drawn(history(*turns[:-1])).all("g", "stop") if "tabindex" in stop])
    many = drawn(history(*turns)).all("g", "stop")
    assert (STOPS_MAX + 1, 0) == (len(many), len([stop for stop in many if "tabindex" in stop]))


NAMES = ("a:b.c-d_e", "javascript:alert", "0" * 64, "A--", "x.onload:y")


@pytest.mark.parametrize("name", NAMES)
def test_ids_that_look_hostile_are_only_text(name: str) -> None:
    """Whatever the schema lets be an id stands in the page as text and nowhere else."""
    network = Lab(1)
    network.ready(name, profiles=[factory.profile(name, model_id="a/../b@c+d")])
    network.put(topics.BENCHMARKS, name, profile_id=name, model_id="a/../b@c+d", seq=network.now_ms + 1)
    network.epochs(2)
    found = told(name, origin=network.origin)
    seen = page(found)
    assert name in seen.text
    assert {tag for tag, _ in page(whole("node-1")).found} >= {tag for tag, _ in seen.found}


def test_what_no_schema_would_let_through_is_escaped_all_the_same() -> None:
    """Ids, codes and facts with markup in them make no element."""
    real = whole("node-5")
    (profile,) = real.profiles
    bad = tuple(one._replace(codes=tuple(HOSTILE for _ in one.codes)) for one in profile.intervals)
    found = replace(
        lying(real), node_id=HOSTILE, profile_id=HOSTILE, digest=HOSTILE, profiles=(ProfileHistory(HOSTILE, bad, 3),)
    )  # fmt: skip
    seen = page(found)
    assert HOSTILE in seen.text
    assert not {"script", "b"} & {tag for tag, _ in seen.found}
    assert "<script" not in as_html(found)


def lying(real: Timeline) -> Timeline:
    """The same with a difference and a fact that carry markup."""
    events = [event._replace(says=dict.fromkeys(event.says, HOSTILE)) for event in real.facts.events]
    facts = told("node-5").facts
    facts.events = events
    difference = told("node-2", origin=lied_about(lab(), "node-2")).differences[0]._replace(what=HOSTILE)
    return replace(real, facts=facts, differences=(difference,))


def test_differences_are_an_alert() -> None:
    """A log that says something else than the facts is told before anything is shown."""
    found = page(told("node-2", origin=lied_about(lab(), "node-2")))
    assert 1 == len([attrs for _, attrs in found.found if attrs.get("role") == "alert"])
    assert "decision on node-2/p0" in found.text
    assert [] == [attrs for _, attrs in page(whole("node-2")).found if attrs.get("role") == "alert"]


@pytest.mark.parametrize("batch", [1, 1_000])
def test_the_same_history_is_the_same_page(batch: int) -> None:
    """No time of making, no chance: the bytes depend on the history alone."""
    for node_id in ("node-3", "node-5"):
        assert as_html(whole(node_id)) == as_html(told(node_id, origin=batched(lab(), batch)))


def test_reasons_and_actors_are_not_in_the_page() -> None:
    """The page is public."""
    assert "planted" not in as_html(whole("node-3"))
    assert "held by an operator" in as_html(whole("node-3"))


def test_silence_of_the_partition_is_drawn() -> None:
    """Where no epoch was made, a veil lies over every row, and the legend says what it is."""
    network = Lab(1)
    network.ready("node-1")
    network.epochs(2)
    network.parts[0].now_ms += 20_000
    network.epochs(1)
    found = page(told("node-1", origin=network.origin))
    assert 6 + 1 == len(found.all("rect", "quiet"))
    assert "no epoch for 21 s" in found.text
    assert [] == page(whole("node-1")).all("rect", "quiet")


@given(st.integers(0, 2**42), st.one_of(st.integers(1, 10_000), st.integers(1, 2**41)))
def test_ticks_are_few_even_and_round(from_ms: int, length_ms: int) -> None:
    """At most nine, on multiples of a step that people count in, inside the range, and as dense as nine allow."""
    axis = Axis(from_ms, from_ms + length_ms)
    ticks = axis.ticks
    assert len(ticks) <= TICKS_MAX
    assert all(tick.label and from_ms <= tick.at_ms <= from_ms + length_ms for tick in ticks)
    steps = {after.at_ms - before.at_ms for before, after in pairwise(ticks)}
    assert len(steps) <= 1
    for step_ms in steps:
        assert step_ms in STEPS_MS or step_ms % STEPS_MS[-1] == 0
        assert all(tick.at_ms % step_ms == 0 for tick in ticks)
    if length_ms >= 2_000:
        assert len(ticks) >= 1
    places = [axis.at(tick.at_ms) for tick in ticks]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


@pytest.mark.parametrize(
    ("length_ms", "labels"),
    [
        (8_000, ["08:00:01", "08:00:02", "08:00:03"]),
        (266_000, ["08:00:30", "08:01:00", "08:01:30"]),
        (3 * 3_600_000, ["08:30", "09:00", "09:30"]),
        (40 * 3_600_000, ["12:00", "18:00", "01-16"]),
        (20 * 86_400_000, ["01-18", "01-22", "01-26"]),
        (800 * 86_400_000, ["2027-01-21", "2027-04-22"]),
    ],
)
def test_ticks_say_what_is_needed(length_ms: int, labels: list[str]) -> None:
    """Seconds where they matter, hours over hours, and the date where a day begins."""
    told_labels = [tick.label for tick in Axis(T0 + 1_000, T0 + 1_000 + length_ms).ticks]
    assert labels == told_labels[: len(labels)]


def test_an_axis_without_length_has_its_moment() -> None:
    """A history of one epoch is a picture too."""
    network = Lab(1)
    network.ready("node-1")
    network.epochs(1)
    found = told("node-1", origin=network.origin)
    first = replace(found, until_ms=found.from_ms)
    assert "eligible" in page(first).text
    assert 0.0 == Axis(T0, T0).at(T0)
    assert str(10**16) == clock(10**16)
