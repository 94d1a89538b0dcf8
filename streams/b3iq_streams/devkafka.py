"""A real Apache Kafka on loopback, for tests and for `make kafka`: Maven brings the jars once, Java 17+ runs them.

Each node is broker and controller at once (KRaft). The data live in a temporary directory that `stop` removes, while
`kill`, `start` and `restart` keep it, so tests can crash a broker and look at what survived. The module does not create
topics, and it is no way to run a broker that anybody depends on: nothing here is secured or replicated unless told so.
"""

import argparse
import contextlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from b3iq_streams.devkafka_jars import KafkaStartError as KafkaStartError
from b3iq_streams.devkafka_jars import java_command
from b3iq_streams.devkafka_ready import brokers_seen
from b3iq_streams.devkafka_secured import SECURED_JVM_OPTIONS, Secured

HOST = "127.0.0.1"
POLL_S = 0.05
STOP_TIMEOUT_S = 15

# One node serves several tests and often shares two cores, hence the small heap and the few threads. Short sessions let
# a killed node register again within seconds; group sessions as short as one second let tests see a dead member.
SETTINGS = """\
process.roles=broker,controller
node.id={node_id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
log.dirs={log_dir}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
"""

# The guard blocks on a pipe that only this process holds open: when this process dies, however it dies, the read ends.
GUARD = 'read -r _; kill -KILL "$1"; rm -rf -- "$2"'


