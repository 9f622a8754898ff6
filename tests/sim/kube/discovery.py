"""What the API says about itself: versions, groups and resources."""

from __future__ import annotations

from collections.abc import Sequence

from tests.sim.kube.resources import PODS, RESOURCES, Object, Resource

NEWEST = 36
"""The minor version that the simulator is."""

OLDEST = 30
"""The oldest that it can be, and that the agent is held to."""

WATCH_LIST = 34
"""A watch may begin with what is there (KEP-3157) since then; before, the gate was shut, but for 1.32."""


def version(minor: int = NEWEST) -> Object:
    """What /version says. Emulated versions are told since 1.33."""
    emulated = {
        "emulationMajor": "1",
        "emulationMinor": str(minor),
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": str(minor - 1),
    }
    return {
        "major": "1",
        "minor": str(minor),
        **(emulated if minor >= 33 else {}),
        "gitVersion": f"v1.{minor}.2",
        "gitCommit": "simulated",
        "gitTreeState": "clean",
        "buildDate": "2026-05-12T09:58:21Z",
        "goVersion": "go1.26.6",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def core_versions(address: str) -> Object:
    server = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": server}


def groups(of_metrics: Sequence[str]) -> Object:
    """All groups; of metrics.k8s.io the given versions, if any."""
    names = dict.fromkeys(resource.group for resource in RESOURCES if resource.group)
    found = [group for name in names if (group := _group(name, of_metrics))]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def find_group(name: str, of_metrics: Sequence[str]) -> Object | None:
    found = _group(name, of_metrics)
    return {"kind": "APIGroup", "apiVersion": "v1", **found} if found else None


def _group(name: str, of_metrics: Sequence[str]) -> Object | None:
    known = list(dict.fromkeys(resource.version for resource in RESOURCES if resource.group == name))
    served = of_metrics if name == "metrics.k8s.io" else known
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in served]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]} if versions else None


def resources(name: str, version: str) -> Object | None:
    """The APIResourceList of a group version."""
    found = [resource for resource in RESOURCES if (resource.group, resource.version) == (name, version)]
    if not found:
        return None
    rows = [row for resource in found for row in _rows(resource)]
    rows.sort(key=lambda row: row["name"])
    head: Object = {"kind": "APIResourceList", **({"apiVersion": "v1"} if name else {})}
    return {**head, "groupVersion": f"{name}/{version}" if name else version, "resources": rows}


def _rows(resource: Resource) -> list[Object]:
    row: Object = {
        "name": resource.plural,
        "singularName": resource.kind.lower() if resource.group != "metrics.k8s.io" else "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short:
        row["shortNames"] = list(resource.short)
    if resource.all:
        row["categories"] = ["all"]
    sub: Object = {"singularName": "", "namespaced": resource.namespaced, "kind": resource.kind}
    rows = [row]
    if resource.status:
        rows.append({**sub, "name": f"{resource.plural}/status", "verbs": ["get", "patch", "update"]})
    if resource is PODS:
        eviction = {"group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]}
        rows.append({**sub, "name": "pods/eviction", **eviction})
    return rows
