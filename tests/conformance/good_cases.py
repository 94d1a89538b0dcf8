"""Records that must be admitted: the sound ones, and the strange ones that are sound all the same."""

from typing import Any

import orjson

from b3iq_schemas import events, topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.envelope import pae
from b3iq_schemas.topics import INPUT_BYTES_MAX
from tests import factory
from tests.conformance.cases import ADMITTED, EVENTS, REGISTERED, Case, case, past, seal, signature, wrap
from tests.factory import T0, key, node_key

BEAT, REG, POL, HOLD = topics.HEARTBEATS, topics.REGISTRATIONS, topics.POLICIES, topics.HOLDS
BENCH, ROUTE = topics.BENCHMARKS, topics.ROUTE_HEALTH
INT_MAX = 2**53 - 1
KEYS = [node_key("node-1"), node_key("node-1", "node-1-next")]
ROTATING = (past(REG, keys=KEYS),)
RUNNING = (*REGISTERED, past(BEAT, boot=7, seq=500))
WORDS = {"status": "paused", "runtime_kind": "tgi", "route_tier": "orbital", "queue_health": "napping"}


def cases() -> dict[str, Case]:
    """Every good vector by name."""
    sound = {f"{topic}_sound": case(topic, ADMITTED, f"a sound record on {topic}") for topic in EVENTS}
    return sound | _envelopes() | _heartbeats() | _facts() | _policies()


def _beat(description: str, value: bytes, **more: Any) -> Case:
    return case(BEAT, ADMITTED, description, value, **more)


def _sent(description: str, state: Any = REGISTERED, at_ms: int = T0, **changes: Any) -> Case:
    return case(BEAT, ADMITTED, description, seal(BEAT, EVENTS[BEAT] | changes), state=state, at_ms=at_ms)


def _of(topic: str, description: str, state: Any = (), **changes: Any) -> Case:
    return case(topic, ADMITTED, description, seal(topic, EVENTS[topic] | changes), state=state)


def _sig(name: str) -> dict[str, str]:
    return signature(name, key(name).sign(pae(events.HEARTBEAT_V1, canonical(EVENTS[BEAT]))).signature)


def _envelopes() -> dict[str, Case]:
    outer = orjson.loads(wrap())
    crowd = [signature("stranger", b"", f"k{i}") for i in range(15)]
    return {
        "envelope_spaced": _beat("the envelope need not be compact", orjson.dumps(outer, option=orjson.OPT_INDENT_2)),
        "envelope_any_order": _beat("the envelope's members in another order", orjson.dumps(dict(reversed(outer.items())))),
        "envelope_escaped": _beat("escapes in the envelope's strings", wrap().replace(b"+json", rb"\u002bjson")),
        "envelope_size_max": _beat("exactly as large as the topic allows", wrap().ljust(INPUT_BYTES_MAX)),
        "signatures_stranger": _beat("a signature by an unknown key too", wrap(signatures=[_sig("stranger"), _sig("node-1")])),
        "signatures_one_broken": _beat(
            "two registered keys signed, one signature is broken: the other is enough",
            wrap(signatures=[signature("node-1-next", bytes(64)), _sig("node-1")]),
            state=ROTATING,
        ),
        "signatures_sixteen": _beat("sixteen signatures are allowed", wrap(signatures=[*crowd, _sig("node-1")])),
        "signatures_long_keyid": _beat(
            "a key id that nobody has may be any string",
            wrap(signatures=[signature("stranger", b"", "k" * 4000), _sig("node-1")]),
        ),
    }


