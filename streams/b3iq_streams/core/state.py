"""The state of one partition: nodes, rules, a heap of deadlines, cached hashes. The only mutable thing of the fold.

`absorb` is the one way it changes. The heap and the hashes are indexes: what they hold follows from nodes and rules.
"""

import heapq
from collections.abc import Iterator, Mapping
from hashlib import sha256

from b3iq_streams.core import codec
from b3iq_streams.core.decide import FAR_MS, next_deadline_ms
from b3iq_streams.core.rules import Rules
from b3iq_streams.core.values import NodeState

RULES_ID = "~rules"
"""The rules take part in the state digest under this id, which no node can have."""


class PartitionState:
    """Nodes by id and the rules in force; `resolved_at_ms` is the moment the decisions are as of, `eligible` how many
    profiles are eligible, `lost` how many the last outcome absorbed took that from."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeState] = {}
        self.rules: Rules | None = None
        self.resolved_at_ms = 0
        self.eligible = self.lost = 0
        self._heap: list[tuple[int, str]] = []
        self._scheduled: dict[str, int] = {}
        self._hashes: dict[str, bytes] = {}

    def restore(self, nodes: Mapping[str, bytes], rules: Rules | None, resolved_at_ms: int) -> None:
        """Take over stored nodes and rules; digests are over the stored bytes. Raises what `codec.decode_node` raises."""
        self.rules, self.resolved_at_ms = rules, resolved_at_ms
        for node_id, raw in nodes.items():
            self.nodes[node_id] = node = codec.decode_node(raw)
            self._count(None, node)
            self._hashes[node_id] = sha256(raw).digest()
            self._schedule(node_id)

    def absorb(self, resolved_at_ms: int, nodes: Mapping[str, NodeState], rules: Rules | None) -> None:
        """Apply an outcome: new node states, rules and the moment they are as of."""
        self.lost = 0
        due = list(self.due(resolved_at_ms))
        while self._heap and self._heap[0][0] <= resolved_at_ms:
            heapq.heappop(self._heap)
        for node_id in due:
            del self._scheduled[node_id]
        for node_id, node in nodes.items():
            self._count(self.nodes.get(node_id), node)
            self._hashes.pop(node_id, None)
        self.nodes.update(nodes)
        ruled = rules is not None and not rules.judges_as(self.rules)
        self.rules, self.resolved_at_ms = rules, resolved_at_ms
        for node_id in self.nodes if ruled else {*nodes, *due}:
            self._schedule(node_id)
        if len(self._heap) > 2 * len(self._scheduled) + 64:  # entries that an earlier one replaced
            self._heap = [(at_ms, node_id) for node_id, at_ms in self._scheduled.items()]
            heapq.heapify(self._heap)

    def _count(self, before: NodeState | None, after: NodeState) -> None:
        """Keep the numbers of eligible profiles and of those that were."""
        if before is None or before.published is not after.published:
            now = {profile_id for profile_id, last in after.published.items() if last.eligible}
            was = {profile_id for profile_id, last in before.published.items() if last.eligible} if before else set()
            self.eligible += len(now) - len(was)
            self.lost += len(was - now)

    def _schedule(self, node_id: str) -> None:
        """Keep one heap entry per node, at or before its next deadline; a too early one is harmless."""
        deadline_ms = next_deadline_ms(self.nodes[node_id], self.rules, self.resolved_at_ms)
        if deadline_ms < self._scheduled.get(node_id, FAR_MS):
            self._scheduled[node_id] = deadline_ms
            heapq.heappush(self._heap, (deadline_ms, node_id))

    def due(self, at_ms: int) -> Iterator[str]:
        """Nodes with a deadline at or before `at_ms`; walks the top of the heap and leaves it as it is."""
        heap, seen, stack = self._heap, set(), [0]
        while stack:
            i = stack.pop()
            if i < len(heap) and heap[i][0] <= at_ms:
                stack += (2 * i + 1, 2 * i + 2)
                node_id = heap[i][1]
                if node_id not in seen and node_id in self._scheduled:
                    seen.add(node_id)
                    yield node_id

    @property
    def next_deadline_ms(self) -> int:
        """The earliest scheduled deadline, FAR_MS if there is none."""
        return self._heap[0][0] if self._heap else FAR_MS

    def digest(self, nodes: Mapping[str, NodeState], rules: Rules | None) -> str:
        """Hex SHA-256 over the sorted (id, SHA-256 of its state) pairs, as they would stand after an outcome."""
        hashes = self._hashes
        for node_id, node in self.nodes.items():
            if node_id not in hashes:
                hashes[node_id] = sha256(codec.encode_node(node)).digest()
        fresh = {node_id: sha256(codec.encode_node(node)).digest() for node_id, node in nodes.items()}
        if rules is not None:
            fresh[RULES_ID] = sha256(codec.encode_rules(rules)).digest()
        merged = hashes | fresh
        whole = sha256()
        for node_id in sorted(merged):
            whole.update(node_id.encode() + b"\n" + merged[node_id])
        return whole.hexdigest()
