"""Plays seeds and reports: one result per seed, many seeds over a few processes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from b3iq_streams.core.owner import PartitionOwner
from tests.sim.checkers import check
from tests.sim.coverage import seen
from tests.sim.reference import Reference
from tests.sim.simulation import Simulation

CHUNK = 10


class Result(NamedTuple):
    """What is wrong with a seed (nothing, one hopes), and what happened in it."""

    seed: int
    wrong: tuple[str, ...]
    seen: Counter[str]

    @property
    def report(self) -> str:
        """For a human: the findings, and how to see them happen."""
        lines = "\n".join(f"  {line}" for line in self.wrong[:10])
        return f"seed {self.seed}:\n{lines}\n  replay it: python -m tests.sim {self.seed} --trace"


def play(seed: int, make: Callable[..., PartitionOwner] = PartitionOwner) -> Result:
    """Simulate a seed and check it."""
    history = Simulation(seed, make).run()
    reference = Reference(history)
    wrong = tuple(check(history, reference))
    return Result(seed, wrong, Counter() if wrong else seen(history, reference))


def play_all(seeds: Iterable[int], workers: int = 2) -> Iterator[Result]:
    """Simulate many seeds, in order."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(play, seeds, chunksize=CHUNK)
