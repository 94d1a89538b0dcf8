"""A secret seed under a passphrase: Argon2id makes the key, XSalsa20-Poly1305 closes the box. Knows no files and no prompts."""

from typing import Annotated, Literal, Self

import nacl.utils
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from pydantic import Field

from b3iq_schemas.ids import Contract

OPS = argon2id.OPSLIMIT_MODERATE
MEMORY_BYTES = argon2id.MEMLIMIT_MODERATE
OPS_MAX = 16
MEMORY_BYTES_MAX = 1 << 30
"""What a file may ask for; a file with larger numbers was made to exhaust whoever opens it."""


class SealedSeed(Contract):
    """A seed in its box, with everything but the passphrase that opens it."""

    kdf: Literal["argon2id"]
    ops: Annotated[int, Field(ge=argon2id.OPSLIMIT_MIN, le=OPS_MAX)]
    memory_bytes: Annotated[int, Field(ge=argon2id.MEMLIMIT_MIN, le=MEMORY_BYTES_MAX)]
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    box: Annotated[str, Field(pattern=r"^[0-9a-f]{144}$")]
    """Nonce and box: 24 + 16 + 32 bytes."""

    @classmethod
    def close(cls, seed: bytes, passphrase: bytes) -> Self:
        """Seal 32 bytes, at the price of `OPS` and `MEMORY_BYTES` a guess."""
        salt = nacl.utils.random(argon2id.SALTBYTES)
        key = argon2id.kdf(SecretBox.KEY_SIZE, passphrase, salt, OPS, MEMORY_BYTES)
        box = SecretBox(key).encrypt(seed)
        return cls(kdf="argon2id", ops=OPS, memory_bytes=MEMORY_BYTES, salt=salt.hex(), box=bytes(box).hex())

    def open(self, passphrase: bytes) -> bytes | None:
        """The seed; None if this is not the passphrase, or the box was changed."""
        key = argon2id.kdf(SecretBox.KEY_SIZE, passphrase, bytes.fromhex(self.salt), self.ops, self.memory_bytes)
        try:
            return SecretBox(key).decrypt(bytes.fromhex(self.box))
        except CryptoError:
            return None
