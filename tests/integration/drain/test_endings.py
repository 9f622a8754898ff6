"""Rules 5, 7, 8, 14, 16, 18, 21, 24, 25 and 28 to 30: how a drain ends when the cluster has its own mind.

On the simulator; those that need no answer made to order also with ``--kubeconfig``.
"""

from __future__ import annotations

import time

import pytest

from shared.schemas.tasks import TaskResult
from tests.integration.drain import objects
from tests.integration.drain.answers import answered, forbidden
from tests.integration.drain.fixtures import Start
from tests.integration.drain.ground import Ground
from tests.integration.drain.objects import Object
from tests.integration.drain.test_gone import of_pod, text_of
from tests.integration.drain.test_rules import HELD, drain, name_of
from tests.integration.drain.work import Tasks

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}


# -- rules 5 and 7: who would come straight back ------------------------------------------------------


def orphaned(ground: Ground) -> Object:
    """A DaemonSet's pod, as ``kubectl delete daemonset --cascade=orphan`` leaves it."""
    daemon = ground.daemons("daemon")
    ground.remove("DaemonSet", "daemon", propagationPolicy="Orphan")
    ground.wait_for(lambda: "ownerReferences" not in (ground.pod(name_of(daemon)) or daemon)["metadata"])
    return daemon


def test_rule_07_an_orphan_of_a_daemonset_is_a_bare_pod_whatever_it_tolerates(ground: Ground, tasks: Tasks) -> None:
    daemon = orphaned(ground)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "failed"
    assert name_of(daemon) in str(result.error)
    assert tasks.kube.writes == []
    assert ground.pod(name_of(daemon)) is not None


def test_rule_07_and_goes_with_force(ground: Ground, tasks: Tasks) -> None:
    daemon = orphaned(ground)
    assert tasks.do("drain_node", drain(ground, force=True)).status == "success"
    assert not ground.lives(name_of(daemon))


@pytest.mark.parametrize(
    "toleration",
    [
        {**UNSCHEDULABLE, "operator": "Equal", "value": "other"},
        {**UNSCHEDULABLE, "effect": "NoExecute"},
        {**UNSCHEDULABLE, "key": "node.kubernetes.io/unreachable"},
    ],
    ids=["another value", "another effect", "another key"],
)
def test_rule_07_what_does_not_match_the_cordons_taint_does_not_come_back(
    ground: Ground, tasks: Tasks, toleration: Object
) -> None:
    (web,) = ground.replicas("web", tolerations=[toleration])
    assert tasks.do("drain_node", drain(ground)).status == "success"
    assert not ground.lives(name_of(web))


@pytest.mark.parametrize(
    "toleration",
    [{"operator": "Exists"}, UNSCHEDULABLE, {"key": UNSCHEDULABLE["key"], "operator": "Equal", "value": ""}],
    ids=["everything", "the taint", "its empty value"],
)
def test_rule_07_what_does_stays_while_its_controller_lives(ground: Ground, tasks: Tasks, toleration: Object) -> None:
    (web,) = ground.replicas("web", tolerations=[toleration], only_on=ground.victim)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert f"{ground.namespace}/{name_of(web)}" in result.logs
    assert tasks.kube.evictions == []


@pytest.mark.parametrize("toleration", [{"operator": "Exists"}, UNSCHEDULABLE], ids=["everything", "the taint"])
def test_rule_07_without_one_it_is_refused_or_goes_with_force(ground: Ground, tasks: Tasks, toleration: Object) -> None:
    ground.bare("clinger", tolerations=[toleration])
    refused = tasks.do("drain_node", drain(ground))
    assert refused.status == "failed"
    assert "clinger" in str(refused.error)
    assert tasks.kube.writes == []
    assert tasks.do("drain_node", drain(ground, force=True)).status == "success"
    assert not ground.lives("clinger")


# -- rules 8 and 30: what pods ask for ----------------------------------------------------------------


@pytest.mark.parametrize("value", ["80000000h", "tomorrow"])
def test_rule_08_a_duration_that_is_none_forbids_nothing_and_is_said(ground: Ground, tasks: Tasks, value: str) -> None:
    """Go's time.Duration ends at 292 years."""
    (web,) = ground.replicas("web", annotations={"karpenter.sh/do-not-disrupt": value})
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert not ground.lives(name_of(web))
    assert "karpenter.sh/do-not-disrupt" in result.logs


