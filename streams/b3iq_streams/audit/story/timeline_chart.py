"""One profile's history as rows of SVG: the verdict, five gates, policy revisions as lines, and the axis.

Widths are in per cent and heights in pixels, so that the picture fits any screen and its letters keep their size. A "no" is
never drawn away: however short, it is one pixel wide. Colour never says anything alone: what blocks is also taller.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from b3iq_schemas.codes import LEAVES, Gate
from b3iq_streams.audit.story.explain_text import span
from b3iq_streams.audit.story.timeline import Interval, ProfileHistory, Silence
from b3iq_streams.audit.story.timeline_axis import Axis, clock
from b3iq_streams.audit.story.timeline_facts import Event

VERDICT_PX, TIP_PX, GATE_PX, AXIS_PX, REVISION_PX = 26, 22, 22, 22, 18
STOPS_MAX = 200
"""More intervals than this are not stops for the keyboard: the table below has them all."""
LETTER_PX, WIDTH_PX, NARROW_PX = 6.6, 940, 280
"""Of a letter, and of the picture on a wide and on a narrow screen: names are for the wide one only."""


class Backdrop(NamedTuple):
    """What lies behind every row."""

    axis: Axis
    revisions: tuple[Event, ...]
    silences: tuple[Silence, ...]


class Segment(NamedTuple):
    """A stretch of one gate in one state, and the codes that explain it."""

    from_ms: int
    until_ms: int
    state: str
    codes: tuple[str, ...]


def chart(profile: ProfileHistory, back: Backdrop) -> str:
    """The rows of one profile: labels beside, picture within."""
    rows = [
        _row("", REVISION_PX, _revisions(back), back, ruled=False),
        _row("eligible", VERDICT_PX + TIP_PX, _verdicts(profile, back.axis), back),
        *(_gate_row(segments(profile.intervals, gate), gate, back) for gate in Gate),
        _row("", AXIS_PX, _labels(back.axis), back, ruled=False),
    ]
    return f'<div class="chart">{"".join(rows)}</div>'


def segments(intervals: Sequence[Interval], gate: Gate) -> list[Segment]:
    """One gate's stretches: neighbours that say the same are one."""
    found: list[Segment] = []
    for interval in intervals:
        codes = tuple(code for code in interval.codes if code in LEAVES and LEAVES[code].gate is gate)
        made = Segment(interval.from_ms, interval.until_ms, interval.gates[gate], codes)
        if found and found[-1][1:] == (made.from_ms, made.state, made.codes):
            found[-1] = found[-1]._replace(until_ms=made.until_ms)
        else:
            found.append(made)
    return found


def _gate_row(parts: Sequence[Segment], gate: Gate, back: Backdrop) -> str:
    return _row(gate.value, GATE_PX, _gate(parts, gate, back.axis), back, names=_names(parts, back.axis))


def _row(label: str, height: int, marks: Iterator[str], back: Backdrop, ruled: bool = True, names: Iterable[str] = ()) -> str:
    said = f' role="group" aria-label="{escape(label)}"' if label else ' aria-hidden="true"'
    inner = "".join([*_behind(back, height), *marks, *_above(back, height), *names] if ruled else marks)
    return f'<span class="label">{escape(label)}</span><svg height="{height}"{said}>{inner}</svg>'


def _behind(back: Backdrop, height: int) -> Iterator[str]:
    for tick in back.axis.ticks:
        yield f'<line class="grid" {_across(back.axis.at(tick.at_ms), height)}/>'


def _above(back: Backdrop, height: int) -> Iterator[str]:
    for silence in back.silences:
        place = _stretch(back.axis, silence.from_ms, silence.until_ms)
        said = f"no epoch for {span(silence.until_ms - silence.from_ms)}: routers past their bound answered processor_lag"
        yield f'<rect class="quiet" {place} y="0" height="{height}"><title>{escape(said)}</title></rect>'
    for event in back.revisions:
        said = f"policy revision {event.says['revision']} from {clock(event.at_ms)}"
        yield f'<line class="revision" {_across(back.axis.at(event.at_ms), height)}><title>{escape(said)}</title></line>'


