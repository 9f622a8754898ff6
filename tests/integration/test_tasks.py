"""All tasks but the drain: what they do, what they refuse, and whom they never hit by mistake."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.basics.timing import iso
from shared.schemas.tasks import TaskResult
from tests.integration.drain.fixtures import Start
from tests.integration.drain.ground import Ground
from tests.integration.drain.objects import Object, template, workload
from tests.integration.drain.work import Tasks

HELD = {"maxUnavailable": 0}


def name_of(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def uid_of(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def about(ground: Ground, pod: Object | str, **parameters: Any) -> Object:
    """The parameters of a task about one pod."""
    return {
        "namespace": ground.namespace,
        "pod_name": pod if isinstance(pod, str) else name_of(pod),
        **parameters,
    }


def failed_with(result: TaskResult) -> str:
    assert result.status == "failed"
    assert result.error is not None
    return result.error


def resources(*wanted: str) -> Any:
    """Picks the rules of the bundle about these resources."""
    return lambda rule: bool(set(wanted) & set(rule["resources"]))


# -- cordon_node, uncordon_node ---------------------------------------------------------------------


def test_a_node_is_cordoned_and_uncordoned_by_one_patch_each_and_once(ground: Ground, tasks: Tasks) -> None:
    for task_type, word, cordoned in (("cordon_node", "cordoned", True), ("uncordon_node", "uncordoned", False)):
        first = tasks.do(task_type, {"node_name": ground.victim})
        assert first.status == "success"
        assert first.logs.endswith(f"node {ground.victim} {word}")
        assert ground.is_cordoned is cordoned
        second = tasks.do(task_type, {"node_name": ground.victim})
        assert second.status == "success"
        assert second.logs.endswith("already")
    assert [exchange.method for exchange in tasks.kube.writes] == ["PATCH", "PATCH"]


@pytest.mark.parametrize("task_type", ["cordon_node", "uncordon_node", "label_node"])
def test_a_node_that_is_not_there_is_a_failure(ground: Ground, tasks: Tasks, task_type: str) -> None:
    labels = {"labels": {"team": "a"}} if task_type == "label_node" else {}
    result = tasks.do(task_type, {"node_name": "no-such-node", **labels})
    assert failed_with(result) == "node no-such-node does not exist"


@pytest.mark.parametrize("identity", ["node_uid", "provider_id"])
@pytest.mark.parametrize("task_type", ["cordon_node", "uncordon_node", "label_node"])
def test_another_node_of_that_name_is_left_alone(ground: Ground, tasks: Tasks, task_type: str, identity: str) -> None:
    labels = {"labels": {"team": "a"}} if task_type == "label_node" else {}
    result = tasks.do(task_type, {"node_name": ground.victim, identity: "of-the-one-before", **labels})
    said = f"node {ground.victim} is not the one the task means: {identity} is of-the-one-before, the node's is "
    assert failed_with(result).startswith(said)
    assert tasks.kube.writes == []


@pytest.mark.simulator  # The node is exchanged.
@pytest.mark.parametrize("task_type", ["cordon_node", "label_node"])
def test_a_node_that_is_exchanged_just_before_the_patch_is_left_alone(
    ground: Ground, tasks: Tasks, task_type: str
) -> None:
    before = uid_of(ground.node())

    def exchange() -> None:
        ground.cluster.delete_node(ground.victim)
        ground.cluster.add_node(ground.victim, provider_id="aws:///us-east-1a/i-2")

    tasks.kube.just_before("PATCH", f"/nodes/{ground.victim}", exchange)
    labels = {"labels": {"team": "a"}} if task_type == "label_node" else {}
    result = tasks.do(task_type, {"node_name": ground.victim, **labels})
    assert failed_with(result) == f"node {ground.victim} (uid {before}) is gone"
    assert not ground.is_cordoned
    assert "team" not in ground.node()["metadata"]["labels"]


# -- label_node, label_pod --------------------------------------------------------------------------


def test_labels_of_a_node_are_set_removed_and_left_where_they_are_right(ground: Ground, tasks: Tasks) -> None:
    key = f"{ground.namespace}.example.com/team"
    parameters = {"node_name": ground.victim, "labels": {key: "a"}}
    first = tasks.do("label_node", parameters)
    assert first.logs.endswith(f"node {ground.victim} labelled: {key}=a")
    assert ground.node()["metadata"]["labels"][key] == "a"
    assert tasks.do("label_node", parameters).logs.endswith("has these labels already")
    removed = tasks.do("label_node", {"node_name": ground.victim, "labels": {key: None, "never-there": None}})
    assert removed.logs.endswith(f"node {ground.victim} labelled: {key}-")
    assert key not in ground.node()["metadata"]["labels"]
    assert len(tasks.kube.writes) == 2


@pytest.mark.parametrize("task_type", ["label_node", "label_pod"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"-team": "a"}, "label '-team': the name must be 1 to 63 letters, digits"),
        ({"x" * 64: "a"}, "the name must be 1 to 63 letters, digits"),
        ({"Example.com/team": "a"}, "the prefix 'Example.com' must be a DNS subdomain of at most 253 characters"),
        ({f"{'x' * 254}/team": "a"}, "must be a DNS subdomain of at most 253 characters"),
        ({"team": "two words"}, "label 'team': the value 'two words' must be at most 63 letters"),
        ({"team": "x" * 64}, "must be at most 63 letters"),
        ({"node.kubernetes.io/team": "a"}, "steer Kubernetes itself; force sets them"),
        ({"k8s.io/team": None}, "steer Kubernetes itself; force sets them"),
        ({"team": 1}, "labels.team: Input should be a valid string"),
        ({}, "labels: Dictionary should have at least 1 item"),
    ],
)
def test_wrong_labels_are_refused_before_anything_is_asked(
    ground: Ground, tasks: Tasks, task_type: str, labels: Object, said: str
) -> None:
    target = {"node_name": ground.victim} if task_type == "label_node" else about(ground, "web")
    assert said in failed_with(tasks.do(task_type, {**target, "labels": labels}))
    assert tasks.kube.exchanges == []


def test_with_force_labels_of_kubernetes_are_set(ground: Ground, tasks: Tasks) -> None:
    key = f"{ground.namespace}.k8s.io/team"
    for value in ("a", None):
        parameters = {"node_name": ground.victim, "labels": {key: value}, "force": True}
        assert tasks.do("label_node", parameters).status == "success"
        assert ground.node()["metadata"]["labels"].get(key) == value


def test_labels_of_a_pod_are_set_removed_and_left_where_they_are_right(ground: Ground, tasks: Tasks) -> None:
    ground.bare("web", labels={"old": "x"})
    first = tasks.do("label_pod", about(ground, "web", labels={"team": "a", "old": None}))
    assert first.logs.endswith(f"pod {ground.namespace}/web labelled: team=a, old-")
    pod = ground.pod("web")
    assert pod is not None
    assert pod["metadata"]["labels"].items() >= {"app": "web", "team": "a"}.items()
    assert "old" not in pod["metadata"]["labels"]
    again = tasks.do("label_pod", about(ground, "web", labels={"team": "a"}))
    assert again.logs.endswith(f"pod {ground.namespace}/web has these labels already")
    assert len(tasks.kube.writes) == 1


def test_a_pod_that_is_not_there_cannot_be_labelled(ground: Ground, tasks: Tasks) -> None:
    pod = ground.bare("web")
    other = tasks.do("label_pod", about(ground, "web", labels={"team": "a"}, pod_uid="another"))
    said = f"pod {ground.namespace}/web has uid {uid_of(pod)}; the one with uid another is gone"
    assert failed_with(other) == said
    none = tasks.do("label_pod", about(ground, "none", labels={"team": "a"}))
    assert failed_with(none) == f"pod {ground.namespace}/none does not exist"
    assert tasks.kube.writes == []


def test_a_pod_that_is_exchanged_just_before_the_patch_is_left_alone(ground: Ground, tasks: Tasks) -> None:
    pod = ground.bare("web")

    def exchange() -> None:
        _end(ground, "web")
        ground.bare("web")

    tasks.kube.just_before("PATCH", "/pods/web", exchange)
    result = tasks.do("label_pod", about(ground, "web", labels={"team": "a"}))
    assert failed_with(result) == f"pod {ground.namespace}/web (uid {uid_of(pod)}) is gone"
    assert "team" not in (ground.pod("web") or {})["metadata"]["labels"]


# -- what RBAC does not grant -----------------------------------------------------------------------


def test_a_right_to_write_nodes_that_is_missing_is_named(ground: Ground, start: Start) -> None:
    tasks = start(ground.kubeconfig(without=lambda rule: "patch" in rule["verbs"]))
    for task_type, parameters in (("cordon_node", {}), ("label_node", {"labels": {"team": "a"}})):
        said = failed_with(tasks.do(task_type, {"node_name": ground.victim, **parameters}))
        assert 'cannot patch resource "nodes" in API group "" at the cluster scope' in said
        assert said.endswith('RBAC must allow verb "patch" on resource "nodes"')


def test_so_is_one_to_read(ground: Ground, start: Start) -> None:
    tasks = start(ground.kubeconfig(without=lambda rule: "get" in rule["verbs"] and "nodes" in rule["resources"]))
    on_node = failed_with(tasks.do("cordon_node", {"node_name": ground.victim}))
    assert 'cannot get resource "nodes" in API group "" at the cluster scope' in on_node
    on_pod = failed_with(tasks.do("delete_pod", about(ground, "web")))
    assert f'cannot get resource "pods" in API group "" in the namespace "{ground.namespace}"' in on_pod


@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod"])
def test_so_is_the_one_to_evict(ground: Ground, start: Start, task_type: str) -> None:
    (web,) = ground.replicas("web")
    tasks = start(ground.kubeconfig(without=resources("pods/eviction")))
    said = failed_with(tasks.do(task_type, about(ground, web)))
    assert said.startswith(f"cannot evict {ground.namespace}/{name_of(web)}: ")
    assert said.endswith('RBAC must allow verb "create" on resource "pods/eviction" in API group ""')


def test_labels_of_pods_need_their_component(ground: Ground, start: Start) -> None:
    ground.bare("web")
    said = failed_with(start(ground.kubeconfig()).do("label_pod", about(ground, "web", labels={"team": "a"})))
    assert 'cannot patch resource "pods" in API group ""' in said
    assert said.endswith('labels of pods need the pod-labels component of the bundle, which grants "patch" on "pods"')


# -- delete_pod -------------------------------------------------------------------------------------


def test_a_pod_is_evicted_and_awaited(ground: Ground, tasks: Tasks) -> None:
    pod = ground.bare("web", ends_after=0.3)
    result = tasks.do("delete_pod", about(ground, "web", grace_period=12))
    assert result.status == "success"
    assert result.logs.endswith(f"pod {ground.namespace}/web (uid {uid_of(pod)}) is gone from node {ground.victim}")
    assert not ground.lives("web")
    (eviction,) = tasks.kube.writes
    assert eviction.options == {"gracePeriodSeconds": 12, "preconditions": {"uid": uid_of(pod)}}


def test_a_pod_that_is_not_there_is_a_success(ground: Ground, tasks: Tasks) -> None:
    ground.bare("web")
    none = tasks.do("delete_pod", about(ground, "none"))
    assert none.status == "success"
    assert none.logs.endswith(f"gone already: pod {ground.namespace}/none does not exist")
    other = tasks.do("delete_pod", about(ground, "web", pod_uid="another"))
    assert other.status == "success"
    assert other.logs.endswith("the one with uid another is gone")
    assert tasks.kube.writes == []


def test_a_pods_budget_holds(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    ground.budget("guard", "web", **HELD)
    late = tasks.do("delete_pod", about(ground, web), seconds=30)
    assert late.status == "timeout"
    assert re.search(r"The disruption budget guard needs .*; budget guard held it for \d+ s", late.error or "")
    task_id = tasks.begin("delete_pod", about(ground, web))
    ground.wait_for(lambda: len(tasks.kube.evictions) >= 2)
    ground.remove("PodDisruptionBudget", "guard")
    assert tasks.result(task_id).status == "success"


@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod"])
def test_a_pod_that_is_newer_than_the_task_is_not_the_one_it_means(
    ground: Ground, tasks: Tasks, task_type: str
) -> None:
    """Without a journal that knows better, this may be the replacement of the one that went."""
    (web,) = ground.replicas("web")
    ground.cordon(ground.victim)
    earlier = iso(tasks.now_in(-3600))
    said = failed_with(tasks.do(task_type, about(ground, web), created_at=earlier))
    assert said.startswith(f"pod {ground.namespace}/{name_of(web)} (uid {uid_of(web)}) was created at ")
    assert said.endswith(", after the task: it is not the pod the task means; give pod_uid if it is")
    assert tasks.kube.writes == []
    meant = about(ground, web, pod_uid=uid_of(web))
    assert tasks.do(task_type, meant, created_at=earlier).status == "success"


def test_a_statefulsets_replacement_of_the_same_name_is_not_hit(ground: Ground, tasks: Tasks) -> None:
    (db,) = ground.replicas("db", kind="StatefulSet")

    def replace() -> None:
        ground.remove("Pod", "db-0", gracePeriodSeconds=0)
        ground.wait_for(lambda: uid_of(ground.pod("db-0") or db) != uid_of(db))

    tasks.kube.just_before("POST", "/db-0/eviction", replace)
    result = tasks.do("delete_pod", about(ground, "db-0"))
    assert result.status == "success"
    ground.wait_for(lambda: tasks.kube.evictions)  # The watch may tell of the end before the eviction is answered.
    assert [exchange.answer.status for exchange in tasks.kube.evictions] == [409]
    assert "deletionTimestamp" not in (ground.pod("db-0") or {})["metadata"]


def test_nor_is_it_after_a_restart_in_between(ground: Ground, start: Start) -> None:
    (db,) = ground.replicas("db", kind="StatefulSet", ends_after=0.5)
    first = start()
    task_id = first.begin("delete_pod", about(ground, "db-0"))
    ground.wait_for(lambda: first.kube.evictions)
    first.close()
    ground.wait_for(lambda: uid_of(ground.pod("db-0") or db) != uid_of(db))
    second = start(queue=first.queue)
    result = second.result(task_id)
    assert result.status == "success"
    assert "gone before the agent restarted" in result.logs
    assert second.kube.writes == []
    assert "deletionTimestamp" not in (ground.pod("db-0") or {})["metadata"]


# -- reschedule_pod ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet"])
def test_a_pod_is_rescheduled_when_its_replacement_is_ready_elsewhere(ground: Ground, tasks: Tasks, kind: str) -> None:
    pods = ground.replicas("web", 2, kind=kind)
    ground.cordon(ground.victim)
    result = tasks.do("reschedule_pod", about(ground, pods[0]))
    assert result.status == "success"
    (new,) = ground.pods(app="web", node=ground.haven)
    said = f"replaced by pod {ground.namespace}/{name_of(new)} (uid {uid_of(new)}), Ready on node {ground.haven}"
    assert result.logs.endswith(said)
    assert (name_of(new) == name_of(pods[0])) is (kind == "StatefulSet")
    assert len(tasks.kube.evictions) == 1


def test_back_on_the_same_node_is_a_failure(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    ground.cordon(ground.haven)
    said = failed_with(tasks.do("reschedule_pod", about(ground, web)))
    assert re.fullmatch(
        rf"ReplicaSet/web put its replacement {ground.namespace}/web-\w+ back on node {ground.victim},"
        " which is not cordoned: cordon it first",
        said,
    )


def test_also_where_the_pod_does_not_mind_the_cordon(ground: Ground, tasks: Tasks) -> None:
    tolerations = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]
    (web,) = ground.replicas("web", tolerations=tolerations, only_on=ground.victim)
    for node in (ground.victim, ground.haven):
        ground.cordon(node)
    said = failed_with(tasks.do("reschedule_pod", about(ground, web)))
    assert said.endswith(f"back on node {ground.victim}, although it is cordoned")


def test_a_controller_of_any_kind_will_do(ground: Ground, tasks: Tasks) -> None:
    """Its replacement is known by the controller's UID; nobody needs to read the controller."""
    owner = {
        "apiVersion": "apps.kruise.io/v1alpha1",
        "kind": "CloneSet",
        "name": "web",
        "uid": "6d9f",
        "controller": True,
    }
    ground.bare("web-a", owner=owner)
    ground.bare("web-b", owner=owner, node=ground.haven)
    task_id = tasks.begin("reschedule_pod", about(ground, "web-a"))
    ground.wait_for(lambda: ground.pod("web-a") is None)
    ground.bare("stranger", node=ground.haven)
    ground.bare("web-c", owner=owner, node=ground.haven)
    result = tasks.result(task_id)
    assert result.status == "success"
    assert f"replaced by pod {ground.namespace}/web-c " in result.logs


