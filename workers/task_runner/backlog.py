"""Claimed tasks in the order they shall start: priority, then deadline; one at a time for each target."""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
from dataclasses import dataclass, field
from datetime import datetime

from shared.schemas.parameters import DrainNode, NodeParameters, Parameters, PodParameters
from workers.task_runner.context import Interrupt
from workers.task_runner.intake import is_late
from workers.task_runner.journal import Claim


@dataclass(order=True)
class Entry:
    """A claimed task, sorted by urgency."""

    rank: tuple[int, float, int]
    claim: Claim = field(compare=False)
    parameters: Parameters = field(compare=False)
    target: str = field(compare=False)
    interrupt: Interrupt = field(compare=False, default_factory=Interrupt)
    """Stops the task, also in the moment between being taken and being executed."""

    def __post_init__(self) -> None:
        self.size = len(self.claim.task.model_dump_json())

    @property
    def task_id(self) -> str:
        return self.claim.task.task_id

    @property
    def is_drain(self) -> bool:
        return isinstance(self.parameters, DrainNode)


class Backlog:
    """Thread-safe. ``take`` hands out the most urgent task whose target nobody works on.

    No more than ``drains`` of them are drains at a time: these may be held for hours.
    """

    def __init__(self, drains: int = sys.maxsize) -> None:
        self._drains = drains
        self._changed = threading.Condition()
        self._waiting: list[Entry] = []
        self._taken: dict[str, Entry] = {}
        """By target."""
        self._sequence = itertools.count()
        self._closed = False
        self.bytes = 0
        """Size of what waits."""

    def add(self, claim: Claim, parameters: Parameters) -> None:
        task = claim.task
        rank = (task.priority, task.deadline.timestamp(), next(self._sequence))
        self.put_back(Entry(rank, claim, parameters, target_of(parameters)))

    def put_back(self, entry: Entry) -> None:
        """Let a task wait (again) that was withdrawn."""
        with self._changed:
            heapq.heappush(self._waiting, entry)
            self.bytes += entry.size
            self._changed.notify_all()

    def take(self) -> Entry | None:
        """The next task to execute; its target is busy until ``done``. None once closed."""
        with self._changed:
            while not self._closed:
                full = sum(entry.is_drain for entry in self._taken.values()) >= self._drains
                for entry in sorted(self._waiting):
                    if entry.target not in self._taken and not (entry.is_drain and full):
                        self._remove(entry)
                        self._taken[entry.target] = entry
                        return entry
                self._changed.wait()
            return None

    def done(self, entry: Entry) -> None:
        """The task ended; its target is free."""
        with self._changed:
            self._taken.pop(entry.target, None)
            self._changed.notify_all()

    def taken(self) -> list[Entry]:
        """The tasks that were handed out and are not done."""
        with self._changed:
            return list(self._taken.values())

    def withdraw(self, task_id: str) -> Entry | None:
        """Take a waiting task out; None when it does not wait (any more)."""
        with self._changed:
            for entry in self._waiting:
                if entry.task_id == task_id:
                    self._remove(entry)
                    return entry
            return None

    def withdraw_late(self, now: datetime) -> list[Entry]:
        """Take out the waiting tasks whose deadline has passed."""
        with self._changed:
            late = [entry for entry in self._waiting if is_late(entry.claim.task, now)]
            for entry in late:
                self._remove(entry)
            return late

    def _remove(self, entry: Entry) -> None:
        self._waiting.remove(entry)
        heapq.heapify(self._waiting)
        self.bytes -= entry.size

    def close(self) -> list[Entry]:
        """Hand out nothing more; the tasks that still waited."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            waiting, self._waiting, self.bytes = sorted(self._waiting), [], 0
            return waiting

    def __len__(self) -> int:
        return len(self._waiting)


def target_of(parameters: Parameters) -> str:
    """What a task writes to: two tasks with the same target never run at once."""
    if isinstance(parameters, NodeParameters):
        return f"node/{parameters.node_name}"
    if isinstance(parameters, PodParameters):
        return f"pod/{parameters.namespace}/{parameters.pod_name}"
    raise TypeError(f"no target is known for {type(parameters).__name__}")
