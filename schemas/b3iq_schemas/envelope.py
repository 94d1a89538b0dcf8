"""DSSE v1 envelopes over exact bytes with Ed25519 (https://github.com/secure-systems-lab/dsse, protocol.md).

Authenticate first, parse later: nothing here looks inside a payload. A key id is a hint for finding a key, never a
decision; signatures are never compared or used to recognise duplicates, since one message has many valid ones.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import orjson
import pybase64
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from b3iq_schemas.codes import Refusal

SIGNATURES_MAX = 16
_FIELDS = {"payload", "payloadType", "signatures"}
_SIGNATURE_FIELDS = {"keyid", "sig"}


class EnvelopeError(ValueError):
    """The bytes are no envelope; `code` says in which way."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code.value)
        self.code = code


class Signature(NamedTuple):
    """`keyid` as written, `sig` = 64 raw bytes."""

    keyid: str
    sig: bytes


class Envelope(NamedTuple):
    """A parsed envelope: the exact payload bytes, their type, and the signatures in order."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    @property
    def signed_bytes(self) -> bytes:
        """The bytes every signature is over: DSSE's pre-authentication encoding."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: `DSSEv1 SP len(type) SP type SP len(payload) SP payload`."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def keyid(public_key: bytes) -> str:
    """Lower-case hex SHA-256 of the 32 raw public key bytes."""
    return hashlib.sha256(public_key).hexdigest()


def is_safe_key(public_key: bytes) -> bool:
    """Whether the bytes are an Ed25519 point of the main subgroup (all-zero and small-order keys are not)."""
    return len(public_key) == 32 and bool(crypto_core_ed25519_is_valid_point(public_key))


def verify(public_key: bytes, message: bytes, sig: bytes) -> bool:
    """Whether `sig` is the key's Ed25519 signature over `message`; wrong lengths are simply False."""
    if len(sig) != 64 or len(public_key) != 32:
        return False
    try:
        crypto_sign_open(sig + message, public_key)
    except BadSignatureError:
        return False
    return True


def sign(payload_type: str, payload: bytes, keys: list[SigningKey]) -> bytes:
    """One envelope with a signature by each key, as the canonical JSON bytes to put in a record's value."""
    message = pae(payload_type, payload)
    return seal(payload_type, payload, {bytes(key.verify_key): key.sign(message).signature for key in keys})


def seal(payload_type: str, payload: bytes, signatures: Mapping[bytes, bytes]) -> bytes:
    """An envelope from signatures made elsewhere: raw public key → 64 signature bytes."""
    return orjson.dumps(
        {
            "payload": pybase64.b64encode_as_string(payload),
            "payloadType": payload_type,
            "signatures": [{"keyid": keyid(key), "sig": pybase64.b64encode_as_string(sig)} for key, sig in signatures.items()],
        }
    )


def parse(raw: bytes) -> Envelope:
    """The envelope in `raw`. Raises EnvelopeError unless it has exactly DSSE's fields, with standard padded base64."""
    try:
        outer = orjson.loads(raw)
        if type(outer) is not dict or outer.keys() != _FIELDS:
            raise EnvelopeError(Refusal.ENVELOPE_MALFORMED)
        payload_type, listed = outer["payloadType"], outer["signatures"]
        if type(payload_type) is not str or type(listed) is not list:
            raise EnvelopeError(Refusal.ENVELOPE_MALFORMED)
        payload = _unb64(outer["payload"])
        signatures = tuple([_signature(item) for item in listed])
    except EnvelopeError:
        raise
    except (TypeError, ValueError) as error:  # not JSON, not base64, not ASCII
        raise EnvelopeError(Refusal.ENVELOPE_MALFORMED) from error
    if not 1 <= len(signatures) <= SIGNATURES_MAX or len({s.keyid for s in signatures}) != len(signatures):
        raise EnvelopeError(Refusal.ENVELOPE_SIGNATURES)
    return Envelope(payload, payload_type, signatures)


def _signature(item: object) -> Signature:
    if type(item) is not dict or item.keys() != _SIGNATURE_FIELDS or type(item["keyid"]) is not str:
        raise EnvelopeError(Refusal.ENVELOPE_MALFORMED)
    return Signature(item["keyid"], _unb64(item["sig"]))


def _unb64(text: object) -> bytes:
    if type(text) is not str:
        raise TypeError("base64 must be a string")
    raw = pybase64.b64decode(text, validate=True)
    if pybase64.b64encode_as_string(raw) != text:
        raise ValueError("base64 with bits left over: one payload must have one spelling")
    return raw
