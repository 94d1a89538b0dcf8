"""The constants of the simulated network, and which faults a seed has. Nothing here acts."""

from dataclasses import dataclass, fields
from random import Random

from tests import factory
from tests.factory import public

SKEW_MS = 200
"""σ: every honest clock runs this much ahead of real time at most, and never behind it."""
STALE_MS = 600
"""λ: how out of date the end offset may be that a deposed leader answers."""
BOUND_MS = 2_500
"""B: the oldest mark a router grants on."""
IDLE_MS = 1_000
GRACE_MS = 1_000
CHECKPOINT_EVERY_MS = 3_000
FAULTS_MS = (6_000, 15_000)
"""How long the faults of a seed last, at least and at most."""
CALM_MS = 1_500
"""Inputs go on this long after the faults ended."""
DRAIN_MS = 25_000
"""Within so long after the faults, the last owner is live and has folded everything (I4)."""

TIMES = {
    "heartbeat_ttl_ms": 4_000,
    "route_health_ttl_ms": 4_500,
    "registration_ttl_ms": 6_000,
    "benchmark_ttl_ms": 7_500,
    "sent_at_past_ms": 3_000,
    "sent_at_future_ms": 1_500,
    "equivocation_block_ms": 5_000,
    "refresh_period_ms": 2_500,
    "grace_ms": GRACE_MS,
    "hold_down": {"flips_max": 3, "window_ms": 12_000, "hold_ms": 2_000},
}
"""The policy's times, short enough for everything to expire within one seed."""

PROCESSORS = ("processor", "processor-2")
"""Signing keys that every worker holds; a policy revision lists one of them or both."""


def policy(revision: int, at_ms: int, processors: tuple[str, ...], **changes: object) -> dict[str, object]:
    """A policy revision of the simulated network as plain data."""
    event = factory.policy_event(**{**TIMES, "revision": revision, "sent_at_ms": at_ms, **changes})
    event["roles"]["processor"] = [public(name) for name in processors]
    return event


@dataclass
class Faults:
    """How likely each fault is, per opportunity; a seed has some of them, and none once it drains."""

    crash: float = 0.0
    """Before or after the effect of any action."""
    stall: float = 0.0
    """A pause before or after an effect, long enough to be deposed in."""
    lost_ack: float = 0.0
    """The append lands, perhaps late; the worker dies without knowing."""
    torn: float = 0.0
    """Only the first records of an append, or of a checkpoint, land."""
    split: float = 0.0
    """An append goes out as several batches."""
    duplicate: float = 0.0
    """A retry lands later, wholly or in part."""
    late_write: float = 0.0
    """A checkpoint write lands again, later."""
    rot: float = 0.0
    """A checkpoint record loses a byte, or all of them."""
    short: float = 0.0
    """A fetch returns less than there is."""
    hang: float = 0.0
    """A fetch of one topic returns nothing for seconds."""
    stale: float = 0.0
    """A deposed leader answers with an old end."""
    leader: float = 0.0
    """The leader of a topic changes, and with it the clock that stamps."""
    ahead: float = 0.0
    """A worker's clock jumps beyond σ."""
    behind: float = 0.0
    """A worker's clock jumps back."""
    rebalance: float = 0.0
    """The group hands the partition to another worker."""
    forge: float = 0.0
    """A change without a key's blessing is written into an attempt under way."""
    retention: float = 0.0
    """The chain's oldest records are deleted, up to the newest anchor."""
    vandal: float = 0.0
    """Junk, copies and unsigned marks on the chain."""
    hostile: float = 0.0
    """Junk, forgeries, replays and equivocations on the inputs."""

    @classmethod
    def draw(cls, rng: Random) -> "Faults":
        """The faults of a seed: each absent, rare or common."""
        chosen = {field.name: rng.choice((0.0, 1.0, 3.0)) * _RATES[field.name] for field in fields(cls)}
        chosen["ahead"] *= rng.random() < 0.4
        return cls(**chosen)


_RATES = {
    "crash": 0.003,
    "stall": 0.003,
    "lost_ack": 0.01,
    "torn": 0.01,
    "split": 0.3,
    "duplicate": 0.05,
    "late_write": 0.15,
    "rot": 0.05,
    "short": 0.1,
    "hang": 0.02,
    "stale": 0.03,
    "leader": 0.1,
    "ahead": 0.01,
    "behind": 0.01,
    "rebalance": 0.1,
    "forge": 0.02,
    "retention": 0.15,
    "vandal": 0.05,
    "hostile": 0.04,
}
