"""What the task-runner shows of its work to whoever looks at the agent: bounded, however much there is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import msgspec

from shared.basics import telemetry
from shared.basics.logs import cut_middle
from shared.basics.timing import Clock, iso
from shared.config.limits import Limits
from workers.task_runner.execution import Execution
from workers.task_runner.records.backlog import Entry
from workers.task_runner.records.journal import Finished, subject
from workers.task_runner.work.progress import Progress

TASKS_BYTES = 48 * 1024
"""Of the tasks that are listed, as JSON: about 150 drains. The others are counted."""

TASKS_LISTED = 200
"""No more fit into that."""

RESULTS_SHOWN = 20

_HOLDERS = 5
"""Budgets that are named for one task; the rest are summed."""

_TEXT = 300
"""Characters of an error or a limit."""


def count(running: Sequence[Execution], waiting: int, clock: Clock) -> None:
    """Update the gauges of what runs and waits."""
    now = clock.monotonic()
    telemetry.TASKS_IN_PROGRESS.set(len(running))
    telemetry.TASKS_WAITING.set(waiting)
    telemetry.TASK_AGE.set(max((now - task.started for task in running), default=0.0))
    telemetry.PODS_LEFT.set(sum(task.context.progress.left for task in running))
    telemetry.PODS_BLOCKED.set(sum(task.context.progress.blocked for task in running))


def work(
    running: Sequence[Execution],
    first: Iterable[Entry],
    waiting: int,
    results: Iterable[Finished],
    limits: Limits,
    clock: Clock,
) -> dict[str, Any]:
    """The tasks at work, held ones first, and the ``first`` of the ``waiting``; the last results; the limits in force.

    All times are moments, so that nothing changes while nothing happens.
    """
    order = sorted(running, key=lambda task: (-task.context.progress.blocked, task.context.task.deadline))
    listed: list[dict[str, Any]] = []
    size = 0
    for shown in chain((_running(task, clock) for task in order), map(_waiting, first)):
        size += len(msgspec.json.encode(shown)) + 1
        if size > TASKS_BYTES:
            break
        listed.append(shown)
    return {
        "tasks": listed,
        "running": len(running),
        "waiting": waiting,
        "results": [_result(done) for done in results],
        "guard_rails": {name: cut_middle(words, _TEXT) for name, words in limits.words().items()},
        "paused": limits.are_paused(),
    }


def _running(task: Execution, clock: Clock) -> dict[str, Any]:
    progress = task.context.progress
    return {
        **_about(task.entry),
        "phase": progress.phase,
        "started": iso(task.begun),
        "pods_left": progress.left,
        "held": _held(progress.held),
        "held_since": _moment(progress, clock),
        "stuck": cut_middle(progress.stuck, _TEXT),
    }


def _waiting(entry: Entry) -> dict[str, Any]:
    return {
        **_about(entry),
        "phase": "waiting",
        "started": None,
        "pods_left": 0,
        "held": [],
        "held_since": None,
        "stuck": "",
    }


def _about(entry: Entry) -> dict[str, Any]:
    task = entry.claim.task
    return {
        "task_id": task.task_id,
        "task_type": task.task_type,
        "target": subject(task),
        "priority": task.priority,
        "deadline": iso(task.deadline),
    }


def _held(held: Mapping[str, int]) -> list[dict[str, Any]]:
    """By whom, the one that holds most first."""
    most = sorted(held.items(), key=lambda item: (-item[1], item[0]))
    named = [{"by": by, "pods": pods} for by, pods in most[:_HOLDERS]]
    if others := most[_HOLDERS:]:
        named.append({"by": f"{len(others)} others", "pods": sum(pods for _, pods in others)})
    return named


def _moment(progress: Progress, clock: Clock) -> str | None:
    if progress.held_since is None:
        return None
    ago = clock.monotonic() - progress.held_since
    return iso(datetime.fromtimestamp(math.ceil(clock.now().timestamp() - ago), timezone.utc))


def _result(done: Finished) -> dict[str, Any]:
    result = done.result
    return {
        "task_id": result.task_id,
        "task_type": done.task_type,
        "target": done.target,
        "status": result.status,
        "error": cut_middle(result.error, _TEXT) if result.error else None,
        "ended": iso(done.at),
        "duration_seconds": result.duration_seconds,
    }
