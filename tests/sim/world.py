"""What stands outside the workers: input logs, the chain, dead letters, the checkpoint table and the consumer group.

Everything written is kept together with the real moment at which it was, which only the checkers may read.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from b3iq_schemas import topics
from b3iq_schemas.canonical import canonical
from b3iq_schemas.envelope import sign
from b3iq_streams.core.records import Outgoing, Record
from tests.factory import PAYLOAD_TYPE, SIGNER, T0
from tests.sim import crypto
from tests.sim.knobs import SKEW_MS, STALE_MS, Faults
from tests.sim.loop import Loop


class Fact(NamedTuple):
    """What an honest sender meant by a record; hostile records have none."""

    topic: str
    offset: int
    real_ms: int
    logged_ms: int
    event: Mapping[str, Any]


class Log:
    """One partition of one topic: records, and when each was really appended. Its leader stamps, with an own clock."""

    def __init__(self, loop: Loop, topic: str, clock_ahead_ms: int) -> None:
        self.topic, self.clock_ahead_ms = topic, clock_ahead_ms
        self.records: list[Record] = []
        self.real_ms: list[int] = []
        self.start = 0
        self._loop = loop

    def append(self, key: bytes | None, value: bytes | None) -> Record:
        """Append one record; the leader stamps it."""
        now_ms = self._loop.now_ms
        record = Record(self.topic, 0, len(self.records), key, value, now_ms + self.clock_ahead_ms)
        self.records.append(record)
        self.real_ms.append(now_ms)
        return record

    def extend(self, batch: Sequence[Outgoing]) -> list[Record]:
        """Append a batch: nothing lands in between."""
        return [self.append(out.key, out.value) for out in batch]

    def later(self, after_ms: int, batch: Sequence[Outgoing]) -> None:
        """Have a batch land later."""
        self._loop.later(after_ms, lambda: self.extend(batch))

    def read(self, first: int, last: int) -> tuple[Record, ...]:
        """The records that are still there."""
        return tuple(self.records[max(first, self.start) : last])

    @property
    def end(self) -> int:
        """The end offset."""
        return len(self.records)

    def stale_end(self, ago_ms: int) -> int:
        """The end offset some time ago, as a deposed leader would still tell it."""
        return bisect_right(self.real_ms, self._loop.now_ms - ago_ms)


class Group:
    """The consumer group: who owns the partition, in which generation; commits of anybody else are refused."""

    def __init__(self) -> None:
        self.generation = 0
        self.commits: list[tuple[int, dict[str, int]]] = []

    def join(self) -> int:
        """Assign the partition anew; returns the generation of its new owner."""
        self.generation += 1
        return self.generation

    def commit(self, generation: int, cut: Mapping[str, int], now_ms: int) -> bool:
        """Take a commit, unless its generation is over."""
        if generation != self.generation:
            return False
        self.commits.append((now_ms, dict(cut)))
        return True


class World:
    """Everything there is beside workers and routers. `faults` changes once: to none, when the seed drains."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.loop = Loop(T0)
        self.faults = Faults.draw(rng)
        self.inputs = {name: Log(self.loop, name, self.clock()) for name in topics.INPUTS}
        self.chain = Log(self.loop, topics.ELIGIBILITY_CHANGES, self.clock())
        self.facts: dict[str, list[Fact]] = {name: [] for name in topics.INPUTS}
        self.replays: list[Fact] = []
        self.equivocations: list[Fact] = []
        self.letters: list[tuple[int, bytes]] = []
        self.table: dict[bytes, bytes] = {}
        self.group = Group()
        self.trace: list[str] | None = None

    @property
    def now_ms(self) -> int:
        """Real time."""
        return self.loop.now_ms

    def clock(self) -> int:
        """How far ahead of real time an honest clock runs."""
        return self.rng.randint(0, SKEW_MS)

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens; costs no random number when it cannot."""
        return probability > 0 and self.rng.random() < probability

    def stale(self) -> int:
        """How out of date the next answer about an end is."""
        return self.rng.randint(0, STALE_MS) if self.chance(self.faults.stale) else 0

    def say(self, text: str) -> None:
        """A line of the trace, if one is kept."""
        if self.trace is not None:
            self.trace.append(f"{self.now_ms - T0:>6} {text}")

    def put(self, topic: str, event: Mapping[str, Any], signers: Sequence[str] = ()) -> Fact:
        """An honest sender appends a fact, signed as its topic demands."""
        subject = str(event["revision"]) if topic == topics.POLICIES else event["node_id"]
        names = signers or (("root0", "root1") if topic == topics.POLICIES else (SIGNER.get(topic, subject),))
        value = sign(PAYLOAD_TYPE[topic], canonical(dict(event)), [crypto.key(name) for name in names])
        record = self.inputs[topic].append(subject.encode(), value)
        fact = Fact(topic, record.offset, self.now_ms, record.timestamp_ms, event)
        self.facts[topic].append(fact)
        return fact

    def replay(self, topic: str) -> None:
        """Somebody appends an earlier record once more; an honest one that was refused at first may count now."""
        log = self.inputs[topic]
        old = self.rng.choice(log.records)
        again = log.append(old.key, old.value)
        facts = [fact for fact in self.facts[topic] if fact.offset == old.offset]
        self.replays += [Fact(topic, again.offset, self.now_ms, again.timestamp_ms, fact.event) for fact in facts]

    def store_later(self, after_ms: int, out: Outgoing) -> None:
        """A write to the table that lands later."""
        self.loop.later(after_ms, lambda: self.store(out))

    def store(self, out: Outgoing) -> None:
        """A write to the compacted table: the last one wins, whoever wrote it."""
        if out.value is None:
            self.table.pop(out.key, None)
        else:
            self.table[out.key] = out.value
