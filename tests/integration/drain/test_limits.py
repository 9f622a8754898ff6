"""The limits of the cluster's owner: whatever the task asks, and with words that name the rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.queue.memory import MemoryQueue
from shared.schemas.tasks import TaskResult
from tests.integration.drain.fixtures import Start
from tests.integration.drain.ground import Ground
from tests.integration.drain.test_rules import drain, name_of
from tests.integration.drain.work import Tasks

PROTECTED = "cloudoptim.io/protected"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
WIDE = {"force": True, "skip_namespaces": []}
"""All that a task may say against protection."""


@contextmanager
def labelled(ground: Ground, **labels: str) -> Iterator[None]:
    """The victim with the owner's labels, by their last part."""
    keys = {"protected": PROTECTED, "control_plane": CONTROL_PLANE}
    wanted = {keys[name]: value for name, value in labels.items()}
    path = f"/api/v1/nodes/{ground.victim}"
    ground.patch(path, {"metadata": {"labels": wanted}})
    try:
        yield
    finally:
        ground.patch(path, {"metadata": {"labels": dict.fromkeys(wanted)}})


def mark(ground: Ground, value: str | None) -> None:
    """The owner's label on the test's namespace."""
    ground.patch(f"/api/v1/namespaces/{ground.namespace}", {"metadata": {"labels": {PROTECTED: value}}})


def refused(result: TaskResult, *words: str) -> None:
    assert result.status == "failed"
    assert all(word in str(result.error) for word in words), result.error


def about(pod: Any) -> dict[str, str]:
    return {"namespace": pod["metadata"]["namespace"], "pod_name": name_of(pod)}


# -- nodes ------------------------------------------------------------------------------------------

NODE_TASKS: list[tuple[str, dict[str, Any]]] = [
    ("cordon_node", {}),
    ("uncordon_node", {}),
    ("label_node", {"labels": {"team": "b"}}),
    ("drain_node", WIDE),
]


@pytest.mark.parametrize(("task_type", "parameters"), NODE_TASKS)
def test_a_protected_node_is_left_alone(ground: Ground, tasks: Tasks, task_type: str, parameters: Any) -> None:
    with labelled(ground, protected="true"):
        result = tasks.do(task_type, {"node_name": ground.victim, **parameters})
    refused(result, f"the cluster's owner protects node {ground.victim}: it is labelled {PROTECTED}=true")
    assert tasks.kube.writes == []


@pytest.mark.parametrize(("task_type", "parameters"), NODE_TASKS)
def test_a_node_of_the_control_plane_takes_the_owners_word(
    ground: Ground, start: Start, task_type: str, parameters: Any
) -> None:
    with labelled(ground, control_plane=""):
        result = start().do(task_type, {"node_name": ground.victim, **parameters})
        refused(result, "is of the control plane", "ALLOW_CONTROL_PLANE_NODES")
        allowed = start(ALLOW_CONTROL_PLANE_NODES="true")
        assert allowed.do(task_type, {"node_name": ground.victim, **parameters}).status == "success"


# -- pods -------------------------------------------------------------------------------------------


def test_a_protected_pod_refuses_the_drain_before_anything_is_touched(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", 2)
    (kept,) = ground.replicas("kept", labels={PROTECTED: "true"})
    result = tasks.do("drain_node", drain(ground, **WIDE))
    refused(result, "nothing was touched, 1 pod forbids the drain", name_of(kept), f"it is labelled {PROTECTED}=true")
    assert tasks.kube.writes == []
    assert not ground.is_cordoned


def test_a_pod_that_is_protected_while_it_waits_stays(ground: Ground, tasks: Tasks) -> None:
    (held,) = ground.replicas("held")
    ground.budget("held", "held", maxUnavailable=0)
    task = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: tasks.kube.evictions)
    ground.patch(ground.pod_path(name_of(held)), {"metadata": {"labels": {PROTECTED: "true"}}})
    ground.remove("PodDisruptionBudget", "held")
    refused(tasks.result(task), "Node still has 1 pods", f"it is labelled {PROTECTED}=true")
    assert {exchange.answer.status for exchange in tasks.kube.evictions} == {429}


@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod", "label_pod"])
def test_no_task_about_one_pod_touches_a_protected_one(ground: Ground, tasks: Tasks, task_type: str) -> None:
    (kept,) = ground.replicas("kept", labels={PROTECTED: "true"})
    labels = {"labels": {"team": "b"}} if task_type == "label_pod" else {}
    refused(tasks.do(task_type, {**about(kept), **labels}), f"it is labelled {PROTECTED}=true")
    assert tasks.kube.writes == []


@pytest.mark.parametrize("how", ["by its label", "by the setting"])
def test_nothing_of_a_protected_namespace_is_touched(ground: Ground, start: Start, how: str) -> None:
    (web,) = ground.replicas("web")
    if how == "by its label":
        mark(ground, "true")
        tasks = start()
    else:
        tasks = start(PROTECTED_NAMESPACES=f"elsewhere, {ground.namespace}")
    words = f"the cluster's owner protects namespace {ground.namespace}"
    refused(tasks.do("drain_node", drain(ground, **WIDE)), "nothing was touched", words)
    for task_type in ("delete_pod", "reschedule_pod"):
        refused(tasks.do(task_type, about(web)), words)
    refused(tasks.do("label_pod", {**about(web), "labels": {"team": "b"}}), words)
    assert tasks.kube.writes == []


def test_what_a_drain_skips_anyway_needs_no_protection(ground: Ground, start: Start) -> None:
    ground.replicas("web")
    tasks = start(PROTECTED_NAMESPACES=ground.namespace)
    assert tasks.do("drain_node", drain(ground, skip_namespaces=[ground.namespace])).status == "success"
    assert tasks.kube.evictions == []


