"""A processor worker with a stub owner, run as a process of its own by the shell's tests.

The stub counts records per key. It keeps the order of writes that a real owner keeps, and little else: whatever a mark
in the chain says was folded is true, and an epoch counts when it landed where the owner had read to.
"""

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from b3iq_schemas.topics import INPUTS
from b3iq_streams.clock import now_ms
from b3iq_streams.core.actions import (
    Action,
    Answer,
    Append,
    Appended,
    ChainBatch,
    Checkpoint,
    Commit,
    Exit,
    InputBatch,
    Intake,
    Notice,
    ReadChain,
    ReadInputs,
    TakeIntake,
    WriteCheckpoint,
    WriteLetters,
)
from b3iq_streams.core.admit import Opened
from b3iq_streams.core.image import HEAD_KEY
from b3iq_streams.core.records import Outgoing, Record
from b3iq_streams.processor.app import run_worker
from b3iq_streams.processor.engine import OwnerLike
from b3iq_streams.processor.observer import Observer
from b3iq_streams.processor.settings import ProcessorSettings

MARK_KEY = b"~mark"
POISON = b"poison"
CRASH, HANG = f"crash {os.getpid()}".encode(), f"hang {os.getpid()}".encode()
CHECKPOINT_EVERY = int(os.environ.get("STUB_CHECKPOINT_EVERY", "5"))


class CountingOwner:
    """Folds records into counts per key."""

    def __init__(self, partition: int, checkpoint: Checkpoint) -> None:
        head: dict[str, Any] = json.loads(checkpoint.head) if checkpoint.head else {}
        self.partition = partition
        self.tail: int = head.get("tail", 0)
        self.cut: dict[str, int] = head.get("cut", dict.fromkeys(INPUTS, 0))
        self.counts = Counter({key: json.loads(value.split(b" ", 1)[1])["count"] for key, value in checkpoint.nodes.items()})
        self.dirty: set[str] = set()
        self.epochs = 0

    def keys_for(self, topic: str, key: bytes | None) -> dict[str, bytes]:
        return {}

    def run(self) -> Generator[Action, Answer, None]:
        yield Notice("info", "restored", f"{sum(self.counts.values())} records from the checkpoint")
        yield from self.follow()
        yield Notice("info", "recovered", f"{sum(self.counts.values())} records")
        while True:
            intake = yield TakeIntake(self.cut)
            assert isinstance(intake, Intake)
            yield from self.epoch(intake)
            if intake.stop or self.epochs % CHECKPOINT_EVERY == 0:
                yield from self.checkpoint()
            if intake.stop:
                return

    def follow(self) -> Generator[Action, Answer, bool]:
        """Read the chain on to its end and fold what its marks say; True when there was any."""
        found = False
        while True:
            batch = yield ReadChain(self.tail)
            assert isinstance(batch, ChainBatch)
            for record in batch.records:
                if record.key == MARK_KEY:
                    found = True
                    yield from self.refold(json.loads(record.value or b"{}")["cut"])
            self.tail = batch.position
            if batch.position >= batch.end:
                return found

    def refold(self, cut: dict[str, int]) -> Generator[Action, Answer, None]:
        for topic in INPUTS:
            if cut[topic] > self.cut[topic]:
                batch = yield ReadInputs(topic, self.cut[topic], cut[topic])
                assert isinstance(batch, InputBatch)
                self.fold(batch.records)
        self.cut = {topic: max(cut[topic], self.cut[topic]) for topic in INPUTS}

    def fold(self, records: tuple[Record, ...]) -> None:
        for record in records:
            key = (record.key or b"").decode()
            self.counts[key] += 1
            self.dirty.add(key)

    def epoch(self, intake: Intake) -> Generator[Action, Answer, None]:
        records = records_of(intake)
        if any(record.value == CRASH for record in records):
            raise ValueError("told to crash")
        if any(record.value == HANG for record in records):
            time.sleep(60)
        letters = tuple(Outgoing(record.key or b"", record.value) for record in records if record.value == POISON)
        if letters:
            yield WriteLetters(letters)
        changes = tuple(Outgoing(record.key or b"", b'{"seen": true}') for record in records)
        mark = {"cut": dict(intake.positions), "pid": os.getpid(), "resolved_at_ms": intake.clock_ms}
        appended = yield Append(changes, Outgoing(MARK_KEY, json.dumps(mark).encode()))
        assert isinstance(appended, Appended)
        if appended.first_offset == self.tail:
            self.fold(tuple(records))
            self.cut = dict(intake.positions)
            self.tail = appended.mark_offset + 1
            self.epochs += 1
            if records:
                yield Notice("info", "folded", str(len(records)))
        elif (yield Commit(self.cut)) is not True:
            yield Exit("deposed", "another worker's epoch is in the chain, and the group refuses this one")
        else:
            yield from self.follow()

    def checkpoint(self) -> Generator[Action, Answer, None]:
        if (yield Commit(self.cut)) is not True:
            yield Exit("deposed", "the group refuses a commit before a checkpoint")
        nodes = tuple(Outgoing(key.encode(), b'%d {"count": %d}' % (self.epochs, self.counts[key])) for key in self.dirty)
        head = json.dumps({"tail": self.tail, "cut": self.cut}).encode()
        yield WriteCheckpoint(nodes, Outgoing(HEAD_KEY, head))
        self.dirty.clear()
        if (yield Commit(self.cut)) is not True:
            yield Exit("deposed", "the group refuses a commit")


class Printer(Observer):
    """Tells the test what happens, a JSON object a line."""

    def on_intake(self, partition: int, intake: Intake) -> None:
        stamps = [record.timestamp_ms for record in records_of(intake)]
        if stamps:
            late = [topic for topic, end in intake.ends.items() if intake.positions[topic] < end]
            say(event="intake", partition=partition, count=len(stamps), age_ms=now_ms() - max(stamps), late=late)

    def on_appended(self, partition: int, appended: Appended) -> None:
        say(event="appended", partition=partition, offset=appended.mark_offset, age_ms=now_ms() - appended.timestamp_ms)

    def on_checkpoint(self, partition: int, count: int) -> None:
        say(event="checkpoint", partition=partition, count=count)

    def on_notice(self, partition: int, notice: Notice) -> None:
        say(event=notice.code, partition=partition, detail=notice.detail)

    def on_released(self, partition: int) -> None:
        say(event="released", partition=partition)


def records_of(intake: Intake) -> list[Record]:
    """An intake's records in fold order. The worker prepares some of them, to see them come through."""
    items = [item for topic in INPUTS for item in intake.records[topic]]
    return [item.record if isinstance(item, Opened) else item for item in items]


def preverify(records: Sequence[Record], owner: OwnerLike) -> list[Record | Opened]:
    """Open every other record."""
    return [Opened(record, None, None) if record.offset % 2 else record for record in records]


def say(**fields: Any) -> None:
    print(json.dumps({"at_ms": now_ms(), **fields}), flush=True)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = json.loads(sys.argv[1])
    run_worker(
        ProcessorSettings(**options | {"datadir": Path(options["datadir"])}),
        CountingOwner,
        preverify=preverify,
        observer=Printer(),
    )
