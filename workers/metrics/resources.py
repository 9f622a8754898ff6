"""What a pod requests and may use at most, counted as Kubernetes counts it. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers and
k8s.io/component-helpers/resource PodRequests and PodLimits, which `kubectl describe node` uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from shared.kube.objects import Struct
from shared.kube.quantity import parse_quantity

NANO = 1_000_000_000
"""CPU is counted in whole nanocores, the finest a quantity can say, so that sums by difference are exact."""

GIB = 2**30


class Requirements(Struct, frozen=True):
    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Container(Struct, frozen=True):
    restart_policy: str = ""
    resources: Requirements | None = None


class PodSpec(Struct, frozen=True):
    """The parts of a pod's spec that its resources depend on."""

    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] | None = None
    overhead: dict[str, str] | None = None
    resources: Requirements | None = None


class Amount(NamedTuple):
    """CPU in nanocores and memory in bytes."""

    cpu: int
    memory: int


NOTHING = Amount(0, 0)


def pod_requests(spec: PodSpec) -> Amount:
    """What the scheduler sets aside for the pod."""
    pod_level = spec.resources.requests if spec.resources else None
    total = _over(_effective(spec, "requests"), pod_level)
    if spec.overhead:
        overhead = amount(spec.overhead)
        return Amount(total.cpu + overhead.cpu, total.memory + overhead.memory)
    return total


def pod_limits(spec: PodSpec) -> Amount:
    """What the pod's containers may use at most; 0 where nothing limits them. Overhead adds to a limit only."""
    pod_level = spec.resources.limits if spec.resources else None
    total = _over(_effective(spec, "limits"), pod_level)
    if spec.overhead:
        overhead = amount(spec.overhead)
        return Amount(
            total.cpu + overhead.cpu if total.cpu else 0, total.memory + overhead.memory if total.memory else 0
        )
    return total


def amount(quantities: dict[str, str] | None) -> Amount:
    """CPU and memory of a resource list; what it does not name is 0, and so is what is no quantity."""
    if not quantities:
        return NOTHING
    return Amount(_scaled(quantities.get("cpu"), NANO), _scaled(quantities.get("memory"), 1))


def _effective(spec: PodSpec, kind: str) -> Amount:
    """The larger of what runs at the end and of the greediest step of the initialisation, per resource."""
    running = _sum(_of(container, kind) for container in spec.containers)
    if not spec.init_containers:
        return running
    sidecars = peak = NOTHING
    for container in spec.init_containers:
        needs = _of(container, kind)
        if container.restart_policy == "Always":
            sidecars = _sum((sidecars, needs))
            step = sidecars
        else:
            step = _sum((sidecars, needs))
        peak = Amount(max(peak.cpu, step.cpu), max(peak.memory, step.memory))
    running = _sum((running, sidecars))
    return Amount(max(running.cpu, peak.cpu), max(running.memory, peak.memory))


def _over(total: Amount, pod_level: dict[str, str] | None) -> Amount:
    """``total``, overridden per resource by what is set for the pod as a whole."""
    if not pod_level:
        return total
    given = amount(pod_level)
    return Amount(
        given.cpu if "cpu" in pod_level else total.cpu, given.memory if "memory" in pod_level else total.memory
    )


def _of(container: Container, kind: str) -> Amount:
    if container.resources is None:
        return NOTHING
    return amount(container.resources.requests if kind == "requests" else container.resources.limits)


def _sum(amounts: Iterable[Amount]) -> Amount:
    cpu = memory = 0
    for part in amounts:
        cpu += part.cpu
        memory += part.memory
    return Amount(cpu, memory)


def _scaled(quantity: str | None, unit: int) -> int:
    if quantity is None:
        return 0
    try:
        return round(parse_quantity(quantity) * unit)
    except (ValueError, OverflowError):  # "1e999" is infinite.
        return 0
