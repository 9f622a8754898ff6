"""An agent that only looks: every task is refused, metrics and events go on."""

from __future__ import annotations

from dataclasses import dataclass

from workers.task_runner.guards.law import TaskAsked


@dataclass(frozen=True)
class ReadOnly:
    """``is_set``: READ_ONLY."""

    is_set: bool

    def refusal(self, subject: TaskAsked) -> str | None:
        return "this agent is read-only: the cluster's owner set READ_ONLY" if self.is_set else None
