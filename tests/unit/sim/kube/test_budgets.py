"""The arithmetic of budgets."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.sim.kube.budgets import UnknownController, assess
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.resources import Object

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def pod(name: str, ready: bool = True, owner: str | None = "rs", terminating: bool = False) -> Object:
    metadata: Object = {"name": name}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    if terminating:
        metadata["deletionTimestamp"] = timestamp(NOW)
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def budget(spec: Object, disrupted: dict[str, str] | None = None) -> Object:
    return {"metadata": {"generation": 4}, "spec": spec, "status": {"disruptedPods": disrupted or {}}}


@pytest.mark.parametrize(
    ("spec", "pods", "replicas", "expected", "desired", "allowed"),
    [
        ({"minAvailable": 2}, 3, 3, 3, 2, 1),
        ({"minAvailable": 5}, 3, 3, 3, 5, 0),
        ({"minAvailable": "50%"}, 3, 3, 3, 2, 1),  # rounded up: the application keeps more
        ({"minAvailable": "100%"}, 3, 3, 3, 3, 0),
        ({"maxUnavailable": 1}, 3, 3, 3, 2, 1),
        ({"maxUnavailable": "30%"}, 3, 3, 3, 2, 1),  # rounded up: one may go
        ({"maxUnavailable": 5}, 3, 3, 3, 0, 3),
        ({"maxUnavailable": 1}, 2, 3, 3, 2, 0),  # counted by the controller's scale, not by the pods there are
        ({"maxUnavailable": 1}, 0, 3, 0, 0, 0),
    ],
)
def test_status(spec: Object, pods: int, replicas: int, expected: int, desired: int, allowed: int) -> None:
    status = assess(budget(spec), [pod(f"p{n}") for n in range(pods)], lambda owner: replicas, NOW)
    assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (
        expected,
        desired,
        allowed,
    )
    assert (status["currentHealthy"], status["observedGeneration"]) == (pods, 4)


def test_unready_terminating_and_disrupted_pods_are_not_healthy() -> None:
    recorded = {"evicted": timestamp(NOW - timedelta(seconds=5)), "long ago": timestamp(NOW - timedelta(minutes=3))}
    pods = [pod("a"), pod("b", ready=False), pod("c", terminating=True), pod("evicted"), pod("long ago")]
    status = assess(budget({"minAvailable": 1}, recorded), pods, lambda owner: 5, NOW)
    assert status["currentHealthy"] == 2
    assert list(status["disruptedPods"]) == ["evicted"]


def test_a_condition_tells_whether_disruption_is_allowed() -> None:
    status = assess(budget({"minAvailable": 1}), [pod("a"), pod("b")], lambda owner: 2, NOW)
    assert [(c["status"], c["reason"]) for c in status["conditions"]] == [("True", "SufficientPods")]


def test_pods_of_unknown_controllers_cannot_be_counted() -> None:
    with pytest.raises(UnknownController, match='found no controllers for pod "a"'):
        assess(budget({"maxUnavailable": 1}), [pod("a")], lambda owner: None, NOW)
