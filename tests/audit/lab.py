"""A network in memory for audit tests: several partitions, real owners, a real router's view; no clock, no broker, no luck.

lab = Lab()
lab.ready("node-1")           # facts that make a node eligible
lab.epochs(3)                 # three seconds: every owner makes an epoch a second
lab.decide("node-1's model")  # a router answers, and its signed decision is logged
lab.origin                    # an Origin (and Source) over everything that is logged
"""

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.decisions import ROUTING_DECISION_V1
from b3iq_schemas.envelope import sign
from b3iq_schemas.partitioner import partition_for
from b3iq_streams.audit.source import AUDITED, Bounds
from b3iq_streams.core.records import Record
from b3iq_streams.kafka.connection import Place
from tests import factory
from tests.core.driver import Partition
from tests.factory import TRUST, key

MODEL = "Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf"
EVENTS: dict[str, Callable[..., dict[str, Any]]] = {
    topics.REGISTRATIONS: factory.registration_event,
    topics.HOLDS: factory.hold_event,
    topics.BENCHMARKS: factory.benchmark_event,
    topics.ROUTE_HEALTH: factory.route_event,
    topics.HEARTBEATS: factory.heartbeat_event,
}
ROUTING_PARTITIONS = 2


@dataclass(frozen=True)
class MemoryOrigin:
    """Records in memory, as an origin and as its source. `batch` = how many records come at once."""

    records: Mapping[Place, Sequence[Record]]
    partitions: int
    batch: int = 100
    stamped: bool = True

    @property
    def bounds(self) -> dict[Place, Bounds]:
        """The first and the next offset of each partition; what a list lacks at its front was deleted by retention."""
        return {
            place: Bounds(found[0].offset, found[-1].offset + 1) if found else Bounds(0, 0)
            for place, found in self.records.items()
        }

    @contextmanager
    def open(self) -> Iterator["MemoryOrigin"]:
        """Nothing to open."""
        yield self

    def read(self, place: Place, first: int, last: int) -> Iterator[Sequence[Record]]:
        """Records with first ≤ offset < last, in batches."""
        records = self.records.get(place, ())
        at, end = (bisect_left(records, offset, key=lambda record: record.offset) for offset in (first, last))
        for low in range(at, end, self.batch):
            yield records[low : min(low + self.batch, end)]


