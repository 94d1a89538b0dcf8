"""Hypothesis profiles for the whole suite: `HYPOTHESIS_PROFILE=ci` looks longer and prints how to reproduce a failure."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

SLOW_INPUTS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)

settings.register_profile("dev", deadline=None, max_examples=60, suppress_health_check=SLOW_INPUTS)
settings.register_profile(
    "ci", deadline=None, max_examples=300, derandomize=False, print_blob=True, suppress_health_check=SLOW_INPUTS
)
settings.register_profile("long", deadline=None, max_examples=5_000, print_blob=True, suppress_health_check=SLOW_INPUTS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command run within a test sends logs where that test looks; the next one begins as if nothing had been set."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
