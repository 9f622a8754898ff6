"""Which tasks of ours are at work where, as the journal says."""

from __future__ import annotations

from typing import Any

import pytest

from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock
from workers.event_watcher import work
from workers.event_watcher.work import AFTER, OwnWork


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def own(queue: MemoryQueue, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> OwnWork:
    monkeypatch.setattr(work, "_WAIT", 0.01)
    return OwnWork(queue, clock)


def claim(queue: MemoryQueue, task_id: str, task_type: str, **parameters: Any) -> None:
    """As the task-runner's journal records it."""
    task = {"task_id": task_id, "task_type": task_type, "parameters": parameters}
    queue.set_state({f"task/{task_id}": {"task": task, "notes": {}}}, durable=True)


def test_a_drain_empties_its_node_and_removes_every_pod_on_it(queue: MemoryQueue, own: OwnWork) -> None:
    claim(queue, "t-1", "drain_node", node_name="a")
    own.follow()
    assert [own.on_node(name) for name in ("a", "b", None)] == ["t-1", None, None]
    assert own.on_pod("shop", "web-0", "a") == "t-1"
    assert own.on_pod("shop", "web-0", "b") is None


@pytest.mark.parametrize("task_type", ["delete_pod", "reschedule_pod"])
def test_a_task_about_a_pod_removes_that_pod(queue: MemoryQueue, own: OwnWork, task_type: str) -> None:
    claim(queue, "t-1", task_type, namespace="shop", pod_name="web-0")
    own.follow()
    assert own.on_pod("shop", "web-0", "a") == "t-1"
    assert own.on_pod("shop", "web-1", "a") is None
    assert own.on_node("a") is None


def test_tasks_that_remove_nothing_do_not_count(queue: MemoryQueue, own: OwnWork) -> None:
    claim(queue, "t-1", "cordon_node", node_name="a")
    own.follow()
    assert own.on_node("a") is None


@pytest.mark.parametrize("end", [{"result": {}, "at": ""}, None])
def test_what_a_task_did_is_its_own_for_a_while_after_its_end(
    queue: MemoryQueue, own: OwnWork, clock: FakeClock, end: Any
) -> None:
    """A node's pods may end, and the node go, when the result was long sent."""
    claim(queue, "t-1", "drain_node", node_name="a")
    own.follow()
    queue.set_state({"task/t-1": end}, durable=True)
    own.follow()
    assert own.on_node("a") == "t-1"
    clock.advance(AFTER + 1)
    own.follow()
    assert own.on_node("a") is None


@pytest.mark.parametrize("record", [7, [], "x", {}, {"task": 7}, {"task": {"task_type": "drain_node"}}])
def test_what_another_version_wrote_is_passed_over(queue: MemoryQueue, own: OwnWork, record: Any) -> None:
    queue.set_state({"task/odd": record}, durable=True)
    claim(queue, "t-1", "drain_node", node_name="a")
    own.follow()
    assert own.on_node("a") == "t-1"
