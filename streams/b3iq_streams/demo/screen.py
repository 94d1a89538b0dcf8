"""The demo in a terminal: gates and what blocks them, changes as they happen, calls, lag, and what is going on now."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from b3iq_schemas.codes import Gate
from b3iq_streams.demo.callers import ALLOWED
from b3iq_streams.demo.tally import Change, Lane, Picture

HEADER_LINES = 4
LAST_LINES_MAX = 44
_COLOURS = {"opened": "green", "closed": "red", "changed": "yellow"}


class Screen:
    """A live view on the alternative screen; the last frame stays when it ends."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._last: Picture | None = None
        self._doing: list[tuple[int, str]] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()
        for elapsed_ms, text in self._doing:
            self._console.print(Text(f"{elapsed_ms / 1_000:6.1f} s  {text}"))
        if self._last is not None and kind is None:
            self._console.print(frame(self._last), height=min(self._console.height, LAST_LINES_MAX))

    def say(self, elapsed_ms: int, text: str) -> None:
        """What the demo does now."""
        self._doing.append((elapsed_ms, text))
        if self._last is None:
            self._live.update(Text(text), refresh=True)
        else:
            self.show(self._last._replace(elapsed_ms=elapsed_ms, doing=text))

    def show(self, picture: Picture) -> None:
        """Draw the moment."""
        self._last = picture
        self._live.update(frame(picture), refresh=True)


def frame(picture: Picture) -> Layout:
    """The whole view of one moment."""
    right = Layout()
    right.split_column(
        Layout(_lanes(picture.lanes), size=min(len(picture.lanes), 8) + 2),
        Layout(_counts("paid calls", picture.calls)),
        Layout(_counts("refused facts", picture.refused_facts), size=max(3, len(picture.refused_facts) + 2)),
    )
    middle = Layout(ratio=3)
    middle.split_row(Layout(_gates(picture), ratio=5), Layout(right, ratio=4))
    whole = Layout()
    whole.split_column(Layout(_header(picture), size=HEADER_LINES), middle, Layout(_changes(picture.changes), ratio=1))
    return whole


def _header(picture: Picture) -> Panel:
    counts = f"{picture.events} facts · {picture.eligible} of {picture.profiles} profiles eligible"
    text = Text.assemble(
        (f"{picture.doing}\n", "bold"),
        f"{picture.elapsed_ms / 1_000:.0f} s · {counts} · ",
        (picture.address, "cyan"),
        " · Ctrl-C ends it",
    )
    return Panel(text, title="b3iq-streams demo", title_align="left")


def _gates(picture: Picture) -> Panel:
    table = _table("gate", "blocked by", "profiles")
    for gate in Gate:
        passing = picture.gates.get(gate, 0)
        table.add_row(Text(gate.value, "bold"), "", Text(f"{passing} pass", "green" if passing else "red"))
        for blocker in picture.blockers:
            if blocker.gate is gate:
                table.add_row("", blocker.code, Text(str(blocker.profiles), "red"))
    return Panel(table, title="gates × blockers", title_align="left")


def _lanes(lanes: Sequence[Lane]) -> Panel:
    table = _table()
    for partition, lane in enumerate(lanes):
        lag = "–" if lane.lag_ms is None else f"{lane.lag_ms} ms"
        state = Text("open", "green") if lane.refusal is None else Text(lane.refusal.value, "red")
        table.add_row(f"partition {partition}", state, lag)
    return Panel(table, title="router's view: state, resolved lag", title_align="left")


def _counts(title: str, counts: Mapping[str, int]) -> Panel:
    table = _table()
    for code, count in _ordered(counts):
        table.add_row(Text(code, "green" if code == ALLOWED else "red"), "", str(count))
    return Panel(table, title=title, title_align="left")


def _ordered(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    if ALLOWED in counts:
        yield ALLOWED, counts[ALLOWED]
    for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if code != ALLOWED:
            yield code, count


def _changes(changes: Sequence[Change]) -> Panel:
    table = Table.grid(padding=(0, 2))
    for change in reversed(changes):
        at = datetime.fromtimestamp(change.resolved_at_ms / 1_000, UTC)
        what = Text(change.flip.what, _COLOURS[change.flip.what])
        table.add_row(f"{at:%H:%M:%S}.{at.microsecond // 1_000:03d}", what, change.flip.key, " ".join(change.flip.codes))
    return Panel(table, title="changes, newest first", title_align="left")


def _table(*titles: str) -> Table:
    table = Table(box=None, expand=True, show_header=bool(titles), padding=(0, 1), pad_edge=False)
    for title in titles or ("", "", ""):
        table.add_column(title, no_wrap=True)
    table.columns[-1].justify = "right"
    return table
