"""Samples, and objects of the API as the metrics worker decodes them."""

from __future__ import annotations

import msgspec

from shared.kube.nodes import Node
from shared.schemas.metrics import ClusterMetrics
from tests.unit.conftest import NOON
from workers.metrics.capacity import Capacity, Identity
from workers.metrics.pricing.price import Price
from workers.metrics.sample import take_sample
from workers.metrics.totals import NodeTotals, Pod, PodTotals

LINUX = Identity("aws", "eu-west-1", "eu-west-1a", "m5.large", Capacity.ON_DEMAND, "linux")


def empty_sample() -> ClusterMetrics:
    """A sample of a cluster without anything in it."""
    return take_sample("demo", NOON, NodeTotals(), PodTotals(), {}, lambda record: Price(0, "fallback"), None)


def pod(uid: str = "uid-1", phase: str = "Running", node: str = "node-1", **requests: str) -> Pod:
    """A pod of one container with these requests."""
    content = {
        "metadata": {"name": uid, "uid": uid},
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": requests}}]},
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
) -> Node:
    """A node; ``extended`` resources beside CPU and memory."""
    content = {
        "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"providerID": provider_id},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, **(extended or {})},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }
    return msgspec.convert(content, Node)
