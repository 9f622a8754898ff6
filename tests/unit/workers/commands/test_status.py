"""``cloudoptim-agent status``: what the person on call reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.process.programs import Programs
from shared.process.state import AT_WORK, HEALTH, WORKER
from shared.queue.client import QueueClient
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock
from workers.commands.status import status, watch

HELD = {
    "task_id": "t1",
    "task_type": "drain_node",
    "target": "node-1",
    "priority": 5,
    "phase": "evicting, tier 1 of 2",
    "started": "2026-03-01T11:58:40.000Z",
    "deadline": "2026-03-01T12:10:00.000Z",
    "pods_left": 7,
    "held": [{"by": "budget shop/web", "pods": 2}, {"by": "budget shop/db", "pods": 1}],
    "held_since": "2026-03-01T11:59:30.000Z",
    "stuck": "shop/web-0 (finalizers: example.com/x)",
}
FAILED = {
    "task_id": "t0",
    "task_type": "cordon_node",
    "target": "no\x1b[31mde",
    "status": "failed",
    "error": "node no-node does not exist",
    "ended": "2026-03-01T11:58:00.000Z",
    "duration_seconds": 0.21,
}


@pytest.fixture
def queue(clock: FakeClock) -> MemoryQueue:
    queue = MemoryQueue(clock=clock)
    reasons = ["central: connection refused (heartbeat)"]
    workers = {"health": "running", "metrics": "stale"}
    queue.set_state({HEALTH: {"ready": False, "reasons": reasons, "uptime_seconds": 7300, "workers": workers}})
    refused = {"central": {"ok": False, "detail": "connection refused"}, "kubernetes": {"ok": True, "detail": ""}}
    queue.set_state({f"{WORKER}task-runner": {"uptime": 59.0, "connections": refused}})
    work = {
        "tasks": [HELD],
        "running": 200,
        "waiting": 7,
        "results": [FAILED],
        "guard_rails": {"MAX_CORDONED_NODES": "3"},
        "paused": "TASKS_PAUSED is true",
    }
    queue.set_state({AT_WORK: work})
    return queue


@pytest.fixture
def programs(run_dir: Path) -> Programs:
    return Programs(run_dir / "nobody.sock")


def test_it_says_what_is_wrong_and_what_is_at_work(queue: MemoryQueue, programs: Programs, clock: FakeClock) -> None:
    text, code = status(queue, programs, "demo", clock, in_json=False)
    assert code == 0
    for line in (
        "demo: NOT READY, up 2h1m, version ",
        "  ! central: connection refused (heartbeat)",
        "  ! tasks are paused: TASKS_PAUSED is true",
        "  central     task-runner    NOT CONNECTED: connection refused",
        "  kubernetes  task-runner    connected",
        "TASKS: 200 in progress, 7 waiting",
        "  t1  drain_node node-1: evicting, tier 1 of 2 for 1m20s, 7 pods left, 10m0s to its deadline",
        "      budget shop/web holds 2, budget shop/db holds 1, the longest for 30s",
        "      stuck terminating: shop/web-0 (finalizers: example.com/x)",
        "  and 206 more",
        "  MAX_CORDONED_NODES=3",
    ):
        assert line in text, text


def test_what_came_from_outside_cannot_command_the_terminal(
    queue: MemoryQueue, programs: Programs, clock: FakeClock
) -> None:
    text, _ = status(queue, programs, "demo", clock, in_json=False)
    assert "cordon_node no?[31mde; node no-node does not exist" in text
    assert "\x1b" not in text


def test_as_json_it_is_what_the_endpoint_says(queue: MemoryQueue, programs: Programs, clock: FakeClock) -> None:
    text, code = status(queue, programs, "demo", clock, in_json=True)
    said = json.loads(text)
    assert code == 0
    assert (said["ready"], said["tasks"]["not_listed"]) == (False, 206)


@pytest.mark.parametrize("in_json", [False, True])
def test_without_the_queue_it_says_so_and_what_supervisord_says(
    run_dir: Path, programs: Programs, clock: FakeClock, in_json: bool
) -> None:
    text, code = status(QueueClient(run_dir / "queue.sock"), programs, "demo", clock, in_json)
    assert code == 1
    assert "does not answer" in text
    assert "is the health worker running?" in text
    assert "supervisord does not answer" in text


def test_watching_shows_it_anew_until_interrupted() -> None:
    shown: list[str] = []
    answers: Iterator[tuple[str, int]] = iter([("one", 1), ("two", 0)])

    def sleep(seconds: float) -> None:
        if len(shown) == 2:
            raise KeyboardInterrupt

    assert watch(lambda: next(answers), shown.append, sleep) == 0
    assert [text.rpartition("J")[2] for text in shown] == ["one\n", "two\n"]
