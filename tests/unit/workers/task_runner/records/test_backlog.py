"""What starts next: the most urgent task whose target nobody works on."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from shared.schemas.parameters import PARAMETERS, CordonNode, DeletePod, Parameters
from tests.unit.conftest import NOON
from tests.unit.workers.task_runner.conftest import task
from workers.task_runner.records.backlog import Backlog, Entry, target_of
from workers.task_runner.records.journal import Claim


def add(
    backlog: Backlog, task_id: str, node: str | None = None, priority: int = 5, deadline: str = "2037-01-01"
) -> None:
    node = node or task_id
    backlog.add(Claim(task(task_id=task_id, priority=priority, deadline=deadline)), CordonNode(node_name=node))


def names(entries: list[Entry]) -> list[str]:
    return [entry.task_id for entry in entries]


def test_the_lowest_number_is_the_most_urgent() -> None:
    backlog = Backlog()
    for number in (5, 1, 10, 3):
        add(backlog, f"p{number}", priority=number)
    assert names(backlog.take()) == ["p1", "p3", "p5", "p10"]


def test_of_equals_the_nearest_deadline_goes_first_and_then_who_came_first() -> None:
    backlog = Backlog()
    add(backlog, "late", deadline="2037-01-03")
    add(backlog, "first", deadline="2037-01-02")
    add(backlog, "second", deadline="2037-01-02")
    add(backlog, "soon", deadline="2037-01-01")
    add(backlog, "urgent", priority=1, deadline="2037-01-09")
    assert names(backlog.take()) == ["urgent", "soon", "first", "second", "late"]


def test_two_tasks_on_one_node_never_run_at_once() -> None:
    backlog = Backlog()
    add(backlog, "one", node="node-1")
    add(backlog, "other", node="node-1", priority=1)
    add(backlog, "elsewhere", node="node-2", priority=9)
    other, elsewhere = backlog.take()
    assert names([other, elsewhere]) == ["other", "elsewhere"]
    assert backlog.take() == []
    backlog.done(elsewhere)
    assert backlog.take() == [], "its target is busy still"
    backlog.done(other)
    assert names(backlog.take()) == ["one"]


def test_however_many_targets_there_are_all_of_them_are_worked_on() -> None:
    backlog = Backlog()
    for number in range(1000):
        add(backlog, f"t{number}")
    assert (len(backlog.take()), backlog.waiting, len(backlog)) == (1000, 0, 1000)


def test_a_task_that_waits_can_be_withdrawn_and_one_that_runs_cannot() -> None:
    backlog = Backlog()
    for name in ("a", "b", "c"):
        add(backlog, name)
    first = backlog.withdraw("a")
    assert first is not None
    assert first.task_id == "a"
    assert backlog.withdraw("a") is None
    assert backlog.withdraw("nobody") is None
    assert names(backlog.take()) == ["b", "c"]
    assert backlog.withdraw("b") is None


def test_what_was_withdrawn_may_be_put_back_in_its_place() -> None:
    backlog = Backlog()
    for number in (1, 2, 3):
        add(backlog, f"p{number}", priority=number)
    entry = backlog.withdraw("p2")
    assert entry is not None
    backlog.put_back(entry)
    assert names(backlog.take()) == ["p1", "p2", "p3"]


def test_what_was_taken_is_known_until_it_is_done() -> None:
    backlog = Backlog()
    add(backlog, "a")
    assert backlog.taken() == []
    (entry,) = backlog.take()
    assert backlog.taken() == [entry]
    backlog.done(entry)
    assert backlog.taken() == []


def test_tasks_whose_time_passes_while_they_wait_are_withdrawn_then() -> None:
    backlog = Backlog()
    add(backlog, "late", deadline=NOON.isoformat())
    add(backlog, "early", deadline=(NOON + timedelta(seconds=1)).isoformat())
    assert backlog.withdraw_late(NOON - timedelta(seconds=1)) == []
    assert [entry.task_id for entry in backlog.withdraw_late(NOON)] == ["late"]
    assert names(backlog.take()) == ["early"]


def test_a_task_for_which_something_was_done_is_not_withdrawn_for_being_late() -> None:
    """It has its turn, and then says what it did and takes back what it shall (rule 28)."""
    backlog = Backlog()
    notes = {"cordoned_by_us": True}
    backlog.add(Claim(task(task_id="begun", deadline=NOON.isoformat()), notes), CordonNode(node_name="node-1"))
    assert backlog.withdraw_late(NOON) == []


def test_the_size_of_what_is_claimed_is_known_in_encoded_bytes() -> None:
    backlog = Backlog()
    assert backlog.bytes == 0
    add(backlog, "a")
    one = backlog.bytes
    assert one > 100
    add(backlog, "b")
    assert backlog.bytes == 2 * one
    a, b = backlog.take()
    backlog.done(a)
    backlog.done(a)
    assert backlog.bytes == one
    add(backlog, "é" * 10, node="c")
    assert backlog.bytes == 2 * one + 19, "two bytes a letter"
    backlog.withdraw("é" * 10)
    backlog.done(b)
    assert (backlog.bytes, len(backlog)) == (0, 0)


def test_closing_hands_out_nothing_more_and_returns_what_waited_in_order() -> None:
    backlog = Backlog()
    add(backlog, "b", priority=2)
    add(backlog, "a", priority=1)
    assert names(backlog.close()) == ["a", "b"]
    add(backlog, "c")
    assert backlog.take() == []
    assert names(backlog.close()) == ["c"]


def test_many_threads_take_each_task_once() -> None:
    backlog, done, running, collisions = Backlog(), list[str](), set[str](), list[str]()
    lock = threading.Lock()

    def work() -> None:
        while len(done) < 200:
            for entry in backlog.take():
                with lock:
                    if entry.target in running:
                        collisions.append(entry.target)
                    running.add(entry.target)
                with lock:
                    running.discard(entry.target)
                    done.append(entry.task_id)
                backlog.done(entry)

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
