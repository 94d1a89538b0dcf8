"""One partition while this worker owns it: recover, then one epoch after the other, until told to finish.

Each epoch is an event of the Faust agent; whoever comes first, the agent or the drain, performs it, and only once.
"""

import asyncio
from collections.abc import Awaitable, Callable

from b3iq_streams.core.actions import Intake, TakeIntake
from b3iq_streams.processor.engine import Engine
from b3iq_streams.processor.feed import Feed
from b3iq_streams.processor.guard import Vital


class Epoch:
    """An intake on its way through the agent."""

    def __init__(self, partition: int, engine: Engine, intake: Intake) -> None:
        self.partition = partition
        self.intake = intake
        self.done: asyncio.Future[TakeIntake | None] = asyncio.get_running_loop().create_future()
        self._engine = engine
        self._taken = False

    async def perform(self) -> None:
        """Have the owner fold it and write what follows; nothing when somebody else did, or does."""
        if self._taken:
            return
        self._taken = True
        try:
            self.done.set_result(await self._engine.advance(self.intake))
        except Exception as error:
            self.done.set_exception(error)


class Tenure:
    """Runs a partition's owner as a task of its own; what goes wrong there comes out of `task`."""

    def __init__(
        self,
        partition: int,
        engine: Engine,
        feed: Feed,
        *,
        flowing: Callable[[], Awaitable[None]],
        deliver: Callable[[Epoch], None],
        on_live: Callable[[], None],
    ) -> None:
        self._partition = partition
        self._engine = engine
        self._feed = feed
        self._flowing = flowing
        self._deliver = deliver
        self._on_live = on_live
        self._current: Epoch | None = None
        self._epochs = 0
        self.finishing = False
        self.task = asyncio.create_task(self._run(), name=f"partition {partition}")

    @property
    def vital(self) -> Vital:
        """Progress, for the watchdog: epochs; before the first one, whatever the recovery does."""
        return Vital(f"partition {self._partition}", self._epochs or self._engine.performed, self._epochs > 0)

    async def finish(self) -> None:
        """Finish the epoch under way, then have the owner write its checkpoint, commit and return."""
        self.finishing = True
        self._feed.stop(self._partition)
        if self._current is None:
            self.task.cancel()
            await asyncio.wait([self.task])
            await self._engine.abandon()
            return
        await self._current.perform()
        await self.task

    async def _run(self) -> None:
        wanted = await self._engine.advance(None)
        await self._flowing()
        while wanted is not None:
            intake = await self._feed.take(self._partition, wanted.positions)
            epoch = self._current = Epoch(self._partition, self._engine, intake)
            if self.finishing:
                await epoch.perform()
            else:
                self._deliver(epoch)
            wanted = await epoch.done
            self._epochs += 1
            if self._epochs == 1:
                self._on_live()
