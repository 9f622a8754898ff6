"""Limits that cannot be read refuse everything: nobody knows what the owner would have said."""

from __future__ import annotations

from dataclasses import dataclass

from workers.task_runner.guards.law import TaskAsked


@dataclass(frozen=True)
class Readable:
    """``problem``: what is wrong with the mounted keys, None when nothing is."""

    problem: str | None

    def refusal(self, subject: TaskAsked) -> str | None:
        return f"the limits of the cluster's owner cannot be read: {self.problem}" if self.problem else None
