"""A refused key: said by whoever sees it, confirmed by three times over thirty seconds."""

from __future__ import annotations

import pytest

from shared.basics.errors import AuthenticationError
from shared.process.refusals import Refusal, clear_refusal, refusals, report_refusal
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import NOON, FakeClock

ERROR = AuthenticationError("Central answered 401 to tasks")


@pytest.fixture
def queue(clock: FakeClock) -> MemoryQueue:
    return MemoryQueue(clock=clock)


@pytest.mark.parametrize(
    ("times", "seconds", "confirmed"),
    [(1, 0, False), (2, 60, False), (3, 29.9, False), (3, 30, True), (100, 29, False), (4, 45, True)],
)
def test_a_refusal_is_confirmed_by_three_times_over_thirty_seconds(times: int, seconds: float, confirmed: bool) -> None:
    assert Refusal(times, first=1000.0, last=1000.0 + seconds, reason="").confirmed is confirmed


def test_reports_add_up(queue: MemoryQueue, clock: FakeClock) -> None:
    for _ in range(3):
        report_refusal(queue, "task-runner", ERROR, clock)
        clock.advance(20)
    first = NOON.timestamp()
    assert refusals(queue) == {"task-runner": Refusal(3, first, first + 40, "Central answered 401 to tasks")}


def test_each_worker_has_its_own(queue: MemoryQueue, clock: FakeClock) -> None:
    report_refusal(queue, "task-runner", ERROR, clock)
    report_refusal(queue, "heartbeat", ERROR, clock)
    assert {worker: refusal.times for worker, refusal in refusals(queue).items()} == {"task-runner": 1, "heartbeat": 1}


def test_a_key_that_was_taken_begins_the_count_anew(queue: MemoryQueue, clock: FakeClock) -> None:
    report_refusal(queue, "heartbeat", ERROR, clock)
    report_refusal(queue, "task-runner", ERROR, clock)
    clear_refusal(queue, "heartbeat")
    assert list(refusals(queue)) == ["task-runner"]
    clock.advance(60)
    report_refusal(queue, "heartbeat", ERROR, clock)
    assert refusals(queue)["heartbeat"].first == NOON.timestamp() + 60


def test_clearing_what_was_never_reported_changes_nothing(queue: MemoryQueue) -> None:
    version = queue.store.version
    clear_refusal(queue, "heartbeat")
    assert queue.store.version == version


def test_a_queue_that_is_away_does_not_hide_the_refusal(clock: FakeClock) -> None:
    """Whoever reports is about to raise the refusal itself; an error of the queue must not take its place."""

    queue = MemoryQueue(clock=clock)
    queue.store.close()
    report_refusal(queue, "heartbeat", ERROR, clock)
    clear_refusal(queue, "heartbeat")
