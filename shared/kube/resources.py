"""What a pod requests and may use at most, counted as the scheduler counts it. Pure.

k8s.io/component-helpers/resource PodRequests and PodLimits as of v1.36, with UseStatusResources, as the scheduler's
NodeResourcesFit calls them (`kubectl describe node` calls them without), and
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers.

While a pod is resized in place (KEP-1287), what it asks for, what the kubelet admitted and what is in force differ.
Each container then counts the largest of the three, and without what is asked for where the kubelet finds that the
node can never give it. (v1.37 takes the larger of the sums instead of the sum of the larger ones, which is less
where one container grows while another shrinks.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shared.kube.objects import Struct
from shared.kube.quantity import parse_quantity

NANO = 1_000_000_000
"""CPU is counted in whole nanocores, the finest a quantity can say, so that sums by difference are exact."""

GIB = 2**30

CPU, MEMORY = "cpu", "memory"

Needs = dict[str, int]
"""By the resource's name: nanocores of CPU, bytes of memory, storage and huge pages, pieces of extended resources."""


class Requirements(Struct, frozen=True):
    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Container(Struct, frozen=True):
    name: str = ""
    restart_policy: str = ""
    resources: Requirements | None = None


class ContainerStatus(Struct, frozen=True):
    """What the kubelet says of a container's resources; it says nothing before the container is there."""

    name: str = ""
    allocated_resources: dict[str, str] | None = None
    """Requests that the kubelet admitted."""
    resources: Requirements | None = None
    """In force."""


class PodCondition(Struct, frozen=True):
    """A condition of a pod, as far as it says how a resize goes."""

    type: str = ""
    reason: str = ""


class ResourceSpec(Struct, frozen=True):
    """The parts of a pod's spec that its resources depend on."""

    containers: list[Container] = []
    init_containers: list[Container] | None = None
    overhead: dict[str, str] | None = None
    resources: Requirements | None = None
    """For the pod as a whole (KEP-2837)."""


class ResourceStatus(Struct, frozen=True):
    """The parts of a pod's status that its resources depend on."""

    conditions: list[PodCondition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    allocated_resources: dict[str, str] | None = None
    resources: Requirements | None = None


class Amount(NamedTuple):
    """CPU in nanocores and memory in bytes."""

    cpu: int
    memory: int


def pod_requests(spec: ResourceSpec, status: ResourceStatus) -> Needs:
    """What the scheduler sets aside for the pod."""
    total = _effective(spec, status, "requests")
    if spec.overhead:
        _add(total, needs(spec.overhead))
    return total


def pod_limits(spec: ResourceSpec, status: ResourceStatus) -> Needs:
    """What the pod's containers may use at most; 0 where nothing limits them. Overhead adds to a limit only."""
    total = _effective(spec, status, "limits")
    for name, more in needs(spec.overhead).items():
        if total.get(name):
            total[name] += more
    return total


def needs(quantities: Mapping[str, str] | None) -> Needs:
    """A resource list in numbers; what is no quantity is 0."""
    return {name: _scaled(text, NANO if name == CPU else 1) for name, text in quantities.items()} if quantities else {}


def amount(quantities: Mapping[str, str] | None) -> Amount:
    """CPU and memory of a resource list; what it does not name is 0, and so is what is no quantity."""
    return cpu_and_memory(needs(quantities))


def cpu_and_memory(given: Needs) -> Amount:
    return Amount(given.get(CPU, 0), given.get(MEMORY, 0))


def resize_is_infeasible(status: ResourceStatus) -> bool:
    """Whether the kubelet refused the pod's resize because its node can never hold it."""
    pending = next((one for one in status.conditions or () if one.type == "PodResizePending"), None)
    return pending is not None and pending.reason == "Infeasible"


def _effective(spec: ResourceSpec, status: ResourceStatus, kind: str) -> Needs:
    """Of all containers together, or of the pod as a whole where it says; per resource. Without overhead."""
    infeasible = resize_is_infeasible(status)
    total = _of_containers(spec, status, kind, infeasible)
    if spec.resources is None or not (asked := _of(spec.resources, kind)):
        return total
    whole = asked
    if status.resources is not None:
        whole = _in_force(asked, status.resources, status.allocated_resources, kind, infeasible)
    for name in asked:
        if name in (CPU, MEMORY) or name.startswith("hugepages-"):
            total[name] = whole.get(name, 0)
    return total


def _of_containers(spec: ResourceSpec, status: ResourceStatus, kind: str, infeasible: bool) -> Needs:
    """The larger of what runs at the end and of the greediest step of the initialisation, per resource."""
    running: Needs = {}
    for container in spec.containers:
        _add(running, _of_container(container, status.container_statuses, kind, infeasible))
    if not spec.init_containers:
        return running
    sidecars: Needs = {}
    peak: Needs = {}
    for container in spec.init_containers:
        if container.restart_policy == "Always":
            _add(sidecars, _of_container(container, status.init_container_statuses, kind, infeasible))
            step = sidecars
        else:
            step = dict(sidecars)
            _add(step, _of(container.resources, kind))
        _raise_to(peak, step)
    _add(running, sidecars)
    _raise_to(running, peak)
    return running


def _of_container(container: Container, statuses: list[ContainerStatus] | None, kind: str, infeasible: bool) -> Needs:
    asked = _of(container.resources, kind)
    for status in statuses or ():
        if status.name == container.name:
            if status.resources is not None and not _settled(container, status):
                return _in_force(asked, status.resources, status.allocated_resources, kind, infeasible)
            break
    return asked


def _settled(container: Container, status: ContainerStatus) -> bool:
    """Whether no resize is under way: what nearly all containers are, told without reading a quantity."""
    return container.resources == status.resources and (
        status.allocated_resources is None
        or container.resources is None
        or status.allocated_resources == container.resources.requests
    )


def _in_force(
    asked: Needs, actual: Requirements, allocated: dict[str, str] | None, kind: str, infeasible: bool
) -> Needs:
    """The largest of what is asked for, admitted (there are no admitted limits) and in force, per resource."""
    largest = {} if infeasible else dict(asked)
    _raise_to(largest, _of(actual, kind))
    if kind == "requests":
        _raise_to(largest, needs(allocated))
    return largest


def _of(resources: Requirements | None, kind: str) -> Needs:
    if resources is None:
        return {}
    return needs(resources.requests if kind == "requests" else resources.limits)


def _add(total: Needs, part: Needs) -> None:
    for name, value in part.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Needs, least: Needs) -> None:
    for name, value in least.items():
        if value > total.get(name, 0):
            total[name] = value


def _scaled(quantity: str, unit: int) -> int:
    try:
        return round(parse_quantity(quantity) * unit)
    except (ValueError, OverflowError):  # "1e999" is infinite.
        return 0
