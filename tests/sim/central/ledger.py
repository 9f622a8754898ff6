"""What Central knows: tasks it wants done, and everything that ever arrived."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

Json = dict[str, Any]

_ASKED = 200
"""Tasks that are remembered for whoever looks."""


@dataclass(frozen=True)
class Arrival:
    """One call of the agent that was answered 2xx."""

    call: str
    """tasks, result, metrics, events, heartbeat, register, deregister or stream."""
    at: float
    """Monotonic."""
    body: Any
    headers: dict[str, str]
    task_id: str = ""


@dataclass
class Ledger:
    """Thread-safe."""

    cluster_id: str = "demo"
    arrivals: list[Arrival] = field(default_factory=list)
    pending: dict[str, Json] = field(default_factory=dict)
    """Tasks offered to polls until their result arrives, by id."""

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._numbers = 0
        self._asked: deque[tuple[int, Json]] = deque(maxlen=_ASKED)

    def note(self, arrival: Arrival) -> None:
        with self._changed:
            self.arrivals.append(arrival)
            if arrival.call == "result":
                self.pending.pop(arrival.task_id, None)
            self._changed.notify_all()

    def make_task(self, task_type: str, parameters: Json, seconds: float = 120.0, **fields: Any) -> Json:
        """A well-formed task, ready to be offered or pushed."""
        with self._changed:
            self._numbers += 1
            number = self._numbers
        now = datetime.now(timezone.utc)
        task: Json = {
            "task_id": f"task-{number}",
            "cluster_id": self.cluster_id,
            "task_type": task_type,
            "parameters": parameters,
            "priority": 5,
            "deadline": (now + timedelta(seconds=seconds)).isoformat(),
            "created_at": now.isoformat(),
        }
        task.update(fields)
        with self._changed:
            self._asked.append((number, task))
        return task

    def asked_after(self, number: int) -> list[tuple[int, Json]]:
        """The last tasks that were made, with their numbers, from behind ``number`` on."""
        with self._changed:
            return [one for one in self._asked if one[0] > number]

    def offer(self, task: Json) -> str:
        """Hand ``task`` out at the next poll, and again until it is answered; its id."""
        with self._changed:
            self.pending[task["task_id"]] = task
        return str(task["task_id"])

    def offered(self) -> list[Json]:
        with self._changed:
            return list(self.pending.values())

    def of(self, call: str) -> list[Arrival]:
        """Everything that arrived by ``call``, in order."""
        with self._changed:
            return [arrival for arrival in self.arrivals if arrival.call == call]

    def results(self, task_id: str) -> list[Json]:
        return [arrival.body for arrival in self.of("result") if arrival.task_id == task_id]

    def wait(self, until: Callable[[], Any], timeout: float = 60.0) -> Any:
        """What ``until()`` returns once it is true. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (found := until()):
                if not self._changed.wait(min(0.2, max(0.0, deadline - time.monotonic()))) and (
                    time.monotonic() >= deadline
                ):
                    raise TimeoutError(f"Central waited {timeout:g} s in vain")
            return found

    def wait_result(self, task_id: str, timeout: float = 60.0) -> Json:
        """The result of a task."""
        found: list[Json] = self.wait(lambda: self.results(task_id), timeout)
        return found[0]
