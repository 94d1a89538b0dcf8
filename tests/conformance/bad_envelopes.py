"""Records refused before any key is looked for: size, timestamp type, envelope, payload type."""

import gzip
from base64 import urlsafe_b64encode
from typing import Any

import orjson

from b3iq_schemas import events, topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import Refusal
from b3iq_schemas.envelope import pae
from b3iq_schemas.topics import INPUT_BYTES_MAX
from tests.conformance.cases import EVENTS, Case, case, seal, signature, wrap
from tests.factory import key

BEAT, REG, POL, HOLD = topics.HEARTBEATS, topics.REGISTRATIONS, topics.POLICIES, topics.HOLDS
PAYLOAD = canonical(EVENTS[BEAT])
MESSAGE = pae(events.HEARTBEAT_V1, PAYLOAD)
GOOD = key("node-1").sign(MESSAGE).signature


def cases() -> dict[str, Case]:
    """Every vector of this file by name."""
    return _records() | _envelopes() | _base64() | _signature_lists() | _types()


def _bad(code: Refusal, description: str, value: bytes | None, **more: Any) -> Case:
    return case(BEAT, code.value, description, value, **more)


def _records() -> dict[str, Case]:
    empty, large, kind = Refusal.RECORD_EMPTY, Refusal.RECORD_TOO_LARGE, Refusal.TIMESTAMP_TYPE_WRONG
    return {
        "value_null": _bad(empty, "a tombstone", None),
        "value_empty": _bad(empty, "no bytes at all", b""),
        "value_null_create_time": _bad(empty, "order: emptiness comes before the timestamp type", None, timestamp_type=0),
        "oversized": _bad(large, "one byte more than the topic allows", wrap().ljust(INPUT_BYTES_MAX + 1)),
        "create_time": _bad(kind, "the producer's own timestamp", wrap(), timestamp_type=0),
        "timestamp_missing": _bad(kind, "no timestamp type (-1, very old brokers)", wrap(), timestamp_type=-1),
        "create_time_not_json": _bad(kind, "order: the timestamp type comes before the envelope", b"?", timestamp_type=0),
    }


def _envelopes() -> dict[str, Case]:
    raws = {
        "not_json": ("no JSON", b"hello"),
        "json_null": ("null", b"null"),
        "json_string": ("a string", b'"envelope"'),
        "json_number": ("a number", b"7"),
        "json_array": ("a list with an envelope in it", b"[" + wrap() + b"]"),
        "json_empty_object": ("no member at all", b"{}"),
        "truncated": ("cut off", wrap()[:-1]),
        "two_documents": ("two envelopes, one after the other", wrap() + wrap()),
        "byte_order_mark": ("a byte order mark before it", b"\xef\xbb\xbf" + wrap()),
        "invalid_utf8": ("a byte that is not UTF-8", wrap(signatures=[signature("node-1", GOOD, "@")]).replace(b"@", b"\xff")),
        "lone_surrogate": ("half a surrogate pair", wrap(signatures=[signature("node-1", GOOD, "@")]).replace(b"@", rb"\ud800")),
        "nested_30000": ("30,000 brackets", b"[" * 30_000 + b"]" * 30_000),
        "nan": ("NaN", wrap().replace(b'"signatures":', b'"signatures":NaN,"x":')),
        "nested_2000": ("2,000 brackets", b"[" * 2_000 + b"]" * 2_000),
        "gzip": ("compressed by the sender", gzip.compress(wrap(), mtime=0)),
        "schema_registry_prefix": ("a schema registry's five bytes before it", b"\0\0\0\0\1" + wrap()),
        "payload_bare": ("the payload without an envelope", PAYLOAD),
        "jws": ("a JWS instead of DSSE", b"eyJhbGciOiJFZERTQSJ9." + urlsafe_b64encode(PAYLOAD) + b".c2ln"),
        "extra_field": ("a fourth member", wrap(context="x")),
        "field_case": ("a member in other case", wrap().replace(b'"payloadType"', b'"payloadtype"')),
        "payload_missing": ("no payload", wrap(payload=None)),
        "type_missing": ("no payloadType", wrap(payloadType=None)),
        "signatures_missing": ("no member signatures", wrap(signatures=None)),
        "type_number": ("payloadType is a number", wrap(payloadType=1)),
        "signatures_object": ("signatures is one object", wrap(signatures=signature("node-1", GOOD))),
        "signatures_string": ("signatures is a string", wrap(signatures="x")),
        "signature_string": ("a signature is a string", wrap(signatures=["x"])),
        "signature_null": ("a signature is null", wrap(signatures=[None])),
        "signature_keyid_missing": ("a signature without keyid (ours must have one)", wrap(signatures=[{"sig": ""}])),
        "signature_sig_missing": ("a signature without sig", wrap(signatures=[{"keyid": ""}])),
        "signature_extra_field": ("a certificate in a signature", wrap(signatures=[signature("node-1", GOOD) | {"cert": ""}])),
        "signature_keyid_null": ("keyid is null", wrap(signatures=[{"keyid": None, "sig": ""}])),
        "signature_keyid_number": ("keyid is a number", wrap(signatures=[{"keyid": 1, "sig": ""}])),
        "signature_sig_null": ("sig is null", wrap(signatures=[{"keyid": "", "sig": None}])),
        "signature_sig_hex_odd": (
            "sig is hex of a length that base64 cannot have",
            wrap(signatures=[{"keyid": "", "sig": "abc"}]),
        ),
    }
    return {f"envelope_{name}": _bad(Refusal.ENVELOPE_MALFORMED, text, raw) for name, (text, raw) in raws.items()}


