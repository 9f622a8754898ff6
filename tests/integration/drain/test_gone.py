"""Rules 1, 11, 12, 26 and 27: success only when it was seen. What proves nothing ends no task well.

On the simulator; those that need no answer made to order also with ``--kubeconfig``.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.integration.drain.answers import UNPROVEN, answered
from tests.integration.drain.fixtures import Start
from tests.integration.drain.ground import Ground
from tests.integration.drain.objects import Object
from tests.integration.drain.test_rules import drain, name_of
from tests.integration.drain.work import Tasks
from tests.sim.kube.resources import NODES
from tests.sim.kube.status import modified

NODE_TASKS = ("drain_node", "cordon_node", "label_node")
LABELS = {"labels": {"team": "a"}}


def of_node(ground: Ground, task_type: str, **parameters: Any) -> Object:
    return {"node_name": ground.victim, **(LABELS if task_type == "label_node" else {}), **parameters}


def of_pod(ground: Ground, pod: Object | str, **parameters: Any) -> Object:
    name = pod if isinstance(pod, str) else name_of(pod)
    return {"namespace": ground.namespace, "pod_name": name, **parameters}


def text_of(result: Any) -> str:
    return f"{result.logs}\n{result.error}"


def as_promised(ground: Ground, task_type: str) -> bool:
    """Whether the node is what a success of the task says it is."""
    node = ground.node()
    if task_type == "label_node":
        return bool(node["metadata"]["labels"].get("team") == "a")
    if not node["spec"].get("unschedulable"):
        return False
    return task_type == "cordon_node" or not ground.pods(node=ground.victim)


# -- rule 1: whose identity ---------------------------------------------------------------------------


@pytest.mark.parametrize("identity", ["node_uid", "provider_id"])
@pytest.mark.parametrize("task_type", [*NODE_TASKS, "uncordon_node"])
def test_rule_01_an_empty_identity_is_a_bad_parameter(
    ground: Ground, tasks: Tasks, task_type: str, identity: str
) -> None:
    ground.replicas("web")
    result = tasks.do(task_type, of_node(ground, task_type, **{identity: ""}))
    assert result.status == "failed"
    assert identity in str(result.error)
    assert tasks.kube.exchanges == []


@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod", "label_pod"])
def test_rule_01_so_is_a_pods(ground: Ground, tasks: Tasks, task_type: str) -> None:
    (web,) = ground.replicas("web")
    labels = LABELS if task_type == "label_pod" else {}
    result = tasks.do(task_type, of_pod(ground, web, pod_uid="", **labels))
    assert result.status == "failed"
    assert "pod_uid" in str(result.error)
    assert tasks.kube.exchanges == []


def test_rule_01_an_identity_that_the_node_does_not_have_yet_proves_nothing(ground: Ground, tasks: Tasks) -> None:
    """A cloud's controller sets it a moment after the node has registered; if it never does, that is a failure."""
    young = ground.add_node(f"{ground.namespace}-young")
    result = tasks.do("drain_node", {"node_name": young, "provider_id": "aws:///zone/i-1"})
    assert result.status == "failed"
    assert "provider" in str(result.error).lower()
    assert not ground.node(young)["spec"].get("unschedulable")
    assert tasks.kube.writes == []


def test_rule_01_it_is_waited_for_a_little(ground: Ground, tasks: Tasks) -> None:
    young, said = ground.add_node(f"{ground.namespace}-young"), "aws:///zone/i-1"
    path = f"/api/v1/nodes/{young}"

    def set_soon() -> None:
        tasks.kube.just_before("GET", path, lambda: ground.patch(path, {"spec": {"providerID": said}}))

    tasks.kube.just_before("GET", path, set_soon)
    result = tasks.do("drain_node", {"node_name": young, "provider_id": said})
    assert result.status == "success"
    assert ground.node(young)["spec"]["unschedulable"] is True


