"""The types of task the owner allows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from workers.task_runner.guards.law import TaskAsked


@dataclass(frozen=True)
class AllowedTypes:
    """``allowed``: ALLOWED_TASK_TYPES."""

    allowed: Collection[str]

    def refusal(self, subject: TaskAsked) -> str | None:
        if subject.task_type in self.allowed:
            return None
        allowed = ", ".join(sorted(self.allowed)) or "none"
        return f"the cluster's owner does not allow {subject.task_type}: ALLOWED_TASK_TYPES is {allowed}"
