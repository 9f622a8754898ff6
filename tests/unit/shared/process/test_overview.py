"""The agent at a glance: what is put together of what the workers said, and how it says what is missing or old."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from shared.process.overview import Overview, look
from shared.process.programs import PROGRAMS
from shared.process.state import AT_WORK, HEALTH, TELEMETRY, WORKER
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock

DRAIN = {
    "task_id": "t1",
    "task_type": "drain_node",
    "target": "node-1",
    "priority": 5,
    "phase": "evicting, tier 1 of 2",
    "started": "2026-03-01T11:59:00.000Z",
    "deadline": "2026-03-01T12:10:00.000Z",
    "pods_left": 7,
    "held": [{"by": "budget shop/web", "pods": 2}],
    "held_since": "2026-03-01T11:59:30.000Z",
    "stuck": "",
}
WORK: dict[str, Any] = {
    "tasks": [DRAIN],
    "running": 3,
    "waiting": 2,
    "results": [{"task_id": "t0", "status": "failed", "error": "no node"}],
    "guard_rails": {"MAX_CORDONED_NODES": "3"},
    "paused": None,
}


@pytest.fixture
def queue(clock: FakeClock) -> MemoryQueue:
    """Of an agent that is well and drains a node."""
    queue = MemoryQueue(clock=clock)
    for name in PROGRAMS:
        queue.set_state({WORKER + name: {"pid": 7, "uptime": 60.0, "connections": {}}})
    running = dict.fromkeys(PROGRAMS, "running")
    queue.set_state({HEALTH: {"ready": True, "reasons": [], "uptime_seconds": 61.0, "workers": running}})
    queue.set_state({AT_WORK: WORK})
    return queue


def seen(queue: MemoryQueue, clock: FakeClock) -> Overview:
    return look(queue, "demo", clock, 1.0)


def test_tasks_say_how_far_they_are_and_what_holds_their_pods(queue: MemoryQueue, clock: FakeClock) -> None:
    tasks = seen(queue, clock).tasks
    assert (tasks.running, tasks.waiting, tasks.not_listed, tasks.said_seconds_ago) == (3, 2, 4, 0.0)
    (drain,) = tasks.listed
    assert (drain.phase, drain.pods_left, drain.held) == ("evicting, tier 1 of 2", 7, DRAIN["held"])
    assert (drain.seconds, drain.seconds_left, drain.held_seconds) == (60.0, 600.0, 30.0)


def test_the_results_and_the_limits_are_the_task_runners(queue: MemoryQueue, clock: FakeClock) -> None:
    shown = seen(queue, clock)
    assert shown.results == WORK["results"]
    assert shown.guard_rails == {"MAX_CORDONED_NODES": "3"}
    assert shown.paused is None


def test_a_worker_shows_with_its_state_age_and_memory(queue: MemoryQueue, clock: FakeClock) -> None:
    sample = ["cloudoptim_worker_memory_bytes", {"worker": "metrics"}, 5e6]
    queue.set_state({f"{TELEMETRY}metrics": [7, {"cloudoptim_worker_memory_bytes": [sample]}]})
    clock.advance(2)
    by_name = {program.name: program for program in seen(queue, clock).workers}
    assert list(by_name) == list(PROGRAMS)
    metrics = by_name["metrics"]
    assert (metrics.state, metrics.uptime_seconds, metrics.memory_bytes) == ("running", 62.0, 5_000_000)
    assert by_name["heartbeat"].memory_bytes is None


def test_connections_are_each_workers_own(queue: MemoryQueue, clock: FakeClock) -> None:
    away = {"central": {"ok": False, "detail": "refused"}, "stream": {"ok": True, "detail": ""}}
    queue.set_state({f"{WORKER}task-runner": {"connections": away}})
    queue.set_state({f"{WORKER}heartbeat": {"connections": {"central": {"ok": True, "detail": ""}}}})
    said = [(one.to, one.worker, one.ok, one.detail) for one in seen(queue, clock).connections]
    assert said == [
        ("central", "heartbeat", True, ""),
        ("central", "task-runner", False, "refused"),
        ("stream", "task-runner", True, ""),
    ]


def test_what_a_silent_worker_said_last_is_no_connection(queue: MemoryQueue, clock: FakeClock) -> None:
    queue.set_state({f"{WORKER}metrics": {"connections": {"kubernetes": {"ok": True, "detail": ""}}}})
    clock.advance(25)
    (connection,) = seen(queue, clock).connections
    assert (connection.ok, connection.detail) == (False, "metrics has said nothing for 25 s")


def test_a_silent_health_worker_is_no_good_news(queue: MemoryQueue, clock: FakeClock) -> None:
    assert seen(queue, clock).ready
    clock.advance(25)
    shown = seen(queue, clock)
    assert (shown.ready, shown.reasons) == (False, ["the health worker has said nothing for 25 s"])
    assert {program.state for program in shown.workers} == {"unknown"}


def test_an_agent_that_starts_has_said_nothing_yet(clock: FakeClock) -> None:
    shown = seen(MemoryQueue(clock=clock), clock)
    assert (shown.ready, shown.reasons) == (False, ["the health worker has said nothing yet"])
    assert (shown.tasks.running, shown.tasks.said_seconds_ago) == (0, None)
    assert [program.uptime_seconds for program in shown.workers] == [None] * 5


def test_what_was_dropped_refused_and_left_out_is_counted(queue: MemoryQueue, clock: FakeClock) -> None:
    queue.put("results", [("t9", b"{}")])
    (leased,) = queue.lease(["results"], 1, 60)
    queue.bury([leased.id], "no")
    samples = [["cloudoptim_tasks_dropped_total", {"reason": "no_id"}, 4.0], ["cloudoptim_other_total", {}, 1.0]]
    nothing = ["cloudoptim_log_lines_dropped_total", {}, 0.0]
    queue.set_state({f"{TELEMETRY}task-runner": [7, {"family": [*samples, nothing]}]})
    shown = seen(queue, clock)
    assert {topic.name: topic.refused for topic in shown.queue}["results"] == 1
    assert shown.left_out == {"tasks that were none of ours or not understood (no_id)": 4}


def test_it_is_plain_data(queue: MemoryQueue, clock: FakeClock) -> None:
    shown = asdict(seen(queue, clock))
    assert shown["tasks"]["listed"][0]["held"][0] == {"by": "budget shop/web", "pods": 2}
    assert (shown["cluster_id"], shown["time"]) == ("demo", "2026-03-01T12:00:00.000Z")
