"""The cluster's totals, kept by difference: each change moves the sums, nothing is ever counted again.

What is kept of a pod is a reference to a record that it shares with all pods of the same shape, under its
16-byte uid: some 130 bytes a pod, so 150,000 pods fit into 20 MiB.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from shared.kube.nodes import Node
from shared.kube.objects import Meta, Struct
from shared.kube.resources import (
    Amount,
    ResourceSpec,
    ResourceStatus,
    amount,
    cpu_and_memory,
    pod_limits,
    pod_requests,
)
from workers.metrics.capacity import Identity, identity

_ENDED = ("Succeeded", "Failed")


class PodSpec(ResourceSpec, frozen=True):
    node_name: str = ""


class PodStatus(ResourceStatus, frozen=True):
    phase: str = ""


class Pod(Struct, frozen=True):
    """What the totals need of a pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class PodShape(NamedTuple):
    """All that the totals know of a pod. What an ended or unbound pod requests is not set aside: zero."""

    phase: str
    requests: Amount
    limits: Amount


class PodTotals:
    """Pods by phase, and what those bound to a node and not ended request and may use."""

    def __init__(self) -> None:
        self._pods: dict[bytes, PodShape] = {}
        self._shapes: dict[PodShape, PodShape] = {}
        self._uses: Counter[PodShape] = Counter()
        self.phases: Counter[str] = Counter()
        self.requests = Amount(0, 0)
        self.limits = Amount(0, 0)

    def __len__(self) -> int:
        return len(self._pods)

    def put(self, pod: Pod) -> None:
        """The pod was added or changed."""
        key, shape = _key(pod.metadata.uid), shape_of(pod)
        shape = self._shapes.setdefault(shape, shape)
        before = self._pods.get(key)
        if before is shape:
            return
        self._pods[key] = shape
        if before is not None:
            self._move(before, -1)
        self._move(shape, 1)

    def remove(self, uid: str) -> None:
        """The pod is gone."""
        before = self._pods.pop(_key(uid), None)
        if before is not None:
            self._move(before, -1)

    def _move(self, shape: PodShape, sign: int) -> None:
        self._uses[shape] += sign
        if not self._uses[shape]:
            del self._uses[shape], self._shapes[shape]
        self.phases[shape.phase] += sign
        self.requests = _plus(self.requests, shape.requests, sign)
        self.limits = _plus(self.limits, shape.limits, sign)


def shape_of(pod: Pod) -> PodShape:
    """The record of ``pod``."""
    phase = pod.status.phase or "Unknown"
    if phase in _ENDED or not pod.spec.node_name:
        return PodShape(phase, Amount(0, 0), Amount(0, 0))
    requests, limits = pod_requests(pod.spec, pod.status), pod_limits(pod.spec, pod.status)
    return PodShape(phase, cpu_and_memory(requests), cpu_and_memory(limits))


def _key(uid: str) -> bytes:
    """The uid in 16 bytes; one that is no UUID (mirror pods have an MD5 sum) as it is."""
    try:
        return bytes.fromhex(uid.replace("-", ""))
    except ValueError:
        return uid.encode()


def _plus(total: Amount, part: Amount, sign: int) -> Amount:
    return Amount(total.cpu + sign * part.cpu, total.memory + sign * part.memory)


class NodeRecord(NamedTuple):
    """All that the totals know of a node."""

    identity: Identity
    allocatable: Amount
    ready: bool


class NodeTotals:
    """Every node's record by name. There are thousands at most, so sums are made when they are asked for."""

    def __init__(self, spot_label: tuple[str, str] | None = None) -> None:
        self._spot_label = spot_label
        self._identities: dict[Identity, Identity] = {}
        self.nodes: dict[str, NodeRecord] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def put(self, node: Node) -> None:
        """The node was added or changed."""
        what = identity(node, self._spot_label)
        what = self._identities.setdefault(what, what)
        self.nodes[node.metadata.name] = NodeRecord(what, amount(node.status.allocatable), node.is_ready)

    def remove(self, name: str) -> None:
        """The node is gone."""
        self.nodes.pop(name, None)
