"""Nodes and pods to divide a bill among."""

from __future__ import annotations

from tests.unit.workers.metrics.conftest import node
from workers.metrics.nodes import NodeRecord, NodeTotals
from workers.metrics.pods import Pod, PodTotals


def record(
    cpu: str = "4",
    memory: str = "16Gi",
    capacity: dict[str, str] | None = None,
    gpus: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> NodeRecord:
    """A node with so much allocatable."""
    totals = NodeTotals()
    totals.put(node("a", labels, cpu=cpu, memory=memory, capacity=capacity, extended=gpus))
    return totals.nodes["a"]


def totals_of(*pods: Pod, labels: tuple[str, ...] = ()) -> PodTotals:
    totals = PodTotals(labels)
    for pod in pods:
        totals.put(pod)
    return totals