@dataclass
class _Node:
    """One broker: where it listens and writes, and its processes while it runs."""

    node_id: int
    port: int
    controller_port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = None
    guard: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class LocalKafka:
    """A local cluster with stable ports, which a test may stop, kill, freeze and start again."""

    def __init__(
        self, *, nodes: int = 1, port: int | None = None, start_timeout_s: float = 60, secured: Secured | None = None
    ) -> None:
        """Choose the ports now, so that `bootstrap` is the same before the start and after every restart."""
        ports = _free_ports(3 * nodes)
        self._nodes = [_Node(i + 1, ports[3 * i], ports[3 * i + 1], ports[3 * i + 2]) for i in range(nodes)]
        self._secured = secured
        if port is not None:
            self._nodes[0].port = port
        self._start_timeout_s = start_timeout_s
        # A random id in Kafka's own spelling, save for its first letter: a leading "-" would be read as an option.
        self._cluster_id = "k" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        self._home: Path | None = None

    @property
    def bootstrap(self) -> str:
        """The addresses a client starts from."""
        return ",".join(f"{HOST}:{node.port}" for node in self._nodes)

    @property
    def tls_bootstrap(self) -> str:
        """The same for clients whose certificate is their name; only of a secured cluster."""
        return ",".join(f"{HOST}:{node.tls_port}" for node in self._nodes)

    def start(self) -> None:
        """Start every node that is down, keeping what was stored before, and return when all of them serve clients."""
        java = java_command(*(SECURED_JVM_OPTIONS if self._secured else ()))
        self._home = self._home or Path(tempfile.mkdtemp(prefix="b3iq-kafka-"))
        try:
            for node in self._nodes:
                if not node.running:
                    self._reap(node)  # its guard, if it ended by itself
                    self._launch(node, java, self._home)
            self._await_ready(self._home)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every node cleanly and remove the data."""
        self._terminate()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def restart(self) -> None:
        """Stop cleanly and start again with the same data on the same ports."""
        self._terminate()
        self.start()

    def kill(self, node: int = 0) -> None:
        """Take a node away without warning (SIGKILL); `start` brings it back with what reached its disk."""
        self._signal(node, signal.SIGKILL)
        self._reap(self._nodes[node])

    def running(self, node: int = 0) -> bool:
        """Whether a node's process has not ended."""
        return self._nodes[node].running

    def suspend(self, node: int = 0) -> None:
        """Freeze a node (SIGSTOP): its connections stay open and nothing answers."""
        self._signal(node, signal.SIGSTOP)

    def resume(self, node: int = 0) -> None:
        """Let a suspended node go on."""
        self._signal(node, signal.SIGCONT)

    def refuse_writes(self, node: int = 0) -> None:
        """Have every write of a running node to a file fail, as on a full disk, until it is started again (Linux only)."""
        if process := self._nodes[node].process:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def wait(self) -> None:
        """Block until the first node has exited, for a foreground command."""
        if (process := self._nodes[0].process) is not None:
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None) -> None:
        self.stop()

    def _launch(self, node: _Node, java: list[str], home: Path) -> None:
        """Format the node's directory the first time, then start it with a guard that outlives this process."""
        settings = home / f"node-{node.node_id}.properties"
        log_path = _log_path(home, node)
        with log_path.open("ab") as log:
            if not settings.exists():
                settings.write_text(self._settings(node, home))
                tool = [*java, "kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", str(settings)]
                tool += self._secured.format_arguments if self._secured else []
                if subprocess.run(tool, stdout=log, stderr=log, check=False).returncode:  # noqa: S603  our own arguments
                    raise KafkaStartError(f"Kafka could not format its storage.\n{_tail(log_path)}")
            # A session of its own keeps a Ctrl-C in the terminal from reaching the broker before we stop it cleanly.
            node.process = subprocess.Popen(  # noqa: S603  our own arguments
                [*java, "kafka.Kafka", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        node.guard = subprocess.Popen(  # noqa: S603  our own arguments
            ["/bin/sh", "-c", GUARD, "guard", str(node.process.pid), str(home)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _settings(self, node: _Node, home: Path) -> str:
        replicas = min(3, len(self._nodes))
        secured = self._secured.properties(HOST, node.port, node.tls_port, node.controller_port) if self._secured else ""
        plain = SETTINGS.format(
            node_id=node.node_id,
            voters=",".join(f"{n.node_id}@{HOST}:{n.controller_port}" for n in self._nodes),
            host=HOST,
            port=node.port,
            controller_port=node.controller_port,
            log_dir=home / f"data-{node.node_id}",
            replicas=replicas,
            in_sync=max(1, replicas - 1),
        )
        return plain + secured  # of two lines for one setting the later one counts

    def _await_ready(self, home: Path) -> None:
        context = self._secured.context() if self._secured else None
        for _ in range(int(self._start_timeout_s / POLL_S)):
            for node in self._nodes:
                if not node.running:
                    raise KafkaStartError(f"Kafka exited while it was starting.\n{_tail(_log_path(home, node))}")
            ports = (node.tls_port if context else node.port for node in self._nodes)
            if all(brokers_seen(HOST, port, context) == len(self._nodes) for port in ports):
                return
            time.sleep(POLL_S)
        logs = "\n".join(_tail(_log_path(home, node)) for node in self._nodes)
        raise KafkaStartError(f"Kafka did not serve clients within {self._start_timeout_s:.0f} s.\n{logs}")

    def _terminate(self) -> None:
        for node in [node for node in self._nodes if node.running]:
            # Continue as well: a suspended process would sit on its SIGTERM.
            self._signal(node.node_id - 1, signal.SIGTERM)
            self._signal(node.node_id - 1, signal.SIGCONT)
        for node in self._nodes:
            self._reap(node)

    def _signal(self, index: int, number: signal.Signals) -> None:
        if (process := self._nodes[index].process) is not None:
            process.send_signal(number)

    @staticmethod
    def _reap(node: _Node) -> None:
        """Wait for a node that was told to go, and insist if it does not; only then let its guard go too."""
        if node.process is not None:
            try:
                node.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                node.process.kill()
                node.process.wait()
        if node.guard is not None:
            node.guard.kill()  # before its pipe closes, or it would remove the data that a restart needs
            node.guard.wait()
            if node.guard.stdin is not None:
                node.guard.stdin.close()
        node.process = node.guard = None


def _free_ports(count: int) -> list[int]:
    """Pick free ports below the ephemeral range, where no client's own socket can take one while its node is down."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            found.append(port)
        if len(found) == count:
            return found
    raise KafkaStartError("No free port was found on loopback.")


def _log_path(home: Path, node: _Node) -> Path:
    return home / f"node-{node.node_id}.log"


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Run one broker in the foreground until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m b3iq_streams.devkafka", description=main.__doc__)
    parser.add_argument("--port", type=int, help="where clients connect; a free port unless given")
    port: int | None = parser.parse_args(argv).port
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with LocalKafka(port=port) as kafka:
            print(f"bootstrap: {kafka.bootstrap}", flush=True)
            kafka.wait()
    except KeyboardInterrupt:
        return 0
    except KafkaStartError as error:
        print(" | ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    print("Kafka exited by itself.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