def test_a_new_pod_on_the_old_node_is_no_replacement_while_ours_is_not_made(ground: Ground, start: Start) -> None:
    """A scale-up, or another task's."""
    tasks = start(times=1)
    owner = {"apiVersion": "example.com/v1", "kind": "Rollout", "name": "web", "uid": "6d9f", "controller": True}
    ground.bare("web-a", owner=owner)
    task_id = tasks.begin("reschedule_pod", about(ground, "web-a"))
    ground.wait_for(lambda: ground.pod("web-a") is None)
    ground.bare("scaled-up", owner=owner)
    ground.bare("web-b", owner=owner, node=ground.haven)
    result = tasks.result(task_id)
    assert result.status == "success"
    assert f"replaced by pod {ground.namespace}/web-b " in result.logs


def test_a_pod_that_was_on_no_node_yet_is_replaced_by_one_that_is_ready_anywhere(ground: Ground, tasks: Tasks) -> None:
    for node in (ground.victim, ground.haven):
        ground.cordon(node)
    ground.apply(workload("ReplicaSet", "web", 1, template("web")))
    (web,) = ground.wait_for(lambda: ground.pods(app="web"))
    assert not web["spec"].get("nodeName")
    task_id = tasks.begin("reschedule_pod", about(ground, web))
    ground.wait_for(lambda: [pod for pod in ground.pods(app="web") if uid_of(pod) != uid_of(web)])
    ground.uncordon(ground.haven)
    result = tasks.result(task_id)
    assert result.status == "success"
    assert f"Ready on node {ground.haven}" in result.logs


