"""Evictions of all tasks of this process: many at once, in turn, behind one rate limit.

An eviction costs the API server about 100 ms, however idle it is (it reads the budgets consistently), so a
node is emptied quickly only by many at once; and hundreds of drains together must not flood it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import copy_context
from dataclasses import dataclass, field

from shared.basics import telemetry
from shared.basics.errors import AgentError
from shared.basics.timing import SYSTEM_CLOCK, Clock
from shared.kube.connection import Kube
from shared.kube.errors import NotFound
from shared.kube.evictions import Outcome, Verdict
from shared.kube.pods import Pod, Pods
from workers.task_runner.work.calls import Rank
from workers.task_runner.work.pace import Pace
from workers.task_runner.work.pool import Line, Pool
from workers.task_runner.work.turns import Turns

PARALLEL = 32
"""Requests under way at once: at 100 ms each, half of them still carry the default rate of 100 a second."""


@dataclass
class Request:
    """One request for one pod."""

    pod: Pod
    rank: Rank
    task_id: str
    send: Callable[[Pod], Outcome]
    done: Callable[[Pod, Outcome | None], None]
    """Called on another thread with what came of it; None where it was not ``wanted`` any more, and not sent."""
    wanted: Callable[[], bool] = lambda: True
    """Asked just before the request: a task that ended meanwhile evicts nothing more."""
    sent: Callable[[], None] = lambda: None
    """Called when the request is really sent."""
    again: bool = False
    """Whether the pod is read first, which was asked before: it may be gone or going (rule 18)."""
    shortens: bool = False
    """Whether it is meant for a pod that terminates already (rule 21)."""
    variables: Variables = field(default_factory=copy_context)
    outcome: Outcome | None = None

    @property
    def namespace(self) -> str:
        return self.pod.metadata.namespace


class _Paced(Line[Request]):
    """The turns, at the pace of the process."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._turns: Turns[Request] = Turns(PARALLEL)
        self._next: Request | None = None

    def add(self, job: Request) -> None:
        self._turns.add(job)

    def take(self) -> tuple[Request | None, float]:
        if self._next is None:
            self._next = self._turns.take()
        if self._next is None:
            return None, float("inf")
        if pause := self._pace.take():
            return None, pause
        job, self._next = self._next, None
        return job, 0.0

    def done(self, job: Request, seconds: float) -> None:
        self._turns.done(job, seconds)
        if job.outcome is not None:
            outcome = job.outcome
            self._pace.answered(seconds, outcome.throttled or outcome.code == 0 or outcome.code >= 500)
            telemetry.EVICTION_RATE.set(self._pace.rate)

    def __len__(self) -> int:
        return len(self._turns) + (self._next is not None)

    def clear(self) -> None:
        self._turns.clear()
        self._next = None


class Evictor:
    """Owns the threads and the rate limit. One for the process."""

    def __init__(self, kube: Kube, rate: float, burst: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._kube = kube
        self._pool: Pool[Request] = Pool("evict", PARALLEL, _Paced(Pace(rate, burst, clock)), self._run)

    def ask(self, request: Request) -> None:
        """Send ``request`` when its turn comes."""
        self._pool.submit(request)

    def _run(self, request: Request) -> None:
        request.variables.run(self._exchange, request)

    def _exchange(self, request: Request) -> None:
        try:
            if not request.wanted():
                request.done(request.pod, None)
                return
            outcome = self._reread(request) if request.again else None
            if outcome is None:
                request.sent()
                outcome = request.outcome = request.send(request.pod)
        except AgentError as error:
            outcome = request.outcome = Outcome(Verdict.RETRY, 0, str(error), pause=1.0)
        except Exception as error:  # The task waits for an answer; whatever went wrong is one.
            outcome = Outcome(Verdict.RETRY, 0, repr(error), pause=1.0)
        request.done(request.pod, outcome)

    def _reread(self, request: Request) -> Outcome | None:
        """What the pod's present state already answers; None when it has to be asked (rule 18)."""
        meta = request.pod.metadata
        try:
            now = Pods(self._kube).find(meta.namespace, meta.name)
        except NotFound as error:
            return Outcome(Verdict.GONE, 404, str(error))
        if now.uid != request.pod.uid:
            return Outcome(Verdict.GONE, 409, "another pod has its name")
        if now.ended and (now.terminating or not request.pod.ended):
            return Outcome(Verdict.GONE, 200, f"it ended: {now.status.phase}")
        if now.terminating and not request.shortens:
            return Outcome(Verdict.TERMINATING, 200, "terminates already")
        return None

    def close(self) -> None:
        """Begin nothing more; requests under way are not waited for."""
        self._pool.close()