def test_rule_30_skip_leaves_the_pod_and_goes_on(ground: Ground, tasks: Tasks) -> None:
    (kept,) = ground.replicas("kept", labels={"cluster.x-k8s.io/drain": "skip"})
    (web,) = ground.replicas("web")
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert not ground.lives(name_of(web))
    assert tasks.kube.evictions_of(name_of(kept)) == []
    assert f"{ground.namespace}/{name_of(kept)}" in result.logs.splitlines()[-1], "it is listed as staying"


def test_rule_30_wait_completed_waits_for_its_end_without_evicting(ground: Ground, tasks: Tasks) -> None:
    ground.bare("batch", labels={"cluster.x-k8s.io/drain": "wait-completed"})
    (web,) = ground.replicas("web")
    task_id = tasks.begin("drain_node", drain(ground, force=True))
    ground.wait_for(lambda: ground.pod(name_of(web)) is None)
    ground.patch(f"{ground.pod_path('batch')}/status", {"status": {"phase": "Succeeded"}})
    assert tasks.result(task_id).status == "success"
    assert tasks.kube.evictions_of("batch") == []
    assert ground.pod("batch") is not None


def test_rule_30_it_is_left_where_it_does_not_complete(ground: Ground, tasks: Tasks) -> None:
    ground.bare("batch", labels={"cluster.x-k8s.io/drain": "wait-completed"})
    result = tasks.do("drain_node", drain(ground, force=True), seconds=30)
    assert result.status == "timeout"
    assert "batch" in text_of(result)
    assert tasks.kube.evictions == []


# -- rules 14 and 16: answers that pass ---------------------------------------------------------------


@pytest.mark.simulator
def test_rule_14_a_wish_for_a_day_is_capped(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.cluster.throttle(times=1, retry_after=86_400, subresource="eviction")
    result = tasks.do("drain_node", drain(ground), seconds=600)
    assert result.status == "success"


@pytest.mark.simulator
def test_rule_16_a_right_that_worked_before_is_asked_for_again(ground: Ground, tasks: Tasks) -> None:
    """An API server that restarts forbids for a moment."""
    ground.replicas("web", 2)

    def forbid_the_second() -> None:
        body = forbidden("create", "pods/eviction")
        fault = answered(body, 403, subresource="eviction")
        tasks.kube.just_before("POST", "/eviction", lambda: ground.cluster.fail(**fault))

    tasks.kube.just_before("POST", "/eviction", forbid_the_second)
    result = tasks.do("drain_node", drain(ground, eviction_interval_seconds=5))
    assert result.status == "success"
    assert sorted(exchange.answer.status for exchange in tasks.kube.evictions) == [201, 201, 403]


@pytest.mark.simulator
@pytest.mark.parametrize("verb", ["watch", "list"])
def test_rule_16_so_is_the_right_to_look(ground: Ground, tasks: Tasks, verb: str) -> None:
    ground.replicas("web", 2, ends_after=1.0)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions) == 2)
    ground.cluster.fail(**answered(forbidden(verb, "pods"), 403, verb=verb, resource="pods"))
    ground.cluster.drop_watches()
    assert tasks.result(task_id).status == "success"
    assert ground.pods(node=ground.victim) == []


# -- rule 18: seeing the end --------------------------------------------------------------------------


@pytest.mark.simulator
def test_rule_18_a_watch_that_falls_silent_is_checked_by_a_list(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", 3, ends_after=1.0)
    task_id = tasks.begin("drain_node", drain(ground), seconds=600)
    ground.wait_for(lambda: len(tasks.kube.evictions) == 3)
    ground.cluster.freeze_watches()
    assert tasks.result(task_id).status == "success"


@pytest.mark.simulator
def test_rule_18_so_is_every_timeout_before_it_is_answered(ground: Ground, start: Start) -> None:
    """By the real clock: the deadline comes before the silence is long enough to be looked into."""
    tasks = start(times=1)
    ground.replicas("web", 3, ends_after=3.0)
    task_id = tasks.begin("drain_node", drain(ground), seconds=10)
    ground.wait_for(lambda: len(tasks.kube.evictions) == 3)
    ground.cluster.freeze_watches()
    assert tasks.result(task_id).status == "success"


def test_rule_18_a_pod_that_has_ended_is_nobodys_business_though_a_finalizer_keeps_it(
    ground: Ground, tasks: Tasks
) -> None:
    (web,) = ground.replicas("web", stuck=True)
    result = tasks.do("drain_node", drain(ground))
    kept = ground.pod(name_of(web))
    ground.release(name_of(web))
    assert result.status == "success"
    assert kept is not None
    assert kept["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod"])
