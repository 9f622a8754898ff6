"""The journal: a task is executed once, whatever arrives twice and whoever is killed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.basics.errors import TemporaryError
from shared.queue.client import QueueClient, value
from shared.queue.frames import MAX_FRAME
from shared.queue.limits import Limits
from shared.queue.memory import MemoryQueue
from shared.schemas.tasks import TaskResult
from tests.unit.conftest import NOON, FakeClock
from tests.unit.shared.queue.conftest import RunningBroker
from tests.unit.workers.task_runner.conftest import task
from workers.task_runner.records.journal import FINISHED_KEPT, REJECTED_KEPT, Journal


@pytest.fixture
def queue(clock: FakeClock) -> MemoryQueue:
    return MemoryQueue(Limits(messages={"results": 2000, "events": 10, "metrics": 10}), clock)


def result(task_id: str = "task-1", logs: str = "done", at: datetime = NOON) -> TaskResult:
    return TaskResult(task_id=task_id, status="success", logs=logs, executed_at=at, duration_seconds=1.0)


def results(queue: MemoryQueue) -> list[dict[str, Any]]:
    return [json.loads(bytes(message.body)) for message in queue.lease(["results"], 10_000, 0.0)]


def delivered(queue: MemoryQueue) -> None:
    queue.ack([message.id for message in queue.lease(["results"], 10_000, 0.0)])


def restarted(queue: MemoryQueue) -> Journal:
    """The journal as the next process finds it."""
    journal = Journal(queue)
    journal.load()
    return journal


def test_a_claim_is_on_record_before_anything_is_done(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    assert not journal.is_claimed("task-1")
    claim = journal.claim(task())
    assert journal.is_claimed("task-1")
    assert not claim.resumed
    assert "task/task-1" in queue.get_state("task/")


def test_an_unfinished_claim_is_resumed_with_all_that_was_noted(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    claim = journal.claim(task("drain_node", {"node_name": "node-1", "force": True}))
    journal.note(claim, cordoned_by_us=True)
    journal.note(claim, origin={"node": "node-1"})
    (resumed,) = Journal(queue).load()
    assert resumed.resumed
    assert resumed.task == claim.task
    assert resumed.notes == {"cordoned_by_us": True, "origin": {"node": "node-1"}}
    assert restarted(queue).is_claimed("task-1")


def test_which_pod_a_task_named_as_replacement_is_known_while_it_runs_and_after(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    journal.note(journal.claim(task(task_id="ends")), replacement="uid-1")
    journal.note(journal.claim(task(task_id="runs")), replacement="uid-2")
    journal.claim(task(task_id="named-none"))
    journal.finish(result("ends"), NOON)
    for one in (journal, restarted(queue)):
        assert one.replacements() == {"uid-1": "ends", "uid-2": "runs"}


def test_a_result_and_the_end_of_its_claim_are_one_transaction(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    journal.claim(task())
    journal.finish(result(), NOON)
    assert [body["task_id"] for body in results(queue)] == ["task-1"]
    assert not journal.is_claimed("task-1")
    assert Journal(queue).load() == []
    done = restarted(queue).finished("task-1")
    assert done is not None
    assert (done.result, done.at) == (result(), NOON)


def test_a_result_the_queue_does_not_take_leaves_the_claim(clock: FakeClock) -> None:
    queue = MemoryQueue(Limits(messages={"results": 1, "events": 1, "metrics": 1}), clock)
    journal = Journal(queue)
    journal.claim(task(task_id="a"))
    journal.claim(task(task_id="b"))
    journal.finish(result("a"), NOON)
    with pytest.raises(TemporaryError):
        journal.finish(result("b"), NOON)
    assert journal.is_claimed("b")
    assert journal.finished("b") is None
    assert restarted(queue).is_claimed("b")


def test_a_claim_the_queue_does_not_take_is_none(clock: FakeClock) -> None:
    queue = MemoryQueue(clock=clock)
    queue.store.close()
    journal = Journal(queue)
    with pytest.raises(TemporaryError):
        journal.claim(task())
    assert not journal.is_claimed("task-1")


def test_a_task_that_was_never_claimed_may_be_finished(queue: MemoryQueue) -> None:
    """One that was refused at once."""
    journal = Journal(queue)
    journal.finish(result(), NOON)
    assert journal.finished("task-1") is not None


def test_of_a_finished_task_a_little_of_its_logs_is_kept(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    journal.finish(result(logs="begin " + "x" * 50_000 + " end"), NOON)
    assert len(results(queue)[0]["logs"]) > 50_000, "all of it is delivered"
    kept = value(queue.get_state("task/")["task/task-1"])["result"]["logs"]
    assert kept.startswith("begin ")
    assert kept.endswith(" end")
    assert len(kept) < 1100


def test_of_its_error_too(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    journal.finish(result().model_copy(update={"error": "no " * 5000}), NOON)
    assert len(results(queue)[0]["error"]) == 15_000
    assert len(value(queue.get_state("task/")["task/task-1"])["result"]["error"]) < 1100


def test_a_record_nobody_can_read_is_left_alone_and_said(queue: MemoryQueue, caplog: pytest.LogCaptureFixture) -> None:
    """Another version may have written it."""
    odd = {"task": {"task_id": 7}, "notes": {}}
    records = {"task/a": odd, "task/b": {"result": 1, "at": "never"}, "task/c": 7, "task/d": {}}
    queue.set_state(records, durable=True)
    Journal(queue).claim(task())
    assert [claim.task.task_id for claim in Journal(queue).load()] == ["task-1"]
    assert caplog.text.count("cannot be read, it is left alone") == 4
    assert set(queue.get_state("task/")) == {*records, "task/task-1"}


def test_a_finished_task_can_be_answered_again(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    journal.finish(result(), NOON)
    done = journal.finished("task-1")
    assert done is not None
    journal.answer_again(done, NOON)
    assert len(results(queue)) == 1, "the first answer is still queued"
    delivered(queue)
    journal.answer_again(done, NOON + timedelta(minutes=5))
    assert results(queue) == [result().model_dump(mode="json")]
    for one in (journal, restarted(queue)):
        again = one.finished("task-1")
        assert again is not None
        assert again.at == NOON + timedelta(minutes=5), "else every offer from now on would be answered"


def test_one_that_was_answered_again_is_not_the_next_to_be_forgotten(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    for number in range(FINISHED_KEPT):
        journal.finish(result(f"t{number}"), NOON + timedelta(seconds=number))
    first = journal.finished("t0")
    assert first is not None
    journal.answer_again(first, NOON + timedelta(days=1))
    journal.finish(result("new"), NOON + timedelta(days=1))
    assert journal.finished("t0") is not None
    assert journal.finished("t1") is None


def test_the_last_finished_tasks_are_remembered_and_no_more(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    for number in range(FINISHED_KEPT + 20):
        journal.finish(result(f"t{number}"), NOON + timedelta(seconds=number))
    for one in (journal, restarted(queue)):
        assert one.finished("t19") is None
        assert one.finished("t20") is not None
        assert one.finished(f"t{FINISHED_KEPT + 19}") is not None
    assert len(queue.get_state("task/")) == FINISHED_KEPT


def test_that_a_task_was_executed_is_known_for_much_longer_than_its_result(queue: MemoryQueue) -> None:
    """Its result may still wait for Central by then."""
    journal = Journal(queue)
    for number in range(FINISHED_KEPT + 20):
        journal.finish(result(f"t{number}"), NOON + timedelta(seconds=number))
    for one in (journal, restarted(queue)):
        assert one.finished("t0") is None
        assert one.was_executed("t0")
        assert not one.was_executed("another")


def test_junk_pushes_no_task_out_and_is_bounded_itself(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    journal.finish(result("done"), NOON)
    for number in range(REJECTED_KEPT + FINISHED_KEPT):
        journal.finish(result(f"junk{number}"), NOON + timedelta(seconds=number), rejected=True)
    for one in (journal, restarted(queue)):
        assert one.finished("done") is not None
        assert one.finished(f"junk{FINISHED_KEPT - 1}") is None
        assert one.finished(f"junk{FINISHED_KEPT}") is not None
        assert not one.was_executed(f"junk{FINISHED_KEPT}")
    assert len(queue.get_state("task/")) == REJECTED_KEPT + 1


def test_a_result_the_queue_does_not_take_is_not_taken_for_executed(clock: FakeClock) -> None:
    queue = MemoryQueue(Limits(messages={"results": 1, "events": 1, "metrics": 1}), clock)
    journal = Journal(queue)
    journal.finish(result("a"), NOON)
    with pytest.raises(TemporaryError):
        journal.finish(result("b"), NOON)
    for one in (journal, restarted(queue)):
        assert (one.was_executed("a"), one.was_executed("b")) == (True, False)


def test_after_a_restart_the_oldest_is_still_the_first_to_be_forgotten(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    for number in reversed(range(FINISHED_KEPT)):
        journal.finish(result(f"t{number}"), NOON + timedelta(seconds=number))
    again = restarted(queue)
    again.finish(result("new"), NOON + timedelta(days=1))
    assert again.finished("t0") is None
    assert again.finished("t1") is not None


def test_task_ids_may_hold_anything_printable(queue: MemoryQueue) -> None:
    journal = Journal(queue)
    odd = 'a/b "c" é %s'
    journal.claim(task(task_id=odd))
    assert restarted(queue).is_claimed(odd)
    journal.finish(result(odd), NOON)
    assert restarted(queue).finished(odd) is not None


def test_a_journal_larger_than_any_frame_is_loaded(run_dir: Path) -> None:
    """Ids, names and parameters may hold what JSON writes as six bytes a character."""
    expensive, emoji = "\x01", "\U0001f600"
    running = RunningBroker(run_dir)
    queue = QueueClient(running.path)
    journal = Journal(queue)
    parameters = {"node_name": "node-1", "node_uid": 1100 * expensive}
    for number in range(520):
        journal.claim(task("cordon_node", parameters, task_id=f"{number:03}{250 * emoji}"))
    for number in range(210):
        reason = f"unknown parameter {1000 * expensive}"
        refused = TaskResult(
            task_id=f"r{number:03}{250 * emoji}",
            status="failed",
            logs=reason,
            error=reason,
            executed_at=NOON,
            duration_seconds=0.0,
        )
        journal.finish(refused, NOON, rejected=True)
    state = queue.get_state("")
    assert sum(len(bytes(entry.value)) for entry in state.values()) > 1.2 * MAX_FRAME
    again = Journal(queue)
    assert len(again.load()) == 520
    assert again.finished(f"r209{250 * emoji}") is not None
    queue.disconnect()
    running.stop()
