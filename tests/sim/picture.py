"""A cluster as the console draws it: its nodes, and the pods on each."""

from __future__ import annotations

from typing import Any

from shared.kube.connection import Kube
from shared.kube.nodes import Nodes
from shared.kube.pods import Pod, Pods


def picture(kube: Kube) -> list[dict[str, Any]]:
    """All nodes by name, then what has none yet. Pods that have ended are not drawn."""
    pods: dict[str, list[dict[str, Any]]] = {}
    for pod in sorted(Pods(kube).latest(), key=lambda pod: pod.name):
        if not pod.ended:
            pods.setdefault(pod.spec.node_name or "", []).append(_pod(pod))
    drawn = []
    for node in sorted(Nodes(kube).latest(), key=lambda node: node.metadata.name):
        labels = node.metadata.labels or {}
        drawn.append(
            {
                "name": node.metadata.name,
                "type": labels.get("node.kubernetes.io/instance-type", ""),
                "zone": labels.get("topology.kubernetes.io/zone", ""),
                "capacity": labels.get("karpenter.sh/capacity-type")
                or labels.get("eks.amazonaws.com/capacityType", ""),
                "ready": node.is_ready,
                "cordoned": node.spec.unschedulable,
                "pods": pods.pop(node.metadata.name, []),
            }
        )
    if pods.get(""):
        drawn.append({"name": "", "pods": pods[""]})
    return drawn


def _pod(pod: Pod) -> dict[str, Any]:
    meta = pod.metadata
    return {
        "uid": pod.uid,
        "namespace": meta.namespace,
        "name": meta.name,
        "daemon": pod.controller is not None and pod.controller.kind == "DaemonSet",
        "state": "terminating" if pod.terminating else "ready" if pod.is_ready else "starting",
    }
