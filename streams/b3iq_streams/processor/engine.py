"""Drives one partition owner: performs its actions to their end, in order, and hands each answer back.

Knows neither Faust nor the group. What an action means is `core/actions.py`'s.
"""

import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, NamedTuple, Protocol

from structlog.contextvars import bind_contextvars, bound_contextvars

from b3iq_streams.core.actions import (
    Action,
    Answer,
    Append,
    Commit,
    Confirmed,
    Exit,
    Intake,
    Notice,
    ReadChain,
    ReadInputs,
    TakeIntake,
    WriteCheckpoint,
    WriteLetters,
)
from b3iq_streams.core.records import Outgoing
from b3iq_streams.processor.observer import Observer
from b3iq_streams.processor.reader import Reader
from b3iq_streams.processor.writer import Writer, Written

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "alarm": logging.ERROR}

log = logging.getLogger(__name__)


class OwnerLike(Protocol):
    """The part of a partition owner that the shell uses."""

    def run(self) -> Generator[Action, Answer, None]:
        """The conversation of `core/actions.py`."""
        ...

    def keys_for(self, topic: str, key: bytes | None) -> Mapping[str, bytes]:
        """Public keys, by key id, that may have signed a record with this key on this topic."""
        ...


class OwnerExit(Exception):
    """The owner asked to end the process."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Ports(NamedTuple):
    """What an engine acts through."""

    reader: Reader
    writer: Writer
    applied: Callable[[int, tuple[Outgoing, ...], list[Written]], None]
    commit: Callable[[int, Mapping[str, int]], Awaitable[bool]]
    observer: Observer


class Engine:
    """One owner's conversation, advanced from intake to intake."""

    def __init__(self, partition: int, owner: OwnerLike, ports: Ports) -> None:
        self._partition = partition
        self._conversation = owner.run()
        self._ports = ports
        self.performed = 0
        """Actions so far: while a partition recovers, this is what tells a long rebuild from one that hangs."""
        self._place: dict[str, Any] = {}
        """The last accepted epoch, which log lines are correlated by."""

    async def advance(self, intake: Intake | None) -> TakeIntake | None:
        """Answer with `intake` (None to begin) and perform what follows, up to the next intake wanted; None: over."""
        with bound_contextvars(partition=self._partition, **self._place):
            return await self._advance(intake)

    async def _advance(self, intake: Intake | None) -> TakeIntake | None:
        answer: Answer = intake
        if intake is not None:
            self._ports.observer.on_intake(self._partition, intake)
        while True:
            try:
                action = self._conversation.send(answer)
            except StopIteration:
                return None
            if isinstance(action, TakeIntake):
                await self._ports.reader.close()
                return action
            answer = await self._perform(action)
            self.performed += 1

    async def abandon(self) -> None:
        """End the conversation where it is."""
        self._conversation.close()
        await self._ports.reader.close()

    async def _perform(self, action: Action) -> Answer:
        partition, ports = self._partition, self._ports
        match action:
            case ReadChain(offset):
                return await ports.reader.chain(offset)
            case ReadInputs(topic, first, last):
                return await ports.reader.inputs(topic, first, last)
            case WriteLetters(letters):
                await ports.writer.letters(partition, letters)
                ports.observer.on_letters(partition, len(letters))
            case Append(changes, mark):
                appended = await ports.writer.epoch(partition, changes, mark)
                ports.observer.on_appended(partition, appended)
                return appended
            case WriteCheckpoint(nodes, head):
                written = await ports.writer.checkpoint(partition, nodes, head)
                ports.applied(partition, (*nodes, head), written)
                ports.observer.on_checkpoint(partition, len(nodes) + 1)
            case Commit(cut):
                return await ports.commit(partition, cut)
            case Confirmed():
                self._place = {"epoch": action.head.epoch, "digest": action.head.digest}
                bind_contextvars(**self._place)
                ports.observer.on_confirmed(partition, action)
                log.debug("epoch accepted")
            case Notice(level, code, detail):
                log.log(LEVELS[level], "partition %d: %s: %s", partition, code, detail, extra={"code": code})
                ports.observer.on_notice(partition, action)
            case Exit(code, detail):
                raise OwnerExit(code, f"partition {partition}: {detail}")
            case _:
                raise TypeError(f"not an action: {action!r}")
        return None
