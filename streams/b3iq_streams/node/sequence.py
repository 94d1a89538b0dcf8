"""Where a node stands in its own sequence, on disk before anything is signed with it; no (boot, seq) is ever used twice.

Each process raises `boot` once, before its first heartbeat, and counts `seq` from 1 within it. The file names the boot and
the last number of a block that may be used; both are on disk (content, name and directory) before the first of the block
is given out. So whatever instant a process dies in, its numbers lie at or below what the file says, and the next process
begins above. What the file cannot know (it was lost, or put back from a backup) comes from the log: see `lookback.py`.
"""

import errno
import os
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from b3iq_schemas.ids import INT_MAX, Contract, Count, NetworkId, NodeId
from b3iq_streams.errors import UserError, first_problem
from b3iq_streams.private_files import sync_directory

BLOCK = 64
"""One write of the file for so many heartbeats."""
FILE_BYTES_MAX = 4096
UNSEEN_BOOTS = 50
"""How far to jump when the log, as far as it was read, has nothing of this node: a file from a backup may be so many behind.
Well below what policy lets a boot jump (`boot_jump_max`), so that a few such starts in a row are no offence."""


class Place(NamedTuple):
    """One heartbeat's place; they are ordered."""

    boot: int
    seq: int


class Kept(Contract):
    """What the file holds: every place up to (boot, reserved) may have been used."""

    network: NetworkId
    node_id: NodeId
    boot: Count
    reserved: Count


class Sequence:
    """The sequence of one node, kept in one file. One process at a time: `instance.py` sees to that."""

    def __init__(self, path: Path, network: str, node_id: str) -> None:
        """Reads the file if there is one; raises UserError if it is damaged or another node's."""
        self._path, self._network, self._node_id = path, network, node_id
        self.kept = self._read()
        self._seq = 0
        self._begun = False

    def begin(self, logged_boot: int | None, now_s: int) -> int:
        """Start a new boot above every earlier one and return it; nothing is written yet.

        `logged_boot` = the highest in the log, None if no heartbeat of the node was found. A node of which nothing is
        known begins with the time in seconds: higher than whatever was lost, unless that restarted every second. With a
        file and nothing in the log, it leaves `UNSEEN_BOOTS` out. Raises UserError if there is no higher one.
        """
        if self.kept is None:
            self._boot = now_s if logged_boot is None else logged_boot + 1
        elif logged_boot is None:
            self._boot = self.kept.boot + UNSEEN_BOOTS
        else:
            self._boot = max(self.kept.boot, logged_boot) + 1
        if self._boot > INT_MAX:
            raise UserError(f"boot {self._boot} is beyond what a heartbeat can say: take a new node_id")
        self._seq, self._limit, self._begun = 0, 0, True
        return self._boot

    def next(self) -> Place:
        """The next place; it is on disk when this returns. Raises UserError if it cannot be."""
        assert self._begun
        if self._seq == self._limit:
            self._reserve(self._limit + BLOCK)
        self._seq += 1
        return Place(self._boot, self._seq)

    def _reserve(self, limit: int) -> None:
        if self._read() != self.kept:
            raise UserError(f"{self._path} was changed by somebody else: is another agent running with this identity?")
        kept = Kept(network=self._network, node_id=self._node_id, boot=self._boot, reserved=limit)
        try:
            self._write(orjson.dumps(kept.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise UserError(f"{self._path} cannot be written, so no heartbeat may be sent: {error.strerror}") from None
        self.kept, self._limit = kept, limit

    def _write(self, content: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if os.write(descriptor, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(fresh, self._path)
        sync_directory(self._path.parent)

    def _read(self) -> Kept | None:
        try:
            with self._path.open("rb") as file:
                raw = file.read(FILE_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}") from None
        try:
            kept = Kept.model_validate_json(raw)
        except ValidationError as error:
            raise UserError(
                f"{self._path} is damaged ({first_problem(error)}): remove it, and the agent finds its place in the log"
            ) from None
        if (kept.network, kept.node_id) != (self._network, self._node_id):
            raise UserError(f"{self._path} is the sequence of {kept.node_id} in {kept.network}")
        return kept
