"""Ed25519 key files: one secret seed each, readable by their owner only. Does not know what a key may sign."""

import os
from pathlib import Path
from typing import Annotated

import orjson
from nacl.signing import SigningKey
from pydantic import Field, ValidationError

from b3iq_schemas.envelope import keyid, pae
from b3iq_schemas.events import POSSESSION_V1, possession_payload
from b3iq_schemas.ids import Contract, PublicKeyHex, Sha256Hex
from b3iq_streams.errors import UserError, first_problem


class KeyFile(Contract):
    """What a key file holds; the id and the public key follow from the seed and are there for people."""

    public_key: PublicKeyHex
    keyid: Sha256Hex
    secret_seed: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]


def public_hex(key: SigningKey) -> str:
    """The public key as it stands in policies, registrations and trust files."""
    return bytes(key.verify_key).hex()


def save(key: SigningKey, path: Path) -> None:
    """Write a key file with mode 0600; refuses to replace anything."""
    public = bytes(key.verify_key)
    content = KeyFile(public_key=public.hex(), keyid=keyid(public), secret_seed=bytes(key).hex())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UserError(f"{path} exists already; a key is never overwritten") from None
    except OSError as error:
        raise UserError(f"key file {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(content.model_dump(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> SigningKey:
    """The key in a key file; refuses a file that others may read, or that contradicts itself."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(4096)
    except OSError as error:
        raise UserError(f"key file {path}: {error.strerror}") from None
    if mode & 0o077:
        raise UserError(f"key file {path} is open to others (mode {mode & 0o777:04o}): run chmod 600 {path}")
    try:
        content = KeyFile.model_validate_json(raw)
    except ValidationError as error:
        raise UserError(f"{path} is not a key file: {first_problem(error)}") from None
    key = SigningKey(bytes.fromhex(content.secret_seed))
    public = bytes(key.verify_key)
    if (content.public_key, content.keyid) != (public.hex(), keyid(public)):
        raise UserError(f"key file {path} contradicts itself: public key and seed do not belong together")
    return key


def possession(key: SigningKey, network: str, node_id: str) -> dict[str, str]:
    """A registration's entry for a node's key: the public key, and the proof that its owner has the secret."""
    claim = possession_payload(network, node_id, bytes(key.verify_key))
    return {"public_key": public_hex(key), "proof": key.sign(pae(POSSESSION_V1, claim)).signature.hex()}
