"""What the control plane last said of a node, as the processor would admit it: which keys it may sign with.

Uses admission itself, under the policy that is in force on the node's partition; has no opinion of its own.
"""

from typing import NamedTuple

from b3iq_schemas import envelope
from b3iq_schemas.envelope import keyid
from b3iq_schemas.events import Registration
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import REGISTRATIONS
from b3iq_streams.core.admit import Fact, Scope, admit, keys_for, open_record
from b3iq_streams.core.records import Record
from b3iq_streams.core.rules import Rules
from b3iq_streams.kafka import Source, source
from b3iq_streams.node.lookback import look_back, place_of
from b3iq_streams.policy_log import read_log
from b3iq_streams.settings import KafkaSettings


class Known(NamedTuple):
    """The newest registration, and when it was logged."""

    registration: Registration
    logged_at_ms: int

    @property
    def keys(self) -> dict[str, bytes]:
        """The node's listed public keys by key id."""
        listed = (bytes.fromhex(key.public_key) for key in self.registration.keys)
        return {keyid(public): public for public in listed}


async def last_registration(kafka: KafkaSettings, trust: RootTrust, node_id: str, stamped: bool) -> Known | None:
    """The newest registration of a node that counts; None if there is none, or no policy to judge it by."""
    policies = await read_log(trust, kafka, stamped)
    async with source(kafka) as reader:
        place = await place_of(reader, REGISTRATIONS, node_id)
        held = policies.get(place.partition)
        rules = held.rules if held else None
        return await _newest(reader, rules, Scope(trust, place.partition, len(policies), stamped), node_id) if rules else None


async def _newest(reader: Source, rules: Rules, scope: Scope, node_id: str) -> Known | None:
    def read(record: Record) -> Known | None:
        opened = open_record(record, keys_for(record.topic, rules, None, scope), scope, envelope.verify)
        fact = admit(opened, rules, None, scope, envelope.verify)
        return Known(fact.event, record.timestamp_ms) if isinstance(fact, Fact) else None

    found = await look_back(reader, await place_of(reader, REGISTRATIONS, node_id), node_id, read)
    return max(found, key=lambda known: known.registration.seq, default=None)
