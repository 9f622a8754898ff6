"""Calls that may take their time, made beside the passes: the answer wakes the story that asked."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from workers.task_runner.work.pool import Line, Pool

RECORDS = 2
"""Calls to the queue under way at once."""

PARALLEL = 8
"""Calls under way at once; evictions have threads of their own (evictor.py)."""

T = TypeVar("T")

Rank = tuple[int, float]
"""A task's priority (1 is the most urgent) and its deadline in epoch seconds: the less, the sooner its turn."""


class Call(Generic[T]):
    """A call under way."""

    def __init__(self, function: Callable[[], T], rank: Rank, answered: Callable[[], None]) -> None:
        self.function = function
        self.rank = rank
        self.variables: Variables = copy_context()
        self.answered = answered
        self.there = False
        """Whether the answer is there."""
        self._begun = threading.Lock()
        """Held by whoever was first: the thread that makes the call, or the task that withdraws it."""
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._value = self.variables.run(self.function)
        except BaseException as error:
            self._error = error
        self.there = True
        self.answered()

    @property
    def begun(self) -> bool:
        """Whether it is under way, or made."""
        return self._begun.locked()

    def withdraw(self) -> bool:
        """Have it not be made; False when it is under way already."""
        return self._begun.acquire(blocking=False)

    def value(self) -> T:
        """What the function returned, or raises what it raised."""
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value


class _ByRank(Line[Call[Any]]):
    def __init__(self) -> None:
        self._waiting: list[tuple[Rank, int, Call[Any]]] = []
        self._sequence = itertools.count()

    def add(self, job: Call[Any]) -> None:
        heapq.heappush(self._waiting, (job.rank, next(self._sequence), job))

    def take(self) -> tuple[Call[Any] | None, float]:
        return (heapq.heappop(self._waiting)[2] if self._waiting else None), float("inf")

    def done(self, job: Call[Any], seconds: float) -> None:
        pass  # Any call may follow any other.

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        self._waiting.clear()


class Calls:
    """A few threads for all tasks; the most urgent task's calls are made first."""

    def __init__(self, parallel: int = PARALLEL) -> None:
        self._pool: Pool[Call[Any]] = Pool("call", parallel, _ByRank(), Call.run)

    def begin(self, function: Callable[[], T], rank: Rank, answered: Callable[[], None]) -> Call[T]:
        """Call ``function`` on another thread, with the caller's context variables; then ``answered``."""
        call = Call(function, rank, answered)
        self._pool.submit(call)
        return call

    def close(self) -> None:
        """Make no more calls; who waits for one waits for ever."""
        self._pool.close()
