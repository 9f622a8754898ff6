"""A task Central delegates, and the one result each task gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from shared.schemas.wire import HeardDatetime, Incoming, Outgoing, UtcDatetime

Status = Literal["success", "failed", "timeout"]
STATUSES: tuple[str, ...] = get_args(Status)


class Task(Incoming):
    """One piece of work. ``parameters`` are checked against their own model once the type is known."""

    task_id: Annotated[str, Field(min_length=1, max_length=256)]
    """Known by it for ever: a task is executed once, whatever arrives twice."""
    cluster_id: str
    """The cluster it is for; another one's is not answered."""
    task_type: str
    """What to do."""
    parameters: dict[str, Any]
    """By the type; one that is unknown or of another type of JSON is refused."""
    priority: Annotated[int, Field(ge=1, le=10, strict=True)]
    """1 is the most urgent, 10 the least."""
    deadline: HeardDatetime
    """The end of the budget of time of everything the task does."""
    created_at: HeardDatetime
    """When it was decided on: pods that are newer are not the ones it means."""
    signature: Annotated[str | None, Field(max_length=128)] = None
    """Base64 of an Ed25519 signature over the task's canonical JSON (RFC 8785); needed where the owner set a key."""


class TaskResult(Outgoing):
    """How a task ended. Exactly the six fields Central agreed to, beside the id; the rest is in ``logs``."""

    task_id: str
    """Of the task."""
    status: Status
    """``timeout`` where the deadline passed before or during the work."""
    logs: str
    """The account of what was done, a line each."""
    executed_at: UtcDatetime
    """When the agent began (or refused) the task."""
    duration_seconds: float
    """Seconds from then to the end."""
    error: str | None = None
    """Why it did not succeed, in a sentence; null where it did."""
