"""A second reader of the chain, written from `schemas/vectors/chain/README.md` alone, the way another language would.

JSON, SHA-256, Ed25519 and the published JSON Schemas; nothing of the product's own reader. Slow and plain on purpose.
"""

import json
from base64 import b64decode
from hashlib import sha256
from typing import Any

import jsonschema
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from b3iq_schemas.eligibility import EligibilityChange, Mark

MARK_TYPE = "application/vnd.b3iq.mark.v1+json"
POLICY_TYPE = "application/vnd.b3iq.policy.v1+json"
_MARK = jsonschema.Draft202012Validator(Mark.model_json_schema())
_CHANGE = jsonschema.Draft202012Validator(EligibilityChange.model_json_schema())


class NeedsPolicy(Exception):
    """A mark cannot be judged yet."""


def canonical(raw: bytes) -> Any:
    """The data in `raw`; ValueError unless writing it again, compactly, gives the same bytes."""
    value = json.loads(raw)
    if json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() != raw:
        raise ValueError("not canonical")
    return value


def opened(value: bytes, payload_type: str) -> tuple[bytes, list[dict[str, str]]]:
    """Payload and signatures of an envelope of this type; ValueError for anything else."""
    outer = json.loads(value)
    if not isinstance(outer, dict) or set(outer) != {"payload", "payloadType", "signatures"}:
        raise ValueError("no envelope")
    if outer["payloadType"] != payload_type or not isinstance(outer["signatures"], list):
        raise ValueError("another type")
    return b64decode(outer["payload"], validate=True), outer["signatures"]


def signed(public_key: bytes, payload_type: str, payload: bytes, signature: str) -> bool:
    """Whether the base64 signature over the pre-authentication encoding verifies."""
    message = b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type.encode(), len(payload), payload)
    try:
        VerifyKey(public_key).verify(message, b64decode(signature))
    except (BadSignatureError, ValueError):
        return False
    return True


def by_id(keys: list[str]) -> dict[str, bytes]:
    """Public keys by key id."""
    return {sha256(bytes.fromhex(key)).hexdigest(): bytes.fromhex(key) for key in keys}


class PlainReader:
    """Head, view and buffer of one partition."""

    def __init__(self, trust: dict[str, Any], partition: int, partitions: int) -> None:
        self.trust, self.partition = trust, partition
        named = [trust["network"], "eligibility-changes", trust["generation"], partition, partitions]
        self.digest = sha256(json.dumps(named, separators=(",", ":")).encode()).hexdigest()
        self.epoch, self.revision = 0, 0
        self.eligible: dict[str, bool] = {}
        self.changes: dict[str, list[bytes]] = {}
        self.processors = {0: by_id(trust["genesis_processors"])}

    def policy(self, value: bytes) -> bool:
        """A record of `policies`: signed by enough roots, it adds a revision."""
        payload, signatures = opened(value, POLICY_TYPE)
        roots = by_id(self.trust["roots"])
        known = {s["keyid"]: s["sig"] for s in signatures if s["keyid"] in roots}
        good = [name for name, sig in known.items() if signed(roots[name], POLICY_TYPE, payload, sig)]
        if len(good) < self.trust["threshold"]:
            return False
        event = canonical(payload)
        self.processors.setdefault(event["revision"], by_id(event["roles"]["processor"]))
        return True

    def take(self, kafka_key: bytes | None, value: bytes | None, timestamp_ms: int) -> str:
        """The verdict on a record: `accepted`, `buffered`, or why it is ignored; NeedsPolicy if it has to wait."""
        if kafka_key != b"~mark":
            self._buffer(value or b"")
            return "buffered"
        try:
            canonical(value or b"")
            payload, signatures = opened(value or b"", MARK_TYPE)
            mark = canonical(payload)
            _MARK.validate(mark)
            (signature,) = signatures
        except (ValueError, TypeError, jsonschema.ValidationError):
            return "malformed"
        refused = self._refusal(mark, payload, signature, timestamp_ms)
        if refused:
            return refused
        values = self._whole(mark)
        if values is None:
            return "incomplete"
        for change in values:
            self._apply(change)
        self.epoch, self.digest, self.revision = mark["epoch"], sha256(payload).hexdigest(), mark["policy_revision"]
        self.changes = {}
        return "accepted"

    def _buffer(self, value: bytes) -> None:
        try:
            change = canonical(value)
            if isinstance(change["attempt"], str) and type(change["i"]) is int:
                self.changes.setdefault(change["attempt"], []).append(value)
        except (ValueError, TypeError, KeyError):
            return

    def _refusal(self, mark: dict[str, Any], payload: bytes, signature: dict[str, str], timestamp_ms: int) -> str:
        here = (self.trust["network"], self.trust["generation"], self.partition)
        if (mark["network"], mark["generation"], mark["partition"]) != here:
            return "other_chain"
        if (mark["prev"], mark["epoch"]) != (self.digest, self.epoch + 1):
            return "not_next"
        if mark["resolved_at_ms"] > timestamp_ms + self.trust["skew_ms"]:
            return "from_the_future"
        if self.revision not in self.processors:
            raise NeedsPolicy
        keys = self.processors[self.revision]
        if signature["keyid"] not in keys:
            return "key_not_listed"
        return "" if signed(keys[signature["keyid"]], MARK_TYPE, payload, signature["sig"]) else "bad_signature"

    def _whole(self, mark: dict[str, Any]) -> list[bytes] | None:
        found = {(json.loads(value)["i"], value) for value in self.changes.get(mark["attempt"], [])}
        values = [value for _, value in sorted(found)]
        if sorted(i for i, _ in found) != list(range(mark["n"])):
            return None
        return values if sha256(b"".join(values)).hexdigest() == mark["changes_sha256"] else None

    def _apply(self, value: bytes) -> None:
        change = json.loads(value)
        decision = change["decision"]
        if not isinstance(decision, dict) or not all(isinstance(decision.get(name), str) for name in ("node_id", "profile_id")):
            self.eligible = {}
            return
        key = f"{decision['node_id']}/{decision['profile_id']}"
        if not _CHANGE.is_valid(change):
            self.eligible.pop(key, None)
            return
        passed = set(decision["gates"].values()) == {"pass"} and not decision["failing"]
        self.eligible[key] = decision["eligible"] and passed