def test_rule_01_a_provider_id_is_the_same_in_other_letters(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    said = ground.node()["spec"]["providerID"].upper()
    result = tasks.do("drain_node", drain(ground, provider_id=said))
    assert result.status == "success"
    assert as_promised(ground, "drain_node")


@pytest.mark.parametrize("task_type", NODE_TASKS)
def test_rule_01_an_equal_uid_outweighs_another_provider_id(ground: Ground, tasks: Tasks, task_type: str) -> None:
    ground.replicas("web")
    node = ground.node()
    said = {"node_uid": node["metadata"]["uid"], "provider_id": "aws:///zone/i-other"}
    result = tasks.do(task_type, of_node(ground, task_type, **said))
    assert result.status == "failed"
    assert "aws:///zone/i-other" in str(result.error)
    assert node["spec"]["providerID"] in str(result.error)
    assert tasks.kube.writes == []


# -- rule 26: gone is proved --------------------------------------------------------------------------


@pytest.mark.simulator
@pytest.mark.parametrize("code", [403, 404, 409, 400, 429])
@pytest.mark.parametrize("task_type", NODE_TASKS)
def test_rule_26_a_denied_patch_is_no_absence_whatever_its_code(
    ground: Ground, tasks: Tasks, task_type: str, code: int
) -> None:
    ground.replicas("web")
    ground.cluster.deny("guard.example.com", "not in office hours", code=code, verb="patch", resource="nodes")
    result = tasks.do(task_type, of_node(ground, task_type), seconds=30)
    assert result.status in ("failed", "timeout")
    assert "not in office hours" in text_of(result)
    assert tasks.kube.evictions == []
    assert len(ground.pods(app="web", node=ground.victim)) == 1


@pytest.mark.parametrize("task_type", NODE_TASKS)
def test_rule_26_nor_is_one_that_a_policy_denies(ground: Ground, tasks: Tasks, task_type: str) -> None:
    ground.replicas("web")
    with ground.denied_node_updates("not in office hours"):
        result = tasks.do(task_type, of_node(ground, task_type), seconds=30)
    assert result.status in ("failed", "timeout")
    assert "not in office hours" in text_of(result)
    assert len(ground.pods(app="web", node=ground.victim)) == 1


@pytest.mark.simulator
@pytest.mark.parametrize("task_type", NODE_TASKS)
def test_rule_26_a_conflict_is_read_again_and_tried_again(ground: Ground, tasks: Tasks, task_type: str) -> None:
    ground.replicas("web")
    body = modified(NODES, ground.victim).body()
    ground.cluster.fail(**answered(body, 409, times=2, verb="patch", resource="nodes"))
    result = tasks.do(task_type, of_node(ground, task_type))
    assert result.status == "success"
    assert as_promised(ground, task_type)


@pytest.mark.simulator
@pytest.mark.parametrize("body", UNPROVEN.values(), ids=UNPROVEN.keys())
@pytest.mark.parametrize("verb", ["get", "patch"])
@pytest.mark.parametrize("task_type", NODE_TASKS)
def test_rule_26_a_404_about_nothing_is_temporary_for_a_node(
    ground: Ground, tasks: Tasks, task_type: str, verb: str, body: Object | str
) -> None:
    ground.replicas("web")
    ground.cluster.fail(**answered(body, verb=verb, resource="nodes"))
    result = tasks.do(task_type, of_node(ground, task_type))
    assert result.status == "success"
    assert as_promised(ground, task_type)


@pytest.mark.simulator
@pytest.mark.parametrize("body", UNPROVEN.values(), ids=UNPROVEN.keys())
@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod"])
def test_rule_26_and_for_a_pod(ground: Ground, tasks: Tasks, task_type: str, body: Object | str) -> None:
    (web,) = ground.replicas("web")
    ground.cordon(ground.victim)
    ground.cluster.fail(**answered(body, verb="get", resource="pods", name=name_of(web)))
    result = tasks.do(task_type, of_pod(ground, web))
    assert result.status == "success"
    assert not ground.lives(name_of(web))
    assert [exchange.answer.status for exchange in tasks.kube.evictions_of(name_of(web))] == [201]


@pytest.mark.simulator
@pytest.mark.parametrize("body", UNPROVEN.values(), ids=UNPROVEN.keys())
@pytest.mark.parametrize("task_type", ["drain_node", "delete_pod", "reschedule_pod"])
def test_rule_26_and_for_an_eviction(ground: Ground, tasks: Tasks, task_type: str, body: Object | str) -> None:
    (web,) = ground.replicas("web")
    ground.cordon(ground.victim)
    ground.cluster.fail(**answered(body, subresource="eviction"))
    result = tasks.do(task_type, drain(ground) if task_type == "drain_node" else of_pod(ground, web))
    assert result.status == "success"
    assert not ground.lives(name_of(web))
    assert [exchange.answer.status for exchange in tasks.kube.evictions_of(name_of(web))] == [404, 201]


@pytest.mark.simulator
@pytest.mark.parametrize("body", UNPROVEN.values(), ids=UNPROVEN.keys())
def test_rule_26_and_for_the_look_up_of_a_daemonset(ground: Ground, tasks: Tasks, body: Object | str) -> None:
    daemon = ground.daemons("daemon")
    ground.cluster.fail(**answered(body, verb="get", resource="daemonsets"))
    result = tasks.do("drain_node", drain(ground, force=True))
    assert result.status == "success"
    assert tasks.kube.evictions_of(name_of(daemon)) == []
    assert ground.pod(name_of(daemon)) is not None


# -- rule 12: what is gone, the pod or its budget -----------------------------------------------------


@pytest.mark.simulator
@pytest.mark.parametrize("task_type", ["drain_node", "delete_pod", "reschedule_pod"])
def test_rule_12_a_budget_that_went_under_an_eviction_is_not_the_pod(
    ground: Ground, tasks: Tasks, task_type: str
) -> None:
    web, _ = ground.replicas("web", 2)
    ground.budget("guard", "web", minAvailable=1)
    ground.cordon(ground.victim)
    ground.cluster.meanwhile(lambda: ground.remove("PodDisruptionBudget", "guard"))
    result = tasks.do(task_type, drain(ground) if task_type == "drain_node" else of_pod(ground, web))
    assert result.status == "success"
    answers = [json.loads(exchange.answer.body).get("message", "") for exchange in tasks.kube.evictions]
    assert 'poddisruptionbudgets.policy "guard" not found' in answers
    assert not ground.lives(name_of(web))


def test_rule_12_budgets_that_come_and_go_keep_nobody(ground: Ground, tasks: Tasks) -> None:
    """The race as a real API server has it: sooner or later one goes between an eviction's read and its write."""
    over = threading.Event()
    ground.replicas("web", 12, ends_after=0.3)

    def come_and_go() -> None:
        for number in range(30):
            if over.is_set():
                return
            ground.budget(f"guard-{number}", "web", minAvailable=1)
            ground.remove("PodDisruptionBudget", f"guard-{number}")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        result = tasks.do("drain_node", drain(ground))
    finally:
        over.set()
        thread.join()
    assert result.status == "success"
    assert ground.pods(node=ground.victim) == []


# -- rule 11: accepted is not begun -------------------------------------------------------------------


@pytest.mark.simulator
@pytest.mark.parametrize("task_type", ["drain_node", "delete_pod", "reschedule_pod"])
def test_rule_11_an_eviction_that_was_made_a_dry_run_is_asked_for_again(
    ground: Ground, tasks: Tasks, task_type: str
) -> None:
    (web,) = ground.replicas("web")
    ground.cordon(ground.victim)
    ground.cluster.make_dry(times=2)
    result = tasks.do(task_type, drain(ground) if task_type == "drain_node" else of_pod(ground, web))
    assert result.status == "success"
    assert len(tasks.kube.evictions_of(name_of(web))) == 3
    assert not ground.lives(name_of(web))


# -- rule 27: static pods -----------------------------------------------------------------------------


def static(ground: Ground, name: str) -> Object:
    owner = {"apiVersion": "v1", "kind": "Node", "name": ground.victim, "uid": ground.node()["metadata"]["uid"]}
    mirror = {"kubernetes.io/config.mirror": "c0ffee"}
    return ground.bare(name, owner={**owner, "controller": True}, annotations=mirror)


@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod"])
def test_rule_27_a_static_pod_cannot_be_ended_through_the_api(ground: Ground, tasks: Tasks, task_type: str) -> None:
    pod = static(ground, "proxy")
    result = tasks.do(task_type, of_pod(ground, pod))
    assert result.status == "failed"
    assert "static" in str(result.error)
    assert tasks.kube.writes == []


def test_rule_27_an_owner_called_node_of_another_group_makes_no_static_pod(ground: Ground, tasks: Tasks) -> None:
    owner = {"apiVersion": "example.com/v1", "kind": "Node", "name": "n", "uid": "u-1", "controller": True}
    ground.bare("web", owner=owner)
    assert tasks.do("drain_node", drain(ground, force=True)).status == "success"
    assert not ground.lives("web")


def test_rule_27_nor_does_a_node_that_is_not_the_controller(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    owner = {"apiVersion": "v1", "kind": "Node", "name": ground.victim, "uid": ground.node()["metadata"]["uid"]}
    owners = [*web["metadata"]["ownerReferences"], owner]
    ground.patch(ground.pod_path(name_of(web)), {"metadata": {"ownerReferences": owners}})
    assert tasks.do("drain_node", drain(ground)).status == "success"
    assert not ground.lives(name_of(web))


# -- with an answer that is one -----------------------------------------------------------------------


@pytest.mark.simulator
@pytest.mark.parametrize("task_type", ["cordon_node", "label_node"])
def test_rule_26_a_node_that_really_is_gone_is_said_to_be(ground: Ground, start: Start, task_type: str) -> None:
    tasks = start()
    tasks.kube.just_before("PATCH", f"/nodes/{ground.victim}", lambda: ground.cluster.delete_node(ground.victim))
    result = tasks.do(task_type, of_node(ground, task_type))
    assert result.status == "failed"
    assert "gone" in str(result.error) or "does not exist" in str(result.error)
