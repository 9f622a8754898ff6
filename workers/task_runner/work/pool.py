"""Threads that come when there is work and go when there is none; who is next is for a ``Line`` to say."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

J = TypeVar("J")

_IDLE_SECONDS = 30.0
"""A thread that found nothing to do for so long ends, and takes its stack with it."""

_logger = logging.getLogger(__name__)


class Line(ABC, Generic[J]):
    """What waits for a thread, in some order. Called under the pool's lock."""

    @abstractmethod
    def add(self, job: J) -> None:
        """Let ``job`` wait."""

    @abstractmethod
    def take(self) -> tuple[J | None, float]:
        """The next job; or None, and the seconds until it is worth asking again unless something happens before."""

    @abstractmethod
    def done(self, job: J, seconds: float) -> None:
        """``job``, which was taken, has run and took so long."""

    @abstractmethod
    def __len__(self) -> int:
        """How many wait."""

    @abstractmethod
    def clear(self) -> None:
        """Let nothing wait any more."""


class Pool(Generic[J]):
    """At most ``threads`` threads that ``run`` jobs. Not more than one of them watches the time."""

    def __init__(self, name: str, threads: int, line: Line[J], run: Callable[[J], None]) -> None:
        self._name = name
        self._most = threads
        self._line = line
        self._run = run
        self._changed = threading.Condition()
        self._threads = self._idle = self._called = 0
        self._timed = False
        self._closed = False

    def submit(self, job: J) -> None:
        """Have ``job`` run when its turn comes; never, once the pool is closed."""
        with self._changed:
            if not self._closed:
                self._line.add(job)
                self._call_one()

    def _call_one(self) -> None:
        """Have a thread look: one that waits and was not called yet, or a new one."""
        if self._called < self._idle:
            self._called += 1
            self._changed.notify()
        elif self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                started = time.monotonic()
                try:
                    self._run(job)
                except Exception:
                    _logger.exception("a call failed unexpectedly")
                finally:
                    with self._changed:
                        self._line.done(job, time.monotonic() - started)
        finally:
            with self._changed:
                self._threads -= 1

    def _next(self) -> J | None:
        """Wait for a job; None when this thread is to end."""
        with self._changed:
            bored = time.monotonic() + _IDLE_SECONDS
            while not self._closed:
                job, pause = self._line.take()
                if job is not None:
                    if len(self._line):
                        self._call_one()
                    return job
                timed = pause < float("inf") and not self._timed
                left = bored - time.monotonic()
                if left <= 0 and not timed:
                    return None
                self._wait(pause if timed else left, timed)
            return None

    def _wait(self, seconds: float, timed: bool) -> None:
        self._idle += 1
        self._timed = self._timed or timed
        try:
            self._changed.wait(seconds)
        finally:
            self._idle -= 1
            self._called = max(0, self._called - 1)
            if timed:
                self._timed = False

    def close(self) -> None:
        """Begin nothing more; what runs is not waited for."""
        with self._changed:
            self._closed = True
            self._line.clear()
            self._changed.notify_all()
