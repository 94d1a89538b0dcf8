"""Every answer of the catalog, field by field: what is not listed here cannot be answered. Times are Unix milliseconds.

Frozen, closed to unknown fields; words and texts pass through `wording.public_text`. Composes nothing.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from b3iq_schemas.ids import Sha256Hex, TimeMs, Wei
from b3iq_streams.catalog.wording import public_text

Number = Annotated[int, Field(ge=0)]
Word = Annotated[str, AfterValidator(public_text)]
Passed = Literal["pass", "fail", "unknown"]
GateName = Literal["node", "route", "protocol", "runtime", "policy"]
What = Literal["opened", "closed", "changed"]


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def body(self) -> bytes:
        """The bytes of the answer: members in the order of the fields."""
        return self.model_dump_json(by_alias=True).encode()


class Claiming(Answer):
    """What every answer about nodes says of itself: whether claims are made, why not, and as of when."""

    ready: bool
    code: str | None
    """Why no claims are made; None if they are."""
    resolved_at_ms: TimeMs | None
    """Everything logged before this is in the answer; None before the first epoch."""


class Partition(Answer):
    """One partition of the view: the accepted epoch it stands at."""

    partition: Number
    epoch: Number
    digest: Sha256Hex
    resolved_at_ms: TimeMs | None
    code: str | None


class StatusEvent(Answer):
    """How things stand. `eligible` is None while nothing can be claimed."""

    network: str
    ready: bool
    code: str | None
    now_ms: TimeMs
    resolved_at_ms: TimeMs | None
    bound_ms: Number
    policy_revision: Number | None
    profiles: Number
    eligible: Number | None


class Status(StatusEvent):
    """The same with every partition."""

    partitions: tuple[Partition, ...]


class Group(Answer):
    """The profiles of one model on one tier. `spark`: how many were eligible, at even steps, oldest first."""

    model_id: str
    route_tier: Word
    total: Number
    eligible: Number | None
    spark: Annotated[tuple[Number, ...], Field(max_length=60)]


class Blocked(Answer):
    """How many profiles a gate blocks."""

    blocked: Number


class BlockedGates(Answer):
    """The same for each gate."""

    node: Blocked
    route: Blocked
    protocol: Blocked
    runtime: Blocked
    policy: Blocked


class BlockerCount(Answer):
    """How many profiles a code blocks."""

    code: str
    gate: GateName
    profiles: Number


class Overview(Claiming):
    """The network at a glance."""

    groups: tuple[Group, ...]
    spark_step_ms: Number
    gates: BlockedGates
    blockers: tuple[BlockerCount, ...]


class Gates(Answer):
    """The state of each gate."""

    node: Passed
    route: Passed
    protocol: Passed
    runtime: Passed
    policy: Passed


class Blocker(Answer):
    """Why a profile may not serve paid calls, and what its operator does next."""

    code: str
    gate: GateName
    since_ms: TimeMs
    observed: Word
    required: Word
    next_action: str
    condition: str


class Evidence(Answer):
    """The record behind a check."""

    topic: str
    partition: Number
    offset: Number
    sha256: Sha256Hex
    keyid: Sha256Hex


class Profile(Answer):
    """One (node, profile) as last decided. `eligible` is None while nothing can be claimed."""

    node_id: str
    profile_id: str
    model_id: str
    route_tier: Word
    runtime_kind: Word
    eligible: bool | None
    gates: Gates
    blockers: tuple[Blocker, ...]
    throughput_mtok_per_s: Number
    benchmarked_at_ms: TimeMs
    valid_until_ms: TimeMs
    decided_at_ms: TimeMs
    policy_revision: Number
    evidence: tuple[Evidence, ...]


class Profiles(Claiming):
    """A page of profiles, by node and profile id; `total` of all that match, `next` the cursor of the next page."""

    items: tuple[Profile, ...]
    next: str | None
    total: Number


class Node(Answer):
    """One node: its profiles and every code that blocks one of them."""

    node_id: str
    profiles: Number
    eligible: Number | None
    codes: tuple[str, ...]


class Nodes(Claiming):
    """A page of nodes, by id."""

    items: tuple[Node, ...]
    next: str | None
    total: Number


class LeafRow(Answer):
    """One reason for "no" that there can be."""

    code: str
    gate: GateName
    group: str
    condition: str
    next_action: str


class Past(Answer):
    """A change of the past: what blocked the profile from then on."""

    at_ms: TimeMs
    profile_id: str
    what: What
    codes: tuple[str, ...]
    epoch: Number


class Readiness(Claiming):
    """Whether a node is ready for paid routes; of an unknown one nothing is known, so it is not."""

    node_id: str
    known: bool
    profiles: tuple[Profile, ...]
    leaves: tuple[LeafRow, ...]
    history: Annotated[tuple[Past, ...], Field(max_length=100)]


class Tier(Answer):
    """Paid dispatch on a tier."""

    paid: Literal["allowed", "blocked", "future"]
    runtimes: tuple[str, ...]


class HoldDownRule(Answer):
    """When repeated losses of eligibility hold a profile back."""

    flips_max: Number
    window_ms: Number
    hold_ms: Number


Setting = str | int | tuple[str, ...] | None


class Changed(Answer):
    """One field that a revision changed; None where there was, or is, none."""

    field: str
    from_: Annotated[Setting, Field(alias="from")]
    to: Setting


class Revision(Answer):
    """What a revision changed of the one before it."""

    revision: Number
    published_at_ms: TimeMs
    changed: tuple[Changed, ...]


class PolicyInForce(Answer):
    """The newest policy revision known; every field None or empty before there is one."""

    revision: Number | None
    published_at_ms: TimeMs | None
    tiers: dict[str, Tier]
    ttls: dict[str, Number]
    hold_down: HoldDownRule | None
    stake_wei_min: Wei | None
    queue_states_passing: tuple[str, ...]
    grace_ms: Number | None
    refresh_period_ms: Number | None
    changes: tuple[Revision, ...]


class ChangeEvent(Answer):
    """A change as it happens. `eligible` is None where nothing could be claimed at that moment."""

    at_ms: TimeMs
    partition: Number
    epoch: Number
    node_id: str
    profile_id: str
    what: What
    codes: tuple[str, ...]
    eligible: bool | None
    gates: Gates
    model_id: str
    route_tier: Word
