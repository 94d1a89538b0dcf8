"""A secured cluster for tests: certificates made anew each time, a user per role, and how each of them connects."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from b3iq_schemas.topics import PRINCIPALS
from b3iq_streams import acls, kafka
from b3iq_streams.clock import now_ms
from b3iq_streams.devkafka import HOST, LocalKafka
from b3iq_streams.devkafka_secured import BROKER, Secured
from b3iq_streams.settings import KafkaSettings


@dataclass(frozen=True)
class Pem:
    """A certificate with its chain, and its key, as files."""

    cert: Path
    key: Path


class Certificates:
    """An authority of the test's own, and what it signs."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory, self._authority = directory, trustme.CA()
        self.path = directory / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.path))

    def issue(self, name: str, *, days: int = 1, password: bytes | None = None) -> Pem:
        """A certificate for this host and this common name; negative days: it has expired."""
        now = datetime.fromtimestamp(now_ms() / 1_000, UTC)
        until = now + timedelta(days=days)
        since = min(until, now) - timedelta(days=1)
        made = self._authority.issue_cert(HOST, "localhost", common_name=name, not_after=until, not_before=since)
        pem = Pem(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pem.key.touch(0o600)
        pem.cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        pem.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))
        return pem

    def secured(self, users: Sequence[str] = PRINCIPALS, days: int = 1) -> Secured:
        """Brokers with a certificate of this authority, and these users with passwords of their own."""
        broker = self.issue(BROKER, days=days)
        keystore = self._directory / "broker-keystore.pem"
        keystore.write_bytes(broker.key.read_bytes() + broker.cert.read_bytes())
        return Secured(self.path, keystore, {name: secrets.token_hex(12) for name in (BROKER, *users)})


@dataclass(frozen=True)
class Cluster:
    """Three brokers and what is needed to connect to them."""

    kafka: LocalKafka
    secured: Secured
    certificates: Certificates

    def settings(self, user: str = BROKER) -> KafkaSettings:
        """How a user connects: with a password, over TLS."""
        return self.secured.settings(self.kafka.bootstrap, user)

    def environment(self, user: str) -> dict[str, str]:
        """The same for a program."""
        found = {
            "BOOTSTRAP": self.kafka.bootstrap,
            "SECURITY_PROTOCOL": "SASL_SSL",
            "TLS_CA": str(self.secured.authority),
            "SASL_USERNAME": user,
            "SASL_PASSWORD": self.secured.passwords[user],
        }
        return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
            f"B3IQ_{name}": value for name, value in found.items()
        }

    async def allow(self) -> None:
        """What `topics apply --acls` does about access."""
        async with kafka.admin(self.settings()) as admin:
            await acls.apply(admin, acls.names())
