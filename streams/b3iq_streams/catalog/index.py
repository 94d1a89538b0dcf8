"""Rows in order, and by what people look for, so that a page costs its length and a filter what it finds.

Keeps rows and judges nothing: whether a row may be claimed eligible is asked of a `Standing`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sortedcontainers import SortedList

from b3iq_streams.catalog.rows import Row, RowId
from b3iq_streams.catalog.standing import Standing

Test = Callable[[Row], bool]


class Filter(NamedTuple):
    """What a reader wants to see. `eligible`: None for both; a claim that is withheld is neither. `q`: a part of node,
    profile or model id, in lower case."""

    model: str | None = None
    tier: str | None = None
    code: str | None = None
    gate: str | None = None
    eligible: bool | None = None
    q: str | None = None

    @property
    def facets(self) -> list[tuple[str, str]]:
        """The parts of it that have lists of their own."""
        parts = (("model", self.model), ("tier", self.tier), ("code", self.code), ("gate", self.gate))
        return [(name, value) for name, value in parts if value is not None]

    def tests(self, standing: Standing) -> list[Test]:
        """What no list answers."""
        found: list[Test] = []
        eligible, q = self.eligible, self.q
        if eligible is not None:
            found.append(lambda row: standing.ready and standing.grants(row.candidate) is eligible)
        if q is not None:
            found.append(lambda row: q in row.text)
        return found


class Page(NamedTuple):
    """Rows in order, whether more follow, and how many there are on all pages."""

    rows: list[Row]
    more: bool
    total: int


class NodePage(NamedTuple):
    """The same of node ids."""

    ids: list[str]
    more: bool
    total: int


class Index:
    """Every row by id, and lists of ids by model, tier, code, blocked gate; every node by id."""

    def __init__(self) -> None:
        self.rows: dict[RowId, Row] = {}
        self._all: SortedList[RowId] = SortedList()
        self._nodes: SortedList[str] = SortedList()
        self._profiles: Counter[str] = Counter()
        self._facets: dict[tuple[str, str], SortedList[RowId]] = {}

    def add(self, row: Row) -> None:
        """Show a row whose id is not shown yet."""
        self.rows[row.id] = row
        self._all.add(row.id)
        if not self._profiles[row.id.node_id]:
            self._nodes.add(row.id.node_id)
        self._profiles[row.id.node_id] += 1
        for facet in _facets(row):
            self._facets.setdefault(facet, SortedList()).add(row.id)

    def remove(self, row: Row) -> None:
        """Show it no longer."""
        del self.rows[row.id]
        self._all.remove(row.id)
        self._profiles[row.id.node_id] -= 1
        if not self._profiles[row.id.node_id]:
            del self._profiles[row.id.node_id]
            self._nodes.remove(row.id.node_id)
        self._leave(row, _facets(row))

    def replace(self, old: Row, new: Row) -> None:
        """Show another row with the same id."""
        self.rows[new.id] = new
        before, after = _facets(old), _facets(new)
        self._leave(old, before - after)
        for facet in after - before:
            self._facets.setdefault(facet, SortedList()).add(new.id)

    def page(self, wanted: Filter, standing: Standing, after: RowId | None, limit: int) -> Page:
        """The first `limit` rows wanted after an id."""
        ids = self._wanted(wanted, standing)
        first = 0 if after is None else bisect_right(ids, after)
        rows = [self.rows[ids[at]] for at in range(first, min(first + limit, len(ids)))]
        return Page(rows, first + limit < len(ids), len(ids))

    def nodes(self, text: str | None, after: str | None, limit: int) -> NodePage:
        """The first `limit` nodes after an id whose own id contains a text, given in lower case."""
        following = self._nodes.irange(minimum=after, inclusive=(False, True))
        if text is None:
            found, total = list(islice(following, limit + 1)), len(self._nodes)
        else:
            found = list(islice((node for node in following if text in node.lower()), limit + 1))
            total = sum(text in node.lower() for node in self._nodes)
        return NodePage(found[:limit], len(found) > limit, total)

    def of_node(self, node_id: str) -> list[Row]:
        """A node's rows."""
        return [self.rows[i] for i in self._all.irange(RowId(node_id, "", -1), RowId(node_id + "\0", "", -1))]

    def count(self, facet: str) -> Iterator[tuple[str, int]]:
        """Every value of a facet with the number of its rows."""
        return ((value, len(ids)) for (name, value), ids in self._facets.items() if name == facet)

    def first(self, facet: str, value: str) -> Row:
        """Some row of a facet's list that is not empty."""
        return self.rows[self._facets[facet, value][0]]

    def _wanted(self, wanted: Filter, standing: Standing) -> Sequence[RowId]:
        """The ids wanted, in order: a list that is kept where there is one, else what is left of the shortest."""
        lists = sorted((self._facets.get(facet, SortedList()) for facet in wanted.facets), key=len)
        found: Sequence[RowId] = lists[0] if lists else self._all
        for other in lists[1:]:
            found = [one for one in found if one in other]
        for test in wanted.tests(standing):
            found = [one for one in found if test(self.rows[one])]
        return found

    def _leave(self, row: Row, facets: set[tuple[str, str]]) -> None:
        for facet in facets:
            ids = self._facets[facet]
            ids.remove(row.id)
            if not ids:
                del self._facets[facet]


def _facets(row: Row) -> set[tuple[str, str]]:
    model, tier = row.group
    return (
        {("model", model), ("tier", tier)}
        | {("code", code) for code in row.candidate.codes}
        | {("gate", gate) for gate in row.blocked_gates}
    )
