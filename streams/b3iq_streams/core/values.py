"""The state of a partition as frozen values: what is known of each node, and what was last decided about it.

Named tuples, because millions are made and compared. Nothing here judges, reads time or moves.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Proof(NamedTuple):
    """Where a fact stands in its topic, the SHA-256 of its payload, the key that signed it, and the broker's time."""

    offset: int
    sha256: str
    keyid: str
    logged_at_ms: int


class Registered(NamedTuple):
    """The last admitted registration; `keys` = the node's public keys by key id."""

    proof: Proof
    seq: int
    enrolled: bool
    registered: bool
    active: bool
    stake_wei: int
    keys: Mapping[str, bytes]


class Held(NamedTuple):
    """The last word of the operators on the node."""

    proof: Proof
    seq: int
    held: bool
    reason: str
    actor: str


class Benchmarked(NamedTuple):
    """The last observed benchmark of one profile."""

    proof: Proof
    seq: int
    model_id: str
    outcome: str
    throughput_mtok_per_s: int


class Routed(NamedTuple):
    """The broker's last word on the node's public route."""

    proof: Proof
    seq: int
    state: str
    public_inference_allowed: bool


class Claims(NamedTuple):
    """What the host says of one profile: the contract's `Profile`, field by field."""

    profile_id: str
    model_id: str
    status: str
    runtime_kind: str
    runtime_reachable: bool
    route_tier: str
    network_eligible: bool
    benchmark_verified: bool
    paid_route_eligible: bool
    queue_health: str
    price_wei_per_mtok: str
    context_tokens_max: int


class Beat(NamedTuple):
    """The last admitted heartbeat."""

    proof: Proof
    boot: int
    seq: int
    state: str
    listing: str
    """SHA-256 of the list of profiles as it was signed: the same list is recognised without being read again."""
    profiles: tuple[Claims, ...]


class Published(NamedTuple):
    """The last decision on one profile as published: `body` is the JSON of its content, up to `valid_until_ms`.

    A change is any difference in the content; revision, moment and evidence are those under which it was decided.

    `flips_ms` = recent losses of eligibility, `held_down_until_ms` = end of the hold-down they caused (0: none).
    """

    eligible: bool
    body: bytes
    policy_revision: int
    decided_at_ms: int
    flips_ms: tuple[int, ...]
    held_down_until_ms: int


class NodeState(NamedTuple):
    """Everything known and decided about one node."""

    registration: Registered | None = None
    hold: Held | None = None
    benchmarks: Mapping[str, Benchmarked] = {}
    route: Routed | None = None
    beat: Beat | None = None
    equivocated_until_ms: int = 0
    equivocated_at_ms: int = 0
    published: Mapping[str, Published] = {}


EMPTY_NODE = NodeState()
