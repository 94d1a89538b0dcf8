"""Collects, from public topics alone, what the network knows of this node: registration, heartbeat, refusals, decisions."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.eligibility import Decision, EligibilityChange
from b3iq_schemas.events import Heartbeat
from b3iq_schemas.ids import TimeMs, Token
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import DEAD_LETTERS, ELIGIBILITY_CHANGES, HEARTBEATS
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import KafkaRefused, Source, source
from b3iq_streams.node.inventory import Inventory
from b3iq_streams.node.lookback import look_back, own_beat, place_of
from b3iq_streams.node.registered import Known, last_registration
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.partition import Step, ViewSettings
from b3iq_streams.settings import KafkaSettings

LOOKBACK_RECORDS_MAX = 20_000
REFUSED_WITHIN_MS = 600_000


class Said(NamedTuple):
    """A heartbeat that a listed key signed, and when it was logged."""

    beat: Heartbeat
    logged_at_ms: int


class Letter(BaseModel):
    """What is told of a heartbeat of this node's key that was refused; a newer processor may say more in it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    topic: str
    code: Token
    logged_at_ms: TimeMs


class Findings(NamedTuple):
    """Everything there is to explain. `blind` = why the partition's view cannot be acted on, None if it can."""

    at_ms: int
    node_id: str
    network: str
    partition: int
    own_keyid: str | None
    known: Known | None
    said: Said | None
    refused: tuple[Letter, ...] | None
    """None: not known, since this user may not read dead letters."""
    blind: RouteRefusal | None
    usable_after_ms: int
    """A grant counts only if it is valid beyond this."""
    decisions: Mapping[str, Decision | None]
    """By profile id, in the order of the inventory; None: the processor says nothing of it."""

    @property
    def listed(self) -> bool:
        """Whether the key that was asked about, if any, is registered."""
        return self.own_keyid is None or (self.known is not None and self.own_keyid in self.known.keys)

    @property
    def eligible(self) -> bool:
        """Whether a router would grant every profile now."""
        return all(self.grants(decision) for decision in self.decisions.values())

    def grants(self, decision: Decision | None) -> bool:
        """Whether a router would grant on this decision now."""
        fresh = (
            decision is not None and decision.eligible and not decision.failing and decision.valid_until_ms > self.usable_after_ms
        )
        return self.blind is None and fresh


async def collect(
    inventory: Inventory, own_keyid: str | None, kafka: KafkaSettings, trust: RootTrust, view: ViewSettings, timeout_s: float
) -> Findings:
    """Read the topics; raises UserError if that cannot be done."""
    node_id = inventory.node_id
    known = await last_registration(kafka, trust, node_id, view.stamped)
    async with source(kafka) as reader:
        place = await place_of(reader, HEARTBEATS, node_id)
        keys = known.keys if known else {}

        def say(record: Record) -> Said | None:
            beat = own_beat(record, inventory.network, keys)
            return Said(beat, record.timestamp_ms) if beat else None

        said = await look_back(reader, place, node_id, say, LOOKBACK_RECORDS_MAX)
        refused = await _letters(reader, place.partition, node_id)
    decisions, blind = await _decisions(inventory, place.partition, kafka, trust, view, timeout_s)
    at_ms = now_ms()
    return Findings(
        at_ms=at_ms,
        node_id=node_id,
        network=inventory.network,
        partition=place.partition,
        own_keyid=own_keyid,
        known=known,
        said=max(said, key=lambda item: (item.beat.boot, item.beat.seq), default=None),
        refused=None if refused is None else tuple(it for it in refused if it.logged_at_ms >= at_ms - REFUSED_WITHIN_MS),
        blind=blind,
        usable_after_ms=at_ms + trust.skew_ms,
        decisions=decisions,
    )


async def _letters(reader: Source, partition: int, node_id: str) -> list[Letter] | None:
    """The node's refused heartbeats; None where a host's user has no access to what others' refused records hold."""
    try:
        if not (places := await reader.partitions(DEAD_LETTERS)):
            return None  # Kafka says the same of a topic that may not be seen as of one that is not there
        return await look_back(reader, places[partition % len(places)], node_id, refusal_in, LOOKBACK_RECORDS_MAX)
    except KafkaRefused as error:
        if not error.forbidden:
            raise
        return None


def refusal_in(record: Record) -> Letter | None:
    """The refusal of a heartbeat in a dead letter; None for anything else: without access rules anybody may write there."""
    try:
        letter = Letter.model_validate_json(record.value or b"")
    except ValidationError:
        return None
    return letter if letter.topic == HEARTBEATS else None


async def _decisions(
    inventory: Inventory, partition: int, kafka: KafkaSettings, trust: RootTrust, view: ViewSettings, timeout_s: float
) -> tuple[dict[str, Decision | None], RouteRefusal | None]:
    """The last decision on each profile, as a router's view has accepted it, and why that cannot be acted on."""
    found: dict[str, Decision] = {}

    def absorb(step: Step) -> None:
        if step.partition != partition:
            return
        for value in step.accepted.changes:
            try:
                decision = EligibilityChange.model_validate_json(value).decision
            except ValidationError:
                continue
            if decision.node_id == inventory.node_id:
                found[decision.profile_id] = decision

    async with RouterClient(kafka, trust, view, absorb=absorb) as client:
        await client.synced(timeout_s)
        states = client.view.states(now_ms(), monotonic_ms())
        if partition >= len(states):
            raise UserError(f"{HEARTBEATS} has more partitions than {ELIGIBILITY_CHANGES}: see `b3iq-streams topics check`")
        blind = states[partition]
        held = client.view.entries(partition)
        return {
            offer.profile_id: found.get(offer.profile_id) if f"{inventory.node_id}/{offer.profile_id}" in held else None
            for offer in inventory.profiles
        }, blind
