"""How a worker gets what its next epoch is made of (rule P2), over connections that lag, hang and lie about ends."""

from collections.abc import Callable, Generator

from b3iq_schemas import topics
from b3iq_streams.core.actions import Intake, TakeIntake
from b3iq_streams.core.admit import Opened, open_record
from b3iq_streams.core.owner import PartitionOwner
from b3iq_streams.core.records import Record
from tests.factory import SCOPE
from tests.sim import crypto
from tests.sim.knobs import IDLE_MS
from tests.sim.loop import Process
from tests.sim.world import World


class Intakes:
    """One worker's fetching; `hiccup` is what may happen to the worker between two requests."""

    def __init__(self, world: World, owner: PartitionOwner, clock: Callable[[], int], hiccup: Callable[[], Process]) -> None:
        self.world, self.owner = world, owner
        self.stopping = False
        self._clock, self._hiccup = clock, hiccup
        self._hung: dict[str, int] = {}

    def take(self, action: TakeIntake) -> Generator[int, None, Intake]:
        """The clock, then the ends, then the records."""
        world, rng = self.world, self.world.rng
        yield from self._idle(action)
        clock_ms = self._clock()
        yield rng.randint(0, 2)
        ends: dict[str, int] = {}
        for topic in rng.sample(topics.INPUTS, len(topics.INPUTS)):
            ends[topic] = world.inputs[topic].stale_end(world.stale())
            if world.chance(0.1):
                yield from self._hiccup()
        records: dict[str, tuple[Record | Opened, ...]] = {}
        for topic in rng.sample(topics.INPUTS, len(topics.INPUTS)):
            records[topic] = self._fetch(topic, action.positions[topic], ends[topic])
            if world.chance(0.1):
                yield from self._hiccup()
        positions = {topic: action.positions[topic] + len(found) for topic, found in records.items()}
        return Intake(clock_ms, dict.fromkeys(topics.INPUTS, 0), ends, records, positions, self.stopping)

    def _idle(self, action: TakeIntake) -> Process:
        """Wait for news, but no longer than the idle period."""
        world = self.world
        until_ms = world.now_ms + IDLE_MS - 60
        while world.now_ms < until_ms and not self.stopping:
            if any(log.end > action.positions[topic] and not self._hangs(topic) for topic, log in world.inputs.items()):
                yield world.rng.randint(10, 250)
                return
            yield 60

    def _hangs(self, topic: str) -> bool:
        return self.world.now_ms < self._hung.get(topic, 0) and bool(self.world.faults.hang)

    def _fetch(self, topic: str, first: int, end: int) -> tuple[Record | Opened, ...]:
        """Up to the end, mostly; sometimes with signatures checked ahead, under the keys of now."""
        world, rng = self.world, self.world.rng
        if world.chance(world.faults.hang):
            self._hung[topic] = world.now_ms + rng.randint(300, 4_000)
        last = max(first, end)
        if self._hangs(topic):
            last = first
        elif world.chance(world.faults.short):
            last = rng.randint(first, max(first, world.inputs[topic].end))
        found = world.inputs[topic].records[first:last]
        if rng.random() < 0.3:
            return tuple(open_record(r, self.owner.keys_for(topic, r.key), SCOPE, crypto.verify) for r in found)
        return tuple(found)