def test_rule_18_nor_is_it_that_of_other_tasks(ground: Ground, tasks: Tasks, task_type: str) -> None:
    (web,) = ground.replicas("web", stuck=True)
    ground.cordon(ground.victim)
    result = tasks.do(task_type, of_pod(ground, web), seconds=600)
    ground.release(name_of(web))
    assert result.status == "success"


# -- rule 21: past budgets, once ----------------------------------------------------------------------


def test_rule_21_a_pod_that_terminates_on_a_dead_node_is_deleted_with_the_shorter_grace(
    ground: Ground, tasks: Tasks
) -> None:
    """Nobody ends it there; that is how the node is cleared."""
    ground.bare("lost", never_ends=True, grace=3600)
    ground.remove("Pod", "lost")
    options = {"disable_eviction": True, "force": True, "grace_period": 0, "allow_zero_grace": True}
    result = tasks.do("drain_node", drain(ground, **options))
    assert result.status == "success"
    assert not ground.lives("lost")
    deleted = [exchange for exchange in tasks.kube.writes if exchange.method == "DELETE"]
    assert [exchange.options["gracePeriodSeconds"] for exchange in deleted] == [0]
    assert tasks.kube.evictions == []


def test_rule_21_not_with_a_longer_one(ground: Ground, tasks: Tasks) -> None:
    ground.bare("going", ends_after=1.0, grace=60)
    ground.remove("Pod", "going", gracePeriodSeconds=30)
    result = tasks.do("drain_node", drain(ground, disable_eviction=True, force=True, grace_period=50))
    assert result.status == "success"
    assert [exchange for exchange in tasks.kube.writes if exchange.method == "DELETE"] == []


# -- rule 22: volumes of what stays -------------------------------------------------------------------


@pytest.mark.simulator  # A real scheduler waits for the claim to be bound, and nobody binds it.
def test_rule_22_a_generic_ephemeral_volume_of_a_pod_that_stays_is_exempt(ground: Ground, tasks: Tasks) -> None:
    """Its claim is called after the pod and the volume."""
    volume = f"{ground.namespace}-scratch"
    daemon = ground.daemons("daemon", ephemeral="scratch")
    ground.apply(objects.claim(f"{name_of(daemon)}-scratch", volume))
    ground.apply(objects.attachment(volume, ground.victim, volume))
    result = tasks.do("drain_node", drain(ground, wait_for_volume_detach=True))
    assert result.status == "success"
    assert "still attached" not in result.logs


# -- rules 20, 23 and 25: the last word ---------------------------------------------------------------