def _heartbeats() -> dict[str, Case]:
    event = EVENTS[BEAT]
    many = [factory.profile(f"p{i}") for i in range(events.PROFILES_MAX)]
    ids = [factory.profile("A.b_c:d-e" + "x" * 55, model_id="org/Model:8b@v1+fp8", price_wei_per_mtok="9" * 78)]
    return {
        "payload_any_order": _beat("the payload's members in another order", seal(BEAT, dict(reversed(event.items())))),
        "heartbeat_next_key": _beat("the second registered key signs", seal(BEAT, event, ("node-1-next",)), state=ROTATING),
        "heartbeat_seq_next": _sent("the next in sequence", RUNNING, boot=7, seq=501),
        "heartbeat_seq_jump_max": _sent("as far ahead as policy allows", RUNNING, boot=7, seq=1_000_500),
        "heartbeat_boot_new": _sent("a new boot counts from zero", RUNNING, boot=8, seq=0),
        "heartbeat_boot_jump_max": _sent("as many boots ahead as policy allows", RUNNING, boot=1007, seq=1_000_000),
        "heartbeat_no_profiles": _sent("a host may offer nothing", profiles=[]),
        "heartbeat_profiles_max": _sent("64 profiles", profiles=many),
        "heartbeat_ids_max": _sent("the longest ids, every character they may have, the largest price", profiles=ids),
        "heartbeat_words_unknown": _sent("words not known yet parse, and block later", profiles=[factory.profile(**WORDS)]),
        "heartbeat_counters_max": _sent("the first heartbeat may count from anywhere up to 2^53-1", boot=INT_MAX, seq=INT_MAX),
        "heartbeat_sent_at_oldest": _sent("sent as long ago as policy allows", at_ms=T0 + 120_000),
        "heartbeat_sent_at_newest": _sent("sent as far ahead as policy allows", at_ms=T0 - 10_000),
    }


def _facts() -> dict[str, Case]:
    dud = KEYS[0] | {"proof": "00" * 64}
    return {
        "registration_no_keys": _of(REG, "no key is active", keys=[]),
        "registration_two_keys": _of(REG, "two active keys, each with its proof of possession", keys=KEYS),
        "registration_key_known": _of(
            REG,
            "a key of the last registration has been proven: its proof is not looked at again",
            REGISTERED,
            seq=T0 + 1,
            keys=[dud],
        ),
        "registration_newer": _of(
            REG, "any higher sequence number will do, up to the broker's time in ms and the window", REGISTERED, seq=T0 + 10_000
        ),
        "benchmark_other_profile": _of(
            BENCH, "the sequence of benchmarks is per profile", (past(BENCH, profile_id="p1", seq=T0 + 5),), seq=1
        ),
        "hold_unicode": _of(
            HOLD, "text is UTF-8 as it is, control characters are escaped the short way", reason='Wartung – 保守 "\t\x1b/'
        ),
        "hold_reason_max": _of(HOLD, "256 characters, counted as code points", reason="𝛀" * 256),
    }


def _policies() -> dict[str, Case]:
    def policy(description: str, *names: str, **changes: Any) -> Case:
        event = EVENTS[POL] | changes
        return case(POL, ADMITTED, description, seal(POL, event, names), key=str(event["revision"]).encode())

    message = pae(PAYLOAD_TYPE, canonical(EVENTS[POL]))
    signed = [signature(name, key(name).sign(message).signature) for name in ("root1", "root2")]
    broken = orjson.loads(seal(POL, EVENTS[POL])) | {"signatures": [signature("root0", bytes(64)), *signed]}
    first = seal(POL, EVENTS[POL] | {"revision": 1})
    return {
        "policy_first": case(POL, ADMITTED, "the first revision of a network", first, key=b"1", policy=None),
        "policy_all_roots": policy("every root signed", "root0", "root1", "root2"),
        "policy_other_roots": policy("any two roots will do, in any order", "root2", "root0"),
        "policy_root_and_stranger": policy("two roots and a stranger", "root0", "stranger", "root1"),
        "policy_one_broken": case(POL, ADMITTED, "two of three good signatures are enough", orjson.dumps(broken)),
        "policy_revision_skips": policy("revisions may skip numbers", revision=INT_MAX),
        "policy_other_partition": case(POL, ADMITTED, "a revision is written to every partition", partition=7),
        "policy_tier_unknown_blocked": policy(
            "tier unknown may be named, not allowed", tiers={"unknown": {"paid": "blocked", "runtimes": []}}
        ),
    }


PAYLOAD_TYPE = factory.PAYLOAD_TYPE[POL]
