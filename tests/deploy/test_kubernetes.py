"""The Kubernetes manifests against the published schemas, the command line, the settings, and what they promise."""

import shutil
import subprocess
from pathlib import PurePosixPath
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from b3iq_schemas.topics import TOPICS
from b3iq_streams.settings import KafkaSettings, load
from tests.deploy.commands import ROOT, SETTINGS, parse
from tests.deploy.kustomize import Manifest, containers, pod, render
from tests.kafka.secured import Certificates

HERE = ROOT / "deploy/kubernetes"
OVERLAYS = {name: render(HERE / name) for name in ("dev", "prod")}
ITEMS = [pytest.param(item, id=f"{overlay}-{item['kind']}-{item['metadata']['name']}")
         for overlay, items in OVERLAYS.items() for item in items]  # fmt: skip
WORKLOADS = [param for param in ITEMS if pod(param.values[0]) is not None]  # type: ignore[arg-type]  # a manifest
VERSIONS = ("1.29", "1.37")
IMAGE_HAS = {"install"}
"""Commands of coreutils that the base image brings."""


@pytest.mark.parametrize("item", ITEMS)
def test_the_published_schema_accepts_it(item: Manifest) -> None:
    """Strictly: a field that Kubernetes does not know is an error, in the oldest and the newest version held."""
    for version in VERSIONS:
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_reads_the_same(overlay: str) -> None:
    """Our reading of an overlay is kubectl's, where there is one."""
    kubectl = shutil.which("kubectl")
    if kubectl:
        said = subprocess.run([kubectl, "kustomize", str(HERE / overlay)], capture_output=True, check=True).stdout
        assert _sorted(list(yaml.safe_load_all(said))) == _sorted(OVERLAYS[overlay])


def _sorted(items: list[Manifest]) -> list[Manifest]:
    return sorted(items, key=lambda item: (item["kind"], item["metadata"]["name"]))


def environment(item: Manifest, container: Manifest, overlay: list[Manifest]) -> dict[str, str]:
    """What a container is told; a value that comes from elsewhere is its reference."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        (told,) = [
            other
            for other in overlay
            if other["kind"] == "ConfigMap" and other["metadata"]["name"] == source["configMapRef"]["name"]
        ]
        found |= told["data"]
    return found | {entry["name"]: entry.get("value", "referred to") for entry in container.get("env", ())}


def overlay_of(item: Manifest) -> list[Manifest]:
    """The manifests among which it stands."""
    return next(items for items in OVERLAYS.values() if any(item is other for other in items))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One whose certificate stands for that of the brokers' authority."""
    return Certificates(tmp_path_factory.mktemp("authority"))


def given(item: Manifest, container: Manifest, told: dict[str, str], authority: Certificates) -> dict[str, str]:
    """The same variables with real files behind those that come from a Secret, readable as the pod mounts them."""
    volumes = (pod(item) or {}).get("volumes", ())
    modes = {volume["name"]: volume["secret"]["defaultMode"] for volume in volumes if "secret" in volume}
    contents = {"password": b"a password\n", "ca.crt": authority.path.read_bytes()}
    found = dict(told)
    for mount in container.get("volumeMounts", ()):
        for name, value in told.items():
            if mount["name"] in modes and value.startswith(f"{mount['mountPath']}/"):
                path = authority.path.parent / f"{item['metadata']['name']}-{PurePosixPath(value).name}"
                path.write_bytes(contents[PurePosixPath(value).name])
                path.chmod(modes[mount["name"]])
                found[name] = str(path)
    return found