def _verdicts(profile: ProfileHistory, axis: Axis) -> Iterator[str]:
    stops = len(profile.intervals) <= STOPS_MAX
    for interval in profile.intervals:
        said = f"{clock(interval.from_ms)} · {span(interval.length_ms)} · {_verdict(interval)}"
        place = _stretch(axis, interval.from_ms, interval.until_ms)
        kind = ("yes" if interval.eligible else "no") + ("" if interval.proven else " unproven")
        stop = f' tabindex="0" role="img" aria-label="{escape(said)}"' if stops else ""
        yield f'<g class="stop"{stop}><title>{escape(said)}</title>'
        yield f'<rect class="{kind}" {place} y="0" height="{VERDICT_PX}" rx="2"/>'
        yield f'<text class="tip" x="0" y="{VERDICT_PX + 15}">{escape(said)}</text></g>'


def _verdict(interval: Interval) -> str:
    return "eligible" if interval.eligible else f"not eligible: {', '.join(interval.codes)}"


def _gate(parts: Sequence[Segment], gate: Gate, axis: Axis) -> Iterator[str]:
    for part in parts:
        why = f": {', '.join(part.codes)}" if part.codes else ""
        said = f"{gate.value} {part.state}{why} · {clock(part.from_ms)} · {span(part.until_ms - part.from_ms)}"
        top, height = (9, 4) if part.state == "pass" else (3, 16)
        place = _stretch(axis, part.from_ms, part.until_ms)
        yield f'<rect class="{part.state}" {place} y="{top}" height="{height}"><title>{escape(said)}</title></rect>'


def _names(parts: Sequence[Segment], axis: Axis) -> Iterator[str]:
    """What blocks, on its stretch or beside it, where there is room for the words."""
    for number, part in enumerate(parts):
        if not part.codes:
            continue
        text = part.codes[0] + (f" +{len(part.codes) - 1}" if len(part.codes) > 1 else "")
        left, right = axis.at(part.from_ms), axis.at(part.until_ms)
        after = next((axis.at(later.from_ms) for later in parts[number + 1 :] if later.codes), 100.0)
        if part.state == "fail" and _fits(text, right - left):
            yield f'<text class="name" x="{left}%" dx="6" y="15">{escape(text)}</text>'
        elif _fits(text, after - right):
            width = round(len(text) * LETTER_PX + 6)
            yield f'<g class="beside" transform="translate(3 0)"><rect x="{right}%" y="3" width="{width}" height="16"/>'
            yield f'<text x="{right}%" dx="3" y="15">{escape(text)}</text></g>'


def _fits(text: str, width: float) -> bool:
    return len(text) * LETTER_PX + 12 < width * WIDTH_PX / 100


def _revisions(back: Backdrop) -> Iterator[str]:
    """The numbers of revisions, where there is room; a line and its title remain of the others."""
    free = free_narrow = -1.0
    for event in back.revisions:
        at, text = back.axis.at(event.at_ms), f"policy {event.says['revision']}"
        if at < free:
            continue
        kind = "axis minor" if at < free_narrow else "axis"
        width = (len(text) + 1) * LETTER_PX * 100
        free, free_narrow = at + width / WIDTH_PX, free_narrow if at < free_narrow else at + width / NARROW_PX
        anchor, shift = ("end", -4) if at > 90 else ("start", 0)
        yield f'<text class="{kind}" x="{at}%" dx="{shift}" y="13" text-anchor="{anchor}">{escape(text)}</text>'


def _labels(axis: Axis) -> Iterator[str]:
    for tick in axis.ticks:
        at = axis.at(tick.at_ms)
        anchor = "start" if at < 3 else "end" if at > 97 else "middle"
        kind = "axis" if tick.major else "axis minor"
        yield f'<text class="{kind}" x="{at}%" y="15" text-anchor="{anchor}">{escape(tick.label)}</text>'


def _across(at: float, height: int) -> str:
    return f'x1="{at}%" x2="{at}%" y1="0" y2="{height}"'


def _stretch(axis: Axis, from_ms: int, until_ms: int) -> str:
    left = axis.at(from_ms)
    return f'x="{left}%" width="{round(axis.at(until_ms) - left, 4)}%"'
