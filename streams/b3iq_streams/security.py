"""How a client proves who it is to Kafka, and how it knows the brokers: TLS, mTLS, SASL, as every client is told it.

What contradicts itself, cannot be read, does not fit together or has expired is found here, before anything connects.
Secrets are `SecretStr`: no log, repr or message of ours contains one, and none is ever taken from the command line. A file
with a secret in it that everybody on the machine can read is refused; its group may, as that is how secrets are mounted.
"""

import os
import ssl
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings

from b3iq_streams.clock import now_ms
from b3iq_streams.errors import UserError

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]
_TLS = ("tls_ca", "tls_cert", "tls_key", "tls_key_password", "tls_key_password_file")
_SASL = ("sasl_username", "sasl_password", "sasl_password_file")
SECRET_BYTES_MAX = 4_096
FILE_BYTES_MAX = 4 << 20
"""More than any list of authorities: what is larger is another file."""


class SecurityError(UserError):
    """Settings, or files that they name, with which nothing can be connected; a file may be right again a moment later."""


class SecuritySettings(BaseSettings):
    """What every client of Kafka takes beside the address. Hostnames are always verified where there is TLS."""

    security_protocol: Protocol = "PLAINTEXT"
    tls_ca: Path | None = None
    """PEM file of the authorities that sign brokers; None: those of the system."""
    tls_cert: Path | None = None
    """PEM file of the client's certificate and its chain (mTLS)."""
    tls_key: Path | None = None
    tls_key_password: SecretStr | None = None
    tls_key_password_file: Path | None = None
    sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._no_contradiction()
        if self.uses_tls:
            self._context()
        if self.uses_sasl:
            self._password()
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether the client has a name and a password."""
        return self.security_protocol.startswith("SASL_")

    @property
    def aiokafka_security(self) -> dict[str, Any]:
        """aiokafka's arguments, which are Faust's too. Contains the password."""
        found: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.uses_tls:
            found["ssl_context"] = self._context()
        if self.uses_sasl:
            found |= {"sasl_mechanism": self.sasl_mechanism, "sasl_plain_username": self.sasl_username}
            found["sasl_plain_password"] = self._password()
        return found

    @property
    def librdkafka_security(self) -> dict[str, str]:
        """The same for clients on librdkafka. Contains the passwords."""
        found: dict[str, str] = {"security.protocol": self.security_protocol}
        if self.uses_tls:
            found["ssl.endpoint.identification.algorithm"] = "https"
            files = {"ssl.ca.location": self.tls_ca, "ssl.certificate.location": self.tls_cert, "ssl.key.location": self.tls_key}
            found |= {name: str(path) for name, path in files.items() if path is not None}
            if (password := self._key_password()) is not None:
                found["ssl.key.password"] = password
        if self.uses_sasl:
            found |= {"sasl.mechanism": self.sasl_mechanism, "sasl.username": self.sasl_username or ""}
            found["sasl.password"] = self._password()
        return found

    def _no_contradiction(self) -> None:
        protocol = self.security_protocol
        if not self.uses_tls and (idle := self._first(_TLS)):
            raise SecurityError(f"{idle} is given, but security_protocol is {protocol}, which has no TLS")
        if not self.uses_sasl and (idle := self._first(_SASL)):
            raise SecurityError(f"{idle} is given, but security_protocol is {protocol}, which has no SASL")
        for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert"), ("tls_key_password", "tls_key"),
                           ("tls_key_password_file", "tls_key")):  # fmt: skip
            if self._has(one) and not self._has(other):
                raise SecurityError(f"{one} is given without {other}")
        for one in ("tls_key_password", "sasl_password"):
            if self._has(one) and self._has(f"{one}_file"):
                raise SecurityError(f"{one} and {one}_file exclude each other: give one")
        if self.uses_sasl and not self.sasl_username:
            raise SecurityError(f"security_protocol is {protocol}, but sasl_username is missing: set B3IQ_SASL_USERNAME")
        if self.uses_sasl and self.sasl_password is None and self.sasl_password_file is None:
            raise SecurityError(
                f"security_protocol is {protocol}, but there is no password: set B3IQ_SASL_PASSWORD_FILE or B3IQ_SASL_PASSWORD"
            )

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    def _first(self, names: Sequence[str]) -> str | None:
        return next(filter(self._has, names), None)

    def _password(self) -> str:
        password = _secret(self.sasl_password, self.sasl_password_file, "sasl_password")
        assert password is not None
        return password

    def _key_password(self) -> str | None:
        return _secret(self.tls_key_password, self.tls_key_password_file, "tls_key_password")

    def _context(self) -> ssl.SSLContext:
        """What both checks the files and connects with them: hostname verification on, TLS 1.2 or newer."""
        if self.tls_ca is not None:
            _check_certificates(self.tls_ca, "tls_ca")
        context = ssl.create_default_context(cafile=self.tls_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.tls_cert is not None and self.tls_key is not None:
            _check_certificates(self.tls_cert, "tls_cert")
            _read_secret(self.tls_key, "tls_key")
            password = self._key_password()
            try:
                # Never None: OpenSSL would ask the terminal for the password of an encrypted key.
                context.load_cert_chain(self.tls_cert, self.tls_key, password or "")
            except (ssl.SSLError, ValueError) as error:
                raise SecurityError(_key_problem(self.tls_key, self.tls_cert, password, error)) from None
        return context


def _key_problem(key: Path, cert: Path, password: str | None, error: Exception) -> str:
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"tls_key {key} is not the key of the certificate {cert}"
    if b"ENCRYPTED" in _read_secret(key, "tls_key"):
        return f"tls_key {key} is encrypted, and " + ("the password is wrong" if password else "there is no tls_key_password")
    return f"tls_key {key} is not a private key in PEM form"


def _secret(given: SecretStr | None, path: Path | None, name: str) -> str | None:
    """A secret from a setting or a file; a line end at its end is not part of it."""
    if given is None and path is None:
        return None
    if path is not None:
        found = _read_secret(path, f"{name}_file").rstrip(b"\r\n")
    else:
        found = given.get_secret_value().encode() if given is not None else b""
    source = f"{name}_file {path}" if path is not None else name
    if not found or len(found) > SECRET_BYTES_MAX or b"\n" in found or b"\0" in found:
        raise SecurityError(f"{source} is {'empty' if not found else 'not a password: it should be one line'}")
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise SecurityError(f"{source} is not a password: it should be UTF-8") from None


def _read_secret(path: Path, name: str) -> bytes:
    """A file with a secret in it; raises SecurityError if it cannot be read, or if everybody can."""
    return _read(path, name, private=True)


def _read(path: Path, name: str, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if private and mode & 0o007:
                raise SecurityError(
                    f"{name} {path} is open to everybody on this machine (mode {mode:04o}): chmod o= it, or mount it as 0440"
                )
            found = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise SecurityError(f"{name} {path}: {getattr(error, 'strerror', None) or error}") from None
    if len(found) > FILE_BYTES_MAX:
        raise SecurityError(f"{name} {path} is larger than any such file: more than {FILE_BYTES_MAX >> 20} MiB")
    return found


def _check_certificates(path: Path, name: str) -> None:
    """Raise SecurityError unless the file holds certificates of which the first is valid now (of authorities: any)."""
    from cryptography import x509  # only who uses TLS waits for its import

    try:
        found = x509.load_pem_x509_certificates(_read(path, name))
    except ValueError:
        raise SecurityError(f"{name} {path} is not a certificate in PEM form") from None
    now = datetime.fromtimestamp(now_ms() / 1_000, UTC)
    used = found if name == "tls_ca" else found[:1]
    if all(certificate.not_valid_after_utc < now for certificate in used):
        raise SecurityError(f"{name} {path} expired at {max(c.not_valid_after_utc for c in used):%Y-%m-%dT%H:%M:%SZ}")
    if all(certificate.not_valid_before_utc > now for certificate in used):
        raise SecurityError(f"{name} {path} is not valid before {min(c.not_valid_before_utc for c in used):%Y-%m-%dT%H:%M:%SZ}")
