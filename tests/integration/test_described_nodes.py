"""Requests and limits as `kubectl describe node` prints them, which is how an operator would check ours.

kubectl (v1.37.1) knows nothing of in-place resizes: there the scheduler is right, and we with it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from shared.kube.connection import Kube
from shared.kube.reads import Resource
from shared.kube.resources import Amount, amount
from tests.container.bundle import kubectl
from tests.sim.kube.cluster import Cluster
from workers.metrics.pods import Pod, PodTotals

_NODE = "node-1"


def _container(name: str, requests: dict[str, str], limits: dict[str, str] | None = None, **more: Any) -> Any:
    return {"name": name, "image": "app", "resources": {"requests": requests, "limits": limits or {}}, **more}


_PODS: dict[str, dict[str, Any]] = {
    "plain": {
        "containers": [
            _container("a", {"cpu": "250m", "memory": "64Mi"}, {"memory": "128Mi"}),
            _container("b", {"cpu": "0.5", "memory": "134217728"}, {"cpu": "2", "memory": "1G"}),
        ]
    },
    "greedy-init": {
        "containers": [_container("a", {"cpu": "100m", "memory": "64Mi"}, {"cpu": "200m", "memory": "64Mi"})],
        "initContainers": [_container("migrate", {"cpu": "1", "memory": "32Mi"}, {"cpu": "3", "memory": "256Mi"})],
    },
    "sidecars": {
        "containers": [_container("a", {"cpu": "100m", "memory": "64Mi"})],
        "initContainers": [
            _container("mesh", {"cpu": "70m", "memory": "40Mi"}, {"memory": "80Mi"}, restartPolicy="Always"),
            _container("migrate", {"cpu": "600m", "memory": "8Mi"}),
            _container("logs", {"cpu": "30m", "memory": "20Mi"}, restartPolicy="Always"),
        ],
    },
    "overhead": {
        "containers": [_container("a", {"cpu": "100m", "memory": "64Mi"}, {"memory": "64Mi"})],
        "overhead": {"cpu": "250m", "memory": "120Mi"},
    },
    "pod-level": {
        "resources": {"requests": {"cpu": "900m", "memory": "300Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
        "containers": [_container("a", {"cpu": "100m", "memory": "64Mi"})],
    },
    "odd-quantities": {"containers": [_container("a", {"cpu": "1500u", "memory": "1e8"}, {"memory": "0.5Gi"})]},
    "best-effort": {"containers": [_container("a", {})]},
}


def test_the_totals_are_those_that_kubectl_describes(tmp_path: Path) -> None:
    ours = PodTotals()
    with Cluster(nodes=1) as cluster:
        kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig")
        kube = Kube(str(kubeconfig), "test")
        cluster.add_namespace("shop")
        for name, spec in _PODS.items():
            _create(kube, name, spec)
        _create(kube, "ended", _PODS["plain"], phase="Succeeded")
        for page in Resource(kube, "/api/v1/pods", Pod).pages():
            for pod in page.items:
                ours.put(pod)
        requests, limits = _described(kubeconfig)
    assert len(ours) == len(_PODS) + 1
    counted = ours.counted({_NODE}, {_NODE})
    assert (counted.requests, counted.limits) == (requests, limits)


def _create(kube: Kube, name: str, spec: dict[str, Any], phase: str = "Running") -> None:
    body = {"metadata": {"name": name}, "spec": {**spec, "nodeName": _NODE}}
    path = "/api/v1/namespaces/shop/pods"
    kube.call("POST", path, None, {"apiVersion": "v1", "kind": "Pod", **body})
    status = {"status": {"phase": phase}}
    kube.call("PATCH", f"{path}/{name}/status", None, status, "application/merge-patch+json")


def _described(kubeconfig: Path) -> tuple[Amount, Amount]:
    """Requests and limits of the node's "Allocated resources"."""
    cache = str(kubeconfig.parent / "cache")
    said = kubectl("--kubeconfig", str(kubeconfig), "--cache-dir", cache, "describe", "node", _NODE).stdout
    table = said[said.index("Allocated resources:") :]
    row = r"^\s+%s\s+(\S+) \(.*?\)\s+(\S+) \("
    cpu, memory = (re.search(row % name, table, re.MULTILINE) for name in ("cpu", "memory"))
    assert cpu
    assert memory
    return amount({"cpu": cpu[1], "memory": memory[1]}), amount({"cpu": cpu[2], "memory": memory[2]})
