"""What changed lately, per node: bounded for each node and in all, so that no length of the log can fill the memory."""

from collections import deque
from typing import NamedTuple

from b3iq_streams.catalog.models import Past

NODE_MAX = 100
TOTAL_MAX = 100_000


class _Kept(NamedTuple):
    number: int
    partition: int
    past: Past


class History:
    """The newest changes of every node. What is oldest over all nodes goes first when there is too much."""

    def __init__(self, total_max: int = TOTAL_MAX) -> None:
        self._total_max = total_max
        self._nodes: dict[str, deque[_Kept]] = {}
        self._order: deque[tuple[int, str]] = deque()
        self._number = 0

    def add(self, node_id: str, partition: int, past: Past) -> None:
        """Remember a change."""
        self._number += 1
        self._nodes.setdefault(node_id, deque(maxlen=NODE_MAX)).append(_Kept(self._number, partition, past))
        self._order.append((self._number, node_id))
        while len(self._order) > self._total_max:
            self._forget(*self._order.popleft())

    def drop(self, partition: int) -> None:
        """Forget what was read of a partition: its log turned out to be another than was thought."""
        for node_id, kept in list(self._nodes.items()):
            left = deque((one for one in kept if one.partition != partition), maxlen=NODE_MAX)
            self._nodes[node_id] = left
            if not left:
                del self._nodes[node_id]

    def of(self, node_id: str) -> tuple[Past, ...]:
        """A node's changes, newest first."""
        return tuple(kept.past for kept in reversed(self._nodes.get(node_id, ())))

    def _forget(self, number: int, node_id: str) -> None:
        kept = self._nodes.get(node_id)
        if kept and kept[0].number == number:
            kept.popleft()
            if not kept:
                del self._nodes[node_id]
