"""The one thread on which hollow kubelets and controllers live: changes come in, timers go off."""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable
from queue import Empty
from typing import Protocol

from tests.sim.kube.resources import PODS, STORED, Object
from tests.sim.kube.store import Change, Store, Subscription


class Controller(Protocol):
    """Sees every change, then works off what it noted down."""

    def see(self, change: Change) -> None: ...

    def work(self) -> None: ...


def is_restless(pod: Object) -> bool:
    """Whether something is still to happen to a pod of itself."""
    return pod["status"].get("phase") == "Pending" or "deletionTimestamp" in pod["metadata"]


class Clockwork:
    """Runs controllers and timers; asleep while nothing happens."""

    def __init__(self, store: Store) -> None:
        self.controllers: list[Controller] = []
        self._store = store
        self._subscription = Subscription(STORED)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._stopping = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="kube-controllers", daemon=True)

    def start(self) -> None:
        """Begin with what is there; pods at rest need nobody's attention."""
        with self._store.lock:
            self._subscription, _ = self._store.follow(STORED)
            for stored in (stored for resource in STORED for stored in self._store.all(resource)):
                if stored.resource is not PODS or is_restless(stored.object):
                    self._subscription.queue.put(Change(stored.resource, stored.revision, stored, None))
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join(60)
            self._store.unfollow(self._subscription)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run ``action`` on the controllers' thread, ``seconds`` from now."""
        with self._lock:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), action))
        if threading.current_thread() is not self._thread:
            self._wake()

    @property
    def idle(self) -> bool:
        """Nothing is being done and no change waits; timers may be pending."""
        return not self._busy and self._subscription.queue.empty()

    def _wake(self) -> None:
        self._subscription.queue.put(None)

    def _run(self) -> None:
        queue = self._subscription.queue
        while not self._stopping:
            try:
                changes = [queue.get(timeout=self._pause())]
            except Empty:
                changes = []
            self._busy = True
            while not queue.empty() and len(changes) < 1000:
                changes.append(queue.get_nowait())
            self._turn([change for change in changes if change is not None])
            self._busy = False

    def _turn(self, changes: list[Change]) -> None:
        for controller in self.controllers:
            for change in changes:
                self._guard(controller.see, change)
        for action in self._due():
            self._guard(action)
        for controller in self.controllers:
            self._guard(controller.work)

    @staticmethod
    def _guard(action: Callable[..., None], *arguments: Change) -> None:
        try:
            action(*arguments)
        except Exception:  # one bad object must not stop the world; the trace shows it is our bug
            traceback.print_exc(file=sys.stderr)

    def _pause(self) -> float | None:
        with self._lock:
            return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _due(self) -> list[Callable[[], None]]:
        now, due = time.monotonic(), []
        with self._lock:
            while self._timers and self._timers[0][0] <= now:
                due.append(heapq.heappop(self._timers)[2])
        return due
