"""A world of one's own for demos and tests: every key of a small network, its trust file, and a policy with short times.

Whoever holds a directory of it holds all keys at once. A real network never has such a directory: its roots sit apart,
and each role keeps its own key (`b3iq-streams keys new`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import orjson
from nacl.signing import SigningKey

from b3iq_schemas import envelope
from b3iq_schemas.canonical import canonical
from b3iq_schemas.policy import POLICY_V1, Policy, RootTrust
from b3iq_streams import keys, policies
from b3iq_streams.errors import UserError
from b3iq_streams.settings import TrustSettings

TRUST_FILE = "world.json"
ROOTS = 3
THRESHOLD = 2
NODES = "nodes"

DEMO_TIMES: dict[str, Any] = {
    "heartbeat_ttl_ms": 5_000,
    "route_health_ttl_ms": 10_000,
    "registration_ttl_ms": 120_000,
    "benchmark_ttl_ms": 20_000,
    "sent_at_past_ms": 60_000,
    "equivocation_block_ms": 15_000,
    "hold_down": {"flips_max": 3, "window_ms": 60_000, "hold_ms": 15_000},
    "boot_jump_max": 366 * 86_400,
    "refresh_period_ms": 60_000,
    "grace_ms": 5_000,
    "stake_wei_min": "1000",
}
"""What the demo's policy sets otherwise than the template: times that a person can watch pass."""


@dataclass(frozen=True)
class World:
    """The keys of a network: roots, one per role, and the seed from which every simulated node derives its own."""

    network: str
    roots: tuple[SigningKey, ...]
    roles: Mapping[str, SigningKey]
    nodes: SigningKey

    @classmethod
    def generate(cls, network: str = "b3iq-demo", seed: bytes | None = None) -> Self:
        """A new world: random, or always the same for a `seed` (tests only: who knows the seed knows the keys)."""

        def key(name: str) -> SigningKey:
            return SigningKey.generate() if seed is None else SigningKey(sha256(seed + b"/" + name.encode()).digest())

        roots = tuple(key(f"root-{i}") for i in range(ROOTS))
        return cls(network, roots, {role: key(role) for role in policies.ROLES}, key(NODES))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The world in a directory that `save` wrote."""
        trust = TrustSettings(trust=directory / TRUST_FILE).load()
        roots = tuple(keys.load(directory / f"root-{i}.json") for i in range(len(trust.roots)))
        if tuple(map(keys.public_hex, roots)) != trust.roots:
            raise UserError(f"{directory}: the root keys are not those that {TRUST_FILE} trusts")
        roles = {role: keys.load(directory / f"{role}.json") for role in policies.ROLES}
        return cls(trust.network, roots, roles, keys.load(directory / f"{NODES}.json"))

    def save(self, directory: Path) -> None:
        """Write every key and, last, the trust file into a new or empty directory."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise UserError(f"{directory} is not empty, and keys are never overwritten")
            for i, root in enumerate(self.roots):
                keys.save(root, directory / f"root-{i}.json")
            for name, key in {**self.roles, NODES: self.nodes}.items():
                keys.save(key, directory / f"{name}.json")
            trust = orjson.dumps(self.trust.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            (directory / TRUST_FILE).write_bytes(trust)
        except OSError as error:
            raise UserError(f"{directory}: {error.strerror}") from None

    @property
    def trust(self) -> RootTrust:
        """What shells are configured with."""
        return RootTrust(
            network=self.network,
            generation=1,
            roots=tuple(map(keys.public_hex, self.roots)),
            threshold=THRESHOLD,
            genesis_processors=(keys.public_hex(self.roles["processor"]),),
        )

    def node_key(self, node_id: str) -> SigningKey:
        """The identity of a simulated node."""
        return SigningKey(sha256(bytes(self.nodes) + node_id.encode()).digest())


def demo_policy(world: World, now_ms: int, revision: int = 1, **changes: Any) -> Policy:
    """A revision with this world's role keys and times short enough to watch."""
    roles = {role: [keys.public_hex(key)] for role, key in world.roles.items()}
    return policies.template(world.network, revision, roles, now_ms, **(DEMO_TIMES | changes))


def sign_policy(world: World, policy: Policy) -> bytes:
    """The envelope of a revision, signed by as many roots as it takes."""
    return envelope.sign(POLICY_V1, canonical(policy), list(world.roots[:THRESHOLD]))
