"""Claimed tasks in the order they shall start: priority, then deadline; one at a time for each target."""

from __future__ import annotations

import heapq
import itertools
import threading
from dataclasses import dataclass, field

from shared.schemas.parameters import NodeParameters, Parameters, PodParameters
from workers.task_runner.journal import Claim


@dataclass(order=True)
class Entry:
    """A claimed task, sorted by urgency."""

    rank: tuple[int, float, int]
    claim: Claim = field(compare=False)
    parameters: Parameters = field(compare=False)
    target: str = field(compare=False)


class Backlog:
    """Thread-safe. ``take`` hands out the most urgent task whose target nobody works on."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Entry] = []
        self._busy: set[str] = set()
        self._sequence = itertools.count()
        self._closed = False

    def add(self, claim: Claim, parameters: Parameters) -> None:
        task = claim.task
        rank = (task.priority, task.deadline.timestamp(), next(self._sequence))
        with self._changed:
            heapq.heappush(self._waiting, Entry(rank, claim, parameters, target_of(parameters)))
            self._changed.notify_all()

    def take(self) -> Entry | None:
        """The next task to execute; its target is busy until ``done``. None once closed."""
        with self._changed:
            while not self._closed:
                for entry in sorted(self._waiting):
                    if entry.target not in self._busy:
                        self._waiting.remove(entry)
                        heapq.heapify(self._waiting)
                        self._busy.add(entry.target)
                        return entry
                self._changed.wait()
            return None

    def done(self, entry: Entry) -> None:
        """The task ended; its target is free."""
        with self._changed:
            self._busy.discard(entry.target)
            self._changed.notify_all()

    def withdraw(self, task_id: str) -> Entry | None:
        """Take a waiting task out; None when it does not wait (any more)."""
        with self._changed:
            for entry in self._waiting:
                if entry.claim.task.task_id == task_id:
                    self._waiting.remove(entry)
                    heapq.heapify(self._waiting)
                    return entry
            return None

    def close(self) -> list[Entry]:
        """Hand out nothing more; the tasks that still waited."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return sorted(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)


def target_of(parameters: Parameters) -> str:
    """What a task writes to: two tasks with the same target never run at once."""
    if isinstance(parameters, NodeParameters):
        return f"node/{parameters.node_name}"
    if isinstance(parameters, PodParameters):
        return f"pod/{parameters.namespace}/{parameters.pod_name}"
    raise TypeError(f"no target is known for {type(parameters).__name__}")
