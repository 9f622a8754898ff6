"""``cloudoptim-agent status``: the agent at a glance, for the person on call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict

from shared.basics.errors import AgentError
from shared.basics.logs import printable
from shared.basics.timing import Clock
from shared.process.overview import Overview, Program, TaskShown, look
from shared.process.programs import Programs
from shared.queue.client import Queue

_PATIENCE = 2.0
"""Seconds the queue has to answer: a restart of the health worker takes less."""

_WATCH_SECONDS = 2.0

_CLEAR = "\x1b[H\x1b[2J"


def status(queue: Queue, programs: Programs, cluster_id: str, clock: Clock, in_json: bool) -> tuple[str, int]:
    """What to print, and the exit status: 1 when the queue does not answer, and then what supervisord says."""
    try:
        seen = look(queue, cluster_id, clock, _PATIENCE)
    except AgentError as error:
        said = _supervised(programs)
        if in_json:
            return json.dumps({"queue": str(error), "programs": said}, indent=2), 1
        lines = [f"{name:14} {word}" for name, word in said.items()]
        return "\n".join([f"Nothing can be told: {error}", "", "supervisord says:", *lines]), 1
    return (json.dumps(asdict(seen), indent=2) if in_json else "\n".join(as_text(seen))), 0


def watch(show: Callable[[], tuple[str, int]], write: Callable[[str], object], sleep: Callable[[float], object]) -> int:
    """Show it again every other second until Ctrl-C; the last exit status."""
    code = 0
    try:
        while True:
            text, code = show()
            write(f"{_CLEAR}{text}\n")
            sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        return code


def _supervised(programs: Programs) -> dict[str, str]:
    try:
        return {name: state.word for name, state in programs.states().items()}
    except AgentError as error:
        return {"supervisord": str(error)}


def as_text(seen: Overview) -> Iterator[str]:
    """Its lines, the most urgent first."""
    up = f", up {_span(seen.uptime_seconds)}" if seen.uptime_seconds is not None else ""
    yield f"{seen.cluster_id}: {'ready' if seen.ready else 'NOT READY'}{up}, version {seen.version}, {seen.time}"
    yield from (f"  ! {printable(reason)}" for reason in seen.reasons)
    if seen.paused:
        yield f"  ! tasks are paused: {printable(seen.paused)}"
    yield from ("", "CONNECTIONS")
    for connection in seen.connections:
        detail = "connected" if connection.ok else f"NOT CONNECTED: {printable(connection.detail)}"
        yield f"  {connection.to:11} {connection.worker:14} {detail}"
    if not seen.connections:
        yield "  none yet"
    yield from ("", f"{'WORKERS':16} {'STATE':10} {'UP':>8} {'MEMORY':>10}")
    yield from map(_program, seen.workers)
    yield ""
    yield from _tasks(seen)
    yield from ("", f"LAST RESULTS ({len(seen.results)})")
    for result in seen.results:
        what = printable(f"{result['task_type'] or '?'} {result['target']}".strip())
        error = f"; {printable(result['error'])}" if result["error"] else ""
        took = f"{result['duration_seconds']:.1f} s"
        yield f"  {result['ended']}  {result['status']:8} {took:>8}  {printable(result['task_id'])}  {what}{error}"
    yield from ("", f"{'QUEUE':12} {'WAITING':>8} {'BYTES':>10} {'OLDEST':>8} {'DROPPED':>8} {'REFUSED':>8}")
    for topic in seen.queue:
        oldest = _span(topic.oldest_seconds) if topic.waiting else "-"
        yield (f"  {topic.name:10} {topic.waiting:8} {topic.bytes:10} {oldest:>8} {topic.dropped:8} {topic.refused:8}")
    if seen.left_out:
        yield from ("", "LEFT OUT since the workers started")
        yield from (f"  {number:8}  {printable(what)}" for what, number in seen.left_out.items())
    yield from ("", "GUARD RAILS")
    yield from (f"  {name}={printable(words)}" for name, words in seen.guard_rails.items())
    if not seen.guard_rails:
        yield "  none are set"


def _program(program: Program) -> str:
    up = "-" if program.uptime_seconds is None else _span(program.uptime_seconds)
    memory = "-" if program.memory_bytes is None else f"{program.memory_bytes / 2**20:.1f} MiB"
    return f"  {program.name:14} {program.state:10} {up:>8} {memory:>10}"


def _tasks(seen: Overview) -> Iterator[str]:
    tasks = seen.tasks
    old = tasks.said_seconds_ago
    age = " (the task-runner has said nothing yet)" if old is None else f" (as of {old:.0f} s ago)" if old > 10 else ""
    yield f"TASKS: {tasks.running} in progress, {tasks.waiting} waiting{age}"
    for task in tasks.listed:
        yield from _task(task)
    if tasks.not_listed:
        yield f"  and {tasks.not_listed} more"


def _task(task: TaskShown) -> Iterator[str]:
    for_now = f" for {_span(task.seconds)}" if task.seconds is not None else ""
    left = f", {task.pods_left} pod{'s' if task.pods_left > 1 else ''} left" if task.pods_left else ""
    ends = f"{_span(task.seconds_left)} to its deadline" if task.seconds_left > 0 else "past its deadline"
    yield f"  {printable(task.task_id)}  {task.task_type} {printable(task.target)}: {task.phase}{for_now}{left}, {ends}"
    held = ", ".join(f"{holder['by']} holds {holder['pods']}" for holder in task.held)
    if held:
        longest = f", the longest for {_span(task.held_seconds)}" if task.held_seconds is not None else ""
        yield f"      {printable(held)}{longest}"
    if task.stuck:
        yield f"      stuck terminating: {printable(task.stuck)}"


def _span(seconds: float) -> str:
    """A duration in one word: 42s, 3m20s, 5h12m, 3d4h."""
    whole = int(seconds)
    for size, unit, smaller, word in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // smaller}{word}"
    return f"{whole}s"
