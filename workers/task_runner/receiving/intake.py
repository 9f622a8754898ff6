"""From what Central sent to a task that may be executed: pure decisions on one payload."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from pydantic import ValidationError

from shared.central.items import members
from shared.schemas.parameters import PARAMETERS, Parameters
from shared.schemas.tasks import Task
from workers.task_runner.receiving import signatures

_TASK_ID_MAX = 256

MAX_TASK = 32 * 1024
"""Bytes of a task that is taken. Claimed ones are kept in the journal, which is read in one piece at a start."""

MAX_PAYLOAD = 4 * MAX_TASK
"""Bytes of a task as Central wrote it (with escapes, blanks and fields of its own) that are taken apart."""

_PLAIN = {"extra_forbidden": "unknown parameter", "missing": "is required"}
"""pydantic's words for the commonest mistakes, in ours."""


@dataclass(frozen=True)
class Accepted:
    """A well-formed task of this cluster."""

    task: Task
    parameters: Parameters


@dataclass(frozen=True)
class Rejected:
    """A task that is answered ``failed`` at once."""

    task_id: str
    task_type: str
    reason: str


@dataclass(frozen=True)
class Dropped:
    """Something that is logged and counted, and not answered."""

    kind: str
    """``no_id``, ``other_cluster`` or, should that ever be, ``not_understood``; a metric's label."""
    reason: str


@dataclass(frozen=True)
class Misfit:
    """A payload that was not taken apart: too large, or no JSON. ``head`` has what its answer needs, if it is there."""

    head: dict[str, Any]
    reason: str


def decoded(payload: bytes) -> Any:
    """What ``judge`` judges: the task in ``payload``, or a Misfit."""
    if len(payload) > MAX_PAYLOAD:
        reason = f"the task has {len(payload)} bytes; at most {MAX_TASK} are taken"
        return Misfit(_head(payload), reason)
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        return Misfit(_head(payload), f"malformed task: {str(error)[:200]}")


def _head(payload: bytes) -> dict[str, Any]:
    """The fields by which a task is answered, those that are texts, whatever the others hold; nothing else is decoded.

    Empty when one of the texts cannot be read: the task could be another cluster's.
    """
    try:
        written = members(payload, "task_id", "cluster_id", "task_type")
        return {name: json.loads(value) for name, value in written.items() if value.startswith(b'"')}
    except ValueError:
        return {}


def judge(raw: Any, cluster_id: str, signing_keys: Sequence[str] = ()) -> Accepted | Rejected | Dropped:
    """What to do with ``raw``, whatever it is. Never raises.

    A task for another cluster is not answered: the answer could end the right agent's task. With ``signing_keys`` one
    of them must have signed it.
    """
    misfit = raw if isinstance(raw, Misfit) else None
    if misfit is not None:
        raw = misfit.head
    if not isinstance(raw, dict):
        return Dropped("no_id", f"a task that is a {type(raw).__name__}, not an object")
    task_id = raw.get("task_id")
    if not _is_usable(task_id):
        return Dropped("no_id", f"a task without a usable task_id ({str(task_id)[:80]!r})")
    if isinstance(raw.get("cluster_id"), str) and raw["cluster_id"] != cluster_id:
        return Dropped("other_cluster", f"task {task_id} is for cluster {raw['cluster_id'][:80]!r}")
    kind = raw.get("task_type")
    task_type = kind if isinstance(kind, str) and kind in PARAMETERS else "unknown"
    if misfit is not None:
        return Rejected(task_id, task_type, misfit.reason)
    if signing_keys and (unsigned := signatures.refusal(raw, signing_keys)):
        return Rejected(task_id, task_type, unsigned)
    if isinstance(kind, str) and kind not in PARAMETERS:
        known = ", ".join(PARAMETERS)
        return Rejected(task_id, "unknown", f"unknown task type {kind[:80]!r}; this agent knows {known}")
    try:
        task = Task.model_validate(raw)
    except (ValidationError, RecursionError) as error:
        return Rejected(task_id, task_type, f"malformed task: {_said(error)}")
    try:
        parameters = PARAMETERS[task.task_type].model_validate(task.parameters)
    except (ValidationError, RecursionError) as error:
        return Rejected(task_id, task.task_type, f"bad parameters for {task.task_type}: {_said(error)}")
    try:
        size = len(task.model_dump_json())
    except ValueError:
        return Rejected(task_id, task.task_type, "the task holds half a surrogate pair, which is no text")
    if size > MAX_TASK:
        return Rejected(task_id, task.task_type, f"the task has {size} bytes; at most {MAX_TASK} are taken")
    return Accepted(task, parameters)


def by_urgency(payloads: Iterable[bytes]) -> list[bytes]:
    """What came together, in the order to take it in: an idle executor begins the first at once.

    What is no task goes first; it is only answered.
    """
    return sorted(payloads, key=_urgency)


def _urgency(payload: bytes) -> tuple[int, float]:
    try:
        task = Task.model_validate(decoded(payload))
    except (ValidationError, RecursionError):
        return 0, 0.0
    return task.priority, task.deadline.timestamp()


def _is_usable(task_id: Any) -> TypeGuard[str]:
    """Whether there can be an answer: the id is part of its path, in which dots alone mean something else."""
    if not isinstance(task_id, str) or task_id in (".", ".."):
        return False
    return 0 < len(task_id) <= _TASK_ID_MAX and task_id.isprintable()


def is_late(task: Task, now: datetime) -> bool:
    """Whether the deadline passed before the task began."""
    return now >= task.deadline


def _said(error: Exception) -> str:
    """A validation error on one line, without the payload's values (they may be long, or secret)."""
    if not isinstance(error, ValidationError):
        return "nested too deeply"
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'task'}: {_PLAIN.get(problem['type'], problem['msg'])}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return "; ".join(problems[:5])[:1000]
