"""The simulated fleet: the same bytes for the same seed and times, and each kind of trouble ends as its row says."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import count

import orjson
import pytest

from b3iq_schemas.envelope import verify
from b3iq_schemas.topics import HEARTBEATS, INPUTS, POLICIES
from b3iq_streams.core.admit import Scope
from b3iq_streams.core.records import Record
from b3iq_streams.core.state import PartitionState
from b3iq_streams.core.step import Epoch, step
from b3iq_streams.emit import Emission
from b3iq_streams.fleet import Fleet
from b3iq_streams.fleet_kinds import HEALTHY, TROUBLES, Kind, assign
from b3iq_streams.world import World, demo_policy, sign_policy

WORLD = World.generate(seed=b"fleet")
START_MS = 1_800_000_000_000
STEP_MS = 500
SECONDS = 62
NODES = 2 * len(TROUBLES)


def new_fleet(seed: int = 7, scenario: str = "all", nodes: int = NODES) -> Fleet:
    """A fleet of the test's world."""
    return Fleet(WORLD, nodes=nodes, start_ms=START_MS, seed=seed, scenario=scenario)


def emissions(fleet: Fleet, seconds: int) -> Iterator[tuple[int, list[Emission]]]:
    """What a fleet sends, with the time at which it does."""
    yield START_MS, fleet.bootstrap(START_MS)
    for now_ms in range(START_MS, START_MS + seconds * 1_000, STEP_MS):
        yield now_ms, fleet.tick(now_ms)


class History:
    """What the fold made of a fleet: per node the codes that ever blocked it, whether it served, and refusals."""

    def __init__(self, fleet: Fleet, seconds: int) -> None:
        self.codes: dict[str, set[str]] = defaultdict(set)
        self.eligible: dict[str, list[bool]] = defaultdict(list)
        self.refused: dict[str, set[str]] = defaultdict(set)
        self.last_eligible: dict[str, bool] = {}
        state, scope, offsets = PartitionState(), Scope(WORLD.trust, 0, 1), {name: count() for name in INPUTS}
        policy = Emission(POLICIES, b"1", sign_policy(WORLD, demo_policy(WORLD, START_MS)))
        for now_ms, sent in emissions(fleet, seconds):
            records: dict[str, list[Record]] = defaultdict(list)
            for topic, key, value in ([policy, *sent]) if not state.rules else sent:
                records[topic].append(Record(topic, 0, next(offsets[topic]), key, value, now_ms))
            outcome = step(state, Epoch(now_ms, records), scope, verify)
            state.absorb(outcome.resolved_at_ms, outcome.nodes, outcome.rules)
            for refused in outcome.refused:
                self.refused[(refused.record.key or b"").decode()].add(refused.code)
            for change in outcome.changes:
                node_id = change.key.partition("/")[0]
                self.codes[node_id] |= {item["code"] for item in orjson.loads(change.decision)["failing"]}
                self.eligible[node_id].append(change.eligible)
                self.last_eligible[change.key] = change.eligible


@pytest.fixture(scope="module")
def history() -> History:
    """A minute of the whole scenario."""
    return History(new_fleet(), SECONDS)


def test_the_same_seed_and_times_give_the_same_bytes() -> None:
    """Two fleets of one seed send byte for byte the same; another seed does not."""
    first, second, other = (list(emissions(new_fleet(seed), 12)) for seed in (7, 7, 8))
    assert first == second != other


NODE_OF = {kind.name: node_id for node_id, kind in new_fleet().kinds.items()}
STARTING = {"heartbeat_missing", "profile_missing"}
"""Every node is so until its first heartbeat."""


@pytest.mark.parametrize("kind", [HEALTHY, *TROUBLES], ids=lambda kind: kind.name)
def test_every_kind_ends_as_its_row_says(kind: Kind, history: History) -> None:
    """The code that blocks it, the code under which its records are refused, whether it serves, and comes back."""
    node_id = NODE_OF[kind.name]
    codes = history.codes[node_id] - STARTING
    assert codes >= ({kind.outcome, *kind.also} - {""})
    assert codes <= {kind.outcome, *kind.also}
    assert history.refused[node_id] == ({kind.refused} if kind.refused else set())
    served = history.eligible[node_id]
    if kind.returns:
        assert [True, False, True] == [now for now, before in zip(served, [False, *served], strict=False) if now != before][:3]
    if not kind.outcome:
        assert served[-1]


def test_the_healthy_serve_for_good(history: History) -> None:
    """Once it serves, a healthy node never stops: its evidence is renewed in time."""
    kinds = new_fleet().kinds
    healthy = {key for key in history.last_eligible if kinds[key.partition("/")[0]] is HEALTHY}
    assert len(healthy) >= NODES // 2
    assert all(history.last_eligible[key] for key in healthy)
    assert all(history.codes[key.partition("/")[0]] <= STARTING for key in healthy)


def test_the_healthy_scenario_has_no_trouble() -> None:
    """Nothing is refused and nothing is blocked."""
    calm = History(new_fleet(scenario="healthy", nodes=10), 12)
    assert set().union(*calm.codes.values()) <= STARTING
    assert all(calm.last_eligible.values())
    assert not calm.refused


def test_most_nodes_are_healthy() -> None:
    """Whatever the size, at least half of a fleet is healthy, and a large one has every trouble."""
    for nodes in (1, 2, 10, 50, 500):
        kinds = assign(nodes, "all")
        assert len(kinds) == nodes
        assert kinds.count(HEALTHY) * 2 >= nodes
    assert set(map(id, TROUBLES)) <= set(map(id, assign(50, "all")))


def test_a_pause_is_not_made_up_for() -> None:
    """After a minute without a tick each node sends one heartbeat, not sixty."""
    fleet = new_fleet(scenario="healthy", nodes=5)
    fleet.tick(START_MS + 1_000)
    late = [item for item in fleet.tick(START_MS + 61_000) if item.topic == HEARTBEATS]
    assert len(late) == 5
