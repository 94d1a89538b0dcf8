"""One line per figure: what was measured, against which bar, next to what in the same run. Judges; never fails."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One figure. `met` is None where there is no bar."""

    what: str
    bar: str
    measured: str
    reference: str = ""
    met: bool | None = None


class Options(NamedTuple):
    """What every bench is told. `quick`: fewer repeats and smaller sizes, for a first look."""

    quick: bool = False


HEADINGS = ("what", "bar", "measured", "reference in the same run", "met")
_MET = {True: "yes", False: "no", None: ""}


def cells(row: Row) -> tuple[str, ...]:
    """A row as it is printed."""
    return (*row[:4], _MET[row.met])


def render(rows: Iterable[Row]) -> str:
    """The table as Markdown, columns aligned."""
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(cell, widths) for cell in (lines[0], rule, *lines[1:]))


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)) + " |"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie, by rank; no interpolation."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def per_second(rate: float) -> str:
    """A rate in words."""
    return f"{rate:,.0f}/s"
