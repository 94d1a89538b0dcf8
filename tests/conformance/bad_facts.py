"""Records refused for where and when they stand: network, Kafka key, partition, sequence, time."""

from typing import Any

from b3iq_schemas import topics
from b3iq_schemas.codes import Refusal
from b3iq_schemas.partitioner import partition_for
from tests.conformance.cases import EVENTS, PARTITIONS, POLICY, REGISTERED, Case, case, past, seal, subject
from tests.factory import T0, node_key

BEAT, REG, POL, HOLD = topics.HEARTBEATS, topics.REGISTRATIONS, topics.POLICIES, topics.HOLDS
BENCH, ROUTE = topics.BENCHMARKS, topics.ROUTE_HEALTH
INT_MAX = 2**53 - 1


def cases() -> dict[str, Case]:
    """Every vector of this file by name."""
    return _networks() | _kafka_keys() | _partitions() | _equivocations() | _replays() | _jumps() | _times()


def _bad(topic: str, code: Refusal, text: str, changes: dict[str, Any], **more: Any) -> Case:
    event = EVENTS[topic] | changes
    return case(topic, code.value, text, seal(topic, event), **({"key": subject(topic, event)} | more))


def _networks() -> dict[str, Case]:
    other = {"network": "mainnet"}
    return {
        f"network_{topic}": _bad(topic, Refusal.NETWORK_MISMATCH, f"another network's record on {topic}", other)
        for topic in EVENTS
    }


def _kafka_keys() -> dict[str, Case]:
    keys = {
        "null": ("no Kafka key", None),
        "empty": ("an empty Kafka key", b""),
        "other_node": ("another node's id", b"node-54"),
        "upper_case": ("ids are never folded", b"NODE-1"),
        "newline": ("a newline behind it", b"node-1\n"),
        "quoted": ("written as JSON", b'"node-1"'),
        "with_profile": ("node and profile", b"node-1/p0"),
        "invalid_utf8": ("a byte that is not UTF-8", b"node-1\xff"),
        "utf16": ("UTF-16", "node-1".encode("utf-16-le")),
        "long": ("5,000 bytes", b"n" * 5_000),
    }
    made = {f"kafka_key_{name}": _bad(REG, Refusal.KEY_MISMATCH, text, {}, key=raw) for name, (text, raw) in keys.items()}
    both = (*REGISTERED, past(REG, node_id="node-54", keys=[node_key("node-54")]))
    stolen = seal(BEAT, EVENTS[BEAT], ("node-54",))
    policies = {"other": b"3", "padded": b"02", "binary": b"\0\0\0\2", "null": None}
    return (
        made
        | {
            "kafka_key_heartbeat_of_other": case(
                BEAT,
                Refusal.KEY_MISMATCH.value,
                "node-54 signs a heartbeat that says node-1, under its own Kafka key",
                stolen,
                key=b"node-54",
                state=both,
            ),
        }
        | {
            f"kafka_key_policy_{name}": _bad(POL, Refusal.KEY_MISMATCH, f"the key of revision 2 is not {raw!r}", {}, key=raw)
            for name, raw in policies.items()
        }
    )


def _partitions() -> dict[str, Case]:
    right = partition_for(b"node-1", PARTITIONS)
    code = Refusal.PARTITION_MISMATCH
    others = (REG, HOLD, BENCH, ROUTE)
    return {
        f"partition_{topic}": _bad(
            topic, code, f"{topic}: not the partition that murmur2 finds", {}, partition=(right + 1 + i) % PARTITIONS
        )
        for i, topic in enumerate(others)
    }


def _equivocations() -> dict[str, Case]:
    running = (*REGISTERED, past(BEAT))
    keys = [node_key("node-1"), node_key("node-1", "node-1-next")]
    two = (past(REG, keys=keys), past(BEAT))
    other = EVENTS[BEAT] | {"state": "draining"}
    code = Refusal.EQUIVOCATION
    changed: dict[str, dict[str, Any]] = {
        REG: {"active": False},
        HOLD: {"held": False},
        BENCH: {"outcome": "failed"},
        ROUTE: {"state": "unhealthy"},
    }
    return {
        "equivocation_heartbeat": _bad(
            BEAT, code, "the same boot and sequence, another state", {"state": "draining"}, state=running
        ),
        "equivocation_heartbeat_sent_at": _bad(
            BEAT, code, "only the sending time differs", {"sent_at_ms": T0 + 1}, state=running
        ),
        "equivocation_heartbeat_order": case(
            BEAT,
            code.value,
            "the same content in another order is another payload",
            seal(BEAT, dict(reversed(EVENTS[BEAT].items()))),
            state=running,
        ),
        "equivocation_heartbeat_key": case(
            BEAT, code.value, "by the node's other key", seal(BEAT, other, ("node-1-next",)), state=two
        ),
        "equivocation_heartbeat_late": _bad(
            BEAT, code, "order: sequence comes before the time window", {"state": "draining"}, state=running, at_ms=T0 + 9_000_000
        ),
    } | {
        f"equivocation_{topic}": _bad(topic, code, "the same sequence, other content", changes, state=(past(topic),))
        for topic, changes in changed.items()
    }


