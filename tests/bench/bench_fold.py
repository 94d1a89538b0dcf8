"""The fold in memory, one core, signatures taken as known: what a recount or a rebuild pays for each heartbeat."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence

from b3iq_schemas import topics
from b3iq_streams.core.admit import Fact, Opened, Refused, admit, keys_for, open_record
from b3iq_streams.core.records import Record
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, _Fold, step
from tests.bench.table import Options, Row, per_second
from tests.factory import SCOPE, T0, Log, benchmark_event, heartbeat_event, policy_event, profile, registration_event, route_event

NODES = 2_000
PROFILES = [profile(f"p{number}") for number in range(3)]
STEP_BAR, REPLAY_BAR = 100_000, 30_000
SECOND_MS = 1_000


def known(_key: bytes, _message: bytes, _signature: bytes) -> bool:
    """Every signature was checked before."""
    return True


def world() -> PartitionState:
    """Nodes with all their facts, eligible."""
    log = Log()
    log.put(topics.POLICIES, policy_event())
    for number in range(NODES):
        node_id = f"node-{number}"
        log.put(topics.REGISTRATIONS, registration_event(node_id))
        for listed in PROFILES:
            log.put(topics.BENCHMARKS, benchmark_event(node_id, profile_id=listed["profile_id"]))
        log.put(topics.ROUTE_HEALTH, route_event(node_id))
        log.put(topics.HEARTBEATS, heartbeat_event(node_id, profiles=PROFILES))
    state = PartitionState()
    outcome = step(state, Epoch(T0, log.records), SCOPE, known)
    state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
    return state


def heartbeats(seq: int, state: str = "online") -> list[Record]:
    """One of each node."""
    log, at_ms = Log(), T0 + seq * SECOND_MS
    for number in range(NODES):
        log.put(topics.HEARTBEATS, heartbeat_event(f"node-{number}", seq, at_ms, profiles=PROFILES, state=state), at_ms)
    return log.records[topics.HEARTBEATS]


def best(work: Callable[[], object], repeats: int) -> float:
    """Seconds of processor time of the quickest go: a rate per core, also where others use the machine."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def opened(state: PartitionState, records: Sequence[Record]) -> list[Opened]:
    """Records as the feed hands them over: envelope parsed, signature checked."""
    nodes = [state.nodes[(record.key or b"").decode()] for record in records]
    return [
        open_record(record, keys_for(record.topic, state.rules, node, SCOPE), SCOPE, known)
        for record, node in zip(records, nodes, strict=True)
    ]


def admitted(state: PartitionState, items: Sequence[Opened]) -> list[Fact]:
    """Facts, ready to change the state."""
    facts = []
    for item in items:
        fact = admit(item, state.rules, state.nodes[(item.record.key or b"").decode()], SCOPE, known)
        assert not isinstance(fact, Refused)
        facts.append(fact)
    return facts


def fold_facts(state: PartitionState, at_ms: int, facts: Sequence[Fact]) -> None:
    """What is left of `step` once everything was admitted."""
    fold = _Fold(state, at_ms, SCOPE, known, lambda _node_id: False)
    for fact in facts:
        node_id = fact.event.node_id
        fold.nodes[node_id] = fold.evolve(topics.HEARTBEATS, node_id, state.nodes[node_id], fact)
    fold.finish()


def run(options: Options) -> Iterator[Row]:
    """Heartbeats that change nothing but their age, as nearly all do; then heartbeats that flip every node."""
    repeats = 3 if options.quick else 15
    state = world()
    records = heartbeats(2)
    items, at_ms = opened(state, records), T0 + 2 * SECOND_MS
    facts = admitted(state, items)
    flips = admitted(state, opened(state, heartbeats(2, "draining")))
    gc.collect()
    gc.freeze()
    try:
        transition = NODES / best(lambda: fold_facts(state, at_ms, facts), repeats)
        flipping = NODES / best(lambda: fold_facts(state, at_ms, flips), repeats)
        on_opened = NODES / best(lambda: step(state, Epoch(at_ms, {topics.HEARTBEATS: items}), SCOPE, known), repeats)
        whole = NODES / best(lambda: step(state, Epoch(at_ms, {topics.HEARTBEATS: records}), SCOPE, known), repeats)
    finally:
        gc.unfreeze()
    yield Row(
        "`step` on admitted heartbeats, nothing changes", f"≥ {per_second(STEP_BAR)} per core", per_second(transition),
        met=transition >= STEP_BAR,
    )  # fmt: skip
    yield Row("`step` on admitted heartbeats, three decisions flip each", "", per_second(flipping))
    yield Row("`step` on opened heartbeats (parsing and admission in it)", "", per_second(on_opened))
    yield Row(
        "bytes → parsed, admitted, folded, no signature check", f"≥ {per_second(REPLAY_BAR)} per core", per_second(whole),
        met=whole >= REPLAY_BAR,
    )  # fmt: skip
