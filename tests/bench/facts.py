"""Facts about made-up nodes, signed with a world's keys: what the benches append. Reads no clock."""

from collections.abc import Iterator
from typing import Any

from b3iq_schemas import topics
from b3iq_streams.emit import Emission, from_event
from b3iq_streams.keys import possession
from b3iq_streams.world import World
from tests.factory import benchmark_event, heartbeat_event, profile, registration_event, route_event


class Facts:
    """Everything about nodes with `profiles` profiles each; a `model` of a node's own lets one ask for it alone."""

    def __init__(self, world: World, profiles: int) -> None:
        self._world, self._profiles = world, profiles

    def introduction(self, node_id: str, at_ms: int, model: str = "") -> Iterator[Emission]:
        """What has to be known of a node before its heartbeats count."""
        mine, roles = {"network": self._world.network}, self._world.roles
        entry = possession(self._world.node_key(node_id), self._world.network, node_id)
        yield from_event(topics.REGISTRATIONS, registration_event(node_id, at_ms, keys=[entry], **mine), roles["control-plane"])
        for number in range(self._profiles):
            changes = mine | {"profile_id": f"p{number}"} | ({"model_id": model} if model else {})
            yield from_event(topics.BENCHMARKS, benchmark_event(node_id, at_ms, **changes), roles["observer"])
        yield from_event(topics.ROUTE_HEALTH, route_event(node_id, at_ms, **mine), roles["broker"])

    def heartbeat(self, node_id: str, seq: int, at_ms: int, model: str = "", **changes: Any) -> Emission:
        """A heartbeat of an online node."""
        own = {"model_id": model} if model else {}
        profiles = [profile(f"p{number}", **own) for number in range(self._profiles)]
        event = heartbeat_event(node_id, seq, at_ms, network=self._world.network, profiles=profiles, **changes)
        return from_event(topics.HEARTBEATS, event, self._world.node_key(node_id))


def node_name(number: int) -> str:
    """The id of a node."""
    return f"node-{number:06d}"
