"""What the compose file runs, run: its very commands as processes on a real broker, where no engine runs containers."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from b3iq_streams.devkafka import LocalKafka
from tests.deploy.test_compose import ONE
from tests.kafka.network import ROOT, until
from tests.kafka.support import free_port

WEB = {"processor-1": 6066, "processor-2": 6066, "catalog": 8080}


class Services:
    """Services of the compose file as processes: other places and ports, for they share one machine."""

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self.bootstrap, self.directory = bootstrap, directory
        self.ports = {name: free_port() for name in WEB}
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Its command, its variables; told where this machine has what a container has elsewhere."""
        service = ONE[name]
        told = [self._here(word, name) for word in service["command"]]
        port = str(self.ports.get(name, 0))
        for option, value in {"--web-host": "localhost", "--host": "127.0.0.1", "--web-port": port, "--port": port}.items():
            if option in told:
                told[told.index(option) + 1] = value
        variables = {key: self._here(value, name) for key, value in service["environment"].items()}
        (self.directory / "world").mkdir(exist_ok=True)
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "b3iq_streams.cli", *told], stdout=log, stderr=log, cwd=ROOT, env=os.environ | variables
            )
        self.running.append(process)
        return process

    def _here(self, word: str, name: str) -> str:
        """Where this machine has what a container has under that name."""
        for there, here in {"/world/": f"{self.directory}/world/", "/data": f"{self.directory}/{name}"}.items():
            if word.startswith(there):
                return here + word.removeprefix(there)
        return word.replace("kafka:9092", self.bootstrap)

    def ready(self, name: str) -> bool:
        """What its health check asks."""
        try:
            with urllib.request.urlopen(f"http://localhost:{self.ports[name]}/readyz", timeout=3) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@contextmanager
def services(bootstrap: str, directory: Path) -> Iterator[Services]:
    """Whatever was started does not outlive the block."""
    made = Services(bootstrap, directory)
    try:
        yield made
    finally:
        for process in made.running:
            process.kill()
            process.wait()


async def test_the_network_of_the_compose_file_gets_ready_and_stops(private_kafka: LocalKafka, tmp_path: Path) -> None:
    """In the order in which compose starts them: topics, fleet, both processors, catalog; then each stops properly."""
    with services(private_kafka.bootstrap, tmp_path) as made:
        topics = made.start("topics")
        await until(lambda: topics.poll() is not None, "the topics")
        assert topics.returncode == 0
        fleet = made.start("fleet")
        await until(lambda: (tmp_path / "world/keys/world.json").exists(), "the keys")
        started = {name: made.start(name) for name in WEB}
        for name in WEB:
            await until(lambda name=name: made.ready(name), f"{name} is ready")  # type: ignore[misc]  # bound now
        for process in (*started.values(), fleet):
            process.send_signal(signal.SIGTERM)
        await until(lambda: all(process.poll() is not None for process in started.values()), "the end of all")
        assert dict.fromkeys(WEB, 0) == {name: process.returncode for name, process in started.items()}
