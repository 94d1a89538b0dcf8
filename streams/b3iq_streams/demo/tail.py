"""What was in the log: every topic of the network, followed from its beginning, and kept as far as a recount needs it.

A copy of its own, because an in-memory broker forgets. Bounded: beyond the limit it only goes on counting.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

import orjson

from b3iq_schemas.topics import DEAD_LETTERS, ELIGIBILITY_CHANGES, HEARTBEATS, INPUTS, ROUTING_DECISIONS
from b3iq_streams import kafka
from b3iq_streams.core.records import Record
from b3iq_streams.kafka import Place, Source
from b3iq_streams.settings import KafkaSettings

KEPT = (*INPUTS, ELIGIBILITY_CHANGES)
FOLLOWED = (*KEPT, DEAD_LETTERS, ROUTING_DECISIONS)
KEPT_BYTES_MAX = 128 * 1024 * 1024
RECORD_BYTES = 200
"""What a record costs in memory beside its value."""


class Tail:
    """Records by place, counts by topic, and the newest dead letter of each refused record."""

    def __init__(self, bytes_max: int = KEPT_BYTES_MAX) -> None:
        self.records: dict[Place, list[Record]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.before: Counter[str] = Counter()
        """Records per topic that were there before the demo."""
        self.letters: dict[tuple[str, int, int], str] = {}
        self.positions: dict[Place, int] = {}
        self.incomplete = ""
        """Why what is kept is not everything, empty if it is."""
        self._bytes_left = bytes_max

    async def follow(self, settings: KafkaSettings) -> None:
        """Read for ever, once `begin` was told where; cancel it to end."""
        async with kafka.source(settings) as source:
            async for batch in source.follow(dict(self.positions)):
                for record in batch:
                    self.take(record)

    def begin(self, starts: Mapping[Place, int], ends: Mapping[Place, int]) -> None:
        """Where the log begins and ends before anything is sent."""
        self.positions = dict(starts)
        for place, start in starts.items():
            self.before[place.topic] += ends[place] - start
            if start and place.topic in KEPT:
                self.forget(f"{place.topic} begins at offset {start}, what came before is gone")

    def take(self, record: Record) -> None:
        """The next record of its place."""
        place = Place(record.topic, record.partition)
        if record.offset != self.positions[place] and place.topic in KEPT:
            self.forget(f"{place.topic} has a gap at offset {self.positions[place]}")
        self.positions[place] = record.offset + 1
        self.counts[record.topic] += 1
        if record.topic == DEAD_LETTERS:
            letter = orjson.loads(record.value or b"{}")
            self.letters[letter["topic"], letter["partition"], letter["offset"]] = letter["code"]
        elif record.topic in KEPT and not self.incomplete:
            self._bytes_left -= len(record.value or b"") + RECORD_BYTES
            self.records[place].append(record)
            if self._bytes_left < 0:
                self.forget("the log outgrew what the demo keeps in memory")

    def forget(self, why: str) -> None:
        """Keep nothing any more, but go on counting."""
        self.incomplete = self.incomplete or why
        self.records.clear()

    @property
    def letter_codes(self) -> dict[str, int]:
        """Refused records by code."""
        return dict(Counter(self.letters.values()))

    @property
    def events(self) -> int:
        """Facts in the input topics."""
        return sum(self.counts[topic] for topic in INPUTS)

    def reached(self, ends: Mapping[Place, int]) -> bool:
        """Whether everything below these ends was read."""
        return bool(self.positions) and all(self.positions[place] >= end for place, end in ends.items())


async def bounds(source: Source) -> tuple[dict[Place, int], dict[Place, int]]:
    """The first and the end offset of every place that is followed, now. Ask one source again: the first time is slow."""
    partitions = {place.partition for place in await source.partitions(HEARTBEATS)}
    places = [Place(topic, partition) for topic in FOLLOWED for partition in sorted(partitions)]
    return await source.start_offsets(places), await source.end_offsets(places)
