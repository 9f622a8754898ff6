"""What an operation works with: safe points, patience, the reasons to stop."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.basics.errors import PermanentError, TemporaryError
from shared.basics.timing import Clock, Deadline
from shared.kube.connection import Kube
from shared.kube.errors import Forbidden
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FakeClock, FastClock
from tests.unit.workers.task_runner.conftest import Work, told
from workers.task_runner.work.calls import PARALLEL
from workers.task_runner.work.context import (
    Cancelled,
    Context,
    HandedBack,
    Interrupt,
    OutOfTime,
    Stopped,
    Suspended,
    refused,
)


@pytest.fixture
def context(cluster: Cluster, kube: Kube, run_dir: Path, clock: FakeClock) -> Context:
    """By a clock that stands still, with two minutes until the deadline."""
    return Work(cluster, kube, run_dir, clock).context()


def test_nothing_stops_an_operation_that_nobody_interrupts() -> None:
    interrupt = Interrupt()
    interrupt.check()
    assert not interrupt.requested


@pytest.mark.parametrize("kind", [Cancelled, HandedBack, Suspended])
def test_an_interrupted_operation_stops_as_it_was_told(kind: type[Stopped]) -> None:
    interrupt = Interrupt()
    interrupt.request(kind)
    assert interrupt.requested
    with pytest.raises(kind):
        interrupt.check()


def test_the_first_request_counts_but_for_the_agents_own_end() -> None:
    """A task that is cancelled has time for its end; one whose agent stops has not."""
    interrupt = Interrupt()
    interrupt.request(Suspended)
    interrupt.request(Cancelled)
    with pytest.raises(Suspended):
        interrupt.check()
    cancelled = Interrupt()
    cancelled.request(Cancelled)
    cancelled.request(HandedBack)
    with pytest.raises(HandedBack):
        cancelled.check()


def test_a_call_that_is_not_made_yet_is_withdrawn_when_the_task_is_to_stop(
    cluster: Cluster, kube: Kube, run_dir: Path
) -> None:
    """A busy API server keeps every thread; nobody has to wait for that who is told to stop."""
    context = Work(cluster, kube, run_dir, FastClock()).context()
    busy, made = threading.Event(), list[int]()
    for _ in range(PARALLEL):
        context.shared.calls.begin(lambda: busy.wait(60), (1, 0.0), lambda: None)
    threading.Timer(0.1, context.interrupt.request, [Cancelled]).start()
    with pytest.raises(Cancelled):
        told(context, context.call(lambda: made.append(1)))
    busy.set()
    assert told(context, context.tell_queue(lambda: "recorded")) == "recorded", "the queue has threads of its own"
    assert made == []


def test_an_interrupt_ends_a_wait(context: Context) -> None:
    """The clock stands still: the wait would last for ever."""
    threading.Timer(0.05, context.interrupt.request, [Cancelled]).start()
    with pytest.raises(Cancelled):
        told(context, context.wait(60))


def test_the_deadline_is_a_reason_to_stop(context: Context, clock: FakeClock) -> None:
    context.check()
    clock.advance(121)
    with pytest.raises(OutOfTime):
        context.check()
    with pytest.raises(OutOfTime):
        told(context, context.wait(60))


def test_being_interrupted_comes_before_being_late(context: Context, clock: FakeClock) -> None:
    """The interrupt came first: a task that was cancelled in time has not failed to meet its deadline."""
    context.interrupt.request(Cancelled)
    clock.advance(121)
    with pytest.raises(Cancelled):
        context.check()


def test_what_fails_for_a_while_is_tried_again_and_told(cluster: Cluster, kube: Kube, run_dir: Path) -> None:
    context = Work(cluster, kube, run_dir, FastClock()).context()
    answers: list[Exception | str] = [TemporaryError("no route"), TemporaryError("still none"), "done"]

    def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert told(context, context.patiently("get node", call)) == "done"
    assert "get node: no route; next try in " in context.account.text()
    assert "get node: still none; next try in " in context.account.text()


def test_what_cannot_succeed_is_not_tried_again(context: Context) -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise PermanentError("no")

    with pytest.raises(PermanentError, match="no"):
        told(context, context.patiently("get node", call))
    assert len(calls) == 1


def failing() -> None:
    raise TemporaryError("no route")


def test_patience_ends_with_the_deadline(context: Context, clock: Clock) -> None:
    context.deadline = Deadline.after(0.0, clock)
    with pytest.raises(OutOfTime):
        told(context, context.patiently("get node", failing))


def test_patience_ends_with_an_interrupt(context: Context) -> None:
    context.interrupt.request(Suspended)
    with pytest.raises(Suspended):
        told(context, context.patiently("get node", failing))


def test_whoever_runs_out_of_time_says_what_stood_in_the_way(cluster: Cluster, kube: Kube, run_dir: Path) -> None:
    context = Work(cluster, kube, run_dir, FastClock()).context(seconds=5)
    with pytest.raises(OutOfTime, match=r"^last, get node: no route$"):
        told(context, context.patiently("get node", failing))


def test_a_note_is_recorded_and_at_hand(context: Context) -> None:
    recorded: list[dict[str, object]] = []
    context.record = recorded.append
    told(context, context.remember("the uid", pod_uid="a"))
    told(context, context.remember("the cordon", cordoned_by_us=True))
    assert context.notes == {"pod_uid": "a", "cordoned_by_us": True}
    assert recorded == [{"pod_uid": "a"}, {"pod_uid": "a", "cordoned_by_us": True}]


def test_while_the_owner_pauses_all_tasks_nothing_goes_on(cluster: Cluster, kube: Kube, run_dir: Path) -> None:
    rules = ["TASKS_PAUSED is true", "TASKS_PAUSED is true", None]
    context = Work(cluster, kube, run_dir, FastClock()).context()
    context.shared.paused = lambda: rules.pop(0)
    told(context, context.allowed())
    assert not rules
    assert (
        "paused by the cluster's owner: TASKS_PAUSED is true; the task goes on when that ends" in context.account.text()
    )
    assert "the pause is over" in context.account.text()


def test_a_pause_does_not_outlast_the_deadline(context: Context, clock: FakeClock) -> None:
    context.shared.paused = lambda: "TASKS_PAUSED"
    clock.advance(121)
    with pytest.raises(OutOfTime):
        told(context, context.allowed())


def test_a_refusal_by_rbac_names_the_missing_right() -> None:
    rbac = Forbidden('nodes "a" is forbidden: User "agent" cannot patch resource "nodes"')
    assert str(refused(rbac, "grant patch on nodes")) == f"{rbac}; grant patch on nodes"
