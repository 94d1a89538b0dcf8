"""What is read from and written to Kafka, as plain values. Does not parse, judge or move anything."""

from typing import NamedTuple

CREATE_TIME = 0
LOG_APPEND_TIME = 1


class Record(NamedTuple):
    """One Kafka record as it was fetched. `timestamp_type` is Kafka's: 0 CreateTime, 1 LogAppendTime.

    Headers decide nothing; they are there for an archive to keep.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    timestamp_type: int = LOG_APPEND_TIME
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Outgoing(NamedTuple):
    """One record to append; the topic and the partition are the action's."""

    key: bytes
    value: bytes | None
