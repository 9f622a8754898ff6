"""The owner's brake: while it is on, no task is begun."""

from __future__ import annotations

from dataclasses import dataclass

from workers.task_runner.guards.law import TaskAsked


@dataclass(frozen=True)
class Paused:
    """``rule``: which switch is on, None when none is."""

    rule: str | None

    def refusal(self, subject: TaskAsked) -> str | None:
        return f"tasks are paused by the cluster's owner: {self.rule}" if self.rule else None
