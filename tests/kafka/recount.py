"""The independent recount at the end of every test on a real broker: the logs alone, read afresh, say whether all is well.

One named predicate each; what a worker believes of itself is never asked.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from nacl.signing import VerifyKey

from b3iq_schemas.envelope import EnvelopeError, parse, verify
from b3iq_schemas.topics import (
    BENCHMARKS,
    DEAD_LETTERS,
    ELIGIBILITY_CHANGES,
    HEARTBEATS,
    INPUTS,
    POLICIES,
    REGISTRATIONS,
    ROUTE_HEALTH,
)
from b3iq_streams import kafka
from b3iq_streams.core.admit import Refused
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.chain import Accepted, ChainReader
from b3iq_streams.core.records import Record
from b3iq_streams.core.replay import Recount, recount
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from b3iq_streams.kafka import Place
from tests.kafka.network import Network
from tests.kafka.witness import Witness

TTLS = {
    HEARTBEATS: "heartbeat_ttl_ms",
    ROUTE_HEALTH: "route_health_ttl_ms",
    REGISTRATIONS: "registration_ttl_ms",
    BENCHMARKS: "benchmark_ttl_ms",
}
SIGNERS = {ROUTE_HEALTH: "broker", REGISTRATIONS: "control-plane", BENCHMARKS: "observer"}
Found = Iterator[str]


@dataclass
class Evidence:
    """One partition, whole: its inputs, its chain, and the dead letters of all partitions by coordinates."""

    network: Network
    partition: int
    inputs: Mapping[str, Sequence[Record]]
    log: Sequence[Record]
    letters: Mapping[tuple[str, int, int], list[dict[str, Any]]]

    def __post_init__(self) -> None:
        network = self.network
        chain, scope = network.chain(self.partition), network.scope(self.partition)
        self.recount = recount(chain, scope, self.inputs, self.log, verify)
        book = PolicyBook(scope, verify)
        for record in self.inputs[POLICIES]:
            book.feed(record)
        reader = ChainReader(chain, chain.genesis_head(), book.processors_of, verify)
        self.accepted = [found for found in map(reader.feed, self.log) if isinstance(found, Accepted)]

    def refused(self) -> list[Refused]:
        """Every record that the accepted epochs refuse, folded from nothing."""
        state, cut, found = PartitionState(), dict.fromkeys(INPUTS, 0), list[Refused]()
        for epoch in self.accepted:
            records = {topic: self.inputs[topic][cut[topic] : epoch.mark.cut[topic]] for topic in INPUTS}
            outcome = step(state, Epoch(epoch.mark.resolved_at_ms, records), self.network.scope(self.partition), verify)
            state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
            found += outcome.refused
            cut = dict(epoch.mark.cut)
        return found


def every_epoch_is_refolded_byte_for_byte(evidence: Evidence) -> Found:
    """What the recount says."""
    yield from map(repr, evidence.recount.differences[:3])


def everything_is_folded(evidence: Evidence) -> Found:
    """No input record lies beyond the last accepted cut."""
    for topic, records in evidence.inputs.items():
        if evidence.recount.head.cut[topic] != len(records):
            yield f"{topic}: {len(records)} records, folded up to {evidence.recount.head.cut[topic]}"


def every_refused_record_has_its_letter(evidence: Evidence) -> Found:
    """With the code of the accepted epoch, the coordinates, and the first bytes; and nothing else has one."""
    refused = {(item.record.topic, item.record.partition, item.record.offset): item for item in evidence.refused()}
    for place, item in refused.items():
        codes = {letter["code"] for letter in evidence.letters.get(place, [])}
        if item.code not in codes:
            yield f"{place} refused as {item.code}, letters say {codes}"
    yield from (f"{place} was admitted and has a letter" for place in evidence.letters.keys() - refused.keys())


def no_mark_passes_a_deadline(evidence: Evidence) -> Found:
    """P1, from the inputs alone: whatever is eligible at a mark rests on facts that live longer than it says."""
    facts = _Facts(evidence)
    eligible: dict[str, int] = {}
    for epoch in evidence.accepted:
        facts.read(epoch.mark.cut)
        for value in epoch.changes:
            decision = orjson.loads(value)["decision"]
            key = f"{decision['node_id']}/{decision['profile_id']}"
            eligible.pop(key, None)
            if decision["eligible"]:
                eligible[key] = decision["valid_until_ms"]
        for key, valid_until_ms in eligible.items():
            deadline_ms = min(valid_until_ms, *facts.deadlines(key))
            if deadline_ms <= epoch.mark.resolved_at_ms:
                yield f"epoch {epoch.mark.epoch}: {key} rests on what ended {epoch.mark.resolved_at_ms - deadline_ms} ms ago"


class _Facts:
    """When the last genuine fact of each kind was logged: signed by whom it should be, newer than those before it."""

    def __init__(self, evidence: Evidence) -> None:
        self.inputs, self.world, self.cut = evidence.inputs, evidence.network.world, dict.fromkeys(INPUTS, 0)
        self.logged_ms: dict[tuple[str, str], tuple[tuple[int, int], int]] = {}
        self.ttls: dict[str, int] = {}

    def read(self, cut: Mapping[str, int]) -> None:
        for topic in INPUTS:
            for record in self.inputs[topic][self.cut[topic] : cut[topic]]:
                if event := self.genuine(record):
                    self.take(topic, event, record.timestamp_ms)
        self.cut = dict(cut)

    def genuine(self, record: Record) -> dict[str, Any] | None:
        try:
            sealed = parse(record.value or b"")
            event: dict[str, Any] = orjson.loads(sealed.payload)
        except (EnvelopeError, ValueError):
            return None
        if record.topic == POLICIES:
            return event
        world, topic = self.world, record.topic
        key = world.node_key(event["node_id"]) if topic == HEARTBEATS else world.roles[SIGNERS.get(topic, "operator")]
        return event if verify(bytes(VerifyKey(bytes(key.verify_key))), sealed.signed_bytes, sealed.signatures[0].sig) else None

    def take(self, topic: str, event: dict[str, Any], logged_ms: int) -> None:
        if topic == POLICIES:
            self.ttls = {name: event[ttl] for name, ttl in TTLS.items()}
        if topic in TTLS:
            subject = f"{event['node_id']}/{event['profile_id']}" if topic == BENCHMARKS else event["node_id"]
            number = (event.get("boot", 0), event["seq"])
            if number > self.logged_ms.get((topic, subject), ((-1, -1), 0))[0]:
                self.logged_ms[topic, subject] = number, logged_ms

    def deadlines(self, key: str) -> Iterator[int]:
        for topic, ttl_ms in self.ttls.items():
            subject = key if topic == BENCHMARKS else key.partition("/")[0]
            yield self.logged_ms.get((topic, subject), ((0, 0), 0))[1] + ttl_ms


CHECKS: tuple[Callable[[Evidence], Found], ...] = (
    every_epoch_is_refolded_byte_for_byte,
    everything_is_folded,
    every_refused_record_has_its_letter,
    no_mark_passes_a_deadline,
)


async def contents(network: Network, topics: Iterable[str]) -> dict[tuple[str, int], list[Record]]:
    """Every record of these topics, by topic and partition, in order."""
    async with kafka.source(network.settings) as source:
        places = [place for topic in topics for place in await source.partitions(topic)]
        starts, ends = await source.start_offsets(places), await source.end_offsets(places)
        found: dict[tuple[str, int], list[Record]] = {(place.topic, place.partition): [] for place in places}
        left = {place for place in places if starts[place] < ends[place]}
        async for batch in source.follow(starts):
            for record in batch:
                found[record.topic, record.partition].append(record)
                if record.offset + 1 >= ends[Place(record.topic, record.partition)]:
                    left.discard(Place(record.topic, record.partition))
            if not left:
                break
    return found


async def read_all(network: Network) -> list[Evidence]:
    """Everything there is, read afresh."""
    found = await contents(network, (*INPUTS, ELIGIBILITY_CHANGES, DEAD_LETTERS))
    letters: dict[int, dict[tuple[str, int, int], list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for record in itertools.chain(*(found[DEAD_LETTERS, p] for p in range(network.partitions))):
        letter = orjson.loads(record.value or b"")
        letters[letter["partition"]][letter["topic"], letter["partition"], letter["offset"]].append(letter)
    return [
        Evidence(network, p, {topic: found[topic, p] for topic in INPUTS}, found[ELIGIBILITY_CHANGES, p], letters[p])
        for p in range(network.partitions)
    ]


async def recount_all(network: Network) -> list[Recount]:
    """Recount every partition, hold every check against it, and return what was found."""
    everything = await read_all(network)
    wrong = [
        f"partition {evidence.partition}: {check.__name__}: {problem}"
        for evidence in everything
        for check in CHECKS
        for problem in check(evidence)
    ]
    assert not wrong, "\n".join(wrong[:20])
    assert all(evidence.recount.epochs and evidence.recount.admitted for evidence in everything)
    return [evidence.recount for evidence in everything]


async def finish(network: Network, witness: Witness) -> list[Recount]:
    """Everything is folded, every worker that still runs ends properly, and then the recount."""
    await witness.caught_up()
    for worker in network.workers:
        if worker.running:
            await worker.stop()
    return await recount_all(network)
