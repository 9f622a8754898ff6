"""The cluster's pods in totals that are kept by difference: each change moves the sums, nothing is counted again.

What is kept of a pod is a reference to a record that it shares with all pods of its workload and shape, in the
dictionary of its node, under a hash of its name: some 90 bytes a pod.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Container, Mapping
from typing import Generic, NamedTuple, TypeVar

from shared.kube.objects import Meta, Struct
from shared.kube.resources import (
    CPU,
    MEMORY,
    Amount,
    Needs,
    ResourceSpec,
    ResourceStatus,
    cpu_and_memory,
    pod_limits,
    pod_requests,
)
from workers.metrics.accelerators import is_accelerator
from workers.metrics.causes import Cause, cause_of
from workers.metrics.pricing.fargate import ANNOTATION as PROVISIONED
from workers.metrics.pricing.fargate import provisioned

T = TypeVar("T")

_ENDED = ("Succeeded", "Failed")
_NOTHING = Amount(0, 0)
_UNBOUND = ""


class PodSpec(ResourceSpec, frozen=True):
    node_name: str = ""


class PodStatus(ResourceStatus, frozen=True):
    phase: str = ""


class Pod(Struct, frozen=True):
    """What the totals need of a pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Shape(NamedTuple):
    """How a pod counts. What an ended or unbound pod requests is not set aside: zero."""

    phase: str
    requests: Amount = _NOTHING
    limits: Amount = _NOTHING
    accelerators: tuple[tuple[str, int], ...] = ()
    """Requested pieces by the resource's name."""
    on_fargate: bool = False
    """Whether it says what AWS Fargate runs it with; such a pod is billed, and its node is not."""
    provisioned: Amount | None = None
    """What that is, where it can be read."""


class Work(NamedTuple):
    """All that the totals know of a pod but its node."""

    shape: Shape
    cause: Cause | None
    """None for a pod that costs nothing: ended or unbound."""


class Counted(NamedTuple):
    """Sums over pods."""

    pods: int
    phases: Counter[str]
    requests: Amount
    limits: Amount