@pytest.mark.simulator
def test_rule_23_what_stood_in_the_way_to_the_end_is_the_reason(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    body = {"kind": "Status", "status": "Failure", "message": "etcdserver: leader changed", "code": 503}
    ground.cluster.fail(**answered(body, 503, times=None, verb="list", resource="pods"))
    result = tasks.do("drain_node", drain(ground), seconds=30)
    assert result.status == "timeout"
    assert "etcdserver: leader changed" in str(result.error)


@pytest.mark.simulator
def test_rule_04_a_list_without_items_is_no_empty_list(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    body = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": None}
    ground.cluster.fail(**answered(body, 200, times=None, verb="list", resource="pods"))
    result = tasks.do("drain_node", drain(ground), seconds=30)
    assert result.status in ("failed", "timeout")
    assert "items" in str(result.error)


def test_rule_25_a_node_that_was_uncordoned_is_not_drained_though_it_is_empty(ground: Ground, tasks: Tasks) -> None:
    ground.bare("web")
    tasks.kube.just_before("POST", "/web/eviction", lambda: ground.uncordon(ground.victim))
    result = tasks.do("drain_node", drain(ground, force=True))
    assert result.status == "failed"
    assert "uncordoned" in str(result.error)
    assert "0 pods" not in str(result.error)


# -- rule 24: several drains, one slow webhook --------------------------------------------------------


@pytest.mark.simulator
def test_rule_24_one_namespaces_slow_webhook_does_not_hold_the_evictions_of_another_drain(
    ground: Ground, start: Start
) -> None:
    """More slow evictions than may be under way together; those of the other node must not wait for all of them."""
    tasks = start(times=1)
    slow = ground.add_namespace(f"{ground.namespace}-slow")
    count = 100
    for number in range(count):
        ground.bare(f"slow-{number}", namespace=slow, wait=False)
    for number in range(3):
        ground.bare(f"quick-{number}", node=ground.haven)
    ground.cluster.fail(delay=2.0, subresource="eviction", namespace=slow, times=None)
    first = tasks.begin("drain_node", drain(ground, force=True))
    ground.wait_for(lambda: ground.is_cordoned)
    second = tasks.begin("drain_node", {"node_name": ground.haven, "force": True})
    assert tasks.result(second).status == "success"
    left = [pod for pod in ground.cluster.pods(ground.victim) if "deletionTimestamp" not in pod["metadata"]]
    assert len(left) > count // 2, "it did not wait for the slow ones"
    tasks.cancel(first)


# -- rule 28: resumed too late ------------------------------------------------------------------------


def late(ground: Ground, start: Start, task_type: str, parameters: Object) -> TaskResult:
    """What a runner answers that comes back after the deadline of what the one before had begun."""
    before = start(times=1)
    task_id = before.begin(task_type, parameters, seconds=5)
    ground.wait_for(lambda: before.kube.evictions)
    before.close()
    time.sleep(5.5)
    return start(times=1, queue=before.queue).result(task_id)


@pytest.mark.parametrize("asked", [True, False])
def test_rule_28_a_drain_resumed_after_its_deadline_takes_its_cordon_back_where_asked(
    ground: Ground, start: Start, asked: bool
) -> None:
    (held,) = ground.replicas("held")
    ground.budget("guard", "held", **HELD)
    result = late(ground, start, "drain_node", drain(ground, uncordon_on_failure=asked))
    assert result.status == "timeout"
    assert "before it could start" not in str(result.error)
    assert "1 pods" in text_of(result) or name_of(held) in text_of(result), "it says what is left"
    assert ground.is_cordoned is not asked


def test_rule_28_so_does_one_that_is_cancelled_as_soon_as_it_is_resumed(ground: Ground, start: Start) -> None:
    """Whether it has had its turn by then or not."""
    (held,) = ground.replicas("held")
    ground.budget("guard", "held", **HELD)
    before = start()
    task_id = before.begin("drain_node", drain(ground, uncordon_on_failure=True))
    ground.wait_for(lambda: before.kube.evictions)
    before.close()
    after = start(queue=before.queue)
    after.cancel(task_id)
    result = after.result(task_id)
    assert result.status == "failed"
    assert "cancelled" in str(result.error)
    assert not ground.is_cordoned
    assert ground.lives(name_of(held))


def test_rule_28_a_deletion_resumed_after_its_deadline_says_that_the_pod_is_gone(ground: Ground, start: Start) -> None:
    ground.bare("web", ends_after=1.0)
    result = late(ground, start, "delete_pod", of_pod(ground, "web"))
    assert "gone" in text_of(result)
    assert "before it could start" not in str(result.error)


# -- rule 29: what cannot be rescheduled --------------------------------------------------------------


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_rule_29_a_pod_that_has_ended_is_not_rescheduled(ground: Ground, tasks: Tasks, phase: str) -> None:
    """It was replaced long ago, and its object is somebody's record."""
    owner = {"apiVersion": "example.com/v1", "kind": "Batch", "name": "batch", "uid": "u-1", "controller": True}
    ground.bare("ended", owner=owner)
    ground.patch(f"{ground.pod_path('ended')}/status", {"status": {"phase": phase, "reason": "Evicted"}})
    result = tasks.do("reschedule_pod", of_pod(ground, "ended"))
    assert result.status == "failed"
    assert phase in str(result.error) or "ended" in str(result.error)
    assert tasks.kube.writes == []
    assert ground.pod("ended") is not None


@pytest.mark.simulator  # A real Job would make its pods itself.
def test_rule_29_a_jobs_replacement_that_has_succeeded_counts(ground: Ground, tasks: Tasks) -> None:
    made = ground.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {}})
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": made["metadata"]["uid"]}
    owner["controller"] = True
    ground.bare("job-a", owner=owner)

    def replace() -> None:
        ground.bare("job-b", owner=owner, node=ground.haven)
        ground.patch(f"{ground.pod_path('job-b')}/status", {"status": {"phase": "Succeeded"}})

    tasks.kube.just_before("POST", "/job-a/eviction", replace)
    ground.cordon(ground.victim)
    result = tasks.do("reschedule_pod", of_pod(ground, "job-a"))
    assert result.status == "success"
    assert not ground.lives("job-a")
