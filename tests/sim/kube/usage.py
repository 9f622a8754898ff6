"""metrics.k8s.io: usage derived from what pods ask for, as steady as it is made up."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from tests.sim.kube.kinds import timestamp
from tests.sim.kube.lists import ListOptions
from tests.sim.kube.quantities import pod_requests
from tests.sim.kube.resources import NODES, PODS, Object, Resource
from tests.sim.kube.status import not_found
from tests.sim.kube.store import Store, Stored

_NODE_CPU, _NODE_MEMORY = 80, 400 * 2**20
"""What kubelet and system take."""


class Unavailable(Exception):
    """metrics-server does not answer; the aggregator's 503 is plain text."""


@dataclass
class Usage:
    """The metrics API. ``state`` is ``ready``, ``down`` or ``absent``."""

    store: Store
    state: str = "ready"
    versions: tuple[str, ...] = ("v1beta1",)
    """Served, the preferred one first; metrics-server has v1 since Kubernetes 1.37."""
    missing: set[str] = field(default_factory=set)
    """Nodes whose kubelet could not be scraped."""
    lacking: str = ""
    """A resource that no usage has."""

    def listed(self, resource: Resource, namespace: str | None, options: ListOptions) -> Object:
        source = NODES if resource.plural == "nodes" else PODS
        found = [stored for stored in self.store.all(source, namespace) if options.selects(stored.object)]
        items = [item for stored in found if (item := self._measure(stored))]
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return {**head, "metadata": {}, "items": items}

    def one(self, resource: Resource, namespace: str | None, name: str) -> Object:
        stored = self.store.get(NODES if resource.plural == "nodes" else PODS, namespace, name)
        item = self._measure(stored) if stored else None
        if item is None:
            raise not_found(resource, name)
        return {"kind": resource.kind, "apiVersion": resource.api_version, **item}

    def _measure(self, stored: Stored) -> Object | None:
        metadata = stored.object["metadata"]
        now = timestamp()
        item: Object = {
            "metadata": {"name": metadata["name"], "creationTimestamp": now, "labels": metadata.get("labels", {})},
            "timestamp": now,
            "window": "15.023s",
        }
        if stored.resource is NODES:
            if stored.name in self.missing:
                return None
            used = [pod_usage(pod) for pod in self.store.pods.on_node(stored.name)]
            cpu = _NODE_CPU + sum(cpu for cpu, _ in used)
            return {**item, "usage": self._quantities(cpu, _NODE_MEMORY + sum(memory for _, memory in used))}
        if stored.object["spec"].get("nodeName") in (None, *self.missing):
            return None
        if stored.object["status"].get("phase") != "Running":
            return None
        item["metadata"]["namespace"] = metadata["namespace"]
        containers = stored.object["spec"]["containers"]
        cpu, memory = pod_usage(stored)
        share = self._quantities(cpu // len(containers), memory // len(containers))
        return {**item, "containers": [{"name": container["name"], "usage": share} for container in containers]}

    def _quantities(self, millicores: int, size: int) -> Object:
        found = {"cpu": f"{millicores * 1_000_000}n", "memory": f"{size // 1024}Ki"}
        return {name: quantity for name, quantity in found.items() if name != self.lacking}


def pod_usage(pod: Stored) -> tuple[int, int]:
    """Millicores and bytes: between a quarter and three quarters of what the pod asks for."""
    if pod.object["status"].get("phase") != "Running":
        return 0, 0
    cpu, memory = pod_requests(pod.object)
    percent = 25 + zlib.crc32(pod.key.encode()) % 51
    return cpu * percent // 100, memory * percent // 100
