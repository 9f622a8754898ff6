"""Maintenance windows: the only times at which the owner has work done (days, hours, zone, as in kured)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.config.windows import Window
from workers.task_runner.guards.law import TaskAsked


@dataclass(frozen=True)
class MaintenanceWindows:
    """``windows``: MAINTENANCE_WINDOWS; none means always."""

    windows: Sequence[Window]

    def refusal(self, subject: TaskAsked) -> str | None:
        if not self.windows or any(window.is_open(subject.now) for window in self.windows):
            return None
        rule = "; ".join(str(window) for window in self.windows)
        opens = min(window.opens_after(subject.now) for window in self.windows)
        return (
            f"outside the cluster owner's maintenance windows: MAINTENANCE_WINDOWS is {rule};"
            f" the next one opens at {_moment(opens)}"
        )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
