"""`emit`: lines of JSON in, signed records out, in order; the first bad line ends it and nothing after it is sent."""

import asyncio
import os
import stat
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

import click
from nacl.signing import SigningKey

from b3iq_streams import emit as facts
from b3iq_streams import kafka as kafka_clients
from b3iq_streams import keys as key_files
from b3iq_streams.cli_options import kafka_options, path_option
from b3iq_streams.clock import now_ms
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Placed, Publisher
from b3iq_streams.settings import KafkaSettings

LINE_BYTES_MAX = 1 << 20
UNDER_WAY_MAX = 500


@click.command()
@click.argument("kind", type=click.Choice(list(facts.KINDS)))
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@path_option("--key", required=True, help="The key file to sign with.")
@kafka_options
def emit(kind: str, file: Path, key: Path, kafka: KafkaSettings) -> None:
    """Sign facts, given as lines of JSON in FILE or on standard input, and append them.

    The Kafka key is the node's id. Absent `sent_at_ms` and `seq` are filled in from the clock, except that a heartbeat
    must bring its own `boot` and `seq`.
    """
    signing = key_files.load(key)
    with _open(file) as lines:
        sent = asyncio.run(_emit(kind, lines, signing, kafka))
    click.echo(f"{sent} records sent")


def _open(file: Path) -> IO[bytes]:
    if str(file) == "-":
        return open(0, "rb", closefd=False)
    try:
        return file.open("rb")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None


async def _emit(kind: str, file: IO[bytes], key: SigningKey, kafka: KafkaSettings) -> int:
    async with kafka_clients.publisher(kafka) as publisher:
        sending = _Sending(publisher)
        number, seq = 0, 0
        async for line in _lines(file):
            number += 1
            if not line.strip():
                continue
            seq = max(seq + 1, now_ms())
            try:
                emission = facts.from_line(kind, line, key, now_ms(), seq)
            except UserError as error:
                await sending.finish()
                raise UserError(f"line {number}: {error} ({sending.done} records were sent)") from None
            await sending.add(emission)
        await sending.finish()
        return sending.done


class _Sending:
    """Deliveries under way, checked in order; a bounded number at a time."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._under_way: deque[asyncio.Future[Placed]] = deque()
        self.done = 0

    async def add(self, emission: facts.Emission) -> None:
        """Hand over one record; raises what went wrong with earlier ones."""
        while self._under_way and (len(self._under_way) >= UNDER_WAY_MAX or self._under_way[0].done()):
            await self._next()
        self._under_way.append(await self._publisher.send(*emission))

    async def finish(self) -> None:
        """Wait until everything is delivered."""
        while self._under_way:
            await self._next()

    async def _next(self) -> None:
        try:
            await self._under_way.popleft()
        except UserError as error:
            await asyncio.gather(*self._under_way, return_exceptions=True)
            raise UserError(f"{error} ({self.done} records were sent)") from error
        self.done += 1


async def _lines(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The lines of a file; those of a pipe or a terminal as they come, without holding up what is being sent."""
    mode = os.fstat(file.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty()):
        for line in file:
            yield line
        return
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        while line := await reader.readline():
            yield line
    except ValueError:
        raise UserError(f"a line is longer than {LINE_BYTES_MAX} bytes") from None
    finally:
        transport.close()