@pytest.mark.parametrize("item", WORKLOADS)
def test_the_command_line_accepts_what_it_runs(item: Manifest, authority: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are real, options parse, variables are ones that settings read and accept, and every file named is mounted."""
    for container in containers(item):
        told = environment(item, container, overlay_of(item))
        assert set() == set(told) - SETTINGS - {"POD_NAME"}
        mounts = {PurePosixPath(mount["mountPath"]) for mount in container.get("volumeMounts", ())}
        if "command" in container:
            assert container["command"][0] in IMAGE_HAS
            named = container["command"][-2:]
        else:
            context = parse(container["args"], monkeypatch, given(item, container, told, authority))
            read = load(KafkaSettings)
            protocol = told.get("B3IQ_SECURITY_PROTOCOL", "PLAINTEXT")
            assert (told["B3IQ_BOOTSTRAP"], protocol) == (read.bootstrap, read.security_protocol)
            named = [word.rpartition("=")[2] for word in container["args"] if word.startswith("--") and "=/" in word]
            named += [value for name, value in told.items() if value.startswith("/") and _wants(context, name)]
        for path in named:
            assert mounts & {PurePosixPath(path), *PurePosixPath(path).parents}, f"{path} is on no volume"


def _wants(context: click.Context, variable: str) -> bool:
    """The trust file is read by commands that take --trust only."""
    return variable != "B3IQ_TRUST" or any(parameter.name == "trust" for parameter in context.command.params)


@pytest.mark.parametrize("item", WORKLOADS)
def test_nothing_runs_with_more_rights_than_it_needs(item: Manifest) -> None:
    """Not root, read-only root, no capabilities, no token of the cluster, bounded memory."""
    spec = pod(item)
    assert spec is not None
    assert (True, 10001) == (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"])
    assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
    assert spec["automountServiceAccountToken"] is False
    for container in containers(item):
        security = container["securityContext"]
        assert (False, True, ["ALL"]) == (
            security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"], security["capabilities"]["drop"]
        )  # fmt: skip
        assert {"cpu", "memory"} == set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    assert volumes >= {mount["name"] for container in containers(item) for mount in container.get("volumeMounts", ())}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_only_referred_to(overlay: str) -> None:
    """No Secret is made here, and no variable holds a password or a key."""
    assert [] == [item for item in OVERLAYS[overlay] if item["kind"] == "Secret"]
    for item in OVERLAYS[overlay]:
        for container in containers(item):
            told = environment(item, container, OVERLAYS[overlay])
            assert [] == [name for name in told if name.endswith(("PASSWORD", "SECRET", "_KEY"))]


def of(overlay: str, kind: str, name: str) -> Manifest:
    """One manifest."""
    (found,) = [item for item in OVERLAYS[overlay] if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def selected(selector: dict[str, Any], item: Manifest) -> bool:
    """Whether the pods of a workload are among those selected."""
    labels: dict[str, str] = item["spec"]["template"]["metadata"]["labels"]
    wanted: dict[str, str] = selector.get("matchLabels", selector)
    return wanted.items() <= labels.items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_processors_keep_their_names_and_stop_properly(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Static membership by the pod's name, probes on the worker's pages, time for a clean stop, a budget, machines apart."""
    made = of(overlay, "StatefulSet", "processor")
    (worker,) = made["spec"]["template"]["spec"]["containers"]
    told = parse(worker["args"], monkeypatch, {"B3IQ_BOOTSTRAP": "kafka:9092", "B3IQ_TRUST": "/trust"}).params
    assert ("$(POD_NAME)", "$(POD_NAME)") == (told["instance"], told["web_host"])
    assert "metadata.name" == next(e for e in worker["env"] if e["name"] == "POD_NAME")["valueFrom"]["fieldRef"]["fieldPath"]
    assert [told["web_port"]] == [port["containerPort"] for port in worker["ports"]]
    probes = {name: worker[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"} == probes
    assert pod(made)["terminationGracePeriodSeconds"] >= 60  # type: ignore[index]  # it has one
    assert selected(of(overlay, "PodDisruptionBudget", "processor")["spec"]["selector"], made)
    assert selected(of(overlay, "Service", "processor")["spec"]["selector"], made)
    assert made["spec"]["serviceName"] == "processor"
    (apart,) = pod(made)["affinity"]["podAntiAffinity"].values()  # type: ignore[index]  # as above
    term = apart[0].get("podAffinityTerm", apart[0])
    assert selected(term["labelSelector"], made)


def test_production_never_puts_two_processors_on_one_machine() -> None:
    """Required there, preferred elsewhere."""
    affinity = of("prod", "StatefulSet", "processor")["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    assert {"requiredDuringSchedulingIgnoredDuringExecution"} == set(affinity)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_topics_are_made_by_the_code_and_suffice_for_the_processors(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job runs `topics apply`, so topics are those of the code's table, and access rules where there are users; no worker
    is without a partition."""
    (job,) = containers(of(overlay, "Job", "topics"))
    told = parse(job["args"], monkeypatch, {"B3IQ_BOOTSTRAP": "kafka:9092"})
    assert "apply" == told.command.name
    assert told.params["partitions"] >= of(overlay, "StatefulSet", "processor")["spec"]["replicas"]
    assert (overlay == "prod") == told.params["acls"]
    assert {"dev": 1, "prod": 3}[overlay] == told.params["replication_factor"]
    assert [] == [name for name in TOPICS if name in (HERE / "base/topics.yaml").read_text().split()]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_gets_in_or_out_that_is_not_named(overlay: str) -> None:
    """One policy closes every pod of ours in both directions; what opens is ports."""
    closed = of(overlay, "NetworkPolicy", "b3iq")["spec"]
    assert {"Ingress", "Egress"} == set(closed["policyTypes"])
    assert "ingress" not in closed
    assert all(selected(closed["podSelector"], item) for item in OVERLAYS[overlay] if pod(item))
    for name, port in (("processor", 6066), ("catalog", 8080)):
        rules = of(overlay, "NetworkPolicy", name)["spec"]["ingress"]
        assert [port] == [opened["port"] for rule in rules for opened in rule["ports"]]


def test_production_speaks_sasl_over_tls() -> None:
    """Every workload has its own user and its password as a file, from a Secret of its own."""
    assert "SASL_SSL" == of("prod", "ConfigMap", "b3iq")["data"]["B3IQ_SECURITY_PROTOCOL"]
    for item in filter(pod, OVERLAYS["prod"]):
        name, spec = item["metadata"]["name"], pod(item) or {}
        assert {f"b3iq-{name}-kafka"} == {v["secret"]["secretName"] for v in spec["volumes"] if v["name"] == "kafka"}
        (user,) = [entry for entry in spec["containers"][0]["env"] if entry["name"] == "B3IQ_SASL_USERNAME"]
        assert f"b3iq-{name}-kafka" == user["valueFrom"]["secretKeyRef"]["name"]
