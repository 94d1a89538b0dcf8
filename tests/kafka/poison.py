"""Every kind of record that a worker must refuse, as anyone with write access could append it; each with its code.

Three refusals cannot be provoked on a broker with the right settings: the broker itself refuses what is too large, stamps
every record, and no input is known on which a check breaks.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from nacl.signing import SigningKey

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import Refusal
from b3iq_schemas.envelope import sign
from b3iq_schemas.partitioner import partition_for
from b3iq_schemas.topics import HEARTBEATS, HOLDS, POLICIES, REGISTRATIONS, TOPICS
from b3iq_streams.keys import possession
from b3iq_streams.world import World, demo_policy

UNREACHABLE = {Refusal.RECORD_TOO_LARGE, Refusal.TIMESTAMP_TYPE_WRONG, Refusal.ADMISSION_ERROR}
VICTIM = "victim"


class Poison(NamedTuple):
    """One bad record; `partition` None: where its key belongs."""

    code: Refusal
    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None


class Mixer:
    """Makes the good records of one node and every bad one about it."""

    def __init__(self, world: World, partitions: int, now_ms: int) -> None:
        self.world, self.partitions, self.now_ms = world, partitions, now_ms
        self.node = world.node_key(VICTIM)
        self.home = partition_for(VICTIM.encode(), partitions)

    def good(self) -> Iterator[tuple[str, bytes, bytes]]:
        """The node's registration and first heartbeat, in the order in which they must be folded."""
        yield REGISTRATIONS, VICTIM.encode(), self.signed(REGISTRATIONS, self.registration())
        yield HEARTBEATS, VICTIM.encode(), self.signed(HEARTBEATS, self.beat())

    def fact(self, seq: int, **more: Any) -> dict[str, Any]:
        """What every fact has."""
        return {"network": self.world.network, "node_id": VICTIM, "seq": seq, "sent_at_ms": self.now_ms} | more

    def registration(self, seq: int = 1, **changes: Any) -> dict[str, Any]:
        """A sound one."""
        keys = [possession(self.node, self.world.network, VICTIM)]
        sound = {"enrolled": True, "registered": True, "active": True, "stake_wei": "5000", "chain_height": 1, "keys": keys}
        return self.fact(seq) | sound | changes

    def beat(self, seq: int = 10, **changes: Any) -> dict[str, Any]:
        """A sound one."""
        return self.fact(seq) | {"boot": 7, "state": "online", "agent_version": "1.0.0", "profiles": []} | changes

    def hold(self, seq: int = 1, **changes: Any) -> dict[str, Any]:
        """A sound one."""
        return self.fact(seq) | {"held": True, "reason": "maintenance", "actor": "operator@test"} | changes

    def signed(self, topic: str, event: Mapping[str, Any] | bytes, *keys: SigningKey) -> bytes:
        """An envelope for the topic, by its own signer unless others are given."""
        owners = {HEARTBEATS: self.node, REGISTRATIONS: self.world.roles["control-plane"], HOLDS: self.world.roles["operator"]}
        payload = event if isinstance(event, bytes) else canonical(dict(event))
        return sign(TOPICS[topic].payload_type or "", payload, list(keys) or [owners[topic]])

    def all(self) -> list[Poison]:
        """Everything, each kind at least once."""
        return [*self.envelopes(), *self.signatures(), *self.payloads(), *self.keys(), *self.order(), *self.monsters()]

    def at_home(self, code: Refusal, topic: str, event: Mapping[str, Any] | bytes, *signers: SigningKey) -> Poison:
        """A signed record with the victim's key."""
        return Poison(code, topic, VICTIM.encode(), self.signed(topic, event, *signers))

    def envelopes(self) -> Iterator[Poison]:
        """What is no envelope, or the wrong one."""
        outer = orjson.loads(self.signed(HOLDS, self.hold()))
        malformed = Refusal.ENVELOPE_MALFORMED
        yield Poison(Refusal.RECORD_EMPTY, HOLDS, VICTIM.encode(), None)
        yield Poison(Refusal.RECORD_EMPTY, HOLDS, VICTIM.encode(), b"")
        yield Poison(malformed, HEARTBEATS, VICTIM.encode(), b"\xff\xfe\x00")
        yield Poison(malformed, HOLDS, VICTIM.encode(), orjson.dumps(outer | {"more": 1}))
        yield Poison(malformed, HOLDS, VICTIM.encode(), orjson.dumps(outer | {"payload": "!!!"}))
        yield Poison(Refusal.ENVELOPE_SIGNATURES, HOLDS, VICTIM.encode(), orjson.dumps(outer | {"signatures": []}))
        twice = outer["signatures"] * 2
        yield Poison(Refusal.ENVELOPE_SIGNATURES, HOLDS, VICTIM.encode(), orjson.dumps(outer | {"signatures": twice}))
        yield Poison(Refusal.PAYLOAD_TYPE_UNEXPECTED, HEARTBEATS, VICTIM.encode(), self.signed(HOLDS, self.hold()))

    def signatures(self) -> Iterator[Poison]:
        """Signed by the wrong one, by nobody, or by too few."""
        outer = orjson.loads(self.signed(HOLDS, self.hold()))
        (by,) = outer["signatures"]
        other = orjson.loads(self.signed(HOLDS, self.hold(2)))["signatures"][0]["sig"]
        forged = orjson.dumps(outer | {"signatures": [by | {"sig": other}]})
        short = orjson.dumps(outer | {"signatures": [by | {"sig": "AAAA"}]})
        policy = canonical(demo_policy(self.world, self.now_ms, 2))
        yield self.at_home(Refusal.UNAUTHORIZED, HOLDS, self.hold(), self.world.roles["observer"])
        yield Poison(Refusal.UNAUTHORIZED, HEARTBEATS, b"nobody-knows-me", self.signed(HEARTBEATS, self.beat()))
        yield Poison(Refusal.INVALID_SIGNATURE, HOLDS, VICTIM.encode(), forged)
        yield Poison(Refusal.INVALID_SIGNATURE, HOLDS, VICTIM.encode(), short)
        yield Poison(Refusal.THRESHOLD_UNMET, POLICIES, b"2", self.signed(POLICIES, policy, self.world.roots[0]), 0)
        yield Poison(Refusal.UNAUTHORIZED, POLICIES, b"2", self.signed(POLICIES, policy, self.world.roles["operator"]), 1)

    def payloads(self) -> Iterator[Poison]:
        """Well signed, and not what the schema says."""
        spaced, hold = orjson.dumps(self.hold(), option=orjson.OPT_INDENT_2), self.hold()
        twice = canonical(hold)[:-1] + b',"held":false}'
        yield self.at_home(Refusal.PAYLOAD_NOT_CANONICAL, HOLDS, spaced)
        yield self.at_home(Refusal.PAYLOAD_NOT_CANONICAL, HOLDS, twice)
        yield self.at_home(Refusal.PAYLOAD_INVALID, HOLDS, hold | {"extra": 1})
        yield self.at_home(Refusal.PAYLOAD_INVALID, HOLDS, hold | {"seq": -1})
        yield self.at_home(Refusal.PAYLOAD_INVALID, HOLDS, hold | {"seq": 2**53})
        yield self.at_home(Refusal.PAYLOAD_INVALID, HOLDS, orjson.dumps(hold | {"sent_at_ms": 1.5}))
        yield self.at_home(Refusal.PAYLOAD_INVALID, HOLDS, {name: value for name, value in hold.items() if name != "actor"})
        yield self.at_home(Refusal.NETWORK_MISMATCH, HOLDS, self.hold(network="another-net"))

    def keys(self) -> Iterator[Poison]:
        """On the wrong key or partition; with keys that nobody may have."""
        zero = possession(self.node, self.world.network, VICTIM) | {"public_key": "00" * 32}
        stolen = possession(self.world.node_key("other"), self.world.network, "other")
        away = (self.home + 1) % self.partitions
        elsewhere = self.signed(REGISTRATIONS, self.registration(2))
        yield Poison(Refusal.KEY_MISMATCH, HOLDS, b"somebody-else", self.signed(HOLDS, self.hold()))
        yield Poison(Refusal.KEY_MISMATCH, HOLDS, None, self.signed(HOLDS, self.hold()), self.home)
        yield Poison(Refusal.PARTITION_MISMATCH, REGISTRATIONS, VICTIM.encode(), elsewhere, away)
        yield self.at_home(Refusal.KEY_UNSAFE, REGISTRATIONS, self.registration(2, keys=[zero]))
        yield self.at_home(Refusal.POSSESSION_UNPROVEN, REGISTRATIONS, self.registration(2, keys=[stolen]))

    def order(self) -> Iterator[Poison]:
        """Out of sequence, or out of time."""
        yield self.at_home(Refusal.EQUIVOCATION, HEARTBEATS, self.beat(state="draining"))
        yield self.at_home(Refusal.SEQUENCE_REPLAYED, HEARTBEATS, self.beat())
        yield self.at_home(Refusal.SEQUENCE_REPLAYED, HEARTBEATS, self.beat(9))
        yield self.at_home(Refusal.SEQUENCE_JUMP, HEARTBEATS, self.beat(10 + 2_000_000))
        yield self.at_home(Refusal.SEQUENCE_JUMP, HOLDS, self.hold(2**53 - 1))
        yield self.at_home(Refusal.SENT_AT_OUTSIDE_WINDOW, HOLDS, self.hold(sent_at_ms=self.now_ms - 3_600_000))
        yield self.at_home(Refusal.SENT_AT_OUTSIDE_WINDOW, HEARTBEATS, self.beat(11, sent_at_ms=self.now_ms + 3_600_000))

    def monsters(self) -> Iterator[Poison]:
        """Things that break parsers: on every topic, with keys that are no text."""
        for topic in topics.INPUTS:
            for value in (b"[" * 50_000, b"9" * 50_000, b'{"a":' * 9_000, zlib.compress(bytes(10**7)), b"NaN", b'"\\ud800"'):
                yield Poison(Refusal.ENVELOPE_MALFORMED, topic, b"\xff\x00" * 40, value)
            yield Poison(Refusal.ENVELOPE_MALFORMED, topic, b"k" * 9_000, b"{}")
