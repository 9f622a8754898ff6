"""The queue without a broker: the same store, in this process's memory. For tests and simulations."""

from __future__ import annotations

import threading
import time

from shared.basics.errors import AgentError
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.queue.client import PATIENCE, Queue, QueueFailed, QueueRefused
from shared.queue.errors import InvalidRequest, QueueFull
from shared.queue.handler import answer, nothing
from shared.queue.limits import Limits
from shared.queue.messages import Lease, Reply, Request, WatchState
from shared.queue.store import Store


class MemoryQueue(Queue):
    """Thread-safe. Behaves as the broker does; what waits, waits."""

    def __init__(self, limits: Limits | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.store = Store(":memory:", limits, clock)
        self._clock = clock
        self._changed = threading.Condition()

    def call(self, request: Request, patience: float = PATIENCE) -> Reply:
        wait = request.wait if isinstance(request, (Lease, WatchState)) else 0.0
        until = time.monotonic() + wait
        with self._changed:
            while True:
                try:
                    reply = answer(self.store, request)
                    self.store.commit()
                except InvalidRequest:
                    raise
                except AgentError as error:
                    failure = QueueRefused if isinstance(error, QueueFull) else QueueFailed
                    raise failure(f"the queue could not do it: {error}") from error
                if reply is not None:
                    self._changed.notify_all()
                    return reply
                left = until - time.monotonic()
                if left <= 0.0:
                    return nothing(self.store, request)
                self._changed.wait(min(left, self._time_to_next_release()))

    def _time_to_next_release(self) -> float:
        """Seconds until a lease or a delay ends."""
        release = self.store.next_release()
        return float("inf") if release is None else max(0.0, release - self._clock.monotonic())
