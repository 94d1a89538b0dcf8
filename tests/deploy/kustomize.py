"""The little of kustomize that the overlays use: resources, namespace, images, replicas, strategic merge patches.

A test compares it with kubectl's own where that is installed. Anything else in a kustomization is refused.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
KEYS = {"containers": "name", "initContainers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
"""Lists that are merged by a key of their items; others are replaced."""
USED = {"apiVersion", "kind", "namespace", "resources", "images", "replicas", "patches"}


def render(directory: Path) -> list[Manifest]:
    """The manifests of an overlay."""
    told = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert set(told) <= USED, set(told) - USED
    found: list[Manifest] = []
    for name in told["resources"]:
        path = directory / name
        found += render(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for patch in told.get("patches", ()):
        over = yaml.safe_load((directory / patch["path"]).read_text())
        (i,) = [i for i, item in enumerate(found) if identity(item) == identity(over)]
        found[i] = merge(found[i], over)
    for item in found:
        if "namespace" in told:
            item["metadata"]["namespace"] = told["namespace"]
        for change in told.get("replicas", ()):
            if item["metadata"]["name"] == change["name"] and "replicas" in item.get("spec", {}):
                item["spec"]["replicas"] = change["count"]
        for container in containers(item):
            for image in told.get("images", ()):
                if container["image"].partition(":")[0] == image["name"]:
                    container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"
    return found


def identity(item: Manifest) -> tuple[str, str]:
    """What a patch finds its target by."""
    return item["kind"], item["metadata"]["name"]


def pod(item: Manifest) -> Manifest | None:
    """The pod that a workload makes."""
    found: Manifest | None = item.get("spec", {}).get("template", {}).get("spec")
    return found


def containers(item: Manifest) -> list[Manifest]:
    """Every container of a workload, those that only begin it as well."""
    spec = pod(item) or {}
    return [*spec.get("initContainers", ()), *spec.get("containers", ())]


def merge(base: Any, over: Any, name: str = "") -> Any:
    """Strategic merge: null removes, mappings merge, lists with a key merge by it with new items first."""
    if isinstance(base, dict) and isinstance(over, dict):
        made = deepcopy(base)
        for key, value in over.items():
            if value is None:
                made.pop(key, None)
            else:
                made[key] = merge(base.get(key), value, key)
        return made
    if isinstance(base, list) and name in KEYS:
        by = {item[KEYS[name]]: item for item in base}
        fresh = [item for item in over if item[KEYS[name]] not in by]
        changed = {item[KEYS[name]]: merge(by[item[KEYS[name]]], item) for item in over if item[KEYS[name]] in by}
        return [*fresh, *(changed.get(item[KEYS[name]], item) for item in base)]
    return deepcopy(over)
