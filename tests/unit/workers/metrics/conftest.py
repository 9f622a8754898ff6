"""Samples, and objects of the API as the metrics worker decodes them."""

from __future__ import annotations

import msgspec

from shared.kube.nodes import Node
from shared.schemas.metrics import ClusterMetrics
from tests.unit.conftest import NOON
from workers.metrics.capacity import Capacity, Identity
from workers.metrics.nodes import NodeTotals
from workers.metrics.pods import Counted, Pod, PodTotals
from workers.metrics.sample import take_sample

LINUX = Identity("aws", "eu-west-1", "eu-west-1a", "m5.large", Capacity.ON_DEMAND, "linux")


def empty_sample() -> ClusterMetrics:
    """A sample of a cluster without anything in it."""
    return take_sample("demo", NOON, NodeTotals(), PodTotals(), {}, {}, None)


def on_fargate(name: str, node: str, provisioned: str = "0.25vCPU 0.5GB", phase: str = "Running") -> Pod:
    return pod(name, phase, node, annotations={"CapacityProvisioned": provisioned}, cpu="100m")


class Everywhere:
    """Any node: for tests to whom nodes do not matter."""

    def __contains__(self, node: object) -> bool:
        return True


def counted(totals: PodTotals) -> Counted:
    """The sums, whichever node the pods are on."""
    return totals.counted(Everywhere(), Everywhere())


def pod(
    name: str = "pod-1",
    phase: str = "Running",
    node: str = "node-1",
    namespace: str = "shop",
    owner: tuple[str, str] | None = None,
    labels: dict[str, str] | None = None,
    requests: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **more: str,
) -> Pod:
    """A pod of one container with these requests; ``owner`` is its controller's kind and name."""
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else None
    content = {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": owners,
        },
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": {**(requests or {}), **more}}}]},
        "status": {"phase": phase},
    }
    return msgspec.convert(content, Pod)


def node(
    name: str = "node-1",
    labels: dict[str, str] | None = None,
    provider_id: str = "aws:///eu-west-1a/i-1",
    ready: bool = True,
    cpu: str = "2",
    memory: str = "8Gi",
    annotations: dict[str, str] | None = None,
    extended: dict[str, str] | None = None,
    capacity: dict[str, str] | None = None,
) -> Node:
    """A node; ``extended`` resources beside CPU and memory. Its ``capacity`` is what is allocatable if not given."""
    content = {
        "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"providerID": provider_id},
        "status": {
            "capacity": capacity or {"cpu": cpu, "memory": memory},
            "allocatable": {"cpu": cpu, "memory": memory, **(extended or {})},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }
    return msgspec.convert(content, Node)
