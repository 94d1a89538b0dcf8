"""From the broker's acknowledgement of a fact to the router's changed answer, while a load runs through the same worker.

A few probe nodes flip: their heartbeats say online, draining, online… What is asked is the client's view, as a router asks.
The reference is by how much a sleep of this very process oversleeps: what the machine itself adds while it is shared.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from typing import NamedTuple

from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams import kafka
from b3iq_streams.clock import monotonic_ms, now_ms
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.partition import Step
from tests.bench.bench_verify import NODES, PARTITIONS, PROFILES, drain
from tests.bench.facts import Facts
from tests.bench.network import Network, network
from tests.bench.table import Options, Row, percentile
from tests.shells.router_lab import request

CALIBRATION_ROUNDS = 15
ENOUGH_S = 90.0
PROBES = 8
WARM_UP_S = 3.0
NAP_S = 0.005
PAUSE_S = (0.01, 0.1)
PATIENCE_S = 10.0
P50_MS, P99_MS = 50, 250


class Probe(NamedTuple):
    """A node that has a model to itself."""

    node_id: str
    model: str


class Watch:
    """Hears of every epoch the view took in, and notes when the answer about a probe turned."""

    def __init__(self, net: Network) -> None:
        self.client = RouterClient(net.settings, net.world.trust, watch=self._heard)
        self._waiting: dict[str, tuple[Probe, bool, asyncio.Future[float]]] = {}

    def _heard(self, step: Step) -> None:
        for flip in step.flips:
            node_id = flip.key.partition("/")[0]
            waiting = self._waiting.get(node_id)
            if waiting and self.allows(waiting[0]) is waiting[1] and not waiting[2].done():
                waiting[2].set_result(time.perf_counter())

    def allows(self, probe: Probe) -> bool:
        """The view's answer now."""
        return self.client.view.pick(request(probe.model), now_ms(), monotonic_ms()).allowed

    def turns(self, probe: Probe, allowed: bool) -> asyncio.Future[float]:
        """The moment at which the answer is that, from now on."""
        turned: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[probe.node_id] = probe, allowed, turned
        return turned


async def oversleep(late: list[float]) -> None:
    """Sleep a little, again and again, and note by how many milliseconds that was too long."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(NAP_S)
        late.append((time.perf_counter() - began - NAP_S) * 1_000)


async def measure(net: Network, count: int, late: list[float]) -> dict[bool, list[float]]:
    """Milliseconds by what the answer turned to."""
    facts, watch, rng = Facts(net.world, 1), Watch(net), random.Random(7)
    probes = [Probe(f"probe-{number}", f"probe-{number}.gguf") for number in range(PROBES)]
    taken: dict[bool, list[float]] = {True: [], False: []}
    async with kafka.publisher(net.settings) as publisher, watch.client:
        await publisher.publish(fact for probe in probes for fact in facts.introduction(probe.node_id, now_ms(), probe.model))
        assert await watch.client.synced(PATIENCE_S)
        await asyncio.sleep(WARM_UP_S)
        napping = asyncio.create_task(oversleep(late))
        until = time.perf_counter() + ENOUGH_S
        for turn in range(count):
            if time.perf_counter() > until:
                break
            probe, online = probes[turn % PROBES], (turn // PROBES) % 2 == 0
            turned = watch.turns(probe, online)
            state = "online" if online else "draining"
            fact = facts.heartbeat(probe.node_id, turn + 1, now_ms(), probe.model, state=state)
            await (await publisher.send(*fact))
            acknowledged = time.perf_counter()
            taken[online].append(await _milliseconds(turned, acknowledged))
            await asyncio.sleep(rng.uniform(*PAUSE_S))
        napping.cancel()
    return taken


async def _milliseconds(turned: asyncio.Future[float], since: float) -> float:
    """How long it took; the whole patience where it took longer, as when the view lags beyond its bound."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return max(0.0, (await turned - since) * 1_000)
    except TimeoutError:
        return PATIENCE_S * 1_000


def run(options: Options) -> Iterator[Row]:
    """At half of what this worker takes from a backlog, found out first; load, broker and worker share the machine."""
    count, late = 80 if options.quick else 480, list[float]()
    with network(PARTITIONS) as net:
        net.fill(NODES, profiles=PROFILES, seqs=(1, 2), introduce=True)
        with net.marks() as marks, net.worker() as worker:
            net.folded(worker, marks)
            worker.end()
        half = drain(net, CALIBRATION_ROUNDS, 2)[0] / 2
        with net.marks() as marks, net.worker() as worker:
            net.wait(worker, marks, lambda: len(marks.cuts) == PARTITIONS)
            load = net.load((0, NODES), profiles=PROFILES, seqs=(2 + CALIBRATION_ROUNDS, 100_000), rate=half)
            began, began_s = time.perf_counter(), worker.cpu_s
            before = sum(net.ends(HEARTBEATS)[HEARTBEATS].values())
            try:
                taken = asyncio.run(measure(net, count, late))
                after = sum(net.ends(HEARTBEATS)[HEARTBEATS].values())
                passed_s = time.perf_counter() - began
                busy = (worker.cpu_s - began_s) / passed_s
            finally:
                load.terminate()
                load.wait()
            worker.end()
    for online, word in ((True, "allows"), (False, "revokes")):
        p50, p99 = percentile(taken[online], 0.5), percentile(taken[online], 0.99)
        yield Row(
            f"heartbeat acknowledged → router {word}", f"p50 ≤ {P50_MS} ms, p99 ≤ {P99_MS} ms",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms (n = {len(taken[online])})",
            f"load {(after - before) / passed_s:,.0f}/s, worker busy {busy:.2f} cores; a sleep oversleeps p99 "
            f"{percentile(late, 0.99):.0f} ms, max {max(late):.0f} ms", p50 <= P50_MS and p99 <= P99_MS,
        )  # fmt: skip
