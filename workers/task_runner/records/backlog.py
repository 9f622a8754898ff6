"""Claimed tasks in the order they shall start: priority, then deadline; one at a time for each target.

What is done to different targets is done at once, however many they are: a task that waits costs no thread.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from dataclasses import dataclass, field
from datetime import datetime

from shared.schemas.parameters import NodeParameters, Parameters, PodParameters
from workers.task_runner.receiving.intake import is_late
from workers.task_runner.records.journal import Claim
from workers.task_runner.work.context import Interrupt
from workers.task_runner.work.story import Story


@dataclass(order=True)
class Entry:
    """A claimed task, sorted by urgency."""

    rank: tuple[bool, int, float, int]
    """What an earlier run began goes first, then priority, deadline, and who came first."""
    claim: Claim = field(compare=False)
    parameters: Parameters = field(compare=False)
    target: str = field(compare=False)
    story: Story = field(compare=False, default_factory=Story)

    def __post_init__(self) -> None:
        self.size = len(self.claim.task.model_dump_json().encode())
        self.interrupt = Interrupt(self.story)
        """Stops the task, also in the moment between being taken and being executed."""

    @property
    def task_id(self) -> str:
        return self.claim.task.task_id


class Backlog:
    """Thread-safe. ``take`` hands out the most urgent tasks whose targets nobody works on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Entry] = {}
        """By task id."""
        self._taken: dict[str, Entry] = {}
        """By target."""
        self._sequence = itertools.count()
        self._closed = False
        self.bytes = 0
        """Encoded size of what waits and what is at work."""

    def add(self, claim: Claim, parameters: Parameters) -> None:
        task = claim.task
        rank = (not claim.notes, task.priority, task.deadline.timestamp(), next(self._sequence))
        self.put_back(Entry(rank, claim, parameters, target_of(parameters)))

    def put_back(self, entry: Entry) -> None:
        """Let a task wait (again) that was withdrawn."""
        with self._lock:
            self._waiting[entry.task_id] = entry
            self.bytes += entry.size

    def take(self) -> list[Entry]:
        """The tasks to begin now, the most urgent first; their targets are busy until ``done``. None, once closed."""
        with self._lock:
            begun = []
            for entry in sorted(self._waiting.values()) if not self._closed else ():
                if entry.target not in self._taken:
                    del self._waiting[entry.task_id]
                    self._taken[entry.target] = entry
                    begun.append(entry)
            return begun

    def done(self, entry: Entry) -> None:
        """The task ended; its target is free."""
        with self._lock:
            if self._taken.pop(entry.target, None) is not None:
                self.bytes -= entry.size

    def taken(self) -> list[Entry]:
        """The tasks that were handed out and are not done."""
        with self._lock:
            return list(self._taken.values())

    def withdraw(self, task_id: str) -> Entry | None:
        """Take a waiting task out; None when it does not wait (any more)."""
        with self._lock:
            entry = self._waiting.pop(task_id, None)
            if entry is not None:
                self.bytes -= entry.size
            return entry

    def withdraw_late(self, now: datetime) -> list[Entry]:
        """Take out the waiting tasks whose deadline has passed, but for those for which something was done already."""
        with self._lock:
            late = [e for e in self._waiting.values() if is_late(e.claim.task, now) and not e.claim.notes]
            for entry in late:
                del self._waiting[entry.task_id]
                self.bytes -= entry.size
            return late

    def close(self) -> list[Entry]:
        """Hand out nothing more; the tasks that still waited."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = sorted(self._waiting.values()), {}
            return waiting

    def first(self, most: int) -> list[Entry]:
        """The most urgent of those that wait; they go on waiting."""
        with self._lock:
            return heapq.nsmallest(most, self._waiting.values())

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def __len__(self) -> int:
        """What waits and what is at work."""
        return len(self._waiting) + len(self._taken)


def target_of(parameters: Parameters) -> str:
    """What a task writes to: two tasks with the same target never run at once."""
    if isinstance(parameters, NodeParameters):
        return f"node/{parameters.node_name}"
    if isinstance(parameters, PodParameters):
        return f"pod/{parameters.namespace}/{parameters.pod_name}"
    raise TypeError(f"no target is known for {type(parameters).__name__}")
