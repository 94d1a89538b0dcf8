"""What happened in one seed, as the checkers read it. Written by the simulation, judged by nobody here."""

from dataclasses import dataclass, field
from typing import NamedTuple

from b3iq_streams.core.actions import Notice
from b3iq_streams.core.chain import Head
from b3iq_streams.core.owner import Phase
from tests.sim.world import World


class Confirmation(NamedTuple):
    """An owner saw an epoch accepted, and now holds a state with this digest."""

    worker: int
    own: bool
    phase: Phase
    deposed: bool
    head: Head
    state_sha256: str


class Ending(NamedTuple):
    """How a worker's tenure ended."""

    worker: int
    how: str
    live: bool
    deposed: bool


class Grant(NamedTuple):
    """A router said yes to a key at a real moment, standing on the epoch with this digest."""

    real_ms: int
    router: int
    key: str
    digest: str


class Sight(NamedTuple):
    """What a router held after reading up to an offset: its head and the keys it holds as eligible."""

    position: int
    digest: str
    eligible: dict[str, int]


@dataclass
class History:
    """Everything the checkers may look at."""

    world: World
    confirmations: list[Confirmation] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    notices: list[tuple[int, Notice]] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    stored_heads: list[bytes] = field(default_factory=list)
    honest_until_ms: int = 2**60
    """From here on some worker's clock may have been ahead by more than σ."""
    caught_up: bool = False
