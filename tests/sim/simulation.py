"""One seed from beginning to end: faults for a while, calm, then a drain in which the last owner must catch up."""

from collections.abc import Callable
from random import Random

from b3iq_schemas import topics
from b3iq_streams.core.owner import PartitionOwner, Phase
from tests.sim import crypto, vandals
from tests.sim.fleet import Fleet
from tests.sim.history import History
from tests.sim.knobs import CALM_MS, DRAIN_MS, FAULTS_MS, Faults
from tests.sim.loop import Process
from tests.sim.router import Router
from tests.sim.worker import Worker
from tests.sim.world import World

ZOMBIES_MAX = 3


class Simulation:
    """The world of one seed, its workers and its supervisor."""

    def __init__(self, seed: int, make: Callable[..., PartitionOwner] = PartitionOwner, trace: bool = False) -> None:
        self.world = World(Random(seed))
        self.world.trace = [] if trace else None
        self.history = History(self.world)
        self.fleet = Fleet(self.world)
        self.workers: list[Worker] = []
        self._make = make

    def run(self) -> History:
        """Play the seed."""
        crypto.verify.cache_clear()
        world, loop = self.world, self.world.loop
        self.fleet.start()
        for number in range(2):
            loop.spawn(Router(world, self.history, number).run())
        for process in (self.supervise(), self.rebalance(), self.elect(), self.retain(), vandals.rampage(world)):
            loop.spawn(process)
        loop.run(world.now_ms + world.rng.randint(*FAULTS_MS))
        world.faults = Faults()
        world.say("faults end")
        for worker in self.workers:
            worker.ahead_ms = world.clock()
        loop.run(world.now_ms + CALM_MS)
        self.fleet.over = True
        world.say("inputs end")
        self.history.caught_up = loop.run(world.now_ms + DRAIN_MS, self.caught_up)
        return self.history

    @property
    def owner(self) -> Worker:
        """The worker the group means."""
        return self.workers[-1]

    def start(self) -> None:
        """Hand the partition to a new worker, with the checkpoint as it is now."""
        worker = Worker(self.world, self.history, len(self.workers), self._make)
        self.world.say(f"worker {worker.number} starts")
        self.workers.append(worker)
        self.world.loop.spawn(worker.run(), self.world.rng.randint(0, 100))

    def supervise(self) -> Process:
        """Start the first worker, and another whenever the owner has ended."""
        self.start()
        while True:
            yield self.world.rng.randint(50, 400)
            if not self.owner.alive:
                self.start()

    def rebalance(self) -> Process:
        """Hand the partition on; politely or not. Deposed workers go on until they find out."""
        world, rng = self.world, self.world.rng
        while True:
            yield rng.randint(200, 1_200)
            zombies = sum(worker.alive for worker in self.workers) - 1
            if zombies >= ZOMBIES_MAX or not world.chance(world.faults.rebalance):
                continue
            if rng.random() < 0.4:
                self.owner.intakes.stopping = True
                yield rng.randint(10, 1_500)
            world.say("rebalance")
            self.start()

    def elect(self) -> Process:
        """Leaders change, and with them the clocks that stamp."""
        world = self.world
        while True:
            yield world.rng.randint(200, 1_000)
            if world.chance(world.faults.leader):
                log = world.rng.choice([*world.inputs.values(), world.chain])
                log.clock_ahead_ms = world.clock()

    def retain(self) -> Process:
        """The chain's oldest records go, but never what the newest anchor still needs."""
        world = self.world
        while True:
            yield world.rng.randint(500, 3_000)
            if world.chance(world.faults.retention) and self.history.confirmations:
                newest = max(self.history.confirmations, key=lambda seen: seen.head.epoch)
                world.chain.start = max(world.chain.start, newest.head.anchor.offset)

    def caught_up(self) -> bool:
        """Goal of the drain: the last owner is live, and nothing is left to fold."""
        worker = self.owner
        if not worker.alive or worker.owner.phase is not Phase.LIVE:
            return False
        cut = worker.owner.memory.head.cut
        return all(log.end == cut.get(topic, 0) for topic, log in self.world.inputs.items() if topic in topics.INPUTS)
