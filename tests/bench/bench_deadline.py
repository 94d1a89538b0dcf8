"""Silence closes: from a passed deadline to the router's "no", with an idle processor, and with one that was killed."""

import asyncio
import random
import signal
from collections.abc import Callable, Iterator

from b3iq_streams import kafka
from b3iq_streams.clock import now_ms
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.partition import Step
from b3iq_streams.router.view import DEFAULTS
from tests.bench.bench_latency import PATIENCE_S, Probe, Watch
from tests.bench.facts import Facts
from tests.bench.network import LONG_MS, Network, network
from tests.bench.table import Options, Row, percentile

PARTITIONS = 4
TTL_MS = 3_000
STAGGER_S = 0.01
POLL_S = 0.002
START_S = 60.0
P99_MS = 1_500
SETTLE_S = 3.0


async def until(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Look every two milliseconds whether something holds."""
    async with asyncio.timeout(patience_s):
        while not true():  # noqa: ASYNC110  what is looked at changes with time, too
            await asyncio.sleep(POLL_S)


async def expire(net: Network, nodes: int, rounds: int) -> list[float]:
    """Milliseconds from each deadline to the flip in the view, by the one clock of this machine."""
    facts, deadlines, taken = Facts(net.world, 1), dict[str, int](), list[float]()

    def heard(step: Step) -> None:
        for flip in step.flips:
            if flip.what == "closed":
                taken.append(now_ms() - deadlines.pop(flip.key.partition("/")[0]))

    client = RouterClient(net.settings, net.world.trust, watch=heard)
    names = [f"mortal-{number}" for number in range(nodes)]
    async with kafka.publisher(net.settings) as publisher, client:
        await publisher.publish(fact for name in names for fact in facts.introduction(name, now_ms()))
        assert await client.synced(PATIENCE_S)
        for turn in range(rounds):
            for name in names:
                deadlines[name] = now_ms() + TTL_MS  # at most the broker's stamp plus the time to live: errs against us
                await (await publisher.send(*facts.heartbeat(name, turn + 1, now_ms())))
                await asyncio.sleep(STAGGER_S)
            await until(lambda: not deadlines)
    return taken


async def killed(net: Network, rounds: int) -> list[float]:
    """Milliseconds from SIGKILL of the only worker to the first "no", while every grant has long to live."""
    facts, probe, rng = Facts(net.world, 1), Probe("probe", "probe.gguf"), random.Random(7)
    watch, taken = Watch(net), list[float]()
    async with kafka.publisher(net.settings) as publisher, watch.client:
        await publisher.publish([*facts.introduction(probe.node_id, now_ms(), probe.model)])
        for turn in range(rounds):
            with net.worker("--instance", "w") as worker:
                await publisher.publish([facts.heartbeat(probe.node_id, turn + 1, now_ms(), probe.model)])
                await until(lambda: watch.allows(probe), START_S)
                await asyncio.sleep(SETTLE_S + rng.random())
                worker.process.send_signal(signal.SIGKILL)
                killed_at_ms = now_ms()
                await until(lambda: not watch.allows(probe))
                taken.append(now_ms() - killed_at_ms)
    return taken


def run(options: Options) -> Iterator[Row]:
    """The processor alive and idle (the slowest it can be), then dead."""
    nodes, rounds, kills = (100, 1, 2) if options.quick else (200, 4, 8)
    with network(PARTITIONS, heartbeat_ttl_ms=TTL_MS) as net, net.marks() as marks, net.worker() as worker:
        net.folded(worker, marks)
        late = asyncio.run(expire(net, nodes, rounds))
        worker.end()
    p50, p99 = percentile(late, 0.5), percentile(late, 0.99)
    yield Row(
        "deadline passed → router closed, processor idle", f"p99 ≤ {P99_MS:,} ms",
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(late):.0f} ms (n = {len(late)})", met=p99 <= P99_MS,
    )  # fmt: skip
    with network(PARTITIONS, heartbeat_ttl_ms=LONG_MS) as net:
        dead = asyncio.run(killed(net, kills))
        limit_ms = DEFAULTS.bound_ms + net.world.trust.skew_ms
    yield Row(
        "processor killed → router closed", f"always ≤ {limit_ms:,} ms (bound + skew)",
        f"max {max(dead):,.0f} ms (n = {len(dead)})", met=max(dead) <= limit_ms,
    )  # fmt: skip
