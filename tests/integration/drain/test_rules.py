"""The rules of a drain, one by one, by their numbers in docs/tasks.md, on the simulator or a real cluster."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from typing import Any

import pytest

from shared.basics.timing import iso
from shared.kube.evictions import Verdict, evict
from shared.kube.pods import Pods
from tests.integration.drain import objects
from tests.integration.drain.fixtures import Start
from tests.integration.drain.ground import Ground
from tests.integration.drain.objects import FINALIZER, Object
from tests.integration.drain.work import Tasks
from tests.sim.kube.pods import daemon_template
from tests.sim.kube.resources import DAEMON_SETS
from tests.sim.kube.status import not_found
from tests.unit.conftest import counted

HELD = {"maxUnavailable": 0}
DEFAULTS = {"skip_namespaces": ["kube-system", "kube-public"]}


def drain(ground: Ground, **parameters: Any) -> Object:
    return {"node_name": ground.victim, **parameters}


def name_of(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def order(tasks: Tasks, *apps: str) -> list[str]:
    """The apps whose pods were evicted, in the order of the requests, each once."""
    evicted = [exchange.body["metadata"]["name"] for exchange in tasks.kube.evictions]
    return list(dict.fromkeys(app for name in evicted for app in apps if name.startswith(app)))


# -- 1 to 4: the node, the plan, the cordon, the lists ----------------------------------------------


def test_rule_01_a_node_that_is_gone_is_a_success(ground: Ground, tasks: Tasks) -> None:
    result = tasks.do("drain_node", {"node_name": "no-such-node"})
    assert (result.status, result.error) == ("success", None)
    assert "node no-such-node is already gone" in result.logs


@pytest.mark.parametrize("identity", ["node_uid", "provider_id"])
def test_rule_01_so_is_one_whose_name_another_has_now(ground: Ground, tasks: Tasks, identity: str) -> None:
    ground.replicas("web")
    result = tasks.do("drain_node", drain(ground, **{identity: "of-the-one-before"}))
    assert result.status == "success"
    assert f"already gone, another has its name: {identity} is of-the-one-before, the node's is" in result.logs
    assert tasks.kube.writes == []


def test_rule_01_the_node_that_is_meant_is_drained(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", 2)
    node = ground.node()
    identity = {"node_uid": node["metadata"]["uid"], "provider_id": node["spec"]["providerID"]}
    result = tasks.do("drain_node", drain(ground, **identity))
    assert (result.status, result.error) == ("success", None)
    assert f"node {ground.victim} is drained" in result.logs
    assert ground.pods(node=ground.victim) == []
    assert ground.is_cordoned


def test_rule_02_a_refusal_touches_nothing_and_names_every_pod(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.bare("loner")
    ground.bare("hermit")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "failed"
    assert result.error == (
        f"nothing was touched, 2 pods forbid the drain: {ground.namespace}/hermit, {ground.namespace}/loner:"
        " no controller would replace it; force evicts it"
    )
    assert tasks.kube.writes == []
    assert not ground.is_cordoned


def test_rule_02_a_dry_run_says_what_would_become_of_each_pod(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    (held,) = ground.replicas("held")
    ground.budget("held", "held", **HELD)
    daemon = ground.daemons("daemon")
    result = tasks.do("drain_node", drain(ground, dry_run=True))
    assert result.status == "success"
    space = ground.namespace
    assert f"{space}/{name_of(web)} would be evicted" in result.logs
    assert f"{space}/{name_of(held)} would have to wait: HTTP 429" in result.logs
    assert f"{space}/{name_of(daemon)} stays: DaemonSet daemon would start it again at once" in result.logs
    assert result.logs.endswith("dry run: nothing was touched")
    assert {exchange.body["deleteOptions"].get("dryRun", [""])[0] for exchange in tasks.kube.writes} == {"All"}
    assert not ground.is_cordoned
    assert {name_of(pod) for pod in ground.pods()} >= {name_of(web), name_of(held)}
    assert not any(pod["metadata"].get("deletionTimestamp") for pod in ground.pods())


def test_rule_02_a_dry_run_fails_where_the_drain_would_be_refused(ground: Ground, tasks: Tasks) -> None:
    ground.bare("loner")
    result = tasks.do("drain_node", drain(ground, dry_run=True))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith("nothing was touched, 1 pod forbids the drain")


def test_rule_03_one_patch_cordons(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    result = tasks.do("drain_node", drain(ground))
    assert f"node {ground.victim} cordoned" in result.logs
    (patch,) = [exchange for exchange in tasks.kube.writes if exchange.method == "PATCH"]
    assert patch.path == f"/api/v1/nodes/{ground.victim}"
    assert patch.body["spec"] == {"unschedulable": True}
    assert tasks.kube.writes.index(patch) == 0, "before the first eviction"


def test_rule_03_a_cordon_of_someone_else_is_left_as_it_is(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.cordon(ground.victim)
    result = tasks.do("drain_node", drain(ground))
    assert f"node {ground.victim} was cordoned already" in result.logs
    assert {exchange.method for exchange in tasks.kube.writes} == {"POST"}


def test_rule_04_the_first_list_comes_from_the_cache_and_the_last_does_not(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    tasks.do("drain_node", drain(ground))
    queries = [exchange.query for exchange in tasks.kube.exchanges if exchange.path == "/api/v1/pods"]
    version, *lists = queries
    assert version == {"limit": 1}, "what changes from now on is watched"
    assert {query["fieldSelector"] for query in lists} == {f"spec.nodeName={ground.victim}"}
    assert lists[0]["resourceVersion"] == "0"
    assert "resourceVersion" not in lists[-1]


def test_rule_04_a_pod_bound_late_goes_too(ground: Ground, start: Start) -> None:
    """The scheduler had decided before it saw the cordon. By the real clock, as the second is real."""
    tasks = start(times=1)
    ground.replicas("web")
    late = threading.Thread(target=_bind_late, args=(ground,))
    late.start()
    result = tasks.do("drain_node", drain(ground, force=True), seconds=60)
    late.join()
    assert result.status == "success"
    assert "1 pods were bound late" in result.logs
    assert tasks.kube.evictions_of("late")
    assert ground.pods(node=ground.victim) == []


def _bind_late(ground: Ground) -> None:
    """After the first pods are gone, and within the second."""
    ground.wait_for(lambda: ground.is_cordoned)
    ground.wait_for(lambda: not ground.pods(app="web", node=ground.victim))
    ground.bare("late", wait=False)


# -- 5 to 9: which pods go, and when ----------------------------------------------------------------


def test_rule_05_what_ended_does_not_count_and_what_comes_back_stays(ground: Ground, tasks: Tasks) -> None:
    ground.bare("over")
    ground.patch(f"{ground.pod_path('over')}/status", {"status": {"phase": "Succeeded"}})
    daemon = ground.daemons("daemon")
    node = ground.node()
    owner = {"apiVersion": "v1", "kind": "Node", "name": ground.victim, "uid": node["metadata"]["uid"]}
    mirror = {"kubernetes.io/config.mirror": "c0ffee"}
    ground.bare("static", owner={**owner, "controller": True}, annotations=mirror, wait=False)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert f"{ground.namespace}/{name_of(daemon)} stays: DaemonSet daemon would start it again" in result.logs
    assert f"{ground.namespace}/static stays: static pod, run by the kubelet from a file" in result.logs
    assert "/over" not in result.logs
    assert tasks.kube.evictions == []


def test_rule_05_namespaces_are_skipped_as_asked(ground: Ground, tasks: Tasks) -> None:
    other = ground.add_namespace(f"{ground.namespace}-kept")
    ground.bare("kept", namespace=other)
    ground.replicas("web")
    result = tasks.do("drain_node", drain(ground, skip_namespaces=[other]))
    assert result.status == "success"
    assert f"{other}/kept stays: namespace {other} is in skip_namespaces" in result.logs
    assert f"is drained; staying: {other}/kept" in result.logs
    assert order(tasks, "web", "kept") == ["web"]


@pytest.mark.simulator  # It would write to kube-system.
def test_rule_05_by_default_those_are_kube_system_and_kube_public(ground: Ground, tasks: Tasks) -> None:
    for namespace in ("kube-system", "kube-public"):
        ground.bare("kept", namespace=namespace)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert "staying: kube-public/kept, kube-system/kept" in result.logs


@pytest.mark.simulator  # The garbage collector deletes such a pod within moments: the answer is made to order.
def test_rule_05_a_daemonsets_orphan_goes_only_with_force(ground: Ground, tasks: Tasks) -> None:
    nowhere = objects.template("gone")
    nowhere["spec"]["nodeSelector"] = {"no": "node"}
    made = ground.apply(objects.workload("DaemonSet", "gone", None, nowhere))
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "gone", "uid": made["metadata"]["uid"]}
    tolerations = daemon_template(nowhere)["spec"]["tolerations"]  # As all pods of a DaemonSet have them.
    ground.bare("orphan", owner={**owner, "controller": True}, tolerations=tolerations)
    ground.cluster.fail(verb="get", name="gone", times=None, status=404, body=not_found(DAEMON_SETS, "gone").body())
    refused = tasks.do("drain_node", drain(ground))
    assert refused.status == "failed"
    assert refused.error is not None
    assert "orphan: its DaemonSet gone is gone; force evicts it" in refused.error
    assert tasks.do("drain_node", drain(ground, force=True)).status == "success"
    assert not ground.lives("orphan")


def test_rule_06_emptydir_data_is_lost_by_default_and_that_is_said(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web", empty_dir=True)
    refused = tasks.do("drain_node", drain(ground, delete_emptydir_data=False))
    assert refused.status == "failed"
    assert refused.error is not None
    assert "its emptyDir data would be lost and delete_emptydir_data is false" in refused.error
    assert tasks.kube.writes == []
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert f"1 pods lose emptyDir data: {ground.namespace}/{name_of(web)}" in result.logs


def test_rule_06_a_pod_without_a_controller_goes_only_with_force(ground: Ground, tasks: Tasks) -> None:
    ground.bare("loner")
    assert tasks.do("drain_node", drain(ground)).status == "failed"
    assert ground.pod("loner") is not None
    assert tasks.do("drain_node", drain(ground, force=True)).status == "success"
    assert not ground.lives("loner")


def test_rule_07_the_agents_own_pod_goes_last_when_its_result_is_delivered(ground: Ground, start: Start) -> None:
    (me,) = ground.replicas("agent")
    tasks = start(POD_UID=me["metadata"]["uid"])
    ground.replicas("web")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert f"{ground.namespace}/{name_of(me)} is this agent: it is evicted once this result is delivered" in result.logs
    ground.wait_for(lambda: ground.pod(name_of(me)) is None)
    assert order(tasks, "web", "agent") == ["web", "agent"]
    assert f"{ground.namespace}/{name_of(me)}: this agent goes last" in result.logs


def test_rule_07_where_its_namespace_is_skipped_it_stays_and_the_result_says_so(ground: Ground, start: Start) -> None:
    (me,) = ground.replicas("agent")
    tasks = start(POD_UID=me["metadata"]["uid"])
    result = tasks.do("drain_node", drain(ground, skip_namespaces=[ground.namespace]))
    assert result.status == "success"
    assert f"namespace {ground.namespace} is in skip_namespaces; it is this agent" in result.logs
    assert tasks.kube.evictions == []


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ({"annotations": {"karpenter.sh/do-not-disrupt": "true"}}, "karpenter.sh/do-not-disrupt is true"),
        ({"annotations": {"karpenter.sh/do-not-disrupt": "9h"}}, "karpenter.sh/do-not-disrupt is 9h since its start"),
        (
            {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}},
            "cluster-autoscaler.kubernetes.io/safe-to-evict is false",
        ),
    ],
    ids=["karpenter", "karpenter for a while", "cluster-autoscaler"],
)
def test_rule_08_do_not_disrupt_is_honoured_without_force(
    ground: Ground, tasks: Tasks, marks: dict[str, Any], said: str
) -> None:
    ground.replicas("web", **marks)
    refused = tasks.do("drain_node", drain(ground))
    assert refused.status == "failed"
    assert refused.error is not None
    assert refused.error.endswith(f"{said}; force overrides")
    assert tasks.kube.writes == []
    assert tasks.do("drain_node", drain(ground, force=True)).status == "success"
    assert ground.pods(node=ground.victim) == []


def test_rule_08_a_while_that_is_over_forbids_nothing(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", annotations={"karpenter.sh/do-not-disrupt": "1ms"})
    time.sleep(1)  # startTime counts whole seconds
    assert tasks.do("drain_node", drain(ground)).status == "success"


def test_rule_09_critical_pods_go_when_the_others_are_gone(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", ends_after=0.4)
    ground.replicas("cluster", priority_class="system-cluster-critical", ends_after=0.4)
    ground.replicas("node", priority_class="system-node-critical")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert order(tasks, "web", "cluster", "node") == ["web", "cluster", "node"]
    words = re.findall(r"/(web|cluster|node)-\w+ (evicted|is gone)", result.logs)
    assert words == [(app, word) for app in ("web", "cluster", "node") for word in ("evicted", "is gone")]


# -- 10 to 17: what an eviction is answered ---------------------------------------------------------


def test_rule_10_exactly_the_pod_that_was_listed_is_evicted(ground: Ground, tasks: Tasks) -> None:
    pods = {name_of(pod): pod["metadata"]["uid"] for pod in ground.replicas("web", 2)}
    tasks.do("drain_node", drain(ground))
    for name, uid in pods.items():
        (eviction,) = tasks.kube.evictions_of(name)
        assert eviction.path == f"/api/v1/namespaces/{ground.namespace}/pods/{name}/eviction"
        assert (eviction.body["apiVersion"], eviction.body["kind"]) == ("policy/v1", "Eviction")
        assert eviction.options["preconditions"] == {"uid": uid}


@pytest.mark.parametrize(
    ("own", "asked", "sent"),
    [(30, None, 90), (600, None, 600), (600, 10, 10), (30, 120, 120)],
    ids=["the default", "its own that is longer", "a shorter wish", "a longer wish"],
)
def test_rule_10_the_grace_is_what_was_asked_or_never_shorter_than_its_own(
    ground: Ground, tasks: Tasks, own: int, asked: int | None, sent: int
) -> None:
    (web,) = ground.replicas("web", grace=own)
    wish = {} if asked is None else {"grace_period": asked}
    assert tasks.do("drain_node", drain(ground, **wish)).status == "success"
    (eviction,) = tasks.kube.evictions_of(name_of(web))
    assert eviction.options["gracePeriodSeconds"] == sent


def test_rule_11_a_pod_that_terminates_already_is_accepted(ground: Ground, tasks: Tasks) -> None:
    ground.bare("going", ends_after=60, grace=60)
    ground.remove("Pod", "going")
    found = Pods(ground.kube, ground.namespace).find(ground.namespace, "going")
    assert found.terminating
    assert evict(ground.kube, found, 60).code == 201
    assert evict(ground.kube, found, 60).verdict is Verdict.ACCEPTED


def test_rule_11_pending_pods_bypass_budgets(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web", pending=True)
    ground.budget("web", "web", **HELD)
    assert tasks.do("drain_node", drain(ground)).status == "success"
    assert [exchange.answer.status for exchange in tasks.kube.evictions_of(name_of(web))] == [201]


def test_rule_12_a_pod_that_went_meanwhile_is_done(ground: Ground, tasks: Tasks) -> None:
    ground.bare("web")
    tasks.kube.just_before("POST", "/web/eviction", lambda: _end(ground, "web"))
    result = tasks.do("drain_node", drain(ground, force=True))
    assert result.status == "success"
    # The watch may tell of the end before the eviction is answered.
    (eviction,) = ground.wait_for(lambda: tasks.kube.evictions)
    assert eviction.answer.status == 404
    assert f"{ground.namespace}/web is gone" in result.logs


def test_rule_12_another_pod_of_its_name_is_not_hit(ground: Ground, tasks: Tasks) -> None:
    ground.bare("web")

    def replace() -> None:
        _end(ground, "web")
        ground.bare("web", node=ground.haven)

    tasks.kube.just_before("POST", "/web/eviction", replace)
    result = tasks.do("drain_node", drain(ground, force=True))
    assert result.status == "success"
    (eviction,) = ground.wait_for(lambda: tasks.kube.evictions)
    assert eviction.answer.status == 409
    other = ground.pod("web")
    assert other is not None
    assert "deletionTimestamp" not in other["metadata"]


def _end(ground: Ground, name: str) -> None:
    ground.remove("Pod", name, gracePeriodSeconds=0)
    ground.wait_for(lambda: ground.pod(name) is None)


def test_rule_13_a_pod_that_its_budget_holds_goes_when_it_may(ground: Ground, tasks: Tasks) -> None:
    (held,) = ground.replicas("held")
    ground.replicas("web", 2)
    ground.budget("guard", "held", **HELD)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions_of(name_of(held))) >= 2)
    assert ground.pods(app="web", node=ground.victim) == [], "the others go on"
    ground.remove("PodDisruptionBudget", "guard")
    result = tasks.result(task_id)
    assert result.status == "success"
    name = f"{ground.namespace}/{name_of(held)}"
    assert (
        f"{name} must wait: HTTP 429 Cannot evict pod as it would violate the pod's disruption budget." in result.logs
    )
    assert "The disruption budget guard needs 1 healthy pods and has 1 currently" in result.logs
    assert f"{name} is gone after budget guard held it for " in result.logs
    refused = [e.answer for e in tasks.kube.evictions_of(name_of(held)) if e.answer.status == 429]
    assert {answer.headers.get("Retry-After") for answer in refused} == {None}
    causes = json.loads(refused[0].body)["details"]["causes"]
    assert [cause["reason"] for cause in causes] == ["DisruptionBudget"]


def test_rule_13_at_the_deadline_the_result_names_the_budget(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("held", 2)
    ground.budget("guard", "held", **HELD)
    result = tasks.do("drain_node", drain(ground), seconds=30)
    assert result.status == "timeout"
    assert result.error == "Node still has 2 pods at the deadline; budget guard holds 2"


@pytest.mark.simulator
@pytest.mark.parametrize("wish", [True, False], ids=["with Retry-After", "without"])
def test_rule_14_an_api_server_that_throttles_is_obeyed(ground: Ground, tasks: Tasks, wish: bool) -> None:
    (web,) = ground.replicas("web")
    if wish:
        ground.cluster.throttle(times=2, retry_after=3, subresource="eviction")
    else:
        ground.cluster.fail(status=429, body="slow down", times=2, subresource="eviction")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert [exchange.answer.status for exchange in tasks.kube.evictions_of(name_of(web))] == [429, 429, 201]
    assert "must wait: HTTP 429 the API server throttles: " in result.logs
    assert "held it" not in result.logs, "that is no budget"


def test_rule_15_two_budgets_are_a_mistake_that_no_retry_mends(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    ground.budget("one", "web", maxUnavailable=1)
    ground.budget("two", "web", maxUnavailable=1)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith(f"Node still has 1 pods: {ground.namespace}/{name_of(web)} uid=")
    assert "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support" in (
        result.error
    )
    assert len(tasks.kube.evictions) == 1


@pytest.mark.simulator
def test_rule_15_other_failures_of_the_api_server_are_retried(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    for status in (500, 503, 504):
        ground.cluster.fail(status=status, body={"message": "etcdserver: timeout"}, subresource="eviction")
    ground.cluster.fail(close=True, subresource="eviction")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert {exchange.answer.status for exchange in tasks.kube.evictions} >= {500, 503, 504, 201}


@pytest.mark.simulator  # A real namespace that terminates takes its pods along at once.
def test_rule_16_in_a_namespace_that_goes_a_pod_is_asked_again_until_it_terminates(
    ground: Ground, tasks: Tasks
) -> None:
    ground.replicas("web")
    ground.cluster.terminate_namespace(ground.namespace, hold=True)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions) >= 2)
    (pod,) = ground.pods(app="web")
    ground.remove("Pod", name_of(pod))
    result = tasks.result(task_id)
    assert result.status == "success"
    assert {exchange.answer.status for exchange in tasks.kube.evictions} == {403}
    assert "because it is being terminated" in result.logs


@pytest.mark.simulator  # The disruption controller would mend the status at once.
@pytest.mark.parametrize(
    "why",
    [
        "pdb disruptions allowed is negative",
        "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
    ],
)
def test_rule_16_a_budget_in_disorder_is_a_budget_that_holds(ground: Ground, tasks: Tasks, why: str) -> None:
    ground.replicas("web")
    message = f'poddisruptionbudget.policy "guard" is forbidden: {why}'
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": "Forbidden", "code": 403}
    ground.cluster.fail(status=403, body=body, times=2, subresource="eviction")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert f"must wait: HTTP 403 {message}" in result.logs
    assert "is gone after budget guard held it for " in result.logs


@pytest.mark.simulator
@pytest.mark.parametrize("code", [403, 400, 429, 404])
def test_rule_16_a_webhooks_denial_is_quoted_and_retried(ground: Ground, tasks: Tasks, code: int) -> None:
    ground.replicas("web")
    ground.cluster.deny_evictions("guard.example.com", "not during business hours", code=code, times=2)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    said = 'admission webhook "guard.example.com" denied the request: not during business hours'
    assert f"must wait: HTTP {code} {said}" in result.logs
    assert "is gone after webhook guard.example.com held it for " in result.logs


def test_rule_16_an_admission_policy_denies_as_a_webhook_does(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.deny_evictions("not while we look")
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions) >= 2)
    ground.allow_evictions()
    result = tasks.result(task_id)
    assert result.status == "success"
    assert "not while we look" in result.logs
    assert f"is gone after policy {ground.namespace} held it for " in result.logs


def test_rule_16_a_missing_right_is_named_at_once(ground: Ground, start: Start) -> None:
    ground.replicas("web", 3)
    tasks = start(ground.kubeconfig(without=lambda rule: "pods/eviction" in rule["resources"]))
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith(f"cannot evict {ground.namespace}/web-")
    assert 'RBAC must allow verb "create" on resource "pods/eviction" in API group ""' in result.error
    assert len(ground.pods(app="web", node=ground.victim)) == 3


def test_rule_16_so_is_the_right_to_cordon(ground: Ground, start: Start) -> None:
    ground.replicas("web")
    tasks = start(ground.kubeconfig(without=lambda rule: "patch" in rule["verbs"]))
    result = tasks.do("drain_node", drain(ground, uncordon_on_failure=True))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.endswith('RBAC must allow verb "patch" on resource "nodes"')
    assert tasks.kube.evictions == []
    assert "uncordon" not in result.logs, "there is nothing to take back"


def test_rule_17_a_blocked_pod_that_is_not_ready_gets_a_hint(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", ready=False)
    ground.budget("guard", "web", minAvailable=1)
    result = tasks.do("drain_node", drain(ground), seconds=30)
    assert result.status == "timeout"
    assert "the pod is not Ready: unhealthyPodEvictionPolicy AlwaysAllow on the budget would let it go" in result.logs


def test_rule_17_with_that_policy_it_goes(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web", ready=False)
    ground.budget("guard", "web", minAvailable=1, unhealthyPodEvictionPolicy="AlwaysAllow")
    assert tasks.do("drain_node", drain(ground)).status == "success"
    assert [exchange.answer.status for exchange in tasks.kube.evictions_of(name_of(web))] == [201]


# -- 18 to 20: waiting for the end ------------------------------------------------------------------


def test_rule_18_a_held_pod_is_read_before_it_is_asked_again(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    ground.budget("guard", "web", **HELD)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions) >= 2)
    ground.remove("PodDisruptionBudget", "guard")
    assert tasks.result(task_id).status == "success"
    path = ground.pod_path(name_of(web))
    asked = [exchange.method for exchange in tasks.kube.exchanges if exchange.path.startswith(path)]
    assert asked[:3] == ["POST", "GET", "POST"]


def test_rule_18_a_held_pod_that_goes_by_someone_elses_hand_is_done(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    ground.budget("guard", "web", **HELD)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: tasks.kube.evictions)
    ground.remove("Pod", name_of(web))
    result = tasks.result(task_id)
    assert result.status == "success"
    assert {exchange.answer.status for exchange in tasks.kube.evictions} == {429}
    assert ground.pods(node=ground.victim) == []


@pytest.mark.simulator
def test_rule_18_the_end_is_seen_although_watches_break(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", 4, ends_after=1.0)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions) == 4)
    ground.cluster.drop_watches()
    ground.cluster.fail(verb="watch", resource="pods", status=410, body={"code": 410, "reason": "Expired"})
    assert tasks.result(task_id).status == "success"


def test_rule_19_a_pod_that_never_ends_is_stuck_and_its_finalizers_are_named(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web", stuck=True, never_ends=True)
    result = tasks.do("drain_node", drain(ground, grace_period=1), seconds=300)
    ground.release(name_of(web))
    assert result.status == "timeout"
    left = next(line for line in result.logs.splitlines() if "left: " in line)
    assert f"{ground.namespace}/{name_of(web)} uid={web['metadata']['uid']} terminating" in left
    assert f" s past its end, finalizers: {FINALIZER}" in left
    assert f"1 stuck terminating: {ground.namespace}/{name_of(web)}" in result.logs, "also while it waits"


def test_rule_20_a_redelivery_does_not_extend_the_deadline(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.budget("guard", "web", **HELD)
    task_id = tasks.begin("drain_node", drain(ground), seconds=30)
    later = iso(tasks.now_in(36_000))
    tasks.begin("drain_node", drain(ground), task_id=task_id, deadline=later)
    assert tasks.result(task_id).status == "timeout"


# -- 21 to 25 ---------------------------------------------------------------------------------------


def test_rule_21_force_still_evicts(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.budget("guard", "web", **HELD)
    result = tasks.do("drain_node", drain(ground, force=True), seconds=30)
    assert result.status == "timeout"
    assert [exchange for exchange in tasks.kube.writes if exchange.method == "DELETE"] == []


def test_rule_21_disable_eviction_goes_past_budgets_by_deleting_exactly_that_pod(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web", grace=7)
    ground.budget("guard", "web", **HELD)
    result = tasks.do("drain_node", drain(ground, disable_eviction=True))
    assert result.status == "success"
    assert f"{name_of(web)} deleted with 7 s of grace" in result.logs
    assert tasks.kube.evictions == []
    (delete,) = [exchange for exchange in tasks.kube.writes if exchange.method == "DELETE"]
    assert delete.path == ground.pod_path(name_of(web))
    assert delete.options == {"gracePeriodSeconds": 7, "preconditions": {"uid": web["metadata"]["uid"]}}


@pytest.mark.parametrize(
    ("own", "wish", "seconds", "least", "most"),
    [
        (600, {}, 300, 1, 300),
        (30, {"grace_period": 3600}, 300, 1, 300),
        (600, {"grace_period": 5}, 1200, 5, 5),
        (0, {}, 1200, 1, 1),
        (600, {"grace_period": 0, "allow_zero_grace": True}, 1200, 0, 0),
    ],
    ids=["what remains", "what remains of a long wish", "a short wish", "at least one", "none, said twice"],
)
def test_rule_21_the_grace_is_bounded_by_what_remains(
    ground: Ground, tasks: Tasks, own: int, wish: dict[str, Any], seconds: float, least: int, most: int
) -> None:
    ground.replicas("web", grace=own)
    result = tasks.do("drain_node", drain(ground, disable_eviction=True, **wish), seconds=seconds)
    assert result.status == "success"
    (delete,) = [exchange for exchange in tasks.kube.writes if exchange.method == "DELETE"]
    assert least <= delete.options["gracePeriodSeconds"] <= most


def test_rule_21_without_its_component_the_result_names_it(ground: Ground, start: Start) -> None:
    ground.replicas("web")
    result = start(ground.kubeconfig()).do("drain_node", drain(ground, disable_eviction=True))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.endswith(
        "disable_eviction needs the forced-delete component of the bundle, which grants delete on pods"
    )
    assert len(ground.pods(app="web", node=ground.victim)) == 1


def test_rule_22_volumes_are_waited_for_but_those_of_pods_that_stay(ground: Ground, tasks: Tasks) -> None:
    going, staying = f"{ground.namespace}-going", f"{ground.namespace}-staying"
    ground.replicas("web")
    other = ground.add_namespace(f"{ground.namespace}-kept")
    ground.apply(objects.claim("data", staying), other)
    ground.bare("kept", namespace=other, claim="data", wait=False)
    for volume in (going, staying):
        ground.apply(objects.attachment(volume, ground.victim, volume))
    task_id = tasks.begin("drain_node", drain(ground, wait_for_volume_detach=True, skip_namespaces=[other]))
    ground.wait_for(lambda: [e for e in tasks.kube.exchanges if e.path.endswith("/persistentvolumeclaims/data")])
    ground.remove("VolumeAttachment", going)
    result = tasks.result(task_id)
    assert result.status == "success"
    assert "all volumes are detached" in result.logs


def test_rule_22_a_volume_that_stays_is_a_warning(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.apply(objects.attachment(ground.namespace, ground.victim, ground.namespace))
    result = tasks.do("drain_node", drain(ground, wait_for_volume_detach=True))
    assert result.status == "success"
    assert f"warning: 1 volumes are still attached: {ground.namespace}" in result.logs


def test_rule_22_without_its_component_nothing_is_touched(ground: Ground, start: Start) -> None:
    ground.replicas("web")
    tasks = start(ground.kubeconfig())
    result = tasks.do("drain_node", drain(ground, wait_for_volume_detach=True))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.endswith("wait_for_volume_detach needs the volume-wait component of the bundle")
    assert tasks.kube.writes == []


def test_rule_23_the_logs_hold_each_pod_that_is_left(ground: Ground, tasks: Tasks) -> None:
    (held,) = ground.replicas("held")
    ground.budget("guard", "held", **HELD)
    result = tasks.do("drain_node", drain(ground), seconds=30)
    (left,) = [line for line in result.logs.splitlines() if "left: " in line]
    for part in (
        f"{ground.namespace}/{name_of(held)}",
        f"uid={held['metadata']['uid']}",
        "HTTP 429",
        "budget guard held it for ",
        "phase=Running",
        "waited ",
    ):
        assert part in left


@pytest.mark.parametrize(
    ("asked", "before", "after"),
    [(True, False, False), (True, True, True), (False, False, True)],
    ids=["when asked", "not what another cordoned", "not by default"],
)
def test_rule_23_a_failed_drain_takes_its_own_cordon_back(
    ground: Ground, tasks: Tasks, asked: bool, before: bool, after: bool
) -> None:
    ground.replicas("held")
    ground.budget("guard", "held", **HELD)
    if before:
        ground.cordon(ground.victim)
    result = tasks.do("drain_node", drain(ground, uncordon_on_failure=asked), seconds=30)
    assert result.status == "timeout"
    assert ground.is_cordoned is after
    assert ("uncordoned again (uncordon_on_failure)" in result.logs) is (before is False and asked)


def test_rule_24_several_drains_share_one_limit(ground: Ground, start: Start) -> None:
    """A bucket of four that gets ten a second: the twelfth eviction cannot come sooner than its token."""
    tasks = start(EVICTIONS_PER_SECOND="10", EVICTION_BURST="4")
    for number in range(6):
        ground.bare(f"here-{number}")
        ground.bare(f"there-{number}", node=ground.haven)
    began = time.monotonic()
    drains = [tasks.begin("drain_node", {"node_name": node, "force": True}) for node in (ground.victim, ground.haven)]
    assert [tasks.result(task_id).status for task_id in drains] == ["success"] * 2
    moments = sorted(exchange.at - began for exchange in tasks.kube.evictions)
    assert len(moments) == 12
    assert all(moment >= (number - 4) / 10 for number, moment in enumerate(moments, 1))


def test_rule_24_evictions_go_in_parallel_and_are_counted_by_their_answer(ground: Ground, tasks: Tasks) -> None:
    before = {code: counted("evictions_total", code=code) for code in ("201", "429")}
    ground.replicas("web", 12)
    ground.replicas("held")
    ground.budget("guard", "held", **HELD)
    tasks.do("drain_node", drain(ground), seconds=100)
    assert tasks.kube.at_once > 1
    answers = Counter(str(exchange.answer.status) for exchange in tasks.kube.evictions)
    assert {code: counted("evictions_total", code=code) - before[code] for code in before} == answers


def test_rule_25_what_remains_is_a_failure_and_what_was_skipped_is_listed(ground: Ground, tasks: Tasks) -> None:
    daemon = ground.daemons("daemon")
    ground.replicas("web")
    ground.budget("one", "web", maxUnavailable=1)
    ground.budget("two", "web", maxUnavailable=1)
    failed = tasks.do("drain_node", drain(ground))
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.startswith("Node still has 1 pods: ")
    ground.remove("PodDisruptionBudget", "two")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert result.logs.endswith(f"node {ground.victim} is drained; staying: {', '.join(ground.staying(daemon))}")
