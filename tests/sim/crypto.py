"""Real Ed25519, each signature made and checked once: keys by name, and a `verify` that remembers its answers."""

from functools import lru_cache

from nacl.signing import SigningKey

from b3iq_schemas import envelope
from tests import factory


@lru_cache(maxsize=256)
def key(name: str) -> SigningKey:
    """The signing key with this name."""
    return factory.key(name)


@lru_cache(maxsize=256)
def listed_key(node_id: str, signer: str) -> dict[str, str]:
    """The entry of a registration that lists this signer's key."""
    return factory.node_key(node_id, signer)


@lru_cache(maxsize=20_000)
def verify(public_key: bytes, message: bytes, sig: bytes) -> bool:
    """Whether the signature verifies."""
    return envelope.verify(public_key, message, sig)