def _replays() -> dict[str, Case]:
    running = (*REGISTERED, past(BEAT, boot=7, seq=500))
    keys = [node_key("node-1"), node_key("node-1", "node-1-next")]
    code = Refusal.SEQUENCE_REPLAYED
    resigned = seal(BEAT, EVENTS[BEAT], ("node-1-next",))
    return (
        {
            "replay_heartbeat": _bad(BEAT, code, "the same record again", {"boot": 7, "seq": 500}, state=running),
            "replay_heartbeat_older": _bad(BEAT, code, "an older sequence", {"boot": 7, "seq": 499}, state=running),
            "replay_heartbeat_older_boot": _bad(
                BEAT, code, "an older boot, whatever its sequence", {"boot": 6, "seq": INT_MAX}, state=running
            ),
            "replay_heartbeat_resigned": case(
                BEAT,
                code.value,
                "the same payload signed by the node's other key",
                resigned,
                state=(past(REG, keys=keys), past(BEAT)),
            ),
            "replay_heartbeat_old": _bad(
                BEAT,
                code,
                "order: sequence comes before the time window",
                {"boot": 7, "seq": 499},
                state=running,
                at_ms=T0 + 9_000_000,
            ),
            "replay_policy": _bad(POL, code, "the revision in force", {"revision": 1}),
            "replay_policy_changed": _bad(POL, code, "the revision in force with other content", {"revision": 1, "grace_ms": 1}),
            "replay_policy_older": _bad(POL, code, "a lower revision", {"revision": 4}, policy=POLICY | {"revision": 5}),
        }
        | {
            f"replay_{topic}": _bad(topic, code, "the same record again", {}, state=(past(topic),))
            for topic in (REG, HOLD, BENCH, ROUTE)
        }
        | {
            f"replay_{topic}_older": _bad(topic, code, "an older sequence", {"seq": T0 - 1}, state=(past(topic),))
            for topic in (REG, HOLD, BENCH, ROUTE)
        }
    )


def _jumps() -> dict[str, Case]:
    running = (*REGISTERED, past(BEAT, boot=7, seq=500))
    jumps = {
        "boot": ("one boot more than allowed", {"boot": 1008, "seq": 0}),
        "seq": ("one number more than allowed", {"boot": 7, "seq": 1_000_501}),
        "seq_of_new_boot": ("a new boot begins too high", {"boot": 8, "seq": 1_000_001}),
        "boot_max": ("the highest boot", {"boot": INT_MAX, "seq": 0}),
        "seq_max": ("the highest number", {"boot": 7, "seq": INT_MAX}),
    }
    ahead = {
        f"jump_{topic}_ahead_of_time": _bad(
            topic, Refusal.SEQUENCE_JUMP, "a role's number beyond the broker's time in ms and the window", {"seq": T0 + 10_001}
        )
        for topic in (REG, HOLD, BENCH, ROUTE)
    }
    return ahead | {
        f"jump_{name}": _bad(BEAT, Refusal.SEQUENCE_JUMP, text, changes, state=running) for name, (text, changes) in jumps.items()
    }


def _times() -> dict[str, Case]:
    code = Refusal.SENT_AT_OUTSIDE_WINDOW
    sent = {"zero": 0, "in_seconds": T0 // 1000, "in_microseconds": T0 * 1000, "max": INT_MAX}
    made = {
        f"sent_at_{name}": _bad(BEAT, code, f"sent at {name.replace('_', ' ')}", {"sent_at_ms": at}) for name, at in sent.items()
    }
    return (
        made
        | {
            "sent_at_too_early": _bad(BEAT, code, "one millisecond longer ago than policy allows", {}, at_ms=T0 + 120_001),
            "sent_at_too_late": _bad(BEAT, code, "one millisecond further ahead than policy allows", {}, at_ms=T0 - 10_001),
        }
        | {
            f"sent_at_{topic}": _bad(topic, code, f"{topic}: kept back for an hour", {}, at_ms=T0 + 3_600_000)
            for topic in (REG, HOLD, BENCH, ROUTE)
        }
    )
