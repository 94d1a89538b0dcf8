"""The checkpoint image: raw changelog records per partition, restored in bulk, readable as a Faust table.

It is a cache and decides nothing. Keys and values stay bytes: Faust's own serializers would quote keys, which changes
their hash. Reading past what is applied already is harmless, since a record is applied once, by offset.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import orjson

from b3iq_streams.core.actions import Checkpoint
from b3iq_streams.core.image import HEAD_KEY
from b3iq_streams.core.records import Outgoing
from b3iq_streams.processor.framework import FAUST_LOG, TP, Store, Table


class Raw(Protocol):
    """A changelog record."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Image:
    """One partition. `applied` is the last offset below which nothing is missing."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.applied = -1

    def restore(self, records: Iterable[Raw]) -> None:
        """Apply records as they were read, in offset order."""
        for record in records:
            if record.offset > self.applied:
                self._set(record.key or b"", record.value)
                self.applied = record.offset

    def write(self, records: Iterable[Outgoing], first: int) -> None:
        """Apply a batch that this worker wrote at `first`; what others wrote before it is left to the next restore."""
        contiguous = first == self.applied + 1
        for key, value in records:
            self._set(key, value)
            self.applied += contiguous

    def _set(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.records.pop(key, None)
        else:
            self.records[key] = value


class CheckpointStore(Store[Any, Any]):
    """Faust's view of the images: what is persisted, which partitions to keep, and lookups over all of them."""

    logger = FAUST_LOG

    def __post_init__(self) -> None:
        self.images: dict[int, Image] = {}

    def image(self, partition: int) -> Image:
        """The image of a partition, empty when it is new here."""
        return self.images.setdefault(partition, Image())

    def checkpoint(self, partition: int) -> Checkpoint:
        """A copy of what the partition's owner starts from."""
        records = self.image(partition).records
        nodes = {key.decode(errors="surrogateescape"): value for key, value in records.items() if key != HEAD_KEY}
        return Checkpoint(records.get(HEAD_KEY), nodes)

    def persisted_offset(self, tp: TP) -> int:
        """Where to go on reading the changelog; -1, never None, for a partition that is new here."""
        return self.image(tp.partition).applied

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        """Nothing: the consumer applied the batch before it let Faust see the batch's last record."""

    async def on_rebalance(self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0) -> None:
        """Drop the images of partitions that are neither owned nor stood by for any longer."""
        kept = {tp.partition for tp in assigned if tp.topic == self.table.changelog_topic.get_topic_name()}
        self.images = {partition: image for partition, image in self.images.items() if partition in kept}

    def reset_state(self) -> None:
        """Nothing: there is no state on disk."""

    async def backup_partition(self, tp: Any, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Nothing: the changelog is the backup."""

    def restore_backup(self, tp: Any, latest: bool = True, backup_id: int = 0) -> None:
        """Nothing: the changelog is the backup."""

    def __getitem__(self, key: str | bytes) -> Any:
        raw = key.encode() if isinstance(key, str) else key
        for image in self.images.values():
            if raw in image.records:
                return readable(image.records[raw])
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        raw = key.encode() if isinstance(key, str) else key
        return any(raw in image.records for image in self.images.values())

    def __iter__(self) -> Iterator[str]:
        return (key.decode() for image in self.images.values() for key in image.records)

    def __len__(self) -> int:
        return sum(len(image.records) for image in self.images.values())


class CheckpointTable(Table[Any, Any]):
    """A Faust table over a `CheckpointStore`."""

    logger = FAUST_LOG

    def _new_store(self) -> CheckpointStore:
        return CheckpointStore(
            "memory://", self.app, self, table_name=self.name, key_type=bytes, value_type=bytes, loop=self.loop
        )


def readable(value: bytes) -> Any:
    """A checkpoint value for people: a node record parsed, anything else as text."""
    epoch, _, state = value.partition(b" ")
    try:
        return {"epoch": int(epoch), "state": orjson.loads(state)}
    except ValueError:
        return value.decode(errors="replace")
