"""Records refused for who signed them, and how: keys, key ids, signatures, thresholds."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

import orjson

from b3iq_schemas import events, topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import Refusal
from b3iq_schemas.envelope import keyid, pae
from tests import factory
from tests.conformance.cases import EVENTS, POLICY, REGISTERED, Case, case, past, seal, signature, wrap
from tests.factory import T0, key, node_key, public

BEAT, REG, POL, HOLD = topics.HEARTBEATS, topics.REGISTRATIONS, topics.POLICIES, topics.HOLDS
PAYLOAD = canonical(EVENTS[BEAT])
MESSAGE = pae(events.HEARTBEAT_V1, PAYLOAD)
GOOD = key("node-1").sign(MESSAGE).signature
ORDER_L = 2**252 + 27742317777372353535851937790883648493
"""The order of Ed25519's main subgroup."""


def cases() -> dict[str, Case]:
    """Every vector of this file by name."""
    return _keys() | _keyids() | _signatures() | _tampered() | _weak_keys() | _thresholds()


def _bad(code: Refusal, description: str, value: bytes | None, **more: Any) -> Case:
    return case(BEAT, code.value, description, value, **more)


def _keys() -> dict[str, Case]:
    no = Refusal.UNAUTHORIZED
    dropped = (*REGISTERED, past(REG, seq=T0 + 1, keys=[node_key("node-1", "node-1-next")]))
    both = (*REGISTERED, past(REG, node_id="node-54", keys=[node_key("node-54")]))
    other_roles = POLICY | {"roles": POLICY["roles"] | {"control_plane": [public("stranger")]}}

    def by(topic: str, name: str, text: str, **more: Any) -> Case:
        return case(topic, no.value, text, seal(topic, EVENTS[topic], (name,)), **more)

    return {
        "key_unknown": by(BEAT, "stranger", "a key nobody registered"),
        "key_of_other_node": by(BEAT, "node-54", "another registered node's key", state=both),
        "key_dropped": by(BEAT, "node-1", "a key that the newest registration no longer lists", state=dropped),
        "key_of_root": by(BEAT, "root0", "a root signs a heartbeat"),
        "key_of_control_plane": by(BEAT, "control_plane", "the control plane signs a heartbeat"),
        "key_node_unregistered": by(BEAT, "node-1", "a node that is not registered", state=()),
        "key_no_policy": by(REG, "control_plane", "no policy, so no control plane", policy=None),
        "key_rotated_role": by(REG, "control_plane", "a role key that the policy in force no longer names", policy=other_roles),
        "key_operator_on_registrations": by(REG, "operator", "an operator signs a registration"),
        "key_node_on_registrations": by(REG, "node-1", "a node signs its own registration"),
        "key_broker_on_holds": by(HOLD, "broker", "a broker signs a hold"),
        "key_control_plane_on_benchmarks": by(topics.BENCHMARKS, "control_plane", "the control plane signs a benchmark"),
        "key_node_on_route_health": by(topics.ROUTE_HEALTH, "node-1", "a node vouches for its own route", state=REGISTERED),
        "key_processor_on_policies": by(POL, "processor", "a processor signs a policy"),
        "key_stranger_on_policies": by(POL, "stranger", "a foreign root signs a policy"),
        "kafka_key_null_heartbeat": _bad(no, "without a Kafka key no node's keys are known", wrap(), key=None),
        "kafka_key_invalid_utf8_heartbeat": _bad(no, "the Kafka key is not UTF-8", wrap(), key=b"node-1\xff"),
        "key_unknown_not_canonical": _bad(no, "order: keys come before the payload", seal(BEAT, b"?", ("stranger",))),
    }


def _keyids() -> dict[str, Case]:
    true_id = keyid(bytes(key("node-1").verify_key))
    ids = {
        "wrong": ("a good signature under another key's id", keyid(bytes(key("stranger").verify_key))),
        "upper_case": ("key ids are lower case", true_id.upper()),
        "newline": ("a newline behind it", true_id + "\n"),
        "short": ("its first 16 digits", true_id[:16]),
        "prefix": ("the name of the hash before it", "sha256:" + true_id),
        "public_key": ("the public key as its key id", public("node-1")),
        "name": ("the node's id as its key id", "node-1"),
        "empty": ("no letter", ""),
        "long": ("20,000 letters", "a" * 20_000),
        "non_ascii": ("letters outside ASCII", "ключ"),
    }
    sig = b64encode(GOOD).decode()
    return {
        f"keyid_{name}": _bad(Refusal.UNAUTHORIZED, f"keyid: {text}", wrap(signatures=[{"keyid": value, "sig": sig}]))
        for name, (text, value) in ids.items()
    }


