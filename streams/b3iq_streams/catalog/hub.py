"""Changes on their way to readers: one ring for all of them, in which each reader keeps its place.

A reader costs a number, however slow it is; one that the ring has overtaken is told so and ends. No sockets and no clock
but the event loop's; what the frames say is decided elsewhere.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from b3iq_streams.catalog.positions import ALL, Place, Position, encode

KEEP_ALIVE = b": keep-alive\n\n"
CHUNK_EVENTS = 256


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Bounds of memory, and how often silence is broken."""

    readers_max: int = 200
    events_max: int = 4_096
    bytes_max: int = 8 * 1024 * 1024
    keep_alive_s: float = 10.0


class TooManyReaders(Exception):
    """There are as many readers as may be."""


class _Entry(NamedTuple):
    partition: int
    place: Place
    """Where a reader stands that has seen it."""
    frame: bytes


def frame(event: str, data: bytes, position: str = "") -> bytes:
    """One server-sent event; `data` without line breaks."""
    identity = f"id: {position}\n".encode() if position else b""
    return b"event: %b\n%bdata: %b\n\n" % (event.encode(), identity, data)


class Hub:
    """The ring, the latest status, and who reads them."""

    def __init__(self, epochs: Sequence[int], settings: HubSettings) -> None:
        self.settings = settings
        self._places = {partition: Place(epoch) for partition, epoch in enumerate(epochs)}
        self._floor = dict(self._places)
        """Everything after these is in the ring."""
        self._ring: deque[_Entry] = deque()
        self._ring_bytes = 0
        self._first, self._era, self._status_number = 0, 0, 0
        self._status = b""
        self._readers: set[Reader] = set()
        self.closed = False

    @property
    def readers(self) -> int:
        """How many there are."""
        return len(self._readers)

    @property
    def position(self) -> str:
        """Where a reader stands that has seen everything."""
        return encode(self._places.items())

    def publish(self, partition: int, epoch: int, events: Sequence[bytes]) -> None:
        """The changes of one epoch, in order."""
        for seen, data in enumerate(events, start=1):
            place = Place(epoch, ALL if seen == len(events) else seen)
            self._places[partition] = place
            self._append(_Entry(partition, place, frame("change", data, self.position)))
        self._places[partition] = Place(epoch)
        if events:
            self._wake()

    def skip(self, partition: int, epoch: int) -> None:
        """An epoch whose changes are not told: nobody can resume from before it."""
        self._places[partition] = self._floor[partition] = Place(epoch)

    def reset(self, epochs: Sequence[int]) -> None:
        """Whoever reads must look again at everything: the partitions stand at these epochs now."""
        self._first += len(self._ring)
        self._ring.clear()
        self._ring_bytes = 0
        self._places = {partition: Place(epoch) for partition, epoch in enumerate(epochs)}
        self._floor = dict(self._places)
        self._era += 1
        self._wake()

    def status(self, data: bytes) -> None:
        """How things stand, from now on."""
        self._status, self._status_number = data, self._status_number + 1
        self._wake()

    def open(self, since: Position | None, resuming: bool) -> "Reader":
        """A new reader, from a position on if `resuming`; it is told to look again where that is not possible."""
        if len(self._readers) >= self.settings.readers_max:
            raise TooManyReaders
        reader = Reader(self, since if resuming and since and self._covers(since) else None, resuming)
        self._readers.add(reader)
        return reader

    def close(self) -> None:
        """End every reader."""
        self.closed = True
        self._wake()

    def _covers(self, since: Position) -> bool:
        return since.keys() == self._places.keys() and all(
            self._floor[partition] <= place <= self._places[partition] for partition, place in since.items()
        )

    def _append(self, entry: _Entry) -> None:
        self._ring.append(entry)
        self._ring_bytes += len(entry.frame)
        while len(self._ring) > self.settings.events_max or self._ring_bytes > self.settings.bytes_max:
            oldest = self._ring.popleft()
            self._floor[oldest.partition] = oldest.place
            self._ring_bytes -= len(oldest.frame)
            self._first += 1

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()


class Reader:
    """One reader's place. `frames` is what it is to be sent, until it is closed."""

    def __init__(self, hub: Hub, since: Position | None, resuming: bool) -> None:
        self._hub, self._since = hub, since or {}
        self._end_at_open = hub._first + len(hub._ring)
        self._next = hub._first if since is not None else self._end_at_open
        self._era = hub._era if since is not None or not resuming else -1
        self._status_number = 0
        self._news = asyncio.Event()
        self._closed = False

    def wake(self) -> None:
        """There may be something to send."""
        self._news.set()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._hub._readers.discard(self)
        self.wake()

    async def frames(self) -> AsyncIterator[bytes]:
        """Status, then what is due, then whatever comes; a comment whenever nothing did for a while."""
        yield self._status()
        while not (self._closed or self._hub.closed):
            self._news.clear()
            due = self._due()
            if due is None:
                yield frame("lagged", b"{}")
                return
            if due:
                yield due
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._hub.settings.keep_alive_s):
                    await self._news.wait()
            if not self._news.is_set():
                yield KEEP_ALIVE

    def _due(self) -> bytes | None:
        """The next bytes, b"" for none now; None when they are not in the ring any more."""
        hub = self._hub
        if self._era != hub._era:
            self._era, self._next, self._since = hub._era, hub._first + len(hub._ring), {}
            return frame("reset", b"{}", hub.position) + self._status()
        while self._next < (end := hub._first + len(hub._ring)):
            if self._next < hub._first:
                return None
            first, self._next = self._next - hub._first, min(self._next + CHUNK_EVENTS, end)
            unseen = [entry.frame for entry in islice(hub._ring, first, self._next - hub._first) if not self._saw(entry)]
            if unseen:
                return b"".join(unseen)
        return self._status() if self._status_number != hub._status_number else b""

    def _saw(self, entry: _Entry) -> bool:
        place = self._since.get(entry.partition)
        return place is not None and entry.place <= place

    def _status(self) -> bytes:
        """The latest status; with a position to resume from once everything before it was sent."""
        hub = self._hub
        self._status_number = hub._status_number
        complete = self._era == hub._era and self._next == hub._first + len(hub._ring)
        return frame("status", hub._status, hub.position if complete else "")