def test_the_label_takes_a_namespace_out_of_the_setting(ground: Ground, start: Start) -> None:
    ground.replicas("web")
    mark(ground, "false")
    assert start(PROTECTED_NAMESPACES=ground.namespace).do("drain_node", drain(ground)).status == "success"


# -- labels -----------------------------------------------------------------------------------------


def test_protected_labels_are_not_changed_with_force_either(ground: Ground, start: Start) -> None:
    (web,) = ground.replicas("web")
    tasks = start(PROTECTED_LABELS="kubernetes.io,example.com")
    for key in ("topology.kubernetes.io/zone", "team.example.com/a", PROTECTED):
        asked = {"labels": {key: "x"}, "force": True}
        refused(tasks.do("label_node", {"node_name": ground.victim, **asked}), key)
        refused(tasks.do("label_pod", {**about(web), **asked}), key)
    assert tasks.kube.writes == []


# -- how many, and when -------------------------------------------------------------------------------


def test_one_drain_more_than_the_hour_has_touches_nothing(ground: Ground, start: Start) -> None:
    queue = MemoryQueue()
    tasks = start(queue=queue, MAX_DRAINS_PER_HOUR="1")
    assert tasks.do("drain_node", drain(ground)).status == "success"
    ground.uncordon(ground.victim)
    refused(tasks.do("drain_node", drain(ground)), "MAX_DRAINS_PER_HOUR is 1 and 1 drains began within the hour")
    again = start(queue=queue, MAX_DRAINS_PER_HOUR="1")
    refused(again.do("drain_node", drain(ground)), "MAX_DRAINS_PER_HOUR is 1")
    assert not ground.is_cordoned


def test_no_more_pods_go_in_an_hour_than_the_owner_allows(ground: Ground, start: Start) -> None:
    ground.replicas("web", 4)
    tasks = start(MAX_EVICTIONS_PER_HOUR="3")
    result = tasks.do("drain_node", drain(ground), seconds=300)
    assert result.status == "timeout"
    assert "Node still has 1 pods" in str(result.error)
    assert "MAX_EVICTIONS_PER_HOUR is 3 and 3 evictions began within the hour" in result.logs
    assert "MAX_EVICTIONS_PER_HOUR holds 1" in str(result.error)
    assert [exchange.answer.status for exchange in tasks.kube.evictions] == [201] * 3


def test_the_rest_of_a_drain_goes_when_the_hour_is_over(ground: Ground, start: Start) -> None:
    ground.replicas("web", 3)
    tasks = start(times=600.0, MAX_EVICTIONS_PER_HOUR="2")
    result = tasks.do("drain_node", drain(ground), seconds=3 * 3600)
    assert result.status == "success", result
    assert "after MAX_EVICTIONS_PER_HOUR held it" in result.logs


def test_tries_that_a_budget_holds_do_not_count(ground: Ground, start: Start) -> None:
    ground.replicas("held")
    ground.budget("held", "held", maxUnavailable=0)
    ground.replicas("web", 2)
    tasks = start(MAX_EVICTIONS_PER_HOUR="3")
    task = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len([e for e in tasks.kube.evictions if e.answer.status == 429]) > 3)
    ground.remove("PodDisruptionBudget", "held")
    assert tasks.result(task).status == "success"


def test_outside_the_windows_nothing_begins_and_a_dry_run_does(ground: Ground, start: Start) -> None:
    ground.replicas("web")
    tasks = start()
    day = tasks.now_in(86_400 * 3)
    window = f"{day:%a} 00:00-00:01"
    closed = start(MAINTENANCE_WINDOWS=window)
    refused(closed.do("drain_node", drain(ground)), f"MAINTENANCE_WINDOWS is {window}", "the next one opens at")
    assert closed.do("drain_node", drain(ground, dry_run=True)).status == "success"
    assert closed.kube.evictions_of("web") == []


def test_a_window_that_closes_holds_what_runs_until_the_next_one(ground: Ground, start: Start, tmp_path: Path) -> None:
    ground.replicas("held")
    ground.budget("held", "held", maxUnavailable=0)
    limits = tmp_path / "limits"
    limits.mkdir()
    tasks = start(LIMITS_DIR=str(limits))
    task = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: tasks.kube.evictions)
    day = tasks.now_in(86_400 * 3)
    (limits / "maintenance-windows").write_text(f"{day:%a} 00:00-00:01")
    ground.remove("PodDisruptionBudget", "held")
    ground.wait_for(lambda: "outside the cluster owner's maintenance windows" in tasks.account(task))
    asked = len(tasks.kube.evictions)
    (limits / "maintenance-windows").write_text("00:00-24:00")
    assert tasks.result(task).status == "success"
    assert len(tasks.kube.evictions) > asked


# -- a dry run --------------------------------------------------------------------------------------


def test_a_dry_run_says_what_the_limits_would_say(ground: Ground, start: Start) -> None:
    ground.replicas("web")
    tasks = start(MAX_CORDONED_NODES="0", MAX_DRAINS_PER_HOUR="0", MAX_EVICTIONS_PER_HOUR="0")
    with labelled(ground, protected="true"):
        result = tasks.do("drain_node", drain(ground, dry_run=True))
    assert result.status == "success"
    for words in (
        f"the limits of the cluster's owner would refuse this: the cluster's owner protects node {ground.victim}",
        "would refuse this: MAX_CORDONED_NODES is 0",
        "would refuse this: MAX_DRAINS_PER_HOUR is 0",
        "would have some pods wait: MAX_EVICTIONS_PER_HOUR is 0",
    ):
        assert words in result.logs, words
