"""A heartbeat from what the inventory claims and the probe found. Pure; every published field is named here, one by one."""

from collections.abc import Mapping
from importlib.metadata import version

from b3iq_schemas.events import Heartbeat, Profile
from b3iq_streams.node.inventory import Inventory, Offer
from b3iq_streams.node.probe import Observed
from b3iq_streams.node.sequence import Place

AGENT_VERSION = version("b3iq-streams")[:32]


def compose(inventory: Inventory, found: Mapping[str, Observed], place: Place, state: str, now_ms: int) -> Heartbeat:
    """The heartbeat at a place in the node's sequence."""
    return Heartbeat(
        network=inventory.network,
        node_id=inventory.node_id,
        boot=place.boot,
        seq=place.seq,
        sent_at_ms=now_ms,
        state=state,
        agent_version=AGENT_VERSION,
        profiles=tuple(_profile(inventory, offer, found[offer.profile_id]) for offer in inventory.profiles),
    )


def _profile(inventory: Inventory, offer: Offer, seen: Observed) -> Profile:
    return Profile(
        profile_id=offer.profile_id,
        model_id=offer.model_id,
        status=seen.status,
        runtime_kind=inventory.runtimes[offer.runtime].kind,
        runtime_reachable=seen.runtime_reachable,
        route_tier=offer.route_tier,
        network_eligible=offer.network_eligible,
        benchmark_verified=offer.benchmark_verified,
        paid_route_eligible=offer.paid_route_eligible,
        queue_health=seen.queue_health,
        price_wei_per_mtok=offer.price_wei_per_mtok,
        context_tokens_max=seen.context_tokens_max,
    )
