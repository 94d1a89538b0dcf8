"""The real `b3iq-streams` command, told by its environment to kill itself between two writes, or to run in other sizes.

A test's entry point: the product knows nothing of it. What happens in between is the product's own code.
"""

import functools
import os
import signal
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from unittest import mock

import orjson

from b3iq_schemas.eligibility import MARK_KEY
from b3iq_schemas.envelope import parse
from b3iq_schemas.topics import ELIGIBILITY_CHANGES
from b3iq_streams.cli import main
from b3iq_streams.core import owner, proposal, recovery
from b3iq_streams.core.actions import Appended
from b3iq_streams.core.image import HEAD_KEY
from b3iq_streams.core.records import Outgoing
from b3iq_streams.core.step import FOLD
from b3iq_streams.processor import command, shell
from b3iq_streams.processor.settings import ProcessorSettings
from b3iq_streams.processor.shell import Shell
from b3iq_streams.processor.writer import Writer, Written

ENVIRONMENT = "B3IQ_TEST_WORKER"
WINDOWS = {
    "letters": "after the dead letters, before the changes",
    "change": "after some of the changes",
    "changes": "after the changes, before their mark",
    "mark": "after the mark, before the checkpoint",
    "nodes": "after the node records, before the head",
    "checkpoint": "after the checkpoint, before the commit",
    "commit": "after the commit",
}


class Crash(NamedTuple):
    """Die when this point is passed for the `nth` time."""

    point: str
    nth: int


_passed: dict[str, int] = {}
_crash = Crash("", 0)


def passed(point: str) -> None:
    """Note that a point was passed; the process ends here if it is the one."""
    _passed[point] = _passed.get(point, 0) + 1
    if (point, _passed[point]) == _crash:
        os.kill(os.getpid(), signal.SIGKILL)


class CrashingWriter(Writer):
    """The writer, with its points."""

    async def letters(self, partition: int, letters: tuple[Outgoing, ...]) -> None:
        """Points: letters."""
        await super().letters(partition, letters)
        passed("letters")

    async def epoch(self, partition: int, changes: tuple[Outgoing, ...], mark: Outgoing) -> Appended:
        """Points: mark, of an epoch that will be checkpointed."""
        appended = await super().epoch(partition, changes, mark)
        if b"state_sha256" in parse(mark.value or b"").payload:
            passed("mark")
        return appended

    async def checkpoint(self, partition: int, nodes: tuple[Outgoing, ...], head: Outgoing) -> list[Written]:
        """Points: checkpoint."""
        written = await super().checkpoint(partition, nodes, head)
        passed("checkpoint")
        return written

    async def _append(self, topic: str, partition: int, records: Iterable[Outgoing]) -> list[Written]:
        """Points: change, changes, nodes; only passed when the whole does not fit one batch."""
        batches, written = self._pack(records := tuple(records)), []
        last = records[-1].key in (MARK_KEY, HEAD_KEY)
        for batch in batches:
            written.append(await self._send(topic, partition, batch))
            if topic == ELIGIBILITY_CHANGES and not last and len(written) < len(batches):
                passed("change")
        if topic in (ELIGIBILITY_CHANGES, self._changelog) and not last:
            passed("changes" if topic == ELIGIBILITY_CHANGES else "nodes")
        return written


async def _commit(self: Shell, partition: int, cut: Mapping[str, int], inner: Any = Shell._commit) -> bool:
    committed = bool(await inner(self, partition, cut))
    passed("commit")
    return committed


def environment(*, crash: tuple[str, int] | None = None, fold: int = FOLD, **settings: Any) -> dict[str, str]:
    """What to add to a process's environment; `fold` is the version it says it has, `settings` are `ProcessorSettings`'."""
    return {ENVIRONMENT: orjson.dumps({"crash": crash or ("", 0), "fold": fold, "settings": settings}).decode()}


if __name__ == "__main__":
    told = orjson.loads(os.environ[ENVIRONMENT])
    _crash = Crash(*told["crash"])
    mock.patch.object(command, "ProcessorSettings", functools.partial(ProcessorSettings, **told["settings"])).start()
    for module in (owner, proposal, recovery):
        mock.patch.object(module, "FOLD", told["fold"]).start()
    mock.patch.object(shell, "Writer", CrashingWriter).start()
    mock.patch.object(Shell, "_commit", _commit).start()
    main()
