"""What a worker finds out before it joins its group: joining takes partitions from others, and they close while that goes on.

Everything here is looked at once more, and judged, by the owners of partitions; this only spares healthy workers the guest.
"""

from collections.abc import Mapping, Sequence

from nacl.signing import SigningKey

from b3iq_schemas.envelope import verify
from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import ELIGIBILITY_CHANGES, HEARTBEATS
from b3iq_streams import topics_admin
from b3iq_streams.core.chain import read_mark
from b3iq_streams.core.rules import keys_by_id
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Source, admin, source
from b3iq_streams.keys import public_hex
from b3iq_streams.listening import listen
from b3iq_streams.policy_log import read_log
from b3iq_streams.settings import KafkaSettings

MARKS_WITHIN_RECORDS = 200
"""How far back in a partition of the chain a mark of a newer generation is looked for."""


async def check_cluster(
    kafka: KafkaSettings, trust: RootTrust, signers: Sequence[SigningKey], relaxed: bool, web: tuple[str, int] | None
) -> int:
    """The number of partitions; raises UserError for what would end the worker as soon as it has joined."""
    if web is not None:
        listen(*web).close()
    async with admin(kafka) as client:
        await topics_admin.require(client, relaxed=relaxed)
        partitions = (await client.layouts((HEARTBEATS,), ask_by_name=relaxed))[HEARTBEATS].partitions
    listed = await _listed(kafka, trust, relaxed)
    if listed and not set(map(public_hex, signers)) & set(listed):
        raise UserError("processor_key_not_listed: the policy in force lists none of the keys given with --key")
    async with source(kafka) as reader:
        await _check_generation(reader, trust, keys_by_id((*listed, *trust.genesis_processors)))
    return partitions


async def _listed(kafka: KafkaSettings, trust: RootTrust, relaxed: bool) -> tuple[str, ...]:
    """The processor keys in force on any partition: a revision may be on its way. None while there is no policy."""
    held = (await read_log(trust, kafka, stamped=not relaxed)).values()
    return tuple({key for known in held if known.rules for key in known.rules.policy.roles.processor})


async def _check_generation(reader: Source, trust: RootTrust, keys: Mapping[str, bytes]) -> None:
    """A worker with the trust file of an earlier generation would hold partitions and write what nobody reads any more."""
    places = await reader.partitions(ELIGIBILITY_CHANGES)
    starts, ends = await reader.start_offsets(places), await reader.end_offsets(places)
    for place in places:
        first = max(starts[place], ends[place] - MARKS_WITHIN_RECORDS)
        async for record in reader.stretch(place, first, ends[place]):
            if (found := read_mark(record.value or b"")) is None:
                continue
            mark, sealed = found
            if mark.network != trust.network or mark.generation <= trust.generation:
                continue  # all of them as a rule, so that no signature has to be checked
            signature = sealed.signatures[0]
            if signature.keyid in keys and verify(keys[signature.keyid], sealed.signed_bytes, signature.sig):
                raise UserError(
                    f"{place.topic} is of generation {mark.generation}, the trust file of generation {trust.generation}: "
                    "use the one that `topics regenerate` wrote"
                )