def _base64() -> dict[str, Case]:
    text = orjson.loads(wrap())["payload"]
    values: dict[str, tuple[str, object]] = {
        "number": ("a number", 1),
        "object": ("the payload itself instead of its base64", orjson.loads(PAYLOAD)),
        "text": ("the payload as text instead of its base64", PAYLOAD.decode()),
        "urlsafe": ("the URL-safe alphabet", "-__-"),
        "unpadded": ("padding left out", "QUI"),
        "padded_twice": ("more padding than needed", "QUI=" + "="),
        "padding_inside": ("padding in the middle", "QQ==" + text),
        "newline": ("broken into lines", text[:76] + "\n" + text[76:]),
        "space": ("a space before it", " " + text),
        "non_ascii": ("a letter outside ASCII", "é" + text[1:]),
        "one_letter_over": ("a length that base64 cannot have", text.rstrip("=")[: len(text) // 4 * 4 - 3]),
    }
    made = {
        f"base64_payload_{name}": _bad(Refusal.ENVELOPE_MALFORMED, f"payload: {said}", wrap(payload=value))
        for name, (said, value) in values.items()
    }
    entry = signature("node-1", b"\xff" * 64)
    sig = entry["sig"].replace("/", "_")
    return made | {
        "base64_sig_urlsafe": _bad(
            Refusal.ENVELOPE_MALFORMED, "sig: the URL-safe alphabet", wrap(signatures=[entry | {"sig": sig}])
        ),
        "base64_sig_unpadded": _bad(
            Refusal.ENVELOPE_MALFORMED, "sig: padding left out", wrap(signatures=[entry | {"sig": entry["sig"].rstrip("=")}])
        ),
    }


def _signature_lists() -> dict[str, Case]:
    good = signature("node-1", GOOD)
    lists = {
        "none": ("nobody signed", []),
        "seventeen": ("one more than allowed", [good, *(signature("stranger", b"", f"k{i}") for i in range(16))]),
        "nine_hundred": ("900 signatures", [good, *(signature("stranger", b"", f"k{i}") for i in range(899))]),
        "twice": ("the same signature twice", [good, good]),
        "keyid_twice": ("two signatures claim one key", [good, signature("node-1", bytes(64))]),
        "stranger_twice": ("two signatures claim one unknown key", [good, *[signature("stranger", b"")] * 2]),
    }
    return {
        f"signatures_{name}": _bad(Refusal.ENVELOPE_SIGNATURES, text, wrap(signatures=entries))
        for name, (text, entries) in lists.items()
    }


def _types() -> dict[str, Case]:
    def typed(name: str) -> bytes:
        return seal(BEAT, PAYLOAD, payload_type=name)

    names = {
        "empty": ("no type", ""),
        "json": ("a type that says nothing", "application/json"),
        "next_version": ("a version not known here", events.HEARTBEAT_V1.replace("v1", "v2")),
        "upper_case": ("types are compared letter for letter", events.HEARTBEAT_V1.upper()),
        "space": ("a space behind it", events.HEARTBEAT_V1 + " "),
        "parameter": ("a parameter behind it", events.HEARTBEAT_V1 + ";charset=utf-8"),
        "possession": ("a proof of possession is no record", events.POSSESSION_V1),
        "registration": ("a registration's type on heartbeats", events.REGISTRATION_V1),
        "mark": ("a mark's type on an input", topics.TOPICS[topics.ELIGIBILITY_CHANGES].payload_type or ""),
    }
    made = {f"type_{name}": _bad(Refusal.PAYLOAD_TYPE_UNEXPECTED, text, typed(kind)) for name, (text, kind) in names.items()}
    unexpected = Refusal.PAYLOAD_TYPE_UNEXPECTED.value
    moved = seal(HOLD, EVENTS[HOLD])
    return made | {
        "type_hold_on_registrations": case(REG, unexpected, "a signed hold, appended to registrations", moved),
        "type_heartbeat_on_holds": case(HOLD, unexpected, "a signed heartbeat, appended to holds", wrap()),
        "type_hold_on_policies": case(POL, unexpected, "a signed hold, appended to policies", moved),
    }
