"""The catalog as a process under load: two hundred readers of changes, some of whom take nothing, beside steady requests.

Clients, catalog, worker, fleet and broker share the machine. Memory is the process's resident set: before there were
readers, after half of the time, and at the end; what grows from half to end would grow for ever.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from b3iq_streams.world import TRUST_FILE
from tests.bench.bench_latency import oversleep
from tests.bench.network import PATIENCE_S, ROOT, Network, network
from tests.bench.table import Options, Row, percentile

READERS, STUCK = 200, 4
REQUESTS_PER_S = 500
CONNECTIONS = 20
NODES = 200
GROWTH_MIB_MAX = 8
PARTITIONS = 4
READ_BYTES = 65_536


@dataclass
class Found:
    """What clients saw: milliseconds of each answer, answers that were not 200, changes read by all readers, memory in MiB."""

    took_ms: list[float] = field(default_factory=list)
    refused: int = 0
    changes: int = 0
    hung_up: int = 0
    memory: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


async def _read_changes(port: int, found: Found) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request("/v1/public/changes"))
    while data := await reader.read(READ_BYTES):
        found.changes += data.count(b"event: change")
    found.hung_up += 1


async def _take_nothing(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    writer.write(_request("/v1/public/changes"))
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
    await asyncio.Event().wait()


async def _ask(port: int, seconds: float, found: Found) -> None:
    """One connection's share of the requests, each at its time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    every_s, began = CONNECTIONS / REQUESTS_PER_S, time.perf_counter()
    for number in range(int(seconds / every_s)):
        await asyncio.sleep(max(0.0, began + number * every_s - time.perf_counter()))
        asked = time.perf_counter()
        writer.write(_request("/v1/models"))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        found.took_ms.append((time.perf_counter() - asked) * 1_000)
        found.refused += not head.startswith(b"HTTP/1.1 200 ")
    writer.close()


def _memory_mib(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1_024


async def measure(port: int, pid: int, seconds: float) -> Found:
    """Readers first, then requests for so long, in two halves."""
    found = Found()
    found.memory.append(_memory_mib(pid))
    readers = [asyncio.create_task(_read_changes(port, found)) for _ in range(READERS - STUCK)]
    readers += [asyncio.create_task(_take_nothing(port)) for _ in range(STUCK)]
    napping = asyncio.create_task(oversleep(found.late_ms))
    for _ in range(2):
        await asyncio.gather(*(_ask(port, seconds / 2, found) for _ in range(CONNECTIONS)))
        found.memory.append(_memory_mib(pid))
    for task in (napping, *readers):
        task.cancel()
    await asyncio.gather(napping, *readers, return_exceptions=True)
    return found


@contextmanager
def _process(net: Network, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "b3iq_streams.cli", *arguments, "--bootstrap", net.bootstrap]
    with (
        (net.home / f"{arguments[0]}.log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline().rpartition(":")[2])


def run(options: Options) -> Iterator[Row]:
    """A fleet in all kinds of trouble behind it, so that there are changes to tell."""
    seconds = 20.0 if options.quick else 120.0
    with network(PARTITIONS) as net, net.marks() as marks, net.worker() as worker:
        directory = net.home / "world"
        with (
            _process(net, "fleet", "--keys", str(directory), "--nodes", str(NODES)),
            _process(net, "catalog", "--trust", str(directory / TRUST_FILE), "--port", "0", "--bound", "10000") as catalog,
        ):
            port = _port(catalog)
            net.wait(worker, marks, lambda: len(marks.cuts) == PARTITIONS and len(marks.seen) > 10 * PARTITIONS)
            found = asyncio.run(asyncio.wait_for(measure(port, catalog.pid, seconds), PATIENCE_S))
    before, half, end = found.memory
    rate, answered = len(found.took_ms) / seconds, len(found.took_ms) - found.refused
    yield Row(
        f"catalog: {REQUESTS_PER_S} requests/s of /v1/models beside {READERS} readers of changes, {STUCK} of them stuck",
        f"all answered, memory bounded (≤ {GROWTH_MIB_MAX} MiB from half to end)",
        f"{rate:,.0f}/s, {answered} of {len(found.took_ms)} are 200, p50 {percentile(found.took_ms, 0.5):.1f} ms, "
        f"p99 {percentile(found.took_ms, 0.99):.0f} ms; {found.changes} changes read; {before:.0f} → {half:.0f} → {end:.0f} MiB",
        f"a sleep oversleeps p99 {percentile(found.late_ms, 0.99):.0f} ms",
        met=not found.refused and not found.hung_up and end - half <= GROWTH_MIB_MAX,
    )  # fmt: skip