def test_a_pod_that_nothing_would_replace_is_left_where_it_is(ground: Ground, tasks: Tasks) -> None:
    ground.bare("loner")
    bare = tasks.do("reschedule_pod", about(ground, "loner"))
    assert failed_with(bare) == f"pod {ground.namespace}/loner has no controller: nothing would replace it"
    daemon = ground.daemons("daemon")
    said = f"pod {ground.namespace}/{name_of(daemon)} belongs to a DaemonSet: it would come back on the same node"
    assert failed_with(tasks.do("reschedule_pod", about(ground, daemon))) == said
    none = tasks.do("reschedule_pod", about(ground, "none"))
    assert failed_with(none) == f"pod {ground.namespace}/none does not exist"
    assert tasks.kube.writes == []


def test_a_replacement_that_finds_no_place_is_awaited_until_the_deadline(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    for node in (ground.victim, ground.haven):
        ground.cordon(node)
    result = tasks.do("reschedule_pod", about(ground, web), seconds=45)
    assert result.status == "timeout"
    assert re.fullmatch(
        rf"the replacement of ReplicaSet/web is not Ready elsewhere: {ground.namespace}/web-\w+ Pending on no node yet,"
        " not Ready",
        result.error or "",
    )


def test_a_replacement_that_is_not_ready_is_none(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web", ready=False)
    ground.cordon(ground.victim)
    result = tasks.do("reschedule_pod", about(ground, web), seconds=45)
    assert result.status == "timeout"
    assert re.search(rf"/web-\w+ \w+ on {ground.haven}, not Ready$", result.error or "")


def test_two_replicas_that_go_at_once_have_a_replacement_each(ground: Ground, tasks: Tasks) -> None:
    pods = ground.replicas("web", 2)
    ground.cordon(ground.victim)
    begun = [tasks.begin("reschedule_pod", about(ground, pod)) for pod in pods]
    results = [tasks.result(task_id) for task_id in begun]
    assert [result.status for result in results] == ["success"] * 2
    named = {found for result in results for found in re.findall(r"replaced by pod \S+ \(uid (\S+)\)", result.logs)}
    assert named == {uid_of(pod) for pod in ground.pods(app="web")}


def test_after_a_restart_in_between_the_replacement_is_found(ground: Ground, start: Start) -> None:
    (db,) = ground.replicas("db", kind="StatefulSet", ends_after=0.5)
    ground.cordon(ground.victim)
    first = start()
    task_id = first.begin("reschedule_pod", about(ground, "db-0"))
    ground.wait_for(lambda: first.kube.evictions)
    first.close()
    ground.wait_for(lambda: uid_of(ground.pod("db-0") or db) != uid_of(db))
    second = start(queue=first.queue)
    result = second.result(task_id)
    assert result.status == "success"
    assert f"Ready on node {ground.haven}" in result.logs
    assert second.kube.writes == []


def test_a_replacement_that_was_named_before_a_restart_is_no_other_tasks(ground: Ground, start: Start) -> None:
    """Both pods went; the one replacement that is there was the answer of the task that ended."""
    owner = {"apiVersion": "example.com/v1", "kind": "Rollout", "name": "web", "uid": "6d9f", "controller": True}
    ground.bare("web-a", owner=owner)
    ground.bare("web-b", owner=owner)
    first = start()
    begun = [first.begin("reschedule_pod", about(ground, name)) for name in ("web-a", "web-b")]
    ground.wait_for(lambda: not ground.pods(node=ground.victim))
    ground.bare("web-c", owner=owner, node=ground.haven)
    (ended,) = [message.key for message in first.queue.lease(["results"], 10, 60.0, wait=60.0)]
    first.close()
    second = start(queue=first.queue)
    ground.bare("web-d", owner=owner, node=ground.haven)
    (other,) = [task_id for task_id in begun if task_id != ended]
    assert f"replaced by pod {ground.namespace}/web-d " in second.result(other).logs


def _end(ground: Ground, name: str) -> None:
    ground.remove("Pod", name, gracePeriodSeconds=0)
    ground.wait_for(lambda: ground.pod(name) is None)
