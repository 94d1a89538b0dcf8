"""A socket to serve HTTP on, or one line that says why there can be none."""

import os
import socket

from b3iq_streams.errors import UserError


def listen(host: str, port: int, backlog: int = 128) -> socket.socket:
    """A listening socket; raises UserError in one line when there can be none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server((address[0], port), family=family, backlog=backlog)
    except socket.gaierror as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from None
    except UnicodeError:
        raise UserError(f"cannot listen on {host}:{port}: no such host") from None
