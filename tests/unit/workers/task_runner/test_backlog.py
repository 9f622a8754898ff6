"""What starts next: the most urgent task whose target nobody works on."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from shared.schemas.parameters import PARAMETERS, CordonNode, DeletePod, DrainNode, Parameters
from tests.unit.conftest import NOON
from tests.unit.workers.task_runner.conftest import task
from workers.task_runner.backlog import Backlog, Entry, target_of
from workers.task_runner.journal import Claim


def add(
    backlog: Backlog, task_id: str, node: str | None = None, priority: int = 5, deadline: str = "2037-01-01"
) -> None:
    node = node or task_id
    backlog.add(Claim(task(task_id=task_id, priority=priority, deadline=deadline)), CordonNode(node_name=node))


def taken(backlog: Backlog) -> Entry:
    entry = backlog.take()
    assert entry is not None
    return entry


def task_id(entry: Entry | None) -> str | None:
    return entry.claim.task.task_id if entry else None


def order(backlog: Backlog) -> list[str | None]:
    """All of them as they are handed out, each done before the next."""
    ids = []
    while len(backlog):
        entry = taken(backlog)
        ids.append(task_id(entry))
        backlog.done(entry)
    return ids


def test_the_lowest_number_is_the_most_urgent() -> None:
    backlog = Backlog()
    for number in (5, 1, 10, 3):
        add(backlog, f"p{number}", priority=number)
    assert order(backlog) == ["p1", "p3", "p5", "p10"]


def test_of_equals_the_nearest_deadline_goes_first_and_then_who_came_first() -> None:
    backlog = Backlog()
    add(backlog, "late", deadline="2037-01-03")
    add(backlog, "first", deadline="2037-01-02")
    add(backlog, "second", deadline="2037-01-02")
    add(backlog, "soon", deadline="2037-01-01")
    add(backlog, "urgent", priority=1, deadline="2037-01-09")
    assert order(backlog) == ["urgent", "soon", "first", "second", "late"]


def test_two_tasks_on_one_node_never_run_at_once() -> None:
    backlog = Backlog()
    add(backlog, "one", node="node-1")
    add(backlog, "other", node="node-1", priority=1)
    add(backlog, "elsewhere", node="node-2", priority=9)
    first = taken(backlog)
    assert task_id(first) == "other"
    assert task_id(taken(backlog)) == "elsewhere", "the next one that can be worked on"
    backlog.done(first)
    assert task_id(taken(backlog)) == "one"


def test_no_more_drains_than_allowed_run_at_once_and_other_tasks_pass_them_by() -> None:
    backlog = Backlog(drains=2)
    for number in (1, 2, 3):
        backlog.add(Claim(task(task_id=f"drain-{number}", priority=1)), DrainNode(node_name=f"node-{number}"))
    add(backlog, "cordon", priority=9)
    first = taken(backlog)
    assert task_id(first) == "drain-1"
    assert task_id(taken(backlog)) == "drain-2"
    assert task_id(taken(backlog)) == "cordon"
    backlog.done(first)
    assert task_id(taken(backlog)) == "drain-3"


def test_whoever_waits_for_a_target_is_woken_when_it_is_free() -> None:
    backlog = Backlog()
    add(backlog, "one", node="node-1")
    first = taken(backlog)
    add(backlog, "two", node="node-1")
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(backlog.take()), daemon=True)
    thread.start()
    assert not got
    backlog.done(first)
    thread.join(60)
    assert task_id(got[0]) == "two"


def test_whoever_waits_is_woken_by_a_new_task() -> None:
    backlog = Backlog()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(backlog.take()), daemon=True)
    thread.start()
    add(backlog, "new")
    thread.join(60)
    assert task_id(got[0]) == "new"


def test_a_task_that_waits_can_be_withdrawn_and_one_that_runs_cannot() -> None:
    backlog = Backlog()
    for name in ("a", "b", "c"):
        add(backlog, name)
    assert task_id(taken(backlog)) == "a"
    assert backlog.withdraw("a") is None
    assert task_id(backlog.withdraw("b")) == "b"
    assert backlog.withdraw("b") is None
    assert backlog.withdraw("nobody") is None
    assert order(backlog) == ["c"]


def test_what_was_withdrawn_may_be_put_back_in_its_place() -> None:
    backlog = Backlog()
    for number in (1, 2, 3):
        add(backlog, f"p{number}", priority=number)
    entry = backlog.withdraw("p2")
    assert entry is not None
    backlog.put_back(entry)
    assert order(backlog) == ["p1", "p2", "p3"]


def test_what_was_taken_is_known_until_it_is_done() -> None:
    backlog = Backlog()
    add(backlog, "a")
    assert backlog.taken() == []
    entry = taken(backlog)
    assert backlog.taken() == [entry]
    backlog.done(entry)
    assert backlog.taken() == []


def test_tasks_whose_time_passes_while_they_wait_are_withdrawn_then() -> None:
    backlog = Backlog()
    add(backlog, "late", deadline=NOON.isoformat())
    add(backlog, "early", deadline=(NOON + timedelta(seconds=1)).isoformat())
    assert backlog.withdraw_late(NOON - timedelta(seconds=1)) == []
    assert [entry.task_id for entry in backlog.withdraw_late(NOON)] == ["late"]
    assert order(backlog) == ["early"]


def test_the_size_of_what_waits_is_known() -> None:
    backlog = Backlog()
    assert backlog.bytes == 0
    add(backlog, "a")
    one = backlog.bytes
    assert one > 100
    add(backlog, "b")
    assert backlog.bytes == 2 * one
    backlog.done(taken(backlog))
    assert backlog.bytes == one
    backlog.withdraw("b")
    assert backlog.bytes == 0
    add(backlog, "c")
    backlog.close()
    assert (backlog.bytes, len(backlog)) == (0, 0)


def test_closing_hands_out_nothing_more_and_returns_what_waited_in_order() -> None:
    backlog = Backlog()
    got: list[Any] = []
    waiting = [threading.Thread(target=lambda: got.append(backlog.take()), daemon=True) for _ in range(3)]
    for thread in waiting:
        thread.start()
    assert backlog.close() == []
    for thread in waiting:
        thread.join(60)
    assert got == [None, None, None]
    add(backlog, "b", priority=2)
    add(backlog, "a", priority=1)
    assert backlog.take() is None
    assert [task_id(entry) for entry in backlog.close()] == ["a", "b"]


def test_many_threads_execute_each_task_once() -> None:
    backlog, done, running, collisions = Backlog(), list[str](), set[str](), list[str]()
    lock = threading.Lock()

    def work() -> None:
        while (entry := backlog.take()) is not None:
            with lock:
                if entry.target in running:
                    collisions.append(entry.target)
                running.add(entry.target)
            with lock:
                running.discard(entry.target)
                done.append(entry.claim.task.task_id)
                finished = len(done) == 200
            backlog.done(entry)
            if finished:
                backlog.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(200):
        add(backlog, f"t{number}", node=f"node-{number % 7}")
    for thread in threads:
        thread.join(60)
    assert sorted(done) == sorted(f"t{number}" for number in range(200))
    assert collisions == []


@pytest.mark.parametrize(
    ("parameters", "target"),
    [
        (CordonNode(node_name="node-1"), "node/node-1"),
        (DeletePod(namespace="shop", pod_name="web-0"), "pod/shop/web-0"),
    ],
)
def test_a_target_is_a_node_or_a_pod(parameters: Parameters, target: str) -> None:
    assert target_of(parameters) == target


def test_every_task_type_has_a_target() -> None:
    node, pod = {"node_name": "a"}, {"namespace": "a", "pod_name": "b"}
    for name, model in PARAMETERS.items():
        content = {**(node if "node" in name else pod), **({"labels": {"a": "b"}} if "label" in name else {})}
        assert target_of(model.model_validate(content))
    with pytest.raises(TypeError, match="no target is known for Parameters"):
        target_of(Parameters())
