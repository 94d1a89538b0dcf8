"""Signed heartbeats of three profiles through one worker on a real Kafka, next to nothing but checking their signatures.

A backlog lies in the log before the worker starts; what is measured is from its first mark that covers heartbeats to its
last, by the broker's stamps. The reference is libsodium on the same bytes, before and after, with the cores to itself.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from nacl.bindings import crypto_sign_open

from b3iq_schemas.envelope import parse
from b3iq_schemas.topics import HEARTBEATS
from b3iq_streams.world import World
from tests.bench.facts import Facts, node_name
from tests.bench.network import Marks, Network, network
from tests.bench.table import Options, Row, per_second
from tests.factory import T0

PARTITIONS = 4
NODES = 2_000
PROFILES = 3
SAMPLES = 2_000
SHARE = 0.9

Signed = tuple[bytes, bytes]


def samples(count: int = SAMPLES) -> list[Signed]:
    """(signature + signed bytes, public key) of heartbeats."""
    world = World.generate(seed=b"bench")
    facts, found = Facts(world, PROFILES), []
    for number in range(count):
        sealed = parse(facts.heartbeat(node_name(number), 1, T0).value)
        found.append((sealed.signatures[0].sig + sealed.signed_bytes, bytes(world.node_key(node_name(number)).verify_key)))
    return found


def raw_rate(signed: Sequence[Signed], threads: int, repeats: int = 3) -> float:
    """Signatures checked a second by that many threads, best of several goes."""

    def check(share: Sequence[Signed]) -> None:
        for message, key in share:
            crypto_sign_open(message, key)

    shares = [signed[number::threads] for number in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            began = time.perf_counter()
            list(pool.map(check, shares))
            best = max(best, len(signed) / (time.perf_counter() - began))
    return best


def rate_of(marks: Marks) -> float:
    """Heartbeats a second from the first mark that covers some to the last one that covers more."""
    last: dict[int, int] = {}
    taken: list[tuple[int, int]] = []
    for seen in sorted(marks.seen, key=lambda seen: seen.logged_at_ms):
        cut = seen.mark.cut[HEARTBEATS]
        if (more := cut - last.get(seen.partition, cut)) > 0:
            taken.append((seen.logged_at_ms, more))
        last[seen.partition] = cut
    return sum(more for _, more in taken[1:]) * 1_000 / max(1, taken[-1][0] - taken[0][0])


def drain(net: Network, rounds: int, seq: int) -> tuple[float, float]:
    """Fill, start a worker, let it catch up: heartbeats a second, and its processor time for each in µs."""
    net.fill(NODES, profiles=PROFILES, seqs=(seq, seq + rounds))
    with net.marks() as marks, net.worker() as worker:
        net.wait(worker, marks, lambda: len(marks.cuts) == PARTITIONS)
        began_s, began = worker.cpu_s, covered(marks)
        net.folded(worker, marks)
        spent_us = (worker.cpu_s - began_s) * 1e6 / (covered(marks) - began)
        worker.end()
    return rate_of(marks), spent_us


def covered(marks: Marks) -> int:
    """Heartbeats that the newest marks cover."""
    return sum(cut[HEARTBEATS] for cut in marks.cuts.values())


def run(options: Options) -> Iterator[Row]:
    """Both rates; the share of the reference is what counts."""
    cores = os.cpu_count() or 1
    rounds, repeats = (10, 1) if options.quick else (30, 3)
    signed = samples()
    alone = {threads: raw_rate(signed, threads) for threads in {1, cores}}
    with network(PARTITIONS) as net:
        net.fill(NODES, profiles=PROFILES, seqs=(1, 2), introduce=True)
        with net.marks() as marks, net.worker() as worker:
            net.folded(worker, marks)
            worker.end()
        goes = [drain(net, rounds, 2 + rounds * number) for number in range(repeats)]
    alone = {threads: max(rate, raw_rate(signed, threads)) for threads, rate in alone.items()}
    rate, spent_us = max(goes)
    size = len(signed[0][0])
    yield Row(f"Ed25519 checks of {size} B, 1 thread", "", per_second(alone[1]))
    yield Row(f"Ed25519 checks of {size} B, {cores} threads", "", per_second(alone[cores]))
    yield Row(
        "signed heartbeats, one worker, real Kafka", f"≥ {SHARE} × Ed25519 on {cores} cores", per_second(rate),
        f"{per_second(alone[cores])}: {rate / alone[cores]:.2f} ×", rate >= SHARE * alone[cores],
    )  # fmt: skip
    yield Row("the worker's processor time per heartbeat", "", f"{spent_us:.0f} µs", f"{1e6 / alone[1]:.0f} µs for its signature")
