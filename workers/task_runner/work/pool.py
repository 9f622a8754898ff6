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
"""A thread that found nothing to do for so long ends, and takes its stack and its connection's memory with it."""

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
        self._threads = self._idle = 0
        self._timed = False
        self._closed = False

    def submit(self, job: J) -> None:
        """Have ``job`` run when its turn comes; never, once the pool is closed."""
        with self._changed:
            if self._closed:
                return
            self._line.add(job)
            if self._idle:
                self._changed.notify()
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            started = time.monotonic()
            try:
                self._run(job)
            except Exception:
                _logger.exception("a call failed unexpectedly")
            with self._changed:
                self._line.done(job, time.monotonic() - started)

    def _next(self) -> J | None:
        """Wait for a job; None when this thread is to end."""
        with self._changed:
            self._idle += 1
            bored = time.monotonic() + _IDLE_SECONDS
            try:
                while not self._closed:
                    job, pause = self._line.take()
                    if job is not None:
                        if self._idle > 1:
                            self._changed.notify()  # There may be work for another one.
                        return job
                    left = bored - time.monotonic()
                    if left <= 0 and pause == float("inf"):
                        break
                    self._wait(pause, max(0.0, left))
                self._threads -= 1
                return None
            finally:
                self._idle -= 1

    def _wait(self, pause: float, left: float) -> None:
        if self._timed or pause == float("inf"):
            self._changed.wait(left)
            return
        self._timed = True
        try:
            self._changed.wait(pause)
        finally:
            self._timed = False

    def close(self) -> None:
        """Begin nothing more; what runs is not waited for."""
        with self._changed:
            self._closed = True
            self._line.clear()
            self._changed.notify_all()
