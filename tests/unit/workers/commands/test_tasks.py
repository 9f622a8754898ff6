"""``cloudoptim-agent tasks``: what the journal keeps, for people."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shared.queue.memory import MemoryQueue
from shared.schemas.tasks import TaskResult
from tests.unit.conftest import NOON
from tests.unit.workers.task_runner.conftest import task
from workers.commands.tasks import NoSuchTask, account, tasks
from workers.task_runner.records.journal import Journal


@pytest.fixture
def queue() -> MemoryQueue:
    """As the task-runner left it: t1 ended, t2 is at work, t3 was no good task."""
    queue = MemoryQueue()
    journal = Journal(queue)
    journal.claim(task("drain_node", task_id="t1"))
    logs = "+0.00s drain_node started: node-1\n+0.10s node \x1b[2Jnode-1 is drained"
    done = TaskResult(task_id="t1", status="success", logs=logs, executed_at=NOON, duration_seconds=0.1)
    journal.finish(done, NOON)
    claim = journal.claim(task("delete_pod", {"namespace": "shop", "pod_name": "web-0"}, task_id="t2"))
    journal.note(claim, uid="u-1")
    refused = TaskResult(
        task_id="t3", status="failed", logs="", executed_at=NOON, duration_seconds=0.0, error="unknown parameter: grace"
    )
    journal.finish(refused, NOON + timedelta(seconds=1), rejected=True, task_type="drain_node")
    return queue


def test_those_at_work_come_first_and_then_the_newest(queue: MemoryQueue) -> None:
    assert [line.split() for line in tasks(queue, in_json=False)] == [
        ["-", "in", "progress", "t2", "delete_pod", "shop/web-0"],
        ["2026-03-01T12:00:01.000Z", "failed", "t3", "drain_node"],
        ["2026-03-01T12:00:00.000Z", "success", "t1", "drain_node", "node-1"],
    ]
    assert [json.loads(line)["task_id"] for line in tasks(queue, in_json=True)] == ["t2", "t3", "t1"]


def test_the_account_of_one_that_ended(queue: MemoryQueue) -> None:
    lines = list(account(queue, "t1", in_json=False))
    assert "status            success" in lines
    assert "target            node-1" in lines
    assert lines[-2:] == ["+0.00s drain_node started: node-1", "+0.10s node ?[2Jnode-1 is drained"]


def test_what_is_on_record_of_one_at_work(queue: MemoryQueue) -> None:
    lines = list(account(queue, "t2", in_json=False))
    assert "status            in progress" in lines
    assert 'on record         {"uid": "u-1"}' in lines


def test_one_that_was_refused_says_why(queue: MemoryQueue) -> None:
    lines = list(account(queue, "t3", in_json=False))
    assert "error             unknown parameter: grace" in lines
    assert lines[-1] == "It was not begun."


def test_as_json_it_is_the_whole_record(queue: MemoryQueue) -> None:
    (text,) = account(queue, "t1", in_json=True)
    assert json.loads(text)["result"]["status"] == "success"


@pytest.mark.parametrize("task_id", ["t", "t9", ""])
def test_a_task_that_is_not_kept_is_said_to_be(queue: MemoryQueue, task_id: str) -> None:
    with pytest.raises(NoSuchTask, match="knows no task"):
        list(account(queue, task_id, in_json=False))


def test_an_empty_journal_says_so() -> None:
    assert list(tasks(MemoryQueue(), in_json=False)) == ["No task is kept."]
