"""The agent's way to the broker: one connection, made anew after each failure, every delivery checked."""

from contextlib import AsyncExitStack

from b3iq_streams.clock import now_ms
from b3iq_streams.emit import Emission
from b3iq_streams.kafka import Publisher, publisher
from b3iq_streams.node.skew import SkewWatch
from b3iq_streams.settings import KafkaSettings


class Link:
    """Sends one record at a time. A record that was not acknowledged is never sent again: the next has its own number."""

    def __init__(self, kafka: KafkaSettings, stamped: bool) -> None:
        """`stamped` False: the broker's times are not to be believed (embedded broker)."""
        self._kafka, self._stamped = kafka, stamped
        self._stack = AsyncExitStack()
        self._publisher: Publisher | None = None
        self._skew = SkewWatch()

    async def send(self, emission: Emission) -> str | None:
        """Append a record and wait for its acknowledgement; what there is to tell about clocks. Raises UserError."""
        try:
            if self._publisher is None:
                self._publisher = await self._stack.enter_async_context(publisher(self._kafka, once=True))
            before_ms = now_ms()
            (placed,) = await self._publisher.publish([emission])
        except BaseException:
            await self.close()
            raise
        if placed.logged_at_ms is None or not self._stamped:
            return None
        return self._skew.look(before_ms, placed.logged_at_ms, now_ms())

    async def close(self) -> None:
        """Disconnect; the next `send` connects again."""
        self._publisher = None
        await self._stack.aclose()
