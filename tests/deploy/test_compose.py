"""The compose files against the code and the published schema: what they run is what the command line accepts."""

import re
import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from b3iq_streams.settings import KafkaSettings, load
from tests.deploy.commands import ROOT, SETTINGS, parse

BASE, THREE_BROKERS, ACCESS_RULES = (ROOT / name for name in (
    "docker-compose.yml", "deploy/compose/three-brokers.yml", "deploy/compose/secured.yml"))  # fmt: skip
OBSERVED = {"dashboard.json", "alerts.yaml", "prometheus.yaml", "grafana-datasource.yaml", "grafana-dashboards.yaml"}


def merged(base: Any, over: Any) -> Any:
    """As compose merges: mappings entry by entry, of a command and the like the later one."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {name: merged(base.get(name), value) for name, value in over.items()}
    return over


def services(*files: Path) -> dict[str, Any]:
    """The services of some files together."""
    found: dict[str, Any] = reduce(merged, [yaml.safe_load(path.read_text()) for path in files])["services"]
    return found


ONE, THREE, SECURED = services(BASE), services(BASE, THREE_BROKERS), services(BASE, ACCESS_RULES)
OURS = {f"{kind}-{name}": service for kind, found in (("one", ONE), ("three", THREE), ("secured", SECURED))
        for name, service in found.items() if service["image"].startswith("b3iq-streams")}  # fmt: skip


def test_they_are_what_the_published_schema_says() -> None:
    """All files; and where the client is there, its own reading of them together."""
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(BASE),
        str(THREE_BROKERS),
        str(ACCESS_RULES),
    ]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        for files in ([BASE], [BASE, THREE_BROKERS], [BASE, ACCESS_RULES]):
            chosen = [word for path in files for word in ("-f", str(path))]
            read = subprocess.run([docker, "compose", *chosen, "config", "--quiet"], capture_output=True, text=True, check=False)
            assert (0, "") == (read.returncode, read.stderr)


@pytest.mark.parametrize("service", OURS)
def test_the_command_line_accepts_what_the_service_runs(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each service's command names a real command, its options parse, and its variables are ones that settings read."""
    environment = OURS[service]["environment"]
    assert set() == set(environment) - SETTINGS
    parse(OURS[service]["command"], monkeypatch, environment)
    assert environment["B3IQ_BOOTSTRAP"] == load(KafkaSettings).bootstrap


@pytest.mark.parametrize("found", [ONE, THREE], ids=["one", "three"])
def test_clients_know_every_broker_and_topics_fit_their_number(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each broker advertises the name that clients are given, none makes topics itself, and each has a copy of a partition."""
    brokers = {name: service["environment"] for name, service in found.items() if service["image"].startswith("apache/kafka")}
    assert {f"{name}:9092" for name in brokers} == set(found["fleet"]["environment"]["B3IQ_BOOTSTRAP"].split(","))
    for name, environment in brokers.items():
        assert f"PLAINTEXT://{name}:9092" == environment["KAFKA_ADVERTISED_LISTENERS"]
        assert "false" == environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]
        assert str(len(brokers)) == environment["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"]
        voters = environment["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
        assert len(brokers) == len(voters)
        assert f"{environment['KAFKA_NODE_ID']}@{name}:9093" in voters
    assert len(brokers) == len({environment["KAFKA_NODE_ID"] for environment in brokers.values()})
    topics = parse(found["topics"]["command"], monkeypatch, {})
    assert ("apply", len(brokers)) == (topics.command.name, topics.params["replication_factor"])
    assert set(brokers) <= {*found["topics"]["depends_on"], "kafka"}


def test_with_access_rules_each_service_is_its_role() -> None:
    """It logs in as a user whom both listeners know, with its password; only brokers and fleet may do anything."""
    broker = SECURED["kafka"]["environment"]
    users = {f"KAFKA_LISTENER_NAME_{name}_PLAIN_SASL_JAAS_CONFIG" for name in ("CLIENTS", "CONTROLLER")}
    for name, role in {"topics": "kafka", "fleet": "fleet", "processor-1": "processor", "processor-2": "processor",
                       "catalog": "catalog", "router": "router"}.items():  # fmt: skip
        told = SECURED[name]["environment"]
        assert role == told["B3IQ_SASL_USERNAME"]
        for variable in users:
            assert f'user_{role}="{told["B3IQ_SASL_PASSWORD"]}"' in broker[variable]
    assert {"User:kafka", "User:fleet"} == set(broker["KAFKA_SUPER_USERS"].split(";"))


def test_what_brokers_store_is_on_a_volume() -> None:
    """The image writes elsewhere unless it is told."""
    for service in (service for service in THREE.values() if service["image"].startswith("apache/kafka")):
        assert f":{service['environment']['KAFKA_LOG_DIRS']}" in service["volumes"][0]


def test_nothing_starts_before_what_it_needs() -> None:
    """Topics before the fleet, which makes keys and policy; those before everybody who reads them."""
    assert "service_completed_successfully" == ONE["fleet"]["depends_on"]["topics"]["condition"]
    for name in ("processor-1", "processor-2", "catalog", "router"):
        assert {"fleet": {"condition": "service_healthy"}} == ONE[name]["depends_on"]


def test_processors_are_two_members_with_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Static membership and the URL that the group knows are the service's name, and the port is the one Prometheus asks."""
    for name in ("processor-1", "processor-2"):
        told = parse(ONE[name]["command"], monkeypatch, {}).params
        assert (name, name, 6066) == (told["instance"], told["web_host"], told["web_port"])
        assert name == ONE[name]["hostname"]


def test_no_port_is_open_to_the_network_and_no_image_floats() -> None:
    """What is published is published on loopback; every image that is not ours has a version."""
    for service in THREE.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert re.search(r":v?\d+\.\d+\.\d+$|^b3iq-streams:dev$", service["image"]), service["image"]


def test_what_is_mounted_from_here_is_here() -> None:
    """Dashboard, alerts and their configuration."""
    mounted = {Path(volume.split(":")[0]) for name in ("prometheus", "grafana") for volume in ONE[name]["volumes"]
               if volume.startswith("./")}  # fmt: skip
    assert {Path("deploy/observability") / name for name in OBSERVED} == mounted
    assert [] == [path for path in mounted if not (ROOT / path).is_file()]


def test_a_processor_keeps_its_notes_over_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a declared volume of its own where it keeps its files, none in memory, and the image gives it to the user."""
    compose = yaml.safe_load(BASE.read_text())
    made = re.search(r"mkdir (.*) && chown b3iq (.*)", (ROOT / "deploy/Dockerfile").read_text())
    assert made is not None
    kept = []
    for name in ("processor-1", "processor-2"):
        datadir = parse(ONE[name]["command"], monkeypatch, {}).params["datadir"]
        (volume,) = [volume.split(":")[0] for volume in ONE[name]["volumes"] if volume.split(":")[1] == str(datadir)]
        assert volume in compose["volumes"]
        assert "world:/world" in ONE[name]["volumes"]
        assert [] == [place for place in ONE[name]["tmpfs"] if str(datadir).startswith(place.split(":")[0])]
        assert str(datadir) in made.group(1).split()
        assert str(datadir) in made.group(2).split()
        kept.append(volume)
    assert 2 == len(set(kept))
