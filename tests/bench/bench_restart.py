"""How long a worker takes to be live again with many nodes in state, from the start of its process to a mark everywhere.

The checkpoint is the worker's own, written when it was told to stop; or, after SIGKILL, whatever was written last.
"""

import signal
import sys
from collections.abc import Iterator

from tests.bench.network import Marks, Network, Seen, WorkerGone, network
from tests.bench.table import Options, Row

PARTITIONS = 12
NODES, NODES_QUICK = 100_000, 10_000
LIVE_S = 5.0
PORTION = 10_000


def restart(net: Network, ending: signal.Signals) -> float:
    """Seconds from start to the last partition's first mark; the worker is ended in that way."""
    with net.marks() as marks, net.worker("--instance", "w") as worker:
        net.wait(worker, marks, lambda: len(marks.cuts) == PARTITIONS)
        first: dict[int, Seen] = {}
        for seen in marks.seen:
            first.setdefault(seen.partition, seen)
        net.folded(worker, marks)
        if ending is signal.SIGKILL:
            net.wait(worker, marks, lambda: checkpoints(marks.seen) == PARTITIONS)
        worker.end(ending)
    return max(seen.logged_at_ms for seen in first.values()) / 1_000 - worker.began_ms / 1_000


def settle(net: Network, nodes: int) -> None:
    """Have all nodes folded and checkpointed, a portion at a time; a worker that gives up is started again."""
    for first in range(0, nodes, PORTION):
        net.fill(min(PORTION, nodes - first), profiles=1, seqs=(1, 2), introduce=True, first=first)
        with net.marks() as marks:
            while not _folded(net, marks):
                print("restart: a worker gave up while the state was made, and is started again", file=sys.stderr)


def _folded(net: Network, marks: Marks) -> bool:
    try:
        with net.worker("--instance", "w") as worker:
            net.folded(worker, marks)
            worker.end()
    except WorkerGone:
        return False
    return True


def checkpoints(seen: list[Seen]) -> int:
    """Partitions that wrote a checkpoint."""
    return len({item.partition for item in seen if item.mark.state_sha256 is not None})


def run(options: Options) -> Iterator[Row]:
    """After a stop, and after a kill; a static member, so that the group does not have to miss it first."""
    nodes, repeats = (NODES_QUICK, 1) if options.quick else (NODES, 3)
    with network(PARTITIONS) as net:
        settle(net, nodes)
        stopped = [restart(net, signal.SIGTERM) for _ in range(repeats)]
        restart(net, signal.SIGKILL)
        killed = [restart(net, signal.SIGKILL) for _ in range(repeats)]
    for what, taken in (("stopped", stopped), ("killed", killed)):
        bar = f"≤ {LIVE_S:.0f} s" if not options.quick else ""
        best, met = min(taken), None if options.quick else min(taken) <= LIVE_S
        goes = "goes: " + ", ".join(f"{seconds:.1f}" for seconds in taken)
        yield Row(f"start → live, {nodes:,} nodes in state, {what} before", bar, f"{best:.1f} s", goes, met)