class PodTotals:
    """Pods by phase, what those that hold a place on a node request and may use, and which pods are on which node."""

    def __init__(self, cost_labels: tuple[str, ...] = ()) -> None:
        self._cost_labels = cost_labels
        self._nodes: dict[str, dict[int, Work]] = {}
        self._works: _Held[Work] = _Held()
        self._shapes: _Held[Shape] = _Held()
        self._sums = _Sums()
        self.changed: set[str] = set()
        """Nodes whose pods changed, until somebody who looked at them takes them out."""

    def __len__(self) -> int:
        return self._sums.pods

    def put(self, pod: Pod) -> None:
        """The pod was added or changed."""
        node, key, work = pod.spec.node_name, key_of(pod.metadata.namespace, pod.metadata.name), self._work_of(pod)
        before = self._nodes.get(node, {}).get(key)
        if before == work:
            return
        if before is not None:
            self._let_go(before)
        elif node != _UNBOUND:
            self._take_from(_UNBOUND, key)
        self._nodes.setdefault(node, {})[key] = self._hold(work)
        self.changed.add(node)

    def remove(self, pod: Pod) -> None:
        """The pod is gone."""
        key = key_of(pod.metadata.namespace, pod.metadata.name)
        if not self._take_from(pod.spec.node_name, key):
            self._take_from(_UNBOUND, key)  # Bound and gone since we saw it last.

    def on(self, node: str) -> Mapping[int, Work]:
        """The pods bound to ``node``, by ``key_of``."""
        return self._nodes.get(node, {})

    def places(self) -> dict[int, str]:
        """The node of every bound pod, by ``key_of``: for whoever knows pods by name only."""
        return {key: node for node, pods in self._nodes.items() if node != _UNBOUND for key in pods}

    def counted(self, nodes: Container[str], machines: Container[str]) -> Counted:
        """The sums over the pods of these ``nodes`` and those that wait for one.

        Pods of a node that is gone run no more, and Kubernetes deletes them presently: they count nowhere. Requests
        and limits are those on ``machines`` only: what is no machine has no capacity to set aside.
        """
        sums = copy.deepcopy(self._sums)
        for node, pods in self._nodes.items():
            if node == _UNBOUND or node in machines:
                continue
            for work in pods.values():
                sums.set_aside(work.shape, -1)
                if node not in nodes:
                    sums.count(work.shape, -1)
        return Counted(sums.pods, sums.phases, sums.requests, sums.limits)

    def _work_of(self, pod: Pod) -> Work:
        phase = pod.status.phase or "Unknown"
        if phase in _ENDED or not pod.spec.node_name:
            return Work(Shape(phase), None)
        requests = pod_requests(pod.spec, pod.status)
        limits = pod_limits(pod.spec, pod.status)
        cause = cause_of(pod.metadata, pod.spec.node_name, self._cost_labels)
        shape = Shape(phase, cpu_and_memory(requests), cpu_and_memory(limits), _pieces(requests))
        said = (pod.metadata.annotations or {}).get(PROVISIONED)
        return Work(shape if said is None else shape._replace(on_fargate=True, provisioned=provisioned(said)), cause)

    def _hold(self, work: Work) -> Work:
        held = self._works.take(Work(self._shapes.take(work.shape), work.cause))
        self._sums.count(held.shape, 1)
        self._sums.set_aside(held.shape, 1)
        return held

    def _let_go(self, work: Work) -> None:
        self._sums.count(work.shape, -1)
        self._sums.set_aside(work.shape, -1)
        self._works.drop(work)
        self._shapes.drop(work.shape)

    def _take_from(self, node: str, key: int) -> bool:
        """Remove a pod from ``node``; whether it was there."""
        pods = self._nodes.get(node, {})
        work = pods.pop(key, None)
        if work is None:
            return False
        self._let_go(work)
        self.changed.add(node)
        if not pods:
            del self._nodes[node]
        return True


def key_of(namespace: str, name: str) -> int:
    """A pod by its name, in 64 bits that differ from process to process, so that nobody can make two alike."""
    return hash((namespace, name))


def _pieces(requests: Needs) -> tuple[tuple[str, int], ...]:
    extended = [name for name in requests if name not in (CPU, MEMORY)]
    return tuple(sorted((name, requests[name]) for name in extended if is_accelerator(name) and requests[name]))


class _Copy(Generic[T]):
    __slots__ = ("holders", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self.holders = 0


class _Held(Generic[T]):
    """Values that many hold: one copy of each, for as long as somebody holds it."""

    def __init__(self) -> None:
        self._copies: dict[T, _Copy[T]] = {}

    def __len__(self) -> int:
        return len(self._copies)

    def take(self, value: T) -> T:
        """The copy to hold."""
        held = self._copies.get(value)
        if held is None:
            held = self._copies[value] = _Copy(value)
        held.holders += 1
        return held.value

    def drop(self, value: T) -> None:
        """Hold it no more."""
        held = self._copies[value]
        held.holders -= 1
        if not held.holders:
            del self._copies[value]


class _Sums:
    """The sums that the pods move as they come and go."""

    def __init__(self) -> None:
        self.pods = 0
        self.phases: Counter[str] = Counter()
        self._cpu = self._memory = self._cpu_limit = self._memory_limit = 0

    @property
    def requests(self) -> Amount:
        return Amount(self._cpu, self._memory)

    @property
    def limits(self) -> Amount:
        return Amount(self._cpu_limit, self._memory_limit)

    def count(self, shape: Shape, sign: int) -> None:
        self.pods += sign
        self.phases[shape.phase] += sign

    def set_aside(self, shape: Shape, sign: int) -> None:
        self._cpu += sign * shape.requests.cpu
        self._memory += sign * shape.requests.memory
        self._cpu_limit += sign * shape.limits.cpu
        self._memory_limit += sign * shape.limits.memory
