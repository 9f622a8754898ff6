"""Takes tasks in, has each executed once, puts each one's result on the queue."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import copy_context
from datetime import timedelta
from typing import Any

from shared.basics import logs, telemetry
from shared.basics.errors import TemporaryError
from shared.basics.throttle import FirstSight
from shared.basics.timing import SYSTEM_CLOCK, Clock, Deadline
from shared.config import Settings
from shared.kube.connection import Kube
from shared.queue.client import Queue
from shared.schemas.parameters import PARAMETERS, Parameters
from shared.schemas.tasks import Status, Task, TaskResult
from workers.task_runner.execution import Execution
from workers.task_runner.guards.owner import Owner
from workers.task_runner.passes import Passes
from workers.task_runner.receiving.intake import Accepted, Dropped, Rejected, is_late, judge
from workers.task_runner.records.backlog import Backlog, Entry
from workers.task_runner.records.journal import Claim, Journal
from workers.task_runner.showing import RESULTS_SHOWN, TASKS_LISTED, count, work
from workers.task_runner.work.announce import Announcer
from workers.task_runner.work.calls import RECORDS, Calls
from workers.task_runner.work.context import Cancelled, HandedBack, Stopped, Surroundings
from workers.task_runner.work.evictor import Evictor
from workers.task_runner.work.view import View

MAX_CLAIMED = 5000
"""Claimed tasks without a result; more stay with Central, which offers them again."""

MAX_CLAIMED_BYTES = 8 * 1024 * 1024
"""Their encoded size: they are kept in memory and in the queue's state."""

ANSWER_AGAIN_AFTER = timedelta(seconds=60)
"""A finished task offered again this long after it was answered last: Central did not hear it, and hears it again."""

_JOIN_SECONDS = 6.0
"""How long the ends of tasks that were told to stop are waited for; more than execution.py lets one take."""

_logger = logging.getLogger(__name__)


