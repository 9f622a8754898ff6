"""Things to do later, on a few threads."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Timers:
    """Runs each action when it is due. What an action raises is its own business: none should."""

    def __init__(self, threads: int = 8) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hollow")
        self._thread = threading.Thread(target=self._run, name="hollow-timers", daemon=True)
        self._thread.start()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))
            self._changed.notify()

    def stop(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    self._pool.submit(heapq.heappop(self._due)[2])
                self._changed.wait(self._due[0][0] - now if self._due else None)
