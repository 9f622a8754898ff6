"""Evictions of all tasks of this process: in parallel, behind one rate limiter.

An eviction costs the API server about 100 ms, however idle it is (it reads the budgets consistently), so a
node is emptied quickly only by many at once; and several drains together must not flood it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.basics import logs
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.kube.connection import Kube
from shared.kube.errors import NotFound
from shared.kube.evictions import Outcome, Verdict, delete, evict
from shared.kube.pods import Pod, Pods

PARALLEL = 24
"""Requests under way at once: at 100 ms each, more than the default rate of 100 a second can use."""

Done = Callable[[Pod, Outcome], None]
Request = Callable[[Pod], Outcome]


class RateLimiter:
    """A token bucket: ``rate`` tokens a second, at most ``burst`` saved up. Thread-safe."""

    def __init__(self, rate: float, burst: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._updated = clock.monotonic()

    def reserve(self) -> float:
        """Take a token; the seconds to wait before using it."""
        with self._lock:
            now = self._clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate) - 1.0
            self._updated = now
            return max(0.0, -self._tokens / self._rate)


class Evictor:
    """Owns the threads and the rate limit. One for the process."""

    def __init__(self, kube: Kube, rate: float, burst: int) -> None:
        self._kube = kube
        self._limiter = RateLimiter(rate, burst)
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(PARALLEL, thread_name_prefix="evict")

    def evict(
        self, pod: Pod, grace_seconds: int | None, done: Done, wanted: Callable[[], bool], again: bool = False
    ) -> None:
        """Evict ``pod`` when its turn comes; ``done`` is called on another thread with what came of it.

        ``wanted`` is asked just before the request: a task that ended meanwhile evicts nothing more. A pod
        that was asked before is read ``again`` first: it may be gone or going.
        """
        self._submit(lambda pod: evict(self._kube, pod, grace_seconds), pod, done, wanted, again)

    def delete(self, pod: Pod, grace_seconds: int, done: Done, wanted: Callable[[], bool], again: bool = False) -> None:
        """DELETE ``pod``, past all budgets; otherwise as ``evict``."""
        self._submit(lambda pod: delete(self._kube, pod, grace_seconds), pod, done, wanted, again)

    def rehearse(self, pod: Pod, grace_seconds: int | None, done: Done, wanted: Callable[[], bool]) -> None:
        """Ask what evicting ``pod`` would be answered now."""
        self._submit(lambda pod: evict(self._kube, pod, grace_seconds, dry_run=True), pod, done, wanted, False)

    def _submit(self, request: Request, pod: Pod, done: Done, wanted: Callable[[], bool], again: bool) -> None:
        def turn() -> None:
            if self._closed.is_set() or not wanted():
                return
            self._closed.wait(self._limiter.reserve())
            if self._closed.is_set() or not wanted():
                return
            try:
                outcome = (self._reread(pod) if again else None) or request(pod)
            except Exception as error:  # The task waits for an answer; whatever went wrong is one.
                outcome = Outcome(Verdict.RETRY, 0, str(error) or repr(error), pause=1.0)
            done(pod, outcome)

        if not self._closed.is_set():
            self._threads.submit(logs.carried().run, turn)

    def _reread(self, pod: Pod) -> Outcome | None:
        """What the pod's present state already answers; None when it has to be asked (rule 18)."""
        try:
            now = Pods(self._kube).find(pod.metadata.namespace, pod.metadata.name)
        except NotFound as error:
            return Outcome(Verdict.GONE, 404, str(error))
        if now.uid != pod.uid:
            return Outcome(Verdict.GONE, 409, "another pod has its name")
        return Outcome(Verdict.ACCEPTED, 200, "terminates already") if now.terminating else None

    def close(self) -> None:
        """Begin nothing more; requests under way are not waited for."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
