"""The state directory of one identity, and the lock that lets one agent at a time use it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from b3iq_streams.errors import UserError


def default_root() -> Path:
    """Where agents keep their state unless told otherwise (XDG base directories); raises UserError for a user without a home."""
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "b3iq-node"
    except RuntimeError:
        raise UserError("this user has no home directory: give --state, or set B3IQ_NODE_STATE") from None


@contextmanager
def sole_instance(root: Path, network: str, node_id: str) -> Iterator[Path]:
    """The directory of this identity, locked for the length of a block; the kernel lets go when the process ends.

    Raises UserError if another process holds it. Other machines, and other roots, are not seen from here.
    """
    directory = root / network / node_id
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(f"state directory {directory}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise UserError(f"another agent runs with the identity {node_id} (it holds {directory / 'lock'})") from None
        raise UserError(f"state directory {directory} cannot be locked: {error.strerror}") from None
    try:
        yield directory
    finally:
        os.close(descriptor)
