"""The arithmetic of PodDisruptionBudgets, as the disruption controller and the eviction endpoint do it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone

from tests.sim.kube.kinds import timestamp
from tests.sim.kube.resources import Object
from tests.sim.kube.store import controller_of

DELETION_TIMEOUT = timedelta(minutes=2)
"""After this an evicted pod that still lives counts as healthy again."""

Scale = Callable[[Object], int | None]
"""Replicas wanted by the controller an owner reference points at; None when it is unknown."""


class UnknownController(Exception):
    """The controller of a pod cannot be found, so its scale is not known."""


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def assess(budget: Object, pods: Iterable[Object], scale: Scale, now: datetime) -> Object:
    """The status a budget should have, given the pods it selects."""
    pods = list(pods)
    status = budget.get("status") or {}
    disrupted = _still_disrupted(status.get("disruptedPods") or {}, pods, now)
    expected, desired = _expectation(budget["spec"], pods, scale)
    healthy = sum(1 for pod in pods if _is_healthy(pod, disrupted))
    allowed = max(0, healthy - desired) if expected > 0 else 0
    generation = budget["metadata"].get("generation", 1)
    new: Object = {
        "observedGeneration": generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
    }
    if disrupted:
        new["disruptedPods"] = disrupted
    new["conditions"] = with_allowed_condition(status.get("conditions") or (), allowed, generation)
    return new


def failed(budget: Object, why: str) -> Object:
    """The status when the controller cannot compute one: nothing is allowed."""
    status = {**(budget.get("status") or {}), "disruptionsAllowed": 0}
    condition = _condition("False", "SyncFailed", why, status.get("observedGeneration", 0))
    return {**status, "conditions": _keep_time(status.get("conditions") or (), condition)}


def with_allowed_condition(conditions: Iterable[Object], allowed: int, generation: int) -> list[Object]:
    """``conditions`` with DisruptionAllowed as ``allowed`` says; its time moves with its status."""
    status, reason = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
    return _keep_time(conditions, _condition(status, reason, "", generation))


def _condition(status: str, reason: str, message: str, generation: int) -> Object:
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": timestamp(),
        "reason": reason,
        "message": message,
    }


def _keep_time(conditions: Iterable[Object], new: Object) -> list[Object]:
    others = [condition for condition in conditions if condition["type"] != new["type"]]
    for old in conditions:
        if old["type"] == new["type"] and old["status"] == new["status"]:
            new = {**new, "lastTransitionTime": old["lastTransitionTime"]}
    return [*others, new]


def _still_disrupted(recorded: Object, pods: Iterable[Object], now: datetime) -> dict[str, str]:
    alive = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
    return {name: at for name, at in recorded.items() if name in alive and _time(at) + DELETION_TIMEOUT > now}


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def _is_healthy(pod: Object, disrupted: dict[str, str]) -> bool:
    metadata = pod["metadata"]
    return "deletionTimestamp" not in metadata and metadata["name"] not in disrupted and is_ready(pod)


def _expectation(spec: Object, pods: list[Object], scale: Scale) -> tuple[int, int]:
    """Pods expected, and healthy ones desired. A plain minAvailable counts pods, all else asks the controllers."""
    if "maxUnavailable" in spec:
        expected = _expected_scale(pods, scale)
        return expected, max(0, expected - _scaled(spec["maxUnavailable"], expected))
    minimum = spec.get("minAvailable")
    if isinstance(minimum, str):
        expected = _expected_scale(pods, scale)
        return expected, _scaled(minimum, expected)
    return (len(pods), minimum) if minimum is not None else (0, 0)


def _scaled(value: int | str, total: int) -> int:
    """A count, or a percentage of ``total`` rounded up."""
    return value if isinstance(value, int) else math.ceil(int(value.rstrip("%")) * total / 100)


def _expected_scale(pods: list[Object], scale: Scale) -> int:
    scales: dict[str, int] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is None or owner["uid"] in scales:
            continue
        replicas = scale(owner)
        if replicas is None:
            raise UnknownController(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        scales[owner["uid"]] = replicas
    return sum(scales.values())
