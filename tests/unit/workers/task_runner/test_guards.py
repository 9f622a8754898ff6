"""The cluster owner's guard rails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.config import Tasks
from shared.schemas.parameters import PARAMETERS
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import settings_of
from tests.unit.workers.task_runner.conftest import Work
from workers.task_runner import guards
from workers.task_runner.context import TaskFailed


def rules(run_dir: Path, **variables: str) -> Tasks:
    return settings_of(run_dir, **variables).tasks


@pytest.mark.parametrize("task_type", PARAMETERS)
def test_without_a_rule_everything_runs(run_dir: Path, task_type: str) -> None:
    assert guards.refusal(task_type, rules(run_dir)) is None


@pytest.mark.parametrize("task_type", PARAMETERS)
def test_while_paused_nothing_runs(run_dir: Path, task_type: str) -> None:
    refusal = guards.refusal(task_type, rules(run_dir, TASKS_PAUSED="true"))
    assert refusal == "tasks are paused by the cluster's owner: TASKS_PAUSED is true"


def test_the_mounted_file_is_read_each_time(run_dir: Path) -> None:
    switch = run_dir / "tasks-paused"
    settings = rules(run_dir, TASKS_PAUSED_FILE=str(switch))
    said = []
    for content in (None, "true", "false", "", "maybe"):
        if content is not None:
            switch.write_text(content)
        said.append(guards.refusal("drain_node", settings))
    assert [refusal is None for refusal in said[:3]] == [True, False, True]
    assert said[1] is not None
    assert said[1].startswith("tasks are paused by the cluster's owner: TASKS_PAUSED_FILE")
    assert said[4] is not None, "what cannot be read does not unpause"


def test_only_allowed_types_run(run_dir: Path) -> None:
    settings = rules(run_dir, ALLOWED_TASK_TYPES="label_node, cordon_node")
    assert guards.refusal("cordon_node", settings) is None
    assert guards.refusal("drain_node", settings) == (
        "the cluster's owner does not allow drain_node: ALLOWED_TASK_TYPES is cordon_node, label_node"
    )


def test_without_a_limit_any_number_is_cordoned(work: Work) -> None:
    context = work.context()
    for name in ("node-1", "node-2", "node-3"):
        guards.cordon(context, context.nodes.find(name))
        assert work.is_cordoned(name)


def cordoned_by_someone(work: Work, name: str) -> None:
    work.context().nodes.set_unschedulable(name, True, None)


def test_nodes_cordoned_by_anyone_count(work: Work) -> None:
    cordoned_by_someone(work, "node-3")
    context = work.context(env={"MAX_CORDONED_NODES": "2"})
    guards.cordon(context, context.nodes.find("node-1"))
    with pytest.raises(TaskFailed) as refused:
        guards.cordon(context, context.nodes.find("node-2"))
    assert str(refused.value) == "MAX_CORDONED_NODES is 2 and 2 nodes are cordoned already (node-1, node-3)"
    assert not work.is_cordoned("node-2")


def test_a_limit_of_none_at_all_is_a_limit(work: Work) -> None:
    context = work.context(env={"MAX_CORDONED_NODES": "0"})
    with pytest.raises(TaskFailed, match="MAX_CORDONED_NODES is 0 and 0 nodes are cordoned already"):
        guards.cordon(context, context.nodes.find("node-1"))


def test_two_tasks_at_once_do_not_both_take_the_last_place(work: Work, cluster: Cluster) -> None:
    """The list that counts is slow: without the lock both would see none."""
    cluster.fail(verb="list", resource="nodes", delay=0.2, times=2)
    context = work.context(env={"MAX_CORDONED_NODES": "1"})
    refusals: list[TaskFailed] = []

    def cordon(name: str) -> None:
        try:
            guards.cordon(context, context.nodes.find(name))
        except TaskFailed as refusal:
            refusals.append(refusal)

    threads = [threading.Thread(target=cordon, args=(name,)) for name in ("node-1", "node-2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refusals) == 1
    assert work.is_cordoned("node-1") != work.is_cordoned("node-2")
