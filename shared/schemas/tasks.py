"""A task Central delegates, and the one result each task gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from shared.schemas.wire import HeardDatetime, Incoming, Outgoing, UtcDatetime

Status = Literal["success", "failed", "timeout"]


class Task(Incoming):
    """One piece of work. ``parameters`` are checked against their own model once the type is known."""

    task_id: Annotated[str, Field(min_length=1, max_length=256)]
    cluster_id: str
    task_type: str
    parameters: dict[str, Any]
    priority: Annotated[int, Field(ge=1, le=10, strict=True)]
    """1 is the most urgent, 10 the least."""
    deadline: HeardDatetime
    """The end of the budget of time of everything the task does."""
    created_at: HeardDatetime
    signature: Annotated[str | None, Field(max_length=128)] = None
    """Base64 of an Ed25519 signature over the task's canonical JSON (RFC 8785); needed where the owner set a key."""


class TaskResult(Outgoing):
    """How a task ended. Exactly the six fields Central agreed to, beside the id; the rest is in ``logs``."""

    task_id: str
    status: Status
    logs: str
    executed_at: UtcDatetime
    """When the agent began (or refused) the task."""
    duration_seconds: float
    error: str | None = None
