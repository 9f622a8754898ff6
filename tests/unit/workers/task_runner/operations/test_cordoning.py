"""Cordoning within the owner's limit, against an API server."""

from __future__ import annotations

import threading

import pytest

from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import eventually
from tests.unit.workers.task_runner.conftest import Work
from workers.task_runner.operations.cordoning import cordon
from workers.task_runner.work.context import TaskFailed


def test_without_a_limit_any_number_is_cordoned(work: Work) -> None:
    context = work.context()
    for name in ("node-1", "node-2", "node-3"):
        cordon(context, context.nodes.find(name))
        assert work.is_cordoned(name)


def cordoned_by_someone(work: Work, name: str) -> None:
    work.context().nodes.set_unschedulable(name, True, None)


def test_nodes_cordoned_by_anyone_count(work: Work) -> None:
    cordoned_by_someone(work, "node-3")
    context = work.context(env={"MAX_CORDONED_NODES": "2"})
    cordon(context, context.nodes.find("node-1"))
    with pytest.raises(TaskFailed) as refused:
        cordon(context, context.nodes.find("node-2"))
    assert str(refused.value) == "MAX_CORDONED_NODES is 2 and 2 nodes are cordoned already (node-1, node-3)"
    assert not work.is_cordoned("node-2")


def test_a_limit_of_none_at_all_is_a_limit(work: Work) -> None:
    context = work.context(env={"MAX_CORDONED_NODES": "0"})
    with pytest.raises(TaskFailed, match="MAX_CORDONED_NODES is 0 and 0 nodes are cordoned already"):
        cordon(context, context.nodes.find("node-1"))


def test_two_tasks_at_once_do_not_both_take_the_last_place(work: Work, cluster: Cluster) -> None:
    """The list that counts is slow: without the lock both would see none."""
    cluster.fail(verb="list", resource="nodes", delay=0.2, times=2)
    context = work.context(env={"MAX_CORDONED_NODES": "1"})
    refusals: list[TaskFailed] = []

    def attempt(name: str) -> None:
        try:
            cordon(context, context.nodes.find(name))
        except TaskFailed as refusal:
            refusals.append(refusal)

    threads = [threading.Thread(target=attempt, args=(name,)) for name in ("node-1", "node-2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refusals) == 1
    assert work.is_cordoned("node-1") != work.is_cordoned("node-2")


def test_a_percentage_is_of_all_nodes(work: Work) -> None:
    cordoned_by_someone(work, "node-3")
    context = work.context(env={"MAX_CORDONED_NODES": "34%"})
    cordon(context, context.nodes.find("node-1"))
    with pytest.raises(TaskFailed) as refused:
        cordon(context, context.nodes.find("node-2"))
    assert str(refused.value) == (
        "MAX_CORDONED_NODES is 34% (of 3 nodes: 2) and 2 nodes are cordoned already (node-1, node-3)"
    )


def test_a_group_of_nodes_has_a_limit_of_its_own(work: Work, cluster: Cluster) -> None:
    for name, zone in (("node-1", "a"), ("node-2", "a"), ("node-3", "b")):
        work.context().nodes.set_labels(name, {"topology.kubernetes.io/zone": zone})
    context = work.context(env={"MAX_CORDONED_NODES": "1/topology.kubernetes.io/zone"})
    cordon(context, context.nodes.find("node-1"))
    with pytest.raises(TaskFailed) as refused:
        cordon(context, context.nodes.find("node-2"))
    assert "1 nodes of topology.kubernetes.io/zone=a are cordoned already (node-1)" in str(refused.value)
    cordon(context, context.nodes.find("node-3"))
    assert work.is_cordoned("node-3")


def test_the_mounted_key_holds_a_second_later(work: Work, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("limits")
    context = work.context(env={"LIMITS_DIR": str(folder)})
    cordon(context, context.nodes.find("node-1"))
    (folder / "max-cordoned-nodes").write_text("1\n")
    eventually(lambda: context.shared.owner.limits.max_cordoned)
    with pytest.raises(TaskFailed, match="MAX_CORDONED_NODES is 1"):
        cordon(context, context.nodes.find("node-2"))
