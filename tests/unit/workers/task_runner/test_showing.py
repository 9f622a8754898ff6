"""What the task-runner shows of its work: bounded in bytes, the held ones first, still while nothing happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.config.limits import Limits
from shared.queue.limits import MAX_RECORD
from shared.schemas.parameters import DrainNode
from shared.schemas.tasks import TaskResult
from tests.unit.conftest import NOON, FakeClock, settings_of
from tests.unit.workers.task_runner.conftest import Work, task
from workers.task_runner import showing
from workers.task_runner.execution import Execution
from workers.task_runner.records.backlog import Entry, target_of
from workers.task_runner.records.journal import Claim, Finished
from workers.task_runner.showing import TASKS_BYTES

PARAMETERS = DrainNode(node_name="node-1")


def entry(task_id: str = "t1", **fields: Any) -> Entry:
    rank = (True, 5, 0.0, 0)
    return Entry(rank, Claim(task("drain_node", task_id=task_id, **fields)), PARAMETERS, target_of(PARAMETERS))


def at_work(work: Work, task_id: str = "t1", left: int = 0, held: Mapping[str, int] | None = None) -> Execution:
    execution = Execution(entry(task_id), work.context().shared, lambda *_: None, lambda _: None, lambda _: None)
    progress = execution.context.progress
    progress.phase, progress.left, progress.held = "evicting", left, dict(held or {})
    return execution


def shown(*running: Execution, first: tuple[Entry, ...] = (), **other: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"waiting": len(first), "results": (), "limits": Limits(), **other}
    return showing.work(running, first, clock=FakeClock(), **given)


def test_a_task_shows_with_its_phase_and_who_holds_its_pods(work: Work) -> None:
    (seen,) = shown(at_work(work, "t1", 7, {"budget shop/db": 1, "budget shop/web": 2}))["tasks"]
    assert (seen["task_id"], seen["task_type"], seen["target"]) == ("t1", "drain_node", "node-1")
    assert (seen["phase"], seen["pods_left"]) == ("evicting", 7)
    assert seen["held"] == [{"by": "budget shop/web", "pods": 2}, {"by": "budget shop/db", "pods": 1}]


def test_few_holders_are_named_and_the_rest_summed(work: Work) -> None:
    (seen,) = shown(at_work(work, "t1", 28, {f"budget {number}": number for number in range(1, 8)}))["tasks"]
    assert [holder["pods"] for holder in seen["held"]] == [7, 6, 5, 4, 3, 3]
    assert seen["held"][-1]["by"] == "2 others"


def test_held_ones_come_first_and_those_that_wait_last(work: Work) -> None:
    seen = shown(at_work(work, "free"), at_work(work, "held", 1, {"budget": 1}), first=(entry("waits"),))
    assert [one["task_id"] for one in seen["tasks"]] == ["held", "free", "waits"]
    assert [one["phase"] for one in seen["tasks"]] == ["evicting", "evicting", "waiting"]
    assert (seen["running"], seen["waiting"]) == (2, 1)


def test_500_running_drains_are_cut_to_a_bound_in_bytes_and_counted(work: Work) -> None:
    """Ids as JSON writes them at their worst: six bytes a character."""
    one = at_work(work, "\x01" * 256, 3, {"budget shop/web": 3})
    seen = shown(*[one] * 500)
    assert seen["running"] == 500
    assert 10 < len(seen["tasks"]) < 500
    assert len(json.dumps(seen["tasks"])) <= 1.2 * TASKS_BYTES


def test_all_of_it_fits_into_a_record_of_the_queue(work: Work) -> None:
    long = "\x01" * 300
    result = TaskResult(
        task_id=long[:256], status="failed", logs="", executed_at=NOON, duration_seconds=1.0, error=long * 9
    )
    limits = Limits(protected_labels=("x" * 60_000,), protected_namespaces=("y" * 60_000,))
    seen = shown(*[at_work(work, long[:256])] * 500, results=[Finished(result, NOON)] * 20, limits=limits)
    assert len(json.dumps(seen)) < MAX_RECORD / 4


def test_nothing_changes_while_nothing_happens(work: Work) -> None:
    """So it is published when something does."""
    execution = at_work(work, "t1", 1, {"budget": 1})
    execution.context.progress.held_since = 990.0
    clock = FakeClock()
    seen = []
    for _ in range(2):
        found = showing.work([execution], (), 0, (), Limits(), clock)
        seen.append(found)
        clock.advance(3)
    assert seen[0] == seen[1]
    assert seen[0]["tasks"][0]["held_since"] == "2026-03-01T11:59:50.000Z"


def test_results_show_what_they_were_about() -> None:
    result = TaskResult(task_id="t1", status="timeout", logs="long", executed_at=NOON, duration_seconds=2.5, error="e")
    done = Finished(result, NOON + timedelta(seconds=3), task_type="drain_node", target="node-1")
    assert shown(results=[done])["results"] == [
        {
            "task_id": "t1",
            "task_type": "drain_node",
            "target": "node-1",
            "status": "timeout",
            "error": "e",
            "ended": "2026-03-01T12:00:03.000Z",
            "duration_seconds": 2.5,
        }
    ]


def test_the_limits_in_force_show_by_their_variables(run_dir: Path) -> None:
    limits = settings_of(run_dir, MAX_CORDONED_NODES="3", TASKS_PAUSED="true").tasks.limits
    seen = shown(limits=limits)
    assert seen["guard_rails"] == {"MAX_CORDONED_NODES": "3", "TASKS_PAUSED": "true"}
    assert seen["paused"] == "TASKS_PAUSED is true"
