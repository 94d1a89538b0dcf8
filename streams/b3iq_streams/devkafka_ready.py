"""Whether a node of a local Kafka serves clients, asked without a client."""

import socket
import ssl
import struct


def brokers_seen(host: str, port: int, context: ssl.SSLContext | None = None) -> int:
    """Ask a node how many live brokers it knows (Metadata v1, no topics); 0 while it does not answer."""
    body = struct.pack(">hhih5si", 3, 1, 1, 5, b"ready", 0)
    try:
        with (
            socket.create_connection((host, port), timeout=1) as plain,
            context.wrap_socket(plain, server_hostname=host) if context else plain as connection,
        ):
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as answer:
                head = answer.read(12)
    except OSError:
        return 0
    return int(struct.unpack(">iii", head)[2]) if len(head) == 12 else 0
