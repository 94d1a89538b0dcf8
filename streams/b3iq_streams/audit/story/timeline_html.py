"""A node's history as one self-contained page: no script, no address, the same bytes for the same history.

Every picture has its table; every text that came from outside is escaped. What may be told is `timeline.py`'s.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES
from b3iq_streams.audit.story.explain_text import span
from b3iq_streams.audit.story.timeline import Interval, ProfileHistory, Timeline
from b3iq_streams.audit.story.timeline_axis import Axis, clock
from b3iq_streams.audit.story.timeline_chart import Backdrop, chart
from b3iq_streams.audit.story.timeline_style import CSS
from b3iq_streams.audit.story.timeline_text import percent, stretches, summary, words

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
OPEN_MAX = 12
"""Tables of more rows than this begin folded."""
_PATTERNS = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="doubt" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="3" height="6" style="fill:var(--doubt)"/></pattern>'
    '<pattern id="quiet" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
    '<rect width="1.5" height="5" style="fill:var(--quiet)"/></pattern></defs></svg>'
)
_LEGEND = (
    ('<rect class="yes" width="22" height="14" rx="2"/>', "eligible"),
    ('<rect class="no" width="22" height="14" rx="2"/>', "not eligible, or a gate that fails"),
    ('<rect class="unknown" x="1" y="1" width="20" height="12"/>', "a gate that cannot tell"),
    ('<rect class="pass" y="5" width="22" height="4"/>', "a gate that passes"),
    ('<line class="revision" x1="11" x2="11" y1="0" y2="14"/>', "a new policy revision"),
    ('<rect class="quiet" width="22" height="14"/>', "no epoch was made (the longest such stretches)"),
)


def as_html(found: Timeline) -> str:
    """The whole page."""
    name = found.node_id if found.profile_id is None else f"{found.node_id}/{found.profile_id}"
    body = "\n".join([*_head(found, name), *_profiles(found), *_facts(found), _foot(found)])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}: eligibility over time</title>\n<style>\n{CSS}\n</style>\n</head>\n"
        f"<body>\n{_PATTERNS}\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _head(found: Timeline, name: str) -> Iterator[str]:
    yield f"<h1><code>{escape(name)}</code></h1>"
    length = span(found.until_ms - found.from_ms)
    start, end = (f'<span class="time">{clock(at_ms)}</span>' for at_ms in (found.from_ms, found.until_ms))
    yield f'<p class="soft">Eligibility from {start} to {end} UTC, {length}.</p>'
    if found.earliest_ms:
        yield f"<p>Answered from {clock(found.earliest_ms)} on: older evidence is gone.</p>"
    if found.differences:
        listed = _listed(f"epoch {difference.epoch}: {difference.what}" for difference in found.differences)
        yield '<div class="alert" role="alert"><strong>The log recorded something else than the facts give.</strong>'
        yield f"{listed}</div>"
    if not found.profiles:
        yield "<p>Nothing was published about it in this time: never eligible.</p>"
        return
    legend = _LEGEND if found.silences.count else _LEGEND[:-1]
    items = "".join(f'<li><svg aria-hidden="true">{mark}</svg>{escape(text)}</li>' for mark, text in legend)
    yield f'<ul class="legend">{items}</ul>'


def _listed(items: Iterator[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _profiles(found: Timeline) -> Iterator[str]:
    revisions = tuple(event for event in found.facts.events if event.topic == topics.POLICIES)
    back = Backdrop(Axis(found.from_ms, found.until_ms), revisions, tuple(found.silences.longest))
    for profile in found.profiles:
        yield f'<section><div class="figure"><h2><code>{escape(profile.profile_id)}</code></h2>'
        yield f'<span class="soft">{escape(summary(profile))}</span></div>'
        yield chart(profile, back)
        yield from _blockers(profile)
        yield from _intervals(profile)
        yield "</section>"


def _blockers(profile: ProfileHistory) -> Iterator[str]:
    """What kept it closed, the longest first."""
    lengths = Counter[str]()
    for interval in profile.intervals:
        lengths.update(dict.fromkeys(interval.codes, interval.length_ms))
    if not lengths:
        return
    yield "<h3>What blocked it</h3>"
    rows = (
        (_code(code), f'<td class="num">{span(length_ms)}</td>',
         f'<td class="num">{percent(length_ms, profile.known_ms)}</td>', f'<td class="says">{escape(_action(code))}</td>')
        for code, length_ms in sorted(lengths.items(), key=lambda one: (-one[1], one[0]))
    )  # fmt: skip
    yield _table("blockers", ("blocker", "for", "of the time", "what to do"), rows, numbers=(1, 2))


def _action(code: str) -> str:
    return LEAVES[code].next_action if code in LEAVES else ""


def _intervals(profile: ProfileHistory) -> Iterator[str]:
    count = len(profile.intervals)
    opened = " open" if count <= OPEN_MAX else ""
    yield f"<details{opened}><summary>{'The interval' if count == 1 else f'All {count:,} intervals'} as a table</summary>"
    rows = (
        (f'<td class="time">{clock(one.from_ms)}</td>', f'<td class="num">{span(one.length_ms)}</td>',
         "eligible" if one.eligible else "not eligible", _codes(one), f'<td class="num">{one.policy_revision}</td>',
         f'<td class="num">{one.epoch}</td>')
        for one in profile.intervals
    )  # fmt: skip
    yield _table("intervals", ("from (UTC)", "for", "verdict", "blockers", "policy", "epoch"), rows, numbers=(1, 4, 5))
    yield "</details>"


def _codes(interval: Interval) -> str:
    doubt = "" if interval.proven else ' <span class="soft">(its evidence is gone)</span>'
    return ", ".join(map(_code, interval.codes)) + doubt


def _code(code: str) -> str:
    """A code that may break after its underscores."""
    return f"<code>{escape(code).replace('_', '_<wbr>')}</code>"


def _table(name: str, heads: Sequence[str], rows: Iterator[tuple[str, ...]], numbers: tuple[int, ...] = ()) -> str:
    """A table that scrolls by itself; a cell is given whole if it begins with <td, else as what is in it."""
    head = "".join(f'<th scope="col"{" class=num" if at in numbers else ""}>{escape(name)}</th>' for at, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    region = f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">'
    return f"{region}<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"


def _facts(found: Timeline) -> Iterator[str]:
    facts, silences = found.facts, found.silences
    yield "<section><h2>What was said of the node</h2>"
    rows = (
        (f'<td class="time">{clock(event.at_ms)}</td>', escape(event.topic),
         f'<td class="says">{escape(words(event))}</td>', f'<td class="num">{event.offset}</td>')
        for event in facts.events
    )  # fmt: skip
    yield _table("facts", ("in effect from (UTC)", "topic", "what it says", "offset"), rows, numbers=(3,))
    longest = f", the longest pause {span(facts.longest_gap_ms)}" if facts.longest_gap_ms else ""
    notes = [f"{facts.heartbeats:,} heartbeats{longest}."]
    notes += [f"No heartbeat for {span(gap.until_ms - gap.from_ms)} from {clock(gap.from_ms)} on." for gap in facts.gaps]
    notes += [f"{count:,} more on {topic} that said the same again." for topic, count in sorted(facts.renewed.items()) if count]
    notes += [f"{count:,} refused on {what}." for what, count in sorted(facts.refused.items()) if count]
    if silences.count:
        notes.append(f"{stretches(silences)}: routers past their bound answered processor_lag.")
    yield f'<div class="soft">{_listed(iter(notes))}</div></section>'


def _foot(found: Timeline) -> str:
    return (
        f"<footer>Folded again from the log of partition {found.partition}, up to epoch {found.epoch:,}, digest "
        f"<code>{escape(found.digest)}</code>. All times are UTC.</footer>"
    )
