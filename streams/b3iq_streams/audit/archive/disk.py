"""Files that are there whole or not at all, also after a crash, and one writer at a time. Knows nothing of what they hold."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from b3iq_streams.errors import UserError

UNFINISHED = ".new"
"""What a file's name ends with while it is written."""


def unfinished(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(path.name + UNFINISHED)


def replace(path: Path, content: bytes) -> None:
    """Put a small file there in one step, on the disk when this returns."""
    unfinished(path).write_bytes(content)
    publish(path)


def publish(path: Path) -> None:
    """Give what was written its name, once the disk has it."""
    _settle(unfinished(path))
    os.replace(unfinished(path), path)
    _settle(path.parent)


def make_folder(path: Path) -> None:
    """A directory and those above it, on the disk when this returns."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _settle(folder.parent)


def _settle(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def sole_writer(directory: Path) -> Iterator[None]:
    """Nobody else writes to the directory meanwhile. Raises UserError if somebody does; a crash leaves nothing behind."""
    held = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{directory}: another export is writing there") from None
        yield
    finally:
        os.close(held)
