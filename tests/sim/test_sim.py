"""Seeds 0 to 999 (or `B3IQ_SIM_SEEDS` from `B3IQ_SIM_BASE` on): no invariant falls, and everything interesting happens."""

import os
from collections import Counter

import pytest

from tests.sim.coverage import WANTED
from tests.sim.seeds import play_all
from tests.sim.simulation import Simulation

BASE = int(os.environ.get("B3IQ_SIM_BASE", "0"))
SEEDS = int(os.environ.get("B3IQ_SIM_SEEDS", "1000"))
ENOUGH_SEEDS = 300
"""From so many seeds on, everything that is wanted happens."""


def test_no_invariant_falls_and_everything_interesting_happens() -> None:
    """Whatever the world does, the protocol's promises hold; and the world does a lot."""
    bad, seen = [], Counter[str]()
    for result in play_all(range(BASE, BASE + SEEDS)):
        seen += result.seen
        if result.wrong:
            bad.append(result.report)
    assert not bad, f"{len(bad)} of {SEEDS} seeds went wrong\n" + "\n".join(bad[:5])
    missing = [name for name in WANTED if not seen[name]]
    assert SEEDS < ENOUGH_SEEDS or not missing


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_is_the_same_every_time(seed: int) -> None:
    """A seed that fails can be replayed: every record of the chain is the same again."""
    first, again = (Simulation(seed).run().world.chain.records for _ in range(2))
    assert first == again
