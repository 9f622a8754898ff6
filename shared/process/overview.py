"""The agent at a glance, from the queue's state: what /status, the status page and ``cloudoptim-agent status`` show.

One model for all three. ``overview`` is pure; ``look`` reads what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared import __version__
from shared.basics.timing import Clock, iso
from shared.process.programs import PROGRAMS
from shared.process.state import AT_WORK, HEALTH, TELEMETRY, WORKER
from shared.queue.client import Queue, value
from shared.queue.messages import Entry, TopicStats

SILENCE = 20.0
"""Seconds after which what a worker said is no longer how it is."""

_PREFIXES = (WORKER, TELEMETRY, HEALTH, AT_WORK)

_MEMORY = "cloudoptim_worker_memory_bytes"

_LEFT_OUT = {
    "cloudoptim_tasks_dropped_total": "tasks that were none of ours or not understood",
    "cloudoptim_events_dropped_total": "events of a storm",
    "cloudoptim_objects_skipped_total": "objects of the API server that cannot be read",
    "cloudoptim_bound_hits_total": "requests turned away at a bound",
    "cloudoptim_log_lines_dropped_total": "log lines",
}
"""Counters of what is left out, in words."""


@dataclass(frozen=True)
class Connection:
    """What one worker says of its connection."""

    to: str
    """``central``, ``stream`` or ``kubernetes``."""
    worker: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Program:
    """One of the five."""

    name: str
    state: str
    """``running``, ``starting``, ``stale``, or supervisord's own word; ``unknown`` where nobody says."""
    uptime_seconds: float | None
    memory_bytes: int | None
    """Memory that is this process's alone."""
    said_seconds_ago: float | None


@dataclass(frozen=True)
class TaskShown:
    """A task that has no result yet."""

    task_id: str
    task_type: str
    target: str
    """A node, or namespace/pod."""
    priority: int
    phase: str
    seconds: float | None
    """Since it was begun; None while it waits."""
    seconds_left: float
    """To its deadline."""
    pods_left: int
    held: list[dict[str, Any]]
    """Pods that cannot go now, ``pods``, and ``by`` whom: a budget, or an admission rule."""
    held_seconds: float | None
    """For how long the one that is held longest has been."""
    stuck: str
    """Pods that should have ended long ago, with their finalizers."""


@dataclass(frozen=True)
class Tasks:
    """What the task-runner has to do."""

    running: int
    waiting: int
    listed: list[TaskShown]
    not_listed: int
    said_seconds_ago: float | None
    """How old this is; None when the task-runner has not said anything yet."""


@dataclass(frozen=True)
class Topic:
    """One topic of the queue to Central."""

    name: str
    waiting: int
    bytes: int
    oldest_seconds: float
    dropped: int
    """For want of room, since the spool began."""
    refused: int
    """By Central for good, since the spool began."""


@dataclass(frozen=True)
class Overview:
    """All of it. Seconds and bytes are numbers, moments are RFC 3339 in UTC."""

    time: str
    version: str
    cluster_id: str
    ready: bool
    reasons: list[str]
    """Why it is not ready."""
    uptime_seconds: float | None
    connections: list[Connection]
    workers: list[Program]
    tasks: Tasks
    results: list[dict[str, Any]]
    """The last ones, the newest first: task_id, task_type, target, status, error, ended, duration_seconds."""
    queue: list[Topic]
    left_out: dict[str, int]
    """What was not taken in or passed on since the workers started, by what it was."""
    guard_rails: dict[str, str]
    """The owner's limits in force, by variable."""
    paused: str | None
    """The rule by which all tasks wait; None while they may go on."""


def look(queue: Queue, cluster_id: str, clock: Clock, patience: float) -> Overview:
    """The agent as the queue knows it now.

    Raises:
        QueueUnavailable: the queue does not answer within ``patience`` seconds.
    """
    entries: dict[str, Entry] = {}
    for prefix in _PREFIXES:
        entries.update(queue.get_state(prefix, patience=patience))
    return overview(entries, queue.stats(patience=patience), cluster_id, clock.now())


