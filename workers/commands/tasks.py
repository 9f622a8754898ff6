"""``cloudoptim-agent tasks``: the tasks the journal knows, and the kept account of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shared.basics.errors import PermanentError
from shared.basics.logs import printable
from shared.process.state import TASK
from shared.queue.client import Queue, value


class NoSuchTask(PermanentError):
    """The journal does not know the task (any more)."""


def tasks(queue: Queue, in_json: bool) -> Iterator[str]:
    """A line for each task that is kept: those without a result first, then the newest.

    Raises:
        TemporaryError: the queue does not answer.
    """
    records = {key[len(TASK) :]: value(entry) for key, entry in queue.get_state(TASK).items()}
    order = sorted(records, key=lambda task_id: records[task_id].get("at", "~"), reverse=True)
    if in_json:
        yield from (json.dumps(_summary(task_id, records[task_id])) for task_id in order)
        return
    if not order:
        yield "No task is kept."
    for task_id in order:
        shown = _summary(task_id, records[task_id])
        what = f"{shown['task_type'] or '?'} {shown['target']}".strip()
        yield f"{shown['ended'] or '-':24}  {shown['status']:11}  {printable(task_id)}  {printable(what)}"


def account(queue: Queue, task_id: str, in_json: bool) -> Iterator[str]:
    """What is kept of one task.

    Raises:
        NoSuchTask: nothing is.
        TemporaryError: the queue does not answer.
    """
    entry = queue.get_state(TASK + task_id).get(TASK + task_id)
    if entry is None:
        raise NoSuchTask(
            f"the journal knows no task {printable(task_id)!r}: it keeps those at work and the last 500 that ended"
        )
    record = value(entry)
    if in_json:
        yield json.dumps(record, indent=2)
        return
    shown = _summary(task_id, record)
    for name in ("task_id", "task_type", "target", "status", "ended", "duration_seconds", "error"):
        if shown[name] not in (None, ""):
            yield f"{name.replace('_', ' '):17} {printable(str(shown[name]))}"
    if "result" not in record:
        task = record["task"]
        yield f"{'deadline':17} {task['deadline']}"
        yield f"{'parameters':17} {printable(json.dumps(task['parameters']))}"
        yield f"{'on record':17} {printable(json.dumps(record['notes']))}"
        return
    yield ""
    yield from (printable(line) for line in record["result"]["logs"].splitlines() or ["It was not begun."])


def _summary(task_id: str, record: dict[str, Any]) -> dict[str, Any]:
    result = record.get("result", {})
    task = record.get("task", {})
    parameters = task.get("parameters", {})
    target = parameters.get("node_name") or "/".join(
        str(parameters[key]) for key in ("namespace", "pod_name") if key in parameters
    )
    return {
        "task_id": task_id,
        "task_type": record.get("task_type", task.get("task_type", "")),
        "target": record.get("target", target),
        "status": result.get("status", "in progress"),
        "ended": record.get("at"),
        "duration_seconds": result.get("duration_seconds"),
        "error": result.get("error"),
    }
