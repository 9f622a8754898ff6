"""Threads that come when there is work."""

from __future__ import annotations

import threading
import time
from collections import deque

from tests.unit.conftest import eventually
from workers.task_runner.work.pool import Line, Pool


class Queue(Line[int]):
    """First come, first served; ``pause`` seconds apart."""

    def __init__(self, pause: float = 0.0) -> None:
        self._jobs: deque[int] = deque()
        self._pause = pause
        self._next = 0.0
        self.taken = 0

    def add(self, job: int) -> None:
        self._jobs.append(job)

    def take(self) -> tuple[int | None, float]:
        self.taken += 1
        if not self._jobs:
            return None, float("inf")
        if (left := self._next - time.monotonic()) > 0:
            return None, left
        self._next = time.monotonic() + self._pause
        return self._jobs.popleft(), 0.0

    def done(self, job: int, seconds: float) -> None:
        pass

    def __len__(self) -> int:
        return len(self._jobs)

    def clear(self) -> None:
        self._jobs.clear()


def test_a_burst_is_run_by_all_threads_also_where_one_was_idle() -> None:
    """A thread that waits has been called once; it is not counted on for the whole burst."""
    together = threading.Barrier(4)
    reached: list[int] = []

    def run(job: int) -> None:
        if job:
            together.wait(60)
        reached.append(job)

    pool = Pool("test", 4, Queue(), run)
    pool.submit(0)
    eventually(lambda: reached == [0])
    for job in range(1, 5):
        pool.submit(job)
    eventually(lambda: len(reached) == 5)
    pool.close()


def test_everything_is_run_once_however_it_comes() -> None:
    ran: list[int] = []
    pool = Pool("test", 3, Queue(), ran.append)

    def submit(first: int) -> None:
        for number in range(200):
            pool.submit(first + number)

    threads = [threading.Thread(target=submit, args=(first,)) for first in (0, 200, 400)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(ran) == 600)
    assert sorted(ran) == list(range(600))
    pool.close()


def test_one_thread_watches_the_time_while_nothing_may_go() -> None:
    """And none of the others spins."""
    line, ran = Queue(pause=0.2), list[int]()
    pool = Pool("test", 8, line, ran.append)
    for job in range(5):
        pool.submit(job)
    eventually(lambda: len(ran) == 5)
    assert line.taken < 100
    pool.close()


def test_a_job_that_fails_costs_no_thread() -> None:
    ran: list[int] = []

    def run(job: int) -> None:
        if job < 20:
            raise ZeroDivisionError
        ran.append(job)

    pool = Pool("test", 2, Queue(), run)
    for job in range(21):
        pool.submit(job)
    eventually(lambda: ran == [20])
    pool.close()


def test_a_closed_pool_begins_nothing() -> None:
    ran: list[int] = []
    pool = Pool("test", 2, Queue(), ran.append)
    pool.close()
    pool.submit(1)
    assert ran == []
