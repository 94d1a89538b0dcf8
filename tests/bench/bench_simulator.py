"""How many simulated histories are played and checked a second, on one core."""

import time
from collections.abc import Iterator

from tests.bench.table import Options, Row
from tests.sim.seeds import play

SEEDS, SEEDS_QUICK = 200, 30


def run(options: Options) -> Iterator[Row]:
    """Whole seeds, checks included."""
    seeds = SEEDS_QUICK if options.quick else SEEDS
    began = time.process_time()
    wrong = sum(bool(play(seed).wrong) for seed in range(seeds))
    rate = seeds / (time.process_time() - began)
    yield Row("simulator, seeds played and checked", "", f"{rate:.1f}/s per core", f"{wrong} of {seeds} went wrong")
