"""The simulator is worth something: each planted bug is noticed by the checker that is there for it, within a few seeds."""

import pytest

from tests.sim.mutants import MUTANTS, Plant
from tests.sim.seeds import play

SEEDS_MAX = 400


@pytest.mark.parametrize("plant", MUTANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seed brings the bug to light."""
    plant(monkeypatch)
    assert any(line.startswith(f"{MUTANTS[plant]}:") for seed in range(SEEDS_MAX) for line in play(seed).wrong)
