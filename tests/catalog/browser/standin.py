"""Stands in for the catalog: serves the page and speaks its contract about a scripted fleet. For tests and for work on the page.

`python -m tests.catalog.browser.standin` serves a fleet of which something changes all the time; see `--help`.
It holds no key, reads no Kafka and checks nothing.
"""

import argparse
import queue
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from b3iq_schemas.codes import LEAVES
from tests.catalog.browser.standin_answers import Answers
from tests.catalog.browser.standin_fleet import LOOKS, Fleet
from tests.catalog.browser.standin_http import END, Handler


class Standin:
    """A stage (see `stage.Stage`) whose network is a script. Use `serve` to have it started and ended."""

    def __init__(self, fleet: Fleet, port: int = 0) -> None:
        self.fleet = fleet
        self.answers = Answers(fleet)
        self.lock = threading.RLock()
        self.readers: set[queue.SimpleQueue[Any]] = set()
        self.silent = False
        self.stalled = False
        self.full = False
        self.understands_positions = True
        self.pause = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"stage": self}))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def start(self) -> None:
        """Answer from now on, in the background."""
        self._thread.start()

    def close(self) -> None:
        """End every connection, then the server."""
        self.hang_up()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def block(self, node_id: str, profile_id: str, code: str) -> None:
        """See `Stage`."""
        with self.lock:
            self.fleet.block(node_id, profile_id, code)
            self._tell()

    def clear(self, node_id: str, profile_id: str, code: str) -> None:
        """See `Stage`."""
        with self.lock:
            self.fleet.clear(node_id, profile_id, code)
            self._tell()

    def lag(self) -> None:
        """See `Stage`. The bound has passed already, so that nobody has to wait for it."""
        with self.lock:
            self.answers.lagging_since_ms = self.answers.head()["resolved_at_ms"] - 4_000

    def catch_up(self) -> None:
        """See `Stage`."""
        with self.lock:
            self.answers.lagging_since_ms = 0

    def hang_up(self) -> None:
        """See `Stage`."""
        with self.lock:
            self.silent = True
            self.stalled = False
            for waiting in self.readers:
                waiting.put(END)

    def answer(self) -> None:
        """See `Stage`."""
        with self.lock:
            self.silent = False

    def forget(self) -> None:
        """See `Stage`."""
        with self.lock:
            self.fleet.forget()

    def stall(self) -> None:
        """Connections stay, but nothing comes through them any more."""
        self.stalled = True

    def flow(self) -> None:
        """What was held up comes through."""
        self.stalled = False

    def fill(self) -> None:
        """There are as many readers of the stream as may be: the present ones leave, no new one is let in."""
        with self.lock:
            self.full = True
            for waiting in self.readers:
                waiting.put(END)

    def refuse_positions(self) -> None:
        """No position handed out so far is understood any more."""
        self.understands_positions = False

    def outrun(self) -> None:
        """Every reader was too slow: it is told so and disconnected."""
        with self.lock:
            for waiting in self.readers:
                waiting.put(("lagged", None, {}))
                waiting.put(END)

    def _tell(self) -> None:
        told = self.fleet.ring[-1]
        for waiting in self.readers:
            waiting.put(("change", told.position, told.change))

    @contextmanager
    def reading(self, since: str | None) -> Iterator["queue.SimpleQueue[Any]"]:
        """A queue of (event, id, data) for one reader, which begins with what it missed."""
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self.lock:
            if since is not None:
                missed = self.fleet.since(_positions(since))
                for told in missed or ():
                    waiting.put(("change", told.position, told.change))
                if missed is None:
                    waiting.put(("reset", self.fleet.position(), {}))
            self.readers.add(waiting)
        try:
            yield waiting
        finally:
            with self.lock:
                self.readers.discard(waiting)


def _positions(text: str) -> dict[int, int]:
    pairs = (pair.split("-") for pair in text.split(","))
    try:
        return {int(partition): int(epoch) for partition, epoch in pairs}
    except ValueError:
        return {}


@contextmanager
def serve(nodes: int = 24, port: int = 0, per_node: int | None = None) -> Iterator[Standin]:
    """A stand-in that answers while the block runs."""
    stage = Standin(Fleet(nodes, per_node=per_node), port)
    stage.start()
    try:
        yield stage
    finally:
        stage.close()


def play(stage: Standin, ended: threading.Event, period_s: float) -> None:
    """Something changes every `period_s` seconds: a profile is blocked, or one reason less stands against it."""
    rng = random.Random(7)
    while not ended.wait(period_s):
        profile = rng.choice(list(stage.fleet.profiles.values()))
        if profile.reasons and rng.random() < 0.8:
            stage.clear(profile.node_id, profile.profile_id, profile.codes[0])
        else:
            new = sorted(set(LOOKS) & set(LEAVES) - set(profile.reasons) - {"route_tier_future", "route_tier_blocked"})
            stage.block(profile.node_id, profile.profile_id, rng.choice(new))


def main() -> None:
    """Serve until Ctrl-C; typed words direct the play."""
    parser = argparse.ArgumentParser(description="The catalog's page over a scripted fleet.")
    parser.add_argument("--port", type=int, default=8040)
    parser.add_argument("--nodes", type=int, default=24)
    parser.add_argument("--period", type=float, default=2.0, help="seconds between changes")
    options = parser.parse_args()
    ended = threading.Event()
    with serve(options.nodes, options.port) as stage:
        threading.Thread(target=play, args=(stage, ended, options.period), daemon=True).start()
        print(f"{stage.address}  type lag, catch_up, hang_up, answer, forget, stall, flow or outrun; Ctrl-C ends it", flush=True)
        try:
            while word := input().strip():
                if word in {"lag", "catch_up", "hang_up", "answer", "forget", "stall", "flow", "outrun"}:
                    getattr(stage, word)()
        except EOFError:
            threading.Event().wait()
        except KeyboardInterrupt:
            ended.set()


if __name__ == "__main__":
    main()
