"""The topic of policy revisions on a broker: read what is in force, publish to every partition."""

from b3iq_schemas.policy import RootTrust
from b3iq_schemas.topics import POLICIES
from b3iq_streams import kafka, policies
from b3iq_streams.clock import now_ms
from b3iq_streams.errors import UserError
from b3iq_streams.policies import PartitionPolicies
from b3iq_streams.settings import KafkaSettings
from b3iq_streams.world import World, demo_policy, sign_policy


async def read_log(trust: RootTrust, settings: KafkaSettings, stamped: bool = True) -> dict[int, PartitionPolicies]:
    """What each partition's revisions come to; `stamped` False: do not insist on the broker's timestamps."""
    async with kafka.source(settings) as source:
        partitions = [place.partition for place in await source.partitions(POLICIES)]
        if not partitions:
            raise UserError(f"topic {POLICIES} {kafka.UNSEEN}")
        return policies.fold(await source.read(POLICIES), trust, partitions, stamped)


async def publish_revision(
    signed: bytes, trust: RootTrust, settings: KafkaSettings, stamped: bool = True
) -> tuple[int, list[int]]:
    """Append a revision to each partition that lacks it, one delivery after the other; returns what was written where."""
    policy, lacking = policies.plan(signed, trust, await read_log(trust, settings, stamped))
    async with kafka.publisher(settings) as publisher:
        for partition in lacking:
            await (await publisher.send(POLICIES, str(policy.revision).encode(), signed, partition))
    return policy.revision, lacking


async def ensure_demo_policy(world: World, settings: KafkaSettings, stamped: bool = True) -> str:
    """Publish the demo's policy unless this world has a revision in force on every partition; says what was done."""
    revisions = {held.revision for held in (await read_log(world.trust, settings, stamped)).values()}
    if len(revisions) == 1 and (revision := max(revisions)):
        return f"policy revision {revision} is in force"
    signed = sign_policy(world, demo_policy(world, now_ms(), max(revisions) + 1))
    revision, partitions = await publish_revision(signed, world.trust, settings, stamped)
    return f"policy revision {revision} published on {len(partitions)} partitions"
