"""Values by key as they were at each of the last epochs, and what tells older epochs apart. Judges nothing."""

import os
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar


class OfModel(Protocol):
    """A value about a profile that serves a model."""

    @property
    def model_id(self) -> str:
        """The model."""


Value = TypeVar("Value", bound=OfModel)


class Versions(Generic[Value]):
    """Per key the values it had, each from some epoch on; None: it was forgotten then. Epochs come in ascending order."""

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[int, Value | None]]] = {}
        self._models: dict[str, set[str]] = {}
        self._changed: deque[tuple[int, tuple[str, ...]]] = deque()

    def put(self, epoch: int, values: Mapping[str, Value | None]) -> None:
        """From this epoch on these keys have these values."""
        if not values:
            return
        for key, value in values.items():
            self._values.setdefault(key, []).append((epoch, value))
            if value is not None:
                self._models.setdefault(value.model_id, set()).add(key)
        self._changed.append((epoch, tuple(values)))

    def at(self, epoch: int, key: str) -> Value | None:
        """The value of a key at an epoch that was not forgotten."""
        for since, value in reversed(self._values.get(key, ())):
            if since <= epoch:
                return value
        return None

    def keys(self) -> Iterator[str]:
        """Every key that has a value, or had one lately."""
        return iter(self._values)

    def serving(self, epoch: int, model_id: str) -> Iterator[tuple[str, Value]]:
        """The keys that served a model at an epoch, in no order, with their values."""
        for key in self._models.get(model_id, ()):
            value = self.at(epoch, key)
            if value is not None and value.model_id == model_id:
                yield key, value

    def forget(self, epoch: int) -> Iterator[tuple[str, Value | None]]:
        """Forget what was replaced at or before an epoch. Yields each key left with a single value; read it to the end."""
        while self._changed and self._changed[0][0] <= epoch:
            for key in self._changed.popleft()[1]:
                if key in self._values:
                    self._trim(key, epoch)
                    if len(left := self._values[key]) == 1:
                        yield key, left[0][1]

    def drop(self, key: str) -> None:
        """Forget a key altogether."""
        for _, value in self._values.pop(key, ()):
            if value is not None:
                self._unlist(value.model_id, key)

    def _trim(self, key: str, epoch: int) -> None:
        found = self._values[key]
        first = max((at for at, (since, _) in enumerate(found) if since <= epoch), default=0)
        kept = self._values[key] = found[first:]
        models = {value.model_id for _, value in kept if value is not None}
        for _, value in found[:first]:
            if value is not None and value.model_id not in models:
                self._unlist(value.model_id, key)

    def _unlist(self, model_id: str, key: str) -> None:
        keys = self._models.get(model_id, set())
        keys.discard(key)
        if not keys:
            self._models.pop(model_id, None)


class Place(NamedTuple):
    """What is kept of an epoch: its digest, its resolved time, the policy revision it names, the key that signed it."""

    digest: str
    resolved_at_ms: int
    policy_revision: int
    keyid: str


ENTRY = struct.Struct(">32sQQI")


class EpochFile:
    """Every epoch of a chain, on disk: they are numbered without gaps, so each has its place."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=64 * 1024)
        self._first = self._next = -1
        self._keyids: dict[str, int] = {}

    def append(self, epoch: int, place: Place) -> None:
        """The next epoch."""
        if self._first < 0:
            self._first = self._next = epoch
        assert epoch == self._next
        number = self._keyids.setdefault(place.keyid, len(self._keyids))
        self._file.write(ENTRY.pack(bytes.fromhex(place.digest), place.resolved_at_ms, place.policy_revision, number))
        self._next += 1

    @property
    def first(self) -> int:
        """The oldest epoch there is; -1 if there is none."""
        return self._first

    def get(self, epoch: int) -> Place | None:
        """An epoch, if it was appended."""
        if self._first < 0 or not self._first <= epoch < self._next:
            return None
        self._file.flush()
        raw = os.pread(self._file.fileno(), ENTRY.size, (epoch - self._first) * ENTRY.size)
        digest, resolved_at_ms, policy_revision, number = ENTRY.unpack(raw)
        return Place(digest.hex(), resolved_at_ms, policy_revision, list(self._keyids)[number])

    def close(self) -> None:
        """Close the file; whoever made its directory removes it."""
        self._file.close()