def _signatures() -> dict[str, Case]:
    made = key("node-1")
    scalar = int.from_bytes(GOOD[32:], "little")
    lie = pae(events.HEARTBEAT_V1, PAYLOAD).replace(b"DSSEv1 38 ", b"DSSEv1 39 ", 1)
    assert lie != MESSAGE
    sigs = {
        "empty": ("no bytes", b""),
        "zero": ("zeros", bytes(64)),
        "truncated": ("its first half", GOOD[:32]),
        "63_bytes": ("one byte short", GOOD[:63]),
        "65_bytes": ("one byte over", GOOD + b"\0"),
        "65_bytes_signed_so": (
            "one byte over, and right for that byte before the message",
            made.sign(b"\0" + MESSAGE).signature + b"\0",
        ),
        "hex": ("hex text instead of the bytes", GOOD.hex().encode()),
        "with_message": ("signature and message in one, as some libraries return them", bytes(made.sign(MESSAGE))),
        "bit_flipped": ("one bit flipped", bytes([GOOD[0] ^ 1]) + GOOD[1:]),
        "not_reduced": ("S + L: a second spelling of a good signature", GOOD[:32] + (scalar + ORDER_L).to_bytes(32, "little")),
        "without_pae": ("over the payload without PAE", made.sign(PAYLOAD).signature),
        "over_base64": ("over the payload's base64", made.sign(orjson.loads(wrap())["payload"].encode()).signature),
        "over_digest": ("over the SHA-256 of the PAE", made.sign(sha256(MESSAGE).digest()).signature),
        "over_hex_digest": ("over the hex SHA-256 of the payload", made.sign(sha256(PAYLOAD).hexdigest().encode()).signature),
        "pae_length_wrong": ("over a PAE with a wrong length", made.sign(lie).signature),
        "pae_newline": ("over a PAE with a newline behind it", made.sign(MESSAGE + b"\n").signature),
        "pae_v2": ("over a PAE of another version", made.sign(MESSAGE.replace(b"DSSEv1", b"DSSEv2")).signature),
        "other_type": ("over another payload type", made.sign(pae(events.REGISTRATION_V1, PAYLOAD)).signature),
        "by_other_key": ("by another key, under this one's key id", key("node-54").sign(MESSAGE).signature),
    }
    bad = Refusal.INVALID_SIGNATURE
    return {
        f"signature_{name}": _bad(bad, text, wrap(signatures=[signature("node-1", sig)])) for name, (text, sig) in sigs.items()
    }


def _tampered() -> dict[str, Case]:
    retyped = orjson.loads(seal(BEAT, PAYLOAD, payload_type="application/json")) | {"payloadType": events.HEARTBEAT_V1}
    values = {
        "payload": ("one number changed after signing", wrap(payload=_b64(canonical(EVENTS[BEAT] | {"seq": 2})))),
        "payload_space": ("a space added after signing", wrap(payload=_b64(PAYLOAD + b" "))),
        "payload_order": (
            "members put in another order after signing",
            wrap(payload=_b64(canonical(dict(reversed(EVENTS[BEAT].items()))))),
        ),
        "payload_empty": ("the payload taken out after signing", wrap(payload="")),
        "payload_not_json": ("order: signatures come before the payload", wrap(payload=_b64(b"?"))),
        "type": ("the type put right after signing", orjson.dumps(retyped)),
    }
    return {f"tampered_{name}": _bad(Refusal.INVALID_SIGNATURE, text, value) for name, (text, value) in values.items()}


def _weak_keys() -> dict[str, Case]:
    """Signatures that a verifier takes for good if it does not refuse keys of small order."""
    made = {}
    for name, raw, sig in (("zero", bytes(32), bytes(64)), ("identity", b"\x01" + bytes(31), b"\x01" + bytes(63))):
        value = orjson.loads(seal(REG, EVENTS[REG])) | {"signatures": [signature("", sig, keyid(raw))]}
        policy = POLICY | {"roles": POLICY["roles"] | {"control_plane": [raw.hex()]}}
        text = f"a forgery for the {name} key, which a policy names as a role's: it verifies nothing"
        made[f"weak_key_{name}"] = case(REG, Refusal.INVALID_SIGNATURE.value, text, orjson.dumps(value), policy=policy)
    return made


def _b64(raw: bytes) -> str:
    return b64encode(raw).decode()


def _thresholds() -> dict[str, Case]:
    event = EVENTS[POL]
    message = pae(factory.PAYLOAD_TYPE[POL], canonical(event))
    sig = {name: key(name).sign(message).signature for name in ("root0", "root1", "stranger", "operator")}
    root0, upper = signature("root0", sig["root0"]), keyid(bytes(key("root0").verify_key)).upper()

    def policy(code: Refusal, text: str, *entries: dict[str, str]) -> Case:
        return case(POL, code.value, text, orjson.dumps(orjson.loads(seal(POL, event)) | {"signatures": list(entries)}))

    unmet, bad, listed = Refusal.THRESHOLD_UNMET, Refusal.INVALID_SIGNATURE, Refusal.ENVELOPE_SIGNATURES
    return {
        "threshold_one_root": policy(unmet, "one root of two", root0),
        "threshold_root_and_stranger": policy(unmet, "a root and a foreign root", root0, signature("stranger", sig["stranger"])),
        "threshold_root_and_role": policy(unmet, "a root and an operator", root0, signature("operator", sig["operator"])),
        "threshold_same_root_upper_case": policy(
            unmet, "one root under two spellings", root0, signature("root0", sig["root0"], upper)
        ),
        "threshold_same_root_twice": policy(listed, "the same root twice", root0, root0),
        "threshold_same_root_claims_other": policy(
            bad, "one root signs for another too", root0, signature("root1", sig["root0"])
        ),
        "threshold_one_broken": policy(bad, "two roots, one signature is broken", root0, signature("root1", bytes(64))),
    }
