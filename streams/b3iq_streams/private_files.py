"""Files that only their owner may read: refused when they are open to others, and written so that they never are."""

import os
from pathlib import Path

from b3iq_streams.errors import UserError

OPEN_TO_OTHERS = 0o077


def read_private(path: Path, what: str, bytes_max: int) -> bytes:
    """A file of up to `bytes_max` bytes; raises UserError if it is larger, or if group or others may do anything with it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise UserError(f"{what} {path}: {getattr(error, 'strerror', None) or error}") from None
    if mode & OPEN_TO_OTHERS:
        raise UserError(f"{what} {path} is open to others (mode {mode & 0o777:04o}): run chmod 600 {path}")
    if len(raw) > bytes_max:
        raise UserError(f"{what} {path} is larger than {bytes_max} bytes")
    return raw


def sync_directory(directory: Path) -> None:
    """Have a file's new name reach the disk, and not only its content."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
