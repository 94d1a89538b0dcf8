"""API keys of callers who have calls routed: a file of hashes with what each key may ask for. No key is ever kept.

Keys are random (256 bits), so a plain hash of one tells nothing about it and needs no salt.
"""

import hmac
import os
import secrets
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Self

import orjson
from pydantic import Field, ValidationError, model_validator

from b3iq_schemas.ids import Contract, ModelId, Sha256Hex, Token
from b3iq_streams.errors import UserError, first_problem

PREFIX = "b3iq_gateway_"
SECRET_BYTES = 32
KEY_CHARS_MAX = 128
FILE_BYTES_MAX = 16 * 1024 * 1024
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class KeyEntry(Contract):
    """One key: its name for people, its hash, and its scope. A list that is absent does not restrict."""

    name: Name
    sha256: Annotated[Sha256Hex, Field(repr=False)]
    models: Annotated[tuple[ModelId, ...], Field(max_length=1_024)] | None = None
    tiers: Annotated[tuple[Token, ...], Field(max_length=32)] | None = None

    def covers(self, model: str, tiers: Sequence[str] | None) -> bool:
        """Whether a request for a model on these tiers (None: on any) lies within the key's scope."""
        if self.models is not None and model not in self.models:
            return False
        return self.tiers is None or (tiers is not None and set(tiers) <= set(self.tiers))


class KeyFile(Contract):
    """What the file holds."""

    keys: Annotated[tuple[KeyEntry, ...], Field(max_length=10_000)] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({key.name for key in self.keys}) != len(self.keys) or len({key.sha256 for key in self.keys}) != len(self.keys):
            raise ValueError("two keys have the same name or the same hash")
        return self


class ApiKeys:
    """The keys of a file, to be looked up."""

    def __init__(self, content: KeyFile) -> None:
        self._by_hash = {key.sha256: key for key in content.keys}

    def find(self, key: str) -> KeyEntry | None:
        """The entry of a key; None if there is none.

        The look-up is by the hash of what was sent: how long it takes depends on bytes that no caller can choose.
        """
        if not key.startswith(PREFIX) or len(key) > KEY_CHARS_MAX:
            return None
        hashed = _hash(key)
        entry = self._by_hash.get(hashed)
        return entry if entry is not None and hmac.compare_digest(entry.sha256, hashed) else None


def new_key(name: str, models: Sequence[str] | None, tiers: Sequence[str] | None) -> tuple[str, KeyEntry]:
    """A random key and its entry; raises UserError for a name or scope that cannot be."""
    key = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    try:
        entry = KeyEntry(
            name=name,
            sha256=_hash(key),
            models=None if models is None else tuple(models),
            tiers=None if tiers is None else tuple(tiers),
        )
    except ValidationError as error:
        raise UserError(f"no such key can be made: {first_problem(error)}") from None
    return key, entry


def load(path: Path) -> KeyFile:
    """The content of a key file; refuses one that others may read, since a hash is to be kept as close as its key."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise UserError(f"API key file {path}: {error.strerror}") from None
    if mode & 0o077:
        raise UserError(f"API key file {path} is open to others (mode {mode & 0o777:04o}): run chmod 600 {path}")
    try:
        return KeyFile.model_validate_json(raw)
    except ValidationError as error:
        raise UserError(f"{path} is not a file of API keys: {first_problem(error)}") from None


def save(content: KeyFile, path: Path) -> None:
    """Write a key file with mode 0600, in one step."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # made with mode 0600
            file.write(orjson.dumps(content.model_dump(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except OSError as error:
        raise UserError(f"API key file {path}: {error.strerror}") from None


def _hash(key: str) -> str:
    return sha256(key.encode(errors="surrogatepass")).hexdigest()