def overview(entries: Mapping[str, Entry], stats: Mapping[str, TopicStats], cluster_id: str, now: datetime) -> Overview:
    """Put together what the workers said; what is missing or old is said to be."""
    health, health_age = _said(entries, HEALTH)
    work, work_age = _said(entries, AT_WORK)
    counted = list(_samples(entries))
    reasons = list(health.get("reasons", ()))
    fresh = health_age is not None and health_age <= SILENCE
    if not fresh:
        reasons = [f"the health worker has said nothing {_for(health_age)}"]
    listed = [_task(task, now) for task in work.get("tasks", ())]
    running, waiting = work.get("running", 0), work.get("waiting", 0)
    return Overview(
        time=iso(now),
        version=__version__,
        cluster_id=cluster_id,
        ready=fresh and bool(health.get("ready")),
        reasons=reasons,
        uptime_seconds=health.get("uptime_seconds"),
        connections=list(_connections(entries)),
        workers=[_program(name, entries, health if fresh else {}, counted) for name in PROGRAMS],
        tasks=Tasks(running, waiting, listed, running + waiting - len(listed), work_age),
        results=list(work.get("results", ())),
        queue=[
            Topic(name, fill.depth, fill.bytes, round(fill.oldest_age, 1), fill.dropped, fill.buried)
            for name, fill in stats.items()
        ],
        left_out=_left_out(counted),
        guard_rails=dict(work.get("guard_rails", {})),
        paused=work.get("paused"),
    )


def _said(entries: Mapping[str, Entry], key: str) -> tuple[dict[str, Any], float | None]:
    """What was said under ``key``, and how many seconds ago."""
    entry = entries.get(key)
    return (value(entry), round(entry.age, 1)) if entry is not None else ({}, None)


def _for(age: float | None) -> str:
    return "yet" if age is None else f"for {age:.0f} s"


def _connections(entries: Mapping[str, Entry]) -> Iterator[Connection]:
    """Central's first; what a silent worker said last is no connection."""
    for to in ("central", "stream", "kubernetes"):
        for name in PROGRAMS:
            said, age = _said(entries, WORKER + name)
            connection = said.get("connections", {}).get(to)
            if connection is None or age is None:
                continue
            if age > SILENCE:
                yield Connection(to, name, False, f"{name} has said nothing {_for(age)}")
            else:
                yield Connection(to, name, bool(connection["ok"]), connection["detail"])


def _program(
    name: str, entries: Mapping[str, Entry], health: Mapping[str, Any], counted: Iterable[tuple[str, str, float]]
) -> Program:
    said, age = _said(entries, WORKER + name)
    uptime = said.get("uptime")
    return Program(
        name=name,
        state=health.get("workers", {}).get(name, "unknown"),
        uptime_seconds=None if uptime is None or age is None else round(uptime + age, 1),
        memory_bytes=next((int(n) for sample, label, n in counted if (sample, label) == (_MEMORY, name)), None),
        said_seconds_ago=age,
    )


def _task(task: Mapping[str, Any], now: datetime) -> TaskShown:
    started, held_since = task["started"], task["held_since"]
    return TaskShown(
        task_id=task["task_id"],
        task_type=task["task_type"],
        target=task["target"],
        priority=task["priority"],
        phase=task["phase"],
        seconds=_since(started, now) if started else None,
        seconds_left=-_since(task["deadline"], now),
        pods_left=task["pods_left"],
        held=task["held"],
        held_seconds=_since(held_since, now) if held_since else None,
        stuck=task["stuck"],
    )


def _since(moment: str, now: datetime) -> float:
    return round((now - datetime.fromisoformat(moment.replace("Z", "+00:00"))).total_seconds(), 1)


def _samples(entries: Mapping[str, Entry]) -> Iterator[tuple[str, str, float]]:
    """What the present processes counted: name, the one label's value or "", number."""
    for key, entry in entries.items():
        if key.startswith(TELEMETRY):
            _, families = value(entry)
            for samples in families.values():
                for name, labels, number in samples:
                    yield name, ",".join(labels.values()), number


def _left_out(counted: Iterable[tuple[str, str, float]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, label, number in counted:
        if number and name in _LEFT_OUT:
            what = f"{_LEFT_OUT[name]} ({label})" if label else _LEFT_OUT[name]
            totals[what] = totals.get(what, 0) + int(number)
    return totals
