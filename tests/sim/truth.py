"""What honest senders said, by subject and moment: the naive side of the time checks. Knows nothing of any fold."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from b3iq_schemas import topics
from tests.sim.knobs import STALE_MS
from tests.sim.world import Fact, World

BY_NODE = (topics.REGISTRATIONS, topics.HOLDS, topics.BENCHMARKS, topics.ROUTE_HEALTH, topics.HEARTBEATS)


class Truth:
    """The last honest word on every subject, as of any moment or any cut."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._said: dict[tuple[str, str], list[Fact]] = {}
        for topic in BY_NODE:
            for fact in world.facts[topic]:
                profile = f"/{fact.event['profile_id']}" if topic == topics.BENCHMARKS else ""
                self._said.setdefault((topic, fact.event["node_id"] + profile), []).append(fact)
        self.settled = {node: self._settled(node) for topic, node in self._said if topic == topics.REGISTRATIONS}

    def _settled(self, node_id: str) -> int:
        """From when on what is said of a node cannot be refused for want of a policy, or of its key."""
        policies = self.world.facts[topics.POLICIES]
        ruled_ms = (policies[0].real_ms if policies else 2**60) + STALE_MS
        registered = [fact.real_ms for fact in self._said[topics.REGISTRATIONS, node_id] if fact.real_ms >= ruled_ms]
        return (registered[0] if registered else 2**60) + STALE_MS

    def below(self, topic: str, subject: str, cut: int) -> Fact | None:
        """The last honest word below a cut."""
        said = self._said.get((topic, subject), [])
        i = bisect_left(said, cut, key=lambda fact: fact.offset)
        return said[i - 1] if i else None

    def evidence(self, topic: str, subject: str, cut: int) -> Fact | None:
        """The newest honest word below a cut that could count: the last one, or a replay of one that was refused at first."""
        node_id, found = subject.partition("/")[0], self.below(topic, subject, cut)
        for fact in self.world.replays:
            early = fact.topic == topic and fact.event["node_id"] == node_id and fact.offset < cut
            if early and fact.event["sent_at_ms"] < self.settled[node_id] and (found is None or fact.offset > found.offset):
                found = fact
        return found

    def last(self, topic: str, subject: str, real_ms: int) -> Fact | None:
        """The last honest word up to a moment."""
        said = self._said.get((topic, subject), [])
        i = bisect_right(said, real_ms, key=lambda fact: fact.real_ms)
        return said[i - 1] if i else None

    def standing_no(self, key: str, real_ms: int) -> list[Fact]:
        """The honest words that stand at a moment and say no to a key."""
        node_id, _, profile_id = key.partition("/")
        found = []
        for (topic, per_profile), says_no in _NO.items():
            fact = self.last(topic, key if per_profile else node_id, real_ms)
            if fact is not None and fact.real_ms >= self.settled[node_id] and says_no(fact, profile_id):
                found.append(fact)
        blocked = [fact for fact in self.world.facts[topics.POLICIES] if fact.real_ms <= real_ms][-1:]
        found += [fact for fact in blocked if fact.event["tiers"]["network_beta"]["paid"] != "allowed"]
        return found


_NO: dict[tuple[str, bool], Callable[[Fact, str], bool]] = {
    (topics.HOLDS, False): lambda fact, profile_id: bool(fact.event["held"]),
    (topics.REGISTRATIONS, False): lambda fact, profile_id: not fact.event["active"],
    (topics.ROUTE_HEALTH, False): lambda fact, profile_id: fact.event["state"] != "healthy",
    (topics.BENCHMARKS, True): lambda fact, profile_id: fact.event["outcome"] != "passed",
    (topics.HEARTBEATS, False): lambda fact, profile_id: (
        fact.event["state"] != "online" or profile_id not in [profile["profile_id"] for profile in fact.event["profiles"]]
    ),
}
