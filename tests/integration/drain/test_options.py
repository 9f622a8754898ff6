"""What the rules leave to the parameters, and the drains that something else gets in the way of."""

from __future__ import annotations

import re
from functools import partial

import pytest

from tests.integration.drain import objects
from tests.integration.drain.fixtures import Start
from tests.integration.drain.ground import Ground
from tests.integration.drain.objects import MARK, RUN
from tests.integration.drain.test_rules import HELD, drain, name_of
from tests.integration.drain.work import Tasks

MAX_LOGS = 64 * 1024


# -- parameters -------------------------------------------------------------------------------------


def test_evictions_keep_the_distance_that_was_asked(ground: Ground, start: Start) -> None:
    tasks = start(times=1)
    ground.replicas("web", 4)
    result = tasks.do("drain_node", drain(ground, eviction_interval_seconds=0.3), seconds=60)
    assert result.status == "success"
    moments = sorted(exchange.at for exchange in tasks.kube.evictions)
    assert len(moments) == 4
    # The distance is kept where the turn is given; a thread may begin a little late, so the sum is what counts.
    assert moments[-1] - moments[0] > 2 * 0.3


def test_a_grace_of_zero_is_said_twice(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    refused = tasks.do("drain_node", drain(ground, grace_period=0))
    assert refused.status == "failed"
    assert refused.error is not None
    assert "grace_period 0 can run two copies of a pod at once; add allow_zero_grace: true" in refused.error
    assert tasks.do("drain_node", drain(ground, grace_period=0, allow_zero_grace=True)).status == "success"
    assert tasks.kube.evictions[0].options["gracePeriodSeconds"] == 0


def test_a_parameter_that_is_not_known_drains_nothing(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    result = tasks.do("drain_node", drain(ground, dryrun=True))
    assert result.status == "failed"
    assert result.error is not None
    assert "dryrun" in result.error
    assert tasks.kube.exchanges == []


# -- the account ------------------------------------------------------------------------------------


def test_the_logs_tell_what_went_what_stayed_and_what_was_held_for_how_long(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    (held,) = ground.replicas("held")
    daemon = ground.daemons("daemon")
    ground.budget("guard", "held", **HELD)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions_of(name_of(held))) >= 2)
    ground.remove("PodDisruptionBudget", "guard")
    lines = [re.sub(r"^\+[0-9.]+s ", "", line) for line in tasks.result(task_id).logs.splitlines()]
    space = ground.namespace
    assert lines[0].startswith(f"drain_node started: {ground.victim}, deadline ")
    staying = ground.staying(daemon)
    assert lines[1] == f"node {ground.victim}: 2 pods to evict, {len(staying)} stay"
    assert f"{space}/{name_of(daemon)} stays: DaemonSet daemon would start it again at once" in lines[2:]
    assert lines[2 + len(staying)] == f"node {ground.victim} cordoned"
    assert f"{space}/{name_of(web)} evicted" in lines
    assert f"{space}/{name_of(web)} is gone" in lines
    assert [
        line for line in lines if re.fullmatch(f"{space}/{name_of(held)} is gone after budget guard held it .* s", line)
    ]
    assert lines[-1] == f"node {ground.victim} is drained; staying: {', '.join(staying)}"


@pytest.mark.simulator  # For the thousand pods.
def test_the_logs_of_a_crowded_node_lose_their_middle(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    for number in range(500):
        ground.cluster.add_pod("kube-system", f"static-{number:04}-{'x' * 180}", ground.victim)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "success"
    assert MAX_LOGS * 0.9 < len(result.logs.encode()) <= MAX_LOGS
    assert re.search(r"^\.\.\. \d+ lines cut \.\.\.$", result.logs, re.MULTILINE)
    assert re.match(r"\+0\.\d\ds drain_node started", result.logs)
    assert f"node {ground.victim} is drained; staying: kube-system/static-0000-" in result.logs


# -- what gets in the way ---------------------------------------------------------------------------


def test_a_drain_that_is_cancelled_evicts_nothing_more_and_says_what_is_left(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("held", 2)
    ground.budget("guard", "held", **HELD)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: len(tasks.kube.evictions) >= 2)
    tasks.cancel(task_id)
    result = tasks.result(task_id)
    assert (result.status, result.error) == ("failed", "cancelled; Node still has 2 pods; budget guard holds 2")


def test_a_node_that_somebody_uncordons_meanwhile_is_not_drained(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")
    ground.cordon(ground.haven)
    tasks.kube.just_before("POST", f"/{name_of(web)}/eviction", lambda: ground.uncordon(ground.victim))
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "failed"
    assert result.error is not None
    assert re.fullmatch(
        rf"Node still has 1 pods \({ground.namespace}/web-\w+\): somebody uncordoned it while it was drained",
        result.error,
    )
    assert len(tasks.kube.evictions) == 1


def test_pods_that_somebody_binds_to_the_cordoned_node_for_ever_end_the_drain(ground: Ground, tasks: Tasks) -> None:
    for number in range(10):
        tasks.kube.just_before("POST", f"/again-{number}/eviction", partial(ground.bare, f"again-{number + 1}"))
    ground.bare("again-0")
    result = tasks.do("drain_node", drain(ground, force=True))
    assert result.status == "failed"
    assert result.error == (
        f"Node still has 1 pods ({ground.namespace}/again-5): they keep being bound to it although it is cordoned"
    )


def test_a_right_to_see_the_pods_that_is_missing_is_named(ground: Ground, start: Start) -> None:
    """With the nodes' rights, which the same rule grants, given on their own."""
    kubeconfig = ground.kubeconfig_of(
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]},
    )
    tasks = start(kubeconfig)
    result = tasks.do("drain_node", drain(ground))
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith("cannot follow the pods: ")
    assert 'cannot list resource "pods" in API group "" at the cluster scope' in result.error
    assert tasks.kube.writes == []


@pytest.mark.simulator  # The node is taken away.
def test_a_node_that_goes_meanwhile_is_all_a_drain_wants(ground: Ground, tasks: Tasks) -> None:
    (web,) = ground.replicas("web")

    def replace() -> None:
        ground.cluster.delete_node(ground.victim)
        ground.cluster.add_node(ground.victim, provider_id="aws:///us-east-1a/i-2")
        ground.remove("Pod", name_of(web), gracePeriodSeconds=0)
        ground.bare("of-the-new-node", wait=False)

    tasks.kube.just_before("POST", f"/{name_of(web)}/eviction", replace)
    result = tasks.do("drain_node", drain(ground, force=True))
    assert result.status == "success"
    assert "is gone, another has its name, and that is all a drain wants" in result.logs
    assert tasks.kube.evictions_of("of-the-new-node") == []


@pytest.mark.simulator  # The node is taken away.
def test_a_node_that_its_kubelet_registers_anew_is_not_gone(ground: Ground, tasks: Tasks) -> None:
    """Another uid and the same provider id: Central would end a machine whose pods run."""
    (web,) = ground.replicas("web")

    def register_anew() -> None:
        ground.cluster.delete_node(ground.victim)
        ground.cluster.add_node(ground.victim)

    tasks.kube.just_before("POST", f"/{name_of(web)}/eviction", register_anew)
    result = tasks.do("drain_node", drain(ground, force=True))
    assert result.status == "failed"
    assert "was registered anew" in str(result.error)


@pytest.mark.simulator  # A kubelet is stopped.
def test_of_a_node_that_is_not_ready_that_is_said(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.cluster.node_not_ready(ground.victim)
    result = tasks.do("drain_node", drain(ground), seconds=40)
    assert result.status == "timeout"
    said = f"warning: node {ground.victim} is not Ready: its kubelet may never say that a pod has ended"
    assert said in result.logs


def test_volumes_that_outlast_the_task_are_a_warning_too(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    ground.apply(objects.attachment(ground.namespace, ground.victim, ground.namespace))
    parameters = drain(ground, wait_for_volume_detach=True, uncordon_on_failure=True)
    result = tasks.do("drain_node", parameters, seconds=55)
    assert result.status == "success"
    assert f"warning: 1 volumes are still attached: {ground.namespace}" in result.logs
    assert ground.is_cordoned


@pytest.mark.simulator
def test_an_api_server_that_goes_away_in_mid_drain_is_waited_for(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web", 3, ends_after=0.5)
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: tasks.kube.evictions)
    ground.cluster.restart(0.5, forget=True)
    assert tasks.result(task_id).status == "success"
    assert ground.pods(node=ground.victim) == []


def test_a_redelivered_drain_of_a_drained_node_has_nothing_to_do(ground: Ground, tasks: Tasks) -> None:
    ground.replicas("web")
    assert tasks.do("drain_node", drain(ground)).status == "success"
    writes = len(tasks.kube.writes)
    again = tasks.do("drain_node", drain(ground))
    assert again.status == "success"
    assert len(tasks.kube.writes) == writes


@pytest.mark.simulator
def test_a_drain_goes_on_only_on_the_node_it_began_on(ground: Ground, start: Start) -> None:
    """The runner was away while the node was replaced under its name."""
    ground.replicas("web", 1)
    ground.budget("web", "web", maxUnavailable=0)
    tasks = start()
    task_id = tasks.begin("drain_node", drain(ground))
    ground.wait_for(lambda: tasks.kube.evictions)
    tasks.close()
    ground.cluster.delete_node(ground.victim)
    ground.cluster.add_node(ground.victim, labels={MARK: RUN}, provider_id="aws:///us-east-1a/i-2")
    result = start(queue=tasks.queue).result(task_id)
    assert result.status == "success"
    assert "already gone, another has its name" in result.logs
    assert not ground.is_cordoned


@pytest.mark.simulator
def test_a_cordon_whose_answer_was_lost_does_not_count_against_itself(ground: Ground, start: Start) -> None:
    ground.replicas("web", 1)
    tasks = start(MAX_CORDONED_NODES="1")

    def lost() -> None:
        ground.cordon(ground.victim)
        ground.cluster.fail(verb="patch", resource="nodes", status=504)

    tasks.kube.just_before("PATCH", f"/nodes/{ground.victim}", lost)
    assert tasks.do("drain_node", drain(ground)).status == "success"
