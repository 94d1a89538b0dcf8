"""What the compose files run, run: their very commands as processes, where no engine runs containers; the broker as its image
starts it from their variables."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from b3iq_streams.devkafka import HOST
from b3iq_streams.devkafka_jars import java_command
from tests.deploy.test_compose import ONE, SECURED
from tests.kafka.network import ROOT, until
from tests.kafka.support import free_port

IMAGE_FILES = ("server.properties", "log4j2.yaml", "tools-log4j2.yaml")
LOGS = "Configuration: {Appenders: {}, Loggers: {Root: {level: WARN}, Logger: []}}\n"
WEB = {"processor-1": 6066, "processor-2": 6066, "catalog": 8080}


class Services:
    """Services of a compose file as processes: other places and ports, for they share one machine."""

    def __init__(self, found: Mapping[str, Any], directory: Path) -> None:
        self.found, self.directory = found, directory
        self.bootstrap, self.controller = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
        self.ports = {name: free_port() for name in WEB}
        self.running: list[subprocess.Popen[bytes]] = []

    def start_broker(self) -> subprocess.Popen[bytes]:
        """As the image does it: the program in Kafka's own jar turns variables into settings and formats the storage."""
        directories = {name: self.directory / name for name in ("default", "mounted", "final")}
        for directory in directories.values():
            directory.mkdir()
        for name in IMAGE_FILES:
            (directories["default"] / name).write_text(LOGS if name.endswith(".yaml") else "")
        places = {"CLIENTS://:9092": f"CLIENTS://{self.bootstrap}", "PLAINTEXT://:9092": f"PLAINTEXT://{self.bootstrap}",
                  "CONTROLLER://:9093": f"CONTROLLER://{self.controller}", "kafka:9092": self.bootstrap,
                  "kafka:9093": self.controller, "/var/lib/kafka/data": str(self.directory / "data")}  # fmt: skip
        variables = {}
        for variable, value in self.found["kafka"]["environment"].items():
            for there, here in places.items():
                value = value.replace(there, here)
            variables[variable] = value
        java = java_command()
        with (self.directory / "kafka.log").open("wb") as log:
            setup = [*java, "kafka.docker.KafkaDockerWrapper", "setup"]
            setup += [f"--{name}-configs-dir={directory}" for name, directory in directories.items()]
            subprocess.run(setup, stdout=log, stderr=log, check=True, env=os.environ | variables)
            process = subprocess.Popen([*java, "kafka.Kafka", str(directories["final"] / IMAGE_FILES[0])], stdout=log, stderr=log)
        self.running.append(process)
        return process

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Its command, its variables; told where this machine has what a container has elsewhere."""
        service = self.found[name]
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
def services(found: Mapping[str, Any], directory: Path) -> Iterator[Services]:
    """Whatever was started does not outlive the block."""
    made = Services(found, directory)
    try:
        yield made
    finally:
        for process in reversed(made.running):
            process.kill()
            process.wait()


@pytest.mark.parametrize("found", [ONE, SECURED], ids=["one", "secured"])
async def test_the_network_of_the_compose_file_gets_ready_and_stops(found: dict[str, Any], tmp_path: Path) -> None:
    """In the order in which compose starts them: broker, topics, fleet, both processors, catalog; then each stops properly."""
    with services(found, tmp_path) as made:
        made.start_broker()
        topics = made.start("topics")
        await until(lambda: topics.poll() is not None, "the topics")
        assert topics.returncode == 0, (tmp_path / "topics.log").read_text()
        fleet = made.start("fleet")
        await until(lambda: (tmp_path / "world/keys/world.json").exists(), "the keys")
        started = {name: made.start(name) for name in WEB}
        for name in WEB:
            await until(lambda name=name: made.ready(name), f"{name} is ready")  # type: ignore[misc]  # bound now
        for process in (*started.values(), fleet):
            process.send_signal(signal.SIGTERM)
        await until(lambda: all(process.poll() is not None for process in started.values()), "the end of all")
        assert dict.fromkeys(WEB, 0) == {name: process.returncode for name, process in started.items()}