class Lab:
    """The logs of a network of P partitions, filled by the factory's facts and by honest owners."""

    def __init__(self, partitions: int = 2, **policy: Any) -> None:
        self.parts = [Partition(p, partitions) for p in range(partitions)]
        self.decisions: list[list[Record]] = [[] for _ in range(ROUTING_PARTITIONS)]
        self._seq = itertools.count(1)
        self._numbers = itertools.count(1)
        self._policy = policy
        self.policy(1)

    @property
    def now_ms(self) -> int:
        """The moment it is everywhere."""
        return self.parts[0].now_ms

    def part(self, node_id: str) -> Partition:
        """The partition of a node."""
        return self.parts[partition_for(node_id.encode(), len(self.parts))]

    def policy(self, revision: int, **changes: Any) -> None:
        """Publish a revision on every partition; what is not changed is as the lab was made."""
        event = factory.policy_event(revision=revision, sent_at_ms=self.now_ms, **(self._policy | changes))
        for part in self.parts:
            part.inputs.put(topics.POLICIES, event, self.now_ms)

    def number(self) -> int:
        """A sequence number that no heartbeat has had."""
        return next(self._seq)

    def put(self, topic: str, node_id: str, signers: tuple[str, ...] = (), **changes: Any) -> Record:
        """Log a fact about a node now; without changes it is one that lets the node pass (a hold: one that holds it)."""
        if topic == topics.HEARTBEATS:
            changes = {"seq": self.number()} | changes
        event = EVENTS[topic](node_id, at_ms=self.now_ms, **changes)
        return self.part(node_id).inputs.put(topic, event, self.now_ms, signers)

    def ready(self, *node_ids: str, **beat: Any) -> None:
        """Everything the nodes need to be eligible."""
        for node_id in node_ids:
            for topic in (topics.REGISTRATIONS, topics.BENCHMARKS, topics.ROUTE_HEALTH):
                self.put(topic, node_id)
            self.put(topics.HEARTBEATS, node_id, **beat)

    def beat(self, *node_ids: str, **changes: Any) -> None:
        """A heartbeat of each."""
        for node_id in node_ids:
            self.put(topics.HEARTBEATS, node_id, **changes)

    def epochs(self, count: int = 1) -> None:
        """So many seconds pass; every partition's owner makes an epoch in each, at its end, and stops cleanly."""
        for part in self.parts:
            part.drive(part.owner(), count, stop=True)

    def log_decision(self, signer: str = "router", delay_ms: int = 5, partition: int = 0, **fields: Any) -> Record:
        """Sign and log a routing decision as it is given; what is not given is a refusal that names nobody."""
        number = f"{next(self._numbers):032x}"
        decision: dict[str, Any] = {
            "network": TRUST.network, "decision_id": number, "decided_at_ms": self.now_ms, "model_id": MODEL,
            "caller_hash": sha256(b"caller").hexdigest(), "request_policy_sha256": sha256(b"policy").hexdigest(),
            "allowed": False, "code": "no_healthy_candidates", "node_id": None, "profile_id": None,
            "considered": [], "considered_total": 0, "view": [],
        } | fields  # fmt: skip
        value = sign(ROUTING_DECISION_V1, canonical(decision), [key(signer)])
        log = self.decisions[partition]
        at_ms = decision["decided_at_ms"] + delay_ms
        record = Record(topics.ROUTING_DECISIONS, partition, len(log), str(decision["decision_id"]).encode(), value, at_ms)
        log.append(record)
        return record

    def view(self) -> list[dict[str, Any]]:
        """The position of a router that has read everything."""
        found = []
        for number, part in enumerate(self.parts):
            head = part.confirmed[-1].head
            found.append({"partition": number, "epoch": head.epoch, "digest": head.digest, "resolved_at_ms": head.resolved_at_ms})
        return found

    def allow(self, node_id: str, profile_id: str = "p0", model: str = MODEL, **fields: Any) -> Record:
        """Log a decision that sends a call to a node, made on everything there is, right or wrong."""
        considered = [{"node_id": node_id, "profile_id": profile_id, "reason": ""}]
        told: dict[str, Any] = {
            "allowed": True, "code": "allowed", "node_id": node_id, "profile_id": profile_id, "model_id": model,
            "considered": considered, "considered_total": 1, "view": self.view(),
        }  # fmt: skip
        return self.log_decision(**(told | fields))

    def refuse(self, code: str = "no_healthy_candidates", model: str = MODEL, **fields: Any) -> Record:
        """Log a refusal, made on everything there is."""
        told: dict[str, Any] = {"code": code, "model_id": model, "view": self.view()}
        return self.log_decision(**(told | fields))

    @property
    def records(self) -> dict[Place, list[Record]]:
        """Everything that is logged."""
        found: dict[Place, list[Record]] = {Place(topic, p): [] for topic in AUDITED for p in range(len(self.parts))}
        for number, part in enumerate(self.parts):
            found |= {Place(topic, number): list(records) for topic, records in part.inputs.records.items()}
            found[Place(topics.ELIGIBILITY_CHANGES, number)] = list(part.chain)
            letters = zip(part.letter_keys, part.letters, part.letters_logged_at_ms, strict=True)
            found[Place(topics.DEAD_LETTERS, number)] = [
                Record(topics.DEAD_LETTERS, number, at, kafka_key, value, logged_at_ms)
                for at, (kafka_key, value, logged_at_ms) in enumerate(letters)
            ]
        return found | {Place(topics.ROUTING_DECISIONS, p): list(log) for p, log in enumerate(self.decisions)}

    @property
    def origin(self) -> MemoryOrigin:
        """An origin over everything that is logged now."""
        return MemoryOrigin(self.records, len(self.parts))


def busy_lab(partitions: int = 2, **policy: Any) -> Lab:
    """A quarter of an hour in which something of everything happens: flips, holds, staleness, refusals, a new revision,
    equivocation, decisions right and wrong-looking. The same in every run."""
    lab = Lab(partitions, **policy)
    nodes = [f"node-{number}" for number in range(1, 7)]
    lab.ready(*nodes)
    lab.epochs(2)
    for turn in range(12):
        steady = [node for number, node in enumerate(nodes) if number != 5 or turn < 3]
        lab.beat(*steady[:-1] if turn % 4 == 3 else steady)
        for node in nodes:
            lab.put(topics.ROUTE_HEALTH, node, state="unhealthy" if (turn, node) == (2, "node-2") else "healthy")
        if turn == 4:
            lab.put(topics.HOLDS, "node-3", reason="planted-reason", actor="planted-actor")
            lab.put(topics.HEARTBEATS, "node-1", signers=("somebody",))
        if turn == 6:
            lab.put(topics.HOLDS, "node-3", held=False)
            lab.policy(2, stake_wei_min="6000")
        if turn == 7:
            lab.policy(3)
            number = lab.number()
            lab.beat("node-4", seq=number, agent_version="2.0")
            lab.beat("node-4", seq=number, agent_version="2.1")
        lab.epochs(1)
        for node in nodes[:2]:
            if lab.part(node).table:
                lab.allow(node)
        lab.refuse()
        lab.epochs(19)
    return lab