class Runner:
    """The heart of the task-runner. ``receive`` and ``cancel`` may be called from any thread."""

    def __init__(self, settings: Settings, queue: Queue, kube: Kube, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = Journal(queue)
        self._journal_lock = threading.Lock()
        self._backlog = Backlog()
        self._passes = Passes(clock)
        kubernetes = settings.kubernetes
        owner = self._owner = Owner(settings.tasks.limits, kube, queue, clock)
        self._surroundings = Surroundings(
            settings=settings,
            kube=kube,
            queue=queue,
            clock=clock,
            calls=Calls(),
            records=Calls(RECORDS),
            evictor=Evictor(kube, kubernetes.evictions_per_second, kubernetes.eviction_burst),
            view=View(kube, clock),
            announcer=Announcer(kube, clock, settings.tasks.kubernetes_events, settings.pod.name or "cloudoptim-agent"),
            owner=owner,
            paused=lambda: owner.limits.are_paused(),
        )
        self._running: dict[str, Execution] = {}
        self._dropped = FirstSight()
        self._accepting = False

    def start(self) -> None:
        """Resume what an earlier run left, then accept tasks. Raises TemporaryError while there is no queue."""
        with self._journal_lock:
            for claim, parameters in self._resumable():
                _logger.info("resuming task %s (%s)", claim.task.task_id, claim.task.task_type)
                self._backlog.add(claim, parameters)
            self._surroundings.replacements.update(self._journal.replacements())
            self._accepting = True
        self._passes.start()
        self._begin_what_can()

    def _resumable(self) -> list[tuple[Claim, Parameters]]:
        """What an earlier run left; what this version takes no more (it may be another) is answered."""
        resumable = []
        for claim in self._journal.load():
            judgement = judge(claim.task.model_dump(mode="json"), self._settings.agent.cluster_id)
            if isinstance(judgement, Accepted):
                resumable.append((claim, judgement.parameters))
            else:
                reason = f"it was begun, and cannot be resumed: {judgement.reason}"
                self._answer(claim.task.task_id, claim.task.task_type, "failed", reason)
        return resumable

    # -- intake -----------------------------------------------------------------------------------

    def receive(self, raw: Any, source: str) -> None:
        """Take in a task as ``source`` (``poll`` or ``stream``) delivered it.

        Raises:
            TemporaryError: it could be neither claimed nor answered; offer it again.
        """
        if not self._accepting:
            return
        telemetry.TASKS_RECEIVED.labels(source).inc()
        try:
            judgement = judge(raw, self._settings.agent.cluster_id, self._owner.limits.signing_keys)
        except Exception:  # A bug must not keep the tasks behind this one from being taken in.
            _logger.exception("a task failed unexpectedly to be understood")
            judgement = Dropped("not_understood", "a task that could not be understood")
        if isinstance(judgement, Dropped):
            telemetry.TASKS_DROPPED.labels(judgement.kind).inc()
            level = logging.WARNING
            if (
                judgement.kind == "other_cluster"
            ):  # A poll brings it again every ten seconds, and it is no mistake of ours.
                level = self._dropped.level_of(judgement.reason)
            _logger.log(level, "dropped: %s", judgement.reason)
            return
        task_id = judgement.task_id if isinstance(judgement, Rejected) else judgement.task.task_id
        with logs.context(task_id=task_id), self._journal_lock:
            if not self._is_repeat(task_id):
                self._take_in(judgement)
        self._begin_what_can()

    def _take_in(self, judgement: Accepted | Rejected) -> None:
        if isinstance(judgement, Rejected):
            self._answer(judgement.task_id, judgement.task_type, "failed", judgement.reason, rejected=True)
            return
        task = judgement.task
        if is_late(task, self._clock.now()):
            reason = f"its deadline {task.deadline:%Y-%m-%dT%H:%M:%SZ} had passed when it arrived"
            self._answer(task.task_id, task.task_type, "timeout", reason)
        elif rule := self._refusal(task):
            self._answer(task.task_id, task.task_type, "failed", rule)
        elif self.full:
            _logger.warning("not claimed: %d tasks are claimed already", len(self._backlog))
        else:
            claim = self._journal.claim(task)
            _logger.info("claimed %s, priority %d", task.task_type, task.priority)
            self._backlog.add(claim, judgement.parameters)

    def _refusal(self, task: Task) -> str | None:
        """The owner's rule that refuses the task now; None when it may begin."""
        return self._owner.on_task(task.task_type, task.parameters.get("dry_run") is True)

    def _is_repeat(self, task_id: str) -> bool:
        """Whether the task was taken in before; a finished one is answered again once that seems needed."""
        if self._journal.is_claimed(task_id):
            return True
        done = self._journal.finished(task_id)
        if done is None:
            if executed := self._journal.was_executed(task_id):
                _logger.info("Central offers a task again that ended long ago; nothing is done")
            return executed
        since = self._clock.now() - done.at
        if not timedelta(0) <= since <= ANSWER_AGAIN_AFTER:  # Before it: the clock was set back since.
            _logger.info("Central offers this finished task again; its result is sent again")
            self._journal.answer_again(done, self._clock.now())
        return True

    def _answer(self, task_id: str, task_type: str, status: Status, reason: str, rejected: bool = False) -> None:
        """The result of a task that was not begun."""
        _logger.warning("task %s answered %s: %s", task_id, status, reason)
        now = self._clock.now()
        result = TaskResult(
            task_id=task_id, status=status, logs="", executed_at=now, duration_seconds=0.0, error=reason
        )
        known = task_type if task_type in PARAMETERS else "unknown"  # What Central made up may be a megabyte.
        self._journal.finish(result, now, rejected, known)
        telemetry.TASKS.labels(known, status).inc()

    def cancel(self, task_id: str) -> None:
        """Stop a task: one that waits is answered now, one that runs at its next safe point."""
        with logs.context(task_id=task_id):
            waiting = self._withdraw(task_id)
            if waiting is not None:
                self._finish_unstarted(waiting, "failed", "cancelled before it started")
                return
            for entry in self._backlog.taken():
                if entry.task_id == task_id:
                    _logger.info("cancelling at the next safe point")
                    entry.interrupt.request(Cancelled)
                    return
            _logger.info("nothing to cancel: the task is not here, or has ended")

    def _withdraw(self, task_id: str) -> Entry | None:
        """A waiting task that nothing was done for yet; one that was begun ends as those at work do (rule 28)."""
        entry = self._backlog.withdraw(task_id)
        if entry is None:
            return None
        entry.interrupt.request(Cancelled)
        if entry.claim.notes:
            self._backlog.put_back(entry)
            self._begin_what_can()
            return None
        return entry

    def expire(self) -> None:
        """Answer the waiting tasks whose deadline has passed: what they wait for may take much longer."""
        for entry in self._backlog.withdraw_late(self._clock.now()):
            with logs.context(task_id=entry.task_id):
                self._finish_unstarted(entry, "timeout", "the deadline passed before it could start")

    def _finish_unstarted(self, entry: Entry, status: Status, reason: str) -> None:
        """Answer a task that was withdrawn; it waits again when the queue does not take the answer."""
        try:
            with self._journal_lock:
                self._answer(entry.task_id, entry.claim.task.task_type, status, reason)
        except TemporaryError as error:
            _logger.warning("the answer cannot be queued, it is given when the task's turn comes: %s", error)
            self._backlog.put_back(entry)
            self._begin_what_can()

    # -- execution --------------------------------------------------------------------------------

    def _begin_what_can(self) -> None:
        for entry in self._backlog.take():
            self._begin(entry)

    def _begin(self, entry: Entry) -> None:
        task = entry.claim.task
        node = getattr(entry.parameters, "node_name", None)
        with logs.context(task_id=task.task_id, **({"node_name": node} if node else {})):
            execution = Execution(entry, self._surroundings, self._note, self._finish, self._refusal)
            self._running[task.task_id] = execution
            self._passes.begin(entry.story, self._tell(execution, entry), copy_context())

    async def _tell(self, execution: Execution, entry: Entry) -> None:
        """One task from its start to the end of what follows it."""
        try:
            if await execution.run():
                self._ended(entry)
                await execution.follow_up(lambda: self._accepting)
        finally:
            self._ended(entry)

    def _ended(self, entry: Entry) -> None:
        if self._running.pop(entry.task_id, None) is not None:
            self._backlog.done(entry)
            self._begin_what_can()

    def _note(self, claim: Claim, notes: dict[str, Any]) -> None:
        self._journal.note(claim, **notes)

    def _finish(self, result: TaskResult) -> None:
        with self._journal_lock:
            self._journal.finish(result, self._clock.now())

    # -- the end ----------------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        """Take in nothing more; what is claimed goes on."""
        self._accepting = False

    def drain(self, seconds: float, kind: type[Stopped]) -> None:
        """Let running tasks finish for ``seconds``, then stop them with ``kind`` at their next safe point.

        With HandedBack those that never started are answered, too; with Suspended they stay in the journal.
        """
        waiting = self._backlog.close()
        if kind is HandedBack:
            for entry in waiting:
                self._hand_back(entry)
        deadline = Deadline.after(seconds, self._clock)
        while self._running and not deadline.expired:
            time.sleep(0.02)
        for entry in self._backlog.taken():
            entry.interrupt.request(kind)
        self._passes.join(_JOIN_SECONDS)
        self._surroundings.close()
        self._passes.close()

    def _hand_back(self, entry: Entry) -> None:
        """Answer a task that waits; one that an earlier run began ends as those at work do (rule 28)."""
        if entry.claim.notes:
            entry.interrupt.request(HandedBack)
            self._begin(entry)
            return
        with logs.context(task_id=entry.task_id):
            reason = "the agent was shut down before the task started; send it again"
            self._finish_unstarted(entry, "failed", reason)

    def show(self) -> dict[str, Any]:
        """Update the gauges of what runs and waits; the same for whoever looks at the agent."""
        running = list(self._running.values())
        count(running, self._backlog.waiting, self._clock)
        with self._journal_lock:
            results = self._journal.latest(RESULTS_SHOWN)
        limits = self._settings.tasks.limits.current()
        return work(running, self._backlog.first(TASKS_LISTED), self._backlog.waiting, results, limits, self._clock)

    @property
    def full(self) -> bool:
        """Whether no task is claimed before another ends."""
        return len(self._backlog) >= MAX_CLAIMED or self._backlog.bytes >= MAX_CLAIMED_BYTES

    @property
    def in_progress(self) -> int:
        return len(self._backlog)
