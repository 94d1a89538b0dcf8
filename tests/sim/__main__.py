"""`python -m tests.sim SEED [--seeds N] [--trace]`: replay a seed, or look for a bad one."""

import argparse
import sys
from collections import Counter

from tests.sim.checkers import check
from tests.sim.coverage import WANTED
from tests.sim.reference import Reference
from tests.sim.seeds import play_all
from tests.sim.simulation import Simulation


def main() -> int:
    """0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", type=int, help="the (first) seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from that one on")
    parser.add_argument("--trace", action="store_true", help="tell what happens, in virtual milliseconds")
    options = parser.parse_args()
    if options.seeds > 1:
        return _many(range(options.seed, options.seed + options.seeds))
    simulation = Simulation(options.seed, trace=options.trace)
    history = simulation.run()
    print(*(simulation.world.trace or []), sep="\n")
    wrong = check(history, Reference(history))
    print(*(wrong or [f"seed {options.seed}: nothing wrong"]), sep="\n")
    return bool(wrong)


def _many(seeds: range) -> int:
    """Play seeds, print the bad ones and what happened in all."""
    bad, seen = 0, Counter[str]()
    for result in play_all(seeds):
        seen += result.seen
        if result.wrong:
            bad += 1
            print(result.report, flush=True)
    print(*(f"{name:36}{seen[name]:>8}" for name in sorted({*WANTED, *seen})), sep="\n")
    print(f"{bad} of {len(seeds)} seeds went wrong")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
