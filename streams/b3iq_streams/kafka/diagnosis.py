"""Why a broker will not have this client, asked on connections of its own: only what is certain, so that nobody retries it.

aiokafka logs why a connection failed, then raises "unable to bootstrap"; librdkafka keeps trying. Neither tells a wrong
password from a broker that is still starting. A broker that is away, or slow, is none of this module's business.
"""

import asyncio
import contextlib
import ssl
import struct
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    NoError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    for_code,
)
from aiokafka.protocol.admin import SaslHandShakeRequest

from b3iq_streams.settings import KafkaSettings

PROBE_S = 3.0
_API_VERSIONS = struct.pack(">ihhih5s", 15, 18, 0, 1, 5, b"probe")


async def refusal(settings: KafkaSettings) -> str | None:
    """What is wrong, in words, if any broker named says for certain that this client cannot get in; else None."""
    for host, port, _ in collect_hosts(settings.bootstrap, randomize=False):
        with contextlib.suppress(OSError, KafkaError, TimeoutError):
            async with asyncio.timeout(PROBE_S):
                if said := await _ask(host, port, settings):
                    return f"{host}:{port} {said}"
    return None


async def _ask(host: str, port: int, settings: KafkaSettings) -> str | None:
    security = settings.aiokafka_security
    try:
        connection = await create_conn(host, port, request_timeout_ms=int(PROBE_S * 1_000), **security)
    except SaslAuthenticationFailed:
        return f"refuses user {settings.sasl_username}: wrong name or password, or no {settings.sasl_mechanism} credentials"
    except UnsupportedSaslMechanismError:
        return f"does not offer the SASL mechanism {settings.sasl_mechanism}"
    except IllegalSaslStateError:
        return f"asks for no user, but security_protocol is {settings.security_protocol}"
    except ssl.SSLCertVerificationError as error:
        return f"has a certificate that is not accepted: {error.verify_message}"
    except (OSError, KafkaError):
        return await _on_the_wire(host, port, settings, security.get("ssl_context"))
    try:
        return await _wants_a_user(connection, settings)
    finally:
        connection.close()


async def _wants_a_user(connection: Any, settings: KafkaSettings) -> str | None:
    """A listener with SASL answers a handshake: takes the mechanism, or has others. One without calls it out of place."""
    if settings.uses_sasl:
        return None
    answer = await connection.send(SaslHandShakeRequest("PLAIN"))
    if for_code(answer.error_code) not in (NoError, UnsupportedSaslMechanismError):
        return None
    return f"asks for a user and a password, but security_protocol is {settings.security_protocol}"


async def _on_the_wire(host: str, port: int, settings: KafkaSettings, context: ssl.SSLContext | None) -> str | None:
    """Which of TLS and plain text the port speaks, and what a TLS peer objects to after the handshake."""
    if context is None:
        if await _speaks_tls(host, port):
            return f"speaks TLS, but security_protocol is {settings.security_protocol}"
        return None
    try:
        if await _answers(host, port, context):
            return None
    except ssl.SSLError as error:
        reason = error.reason or ""
        if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA")):
            if settings.tls_cert is None:
                return "asks for a client certificate, and there is none: set B3IQ_TLS_CERT and B3IQ_TLS_KEY"
            why = reason.partition("ALERT_")[2].lower().replace("_", " ")
            return f"refuses the client certificate {settings.tls_cert}: {why}"
    except OSError:
        pass
    if await _answers(host, port, None):
        return f"speaks no TLS, but security_protocol is {settings.security_protocol}"
    return None


async def _answers(host: str, port: int, context: ssl.SSLContext | None) -> bool:
    """Whether the port answers as a Kafka broker does."""
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(_API_VERSIONS)
        await writer.drain()
        head = await reader.read(8)
        return len(head) == 8 and head[4:] == _API_VERSIONS[8:12]
    finally:
        writer.transport.abort()


async def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only whether it is TLS
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    writer.transport.abort()
    return True
