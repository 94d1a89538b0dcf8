"""Ed25519 key files: one secret seed each, readable by their owner only, sealed under a passphrase or not.

Every command loads its keys here. Does not know what a key may sign.
"""

import os
from pathlib import Path
from typing import Annotated

import orjson
from nacl.signing import SigningKey
from pydantic import Field, ValidationError

from b3iq_schemas.envelope import keyid, pae
from b3iq_schemas.events import POSSESSION_V1, possession_payload
from b3iq_schemas.ids import Contract, PublicKeyHex, Sha256Hex
from b3iq_streams import passphrases
from b3iq_streams.errors import UserError, first_problem
from b3iq_streams.private_files import read_private, sync_directory
from b3iq_streams.sealing import SealedSeed

FILE_BYTES_MAX = 4096


class _Public(Contract):
    """The public half; it follows from the seed, and is there for people."""

    public_key: PublicKeyHex
    keyid: Sha256Hex


class KeyFile(_Public):
    """What a key file holds."""

    secret_seed: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]


class SealedKeyFile(_Public):
    """The same under a passphrase."""

    sealed_seed: SealedSeed


def public_hex(key: SigningKey) -> str:
    """The public key as it stands in policies, registrations and trust files."""
    return bytes(key.verify_key).hex()


def save(key: SigningKey, path: Path, passphrase: bytes | None = None) -> None:
    """Write a key file with mode 0600, sealed if there is a passphrase; refuses to replace anything.

    Raises UserError, and leaves no part of a file, if it cannot be written.
    """
    public, seed = bytes(key.verify_key), bytes(key)
    half = {"public_key": public.hex(), "keyid": keyid(public)}
    content: Contract
    if passphrase is None:
        content = KeyFile(**half, secret_seed=seed.hex())
    else:
        content = SealedKeyFile(**half, sealed_seed=SealedSeed.close(seed, passphrase))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UserError(f"{path} exists already; a key is never overwritten") from None
    except OSError as error:
        raise UserError(f"key file {path}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(content.model_dump(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UserError(f"key file {path} cannot be written: {error.strerror}") from None


def load(path: Path, passphrase: bytes | None = None) -> SigningKey:
    """The key in a key file; refuses a file that others may read, or that contradicts itself.

    A sealed one is opened with the passphrase given, else with the one that `passphrases.ask` finds.
    """
    content = read(path)
    if isinstance(content, KeyFile):
        seed: bytes | None = bytes.fromhex(content.secret_seed)
    else:
        seed = content.sealed_seed.open(passphrases.ask(path) if passphrase is None else passphrase)
    if seed is None:
        raise UserError(f"key file {path}: wrong passphrase, or the file was changed")
    key = SigningKey(seed)
    public = bytes(key.verify_key)
    if (content.public_key, content.keyid) != (public.hex(), keyid(public)):
        raise UserError(f"key file {path} contradicts itself: public key and seed do not belong together")
    return key


def read(path: Path) -> KeyFile | SealedKeyFile:
    """A key file as it stands, without opening a sealed seed."""
    raw = read_private(path, "key file", FILE_BYTES_MAX)
    kind: type[KeyFile | SealedKeyFile] = SealedKeyFile if b'"sealed_seed"' in raw else KeyFile
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise UserError(f"{path} is not a key file: {first_problem(error)}") from None


def possession(key: SigningKey, network: str, node_id: str) -> dict[str, str]:
    """A registration's entry for a node's key: the public key, and the proof that its owner has the secret."""
    claim = possession_payload(network, node_id, bytes(key.verify_key))
    return {"public_key": public_hex(key), "proof": key.sign(pae(POSSESSION_V1, claim)).signature.hex()}
