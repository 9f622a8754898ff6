"""Takes tasks in, executes each once, puts each one's result on the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.basics import logs, telemetry
from shared.basics.errors import AgentError, TemporaryError
from shared.basics.throttle import FirstSight
from shared.basics.timing import SYSTEM_CLOCK, Backoff, Clock, Deadline
from shared.config import Settings
from shared.kube.connection import Kube, bounded_by
from shared.process.state import DRAIN_ENDED
from shared.queue.client import Queue
from shared.queue.messages import RESULTS
from shared.schemas.parameters import PARAMETERS, Parameters
from shared.schemas.tasks import Status, Task, TaskResult
from workers.task_runner import guards
from workers.task_runner.account import Account
from workers.task_runner.announce import Announcer
from workers.task_runner.backlog import Backlog, Entry
from workers.task_runner.context import Cancelled, Context, HandedBack, OutOfTime, Stopped, Suspended
from workers.task_runner.evictor import Evictor
from workers.task_runner.intake import Accepted, Dropped, Rejected, is_late, judge
from workers.task_runner.journal import Claim, Journal
from workers.task_runner.operations import OPERATIONS

MAX_WAITING = 1000
"""Claimed tasks that may wait; more stay with Central, which offers them again."""

MAX_WAITING_BYTES = 1024 * 1024
"""Their size: the journal has to fit into one answer of the queue, or it could not be read at the next start."""

ANSWER_AGAIN_AFTER = timedelta(seconds=60)
"""A finished task offered again this long after it was answered last: Central did not hear it, and hears it again."""

_logger = logging.getLogger(__name__)


@dataclass
class _Running:
    """A task being executed."""

    context: Context
    started: float


class Runner:
    """The heart of the task-runner. ``receive`` and ``cancel`` may be called from any thread."""

    def __init__(self, settings: Settings, queue: Queue, kube: Kube, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._queue = queue
        self._kube = kube
        self._clock = clock
        self._evictor = Evictor(kube, settings.kubernetes.evictions_per_second, settings.kubernetes.eviction_burst)
        reporter = settings.pod.name or "cloudoptim-agent"
        self._announcer = Announcer(kube, clock, settings.tasks.kubernetes_events, reporter)
        self._journal = Journal(queue)
        self._journal_lock = threading.Lock()
        self._backlog = Backlog(drains=max(1, settings.tasks.parallel - 1))  # Else held ones keep all others waiting.
        self._cordoning = threading.Lock()
        self._replacements: dict[str, str] = {}
        self._running: dict[str, _Running] = {}
        self._dropped = FirstSight()
        self._threads: list[threading.Thread] = []
        self._accepting = False

    def start(self) -> None:
        """Resume what an earlier run left, then accept tasks. Raises TemporaryError while there is no queue."""
        with self._journal_lock:
            for claim, parameters in self._resumable():
                _logger.info("resuming task %s (%s)", claim.task.task_id, claim.task.task_type)
                self._backlog.add(claim, parameters)
            self._replacements.update(self._journal.replacements())
            self._accepting = True
        for number in range(self._settings.tasks.parallel):
            thread = threading.Thread(target=self._work, name=f"executor-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

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
            keys = self._settings.tasks.limits.current().signing_keys
            judgement = judge(raw, self._settings.agent.cluster_id, keys)
        except Exception:  # A bug must not keep the tasks behind this one from being taken in.
            _logger.exception("a task failed unexpectedly to be understood")
            judgement = Dropped("not_understood", "a task that could not be understood")
        if isinstance(judgement, Dropped):
            telemetry.TASKS_DROPPED.labels(judgement.kind).inc()
            # A poll brings the same ones again every ten seconds.
            _logger.log(self._dropped.level_of(judgement.reason), "dropped: %s", judgement.reason)
            return
        task_id = judgement.task_id if isinstance(judgement, Rejected) else judgement.task.task_id
        with logs.context(task_id=task_id), self._journal_lock:
            if not self._is_repeat(task_id):
                self._take_in(judgement)

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
        elif len(self._backlog) >= MAX_WAITING or self._backlog.bytes >= MAX_WAITING_BYTES:
            _logger.warning("not claimed: %d tasks wait already", len(self._backlog))
        else:
            claim = self._journal.claim(task)
            _logger.info("claimed %s, priority %d", task.task_type, task.priority)
            self._backlog.add(claim, judgement.parameters)

    def _refusal(self, task: Task) -> str | None:
        """The owner's rule that refuses the task now; None when it may begin."""
        dry_run = task.parameters.get("dry_run") is True
        return guards.on_task(task.task_type, self._clock.now(), self._settings.tasks.limits.current(), dry_run)

    def _is_repeat(self, task_id: str) -> bool:
        """Whether the task was taken in before; a finished one is answered again once that seems needed."""
        if self._journal.is_claimed(task_id):
            return True
        done = self._journal.finished(task_id)
        if done is None:
            if executed := self._journal.was_executed(task_id):
                _logger.info("Central offers a task again that ended long ago; nothing is done")
            return executed
        if self._clock.now() - done.at > ANSWER_AGAIN_AFTER:
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
        self._journal.finish(result, now, rejected)
        telemetry.TASKS.labels(task_type if task_type in PARAMETERS else "unknown", status).inc()

    def cancel(self, task_id: str) -> None:
        """Stop a task: one that waits is answered now, one that runs at its next safe point."""
        with logs.context(task_id=task_id):
            waiting = self._backlog.withdraw(task_id)
            if waiting is not None:
                waiting.interrupt.request(Cancelled)
                self._finish_unstarted(waiting, "failed", "cancelled before it started")
                return
            for entry in self._backlog.taken():
                if entry.task_id == task_id:
                    _logger.info("cancelling at the next safe point")
                    entry.interrupt.request(Cancelled)
                    return
            _logger.info("nothing to cancel: the task is not here, or has ended")

    def expire(self) -> None:
        """Answer the waiting tasks whose deadline has passed: what they wait for may take much longer."""
        for entry in self._backlog.withdraw_late(self._clock.now()):
            with logs.context(task_id=entry.task_id):
                self._finish_unstarted(entry, "timeout", "the deadline passed before it could start")

    # -- execution --------------------------------------------------------------------------------

    def _work(self) -> None:
        while (entry := self._backlog.take()) is not None:
            task = entry.claim.task
            node = getattr(entry.parameters, "node_name", None)
            with logs.context(task_id=task.task_id, **({"node_name": node} if node else {})):
                try:
                    self._execute(entry)
                except Exception:
                    _logger.exception("the executor failed; the task stays claimed and is resumed at a restart")
                finally:
                    self._running.pop(entry.task_id, None)
                    self._backlog.done(entry)

    def _execute(self, entry: Entry) -> None:
        task, started = entry.claim.task, self._clock.monotonic()
        context = self._context(entry)
        self._running[task.task_id] = _Running(context, started)
        executed_at = self._clock.now()
        context.account.say(f"{task.task_type} {'resumed' if entry.claim.resumed else 'started'}: {_about(task)}")
        status, error = self._perform(entry, context)
        if status is None:
            _logger.info("suspended; the task goes on after the restart")
            return
        duration = self._clock.monotonic() - started
        result = TaskResult(
            task_id=task.task_id,
            status=status,
            logs=context.account.text(),
            executed_at=executed_at,
            duration_seconds=round(duration, 3),
            error=error,
        )
        self._put_result(result)
        telemetry.TASKS.labels(task.task_type, status).inc()
        telemetry.TASK_SECONDS.labels(task.task_type).observe(duration)
        extra = {"duration_seconds": result.duration_seconds}
        level = logging.INFO if status == "success" else logging.WARNING
        _logger.log(level, "%s ended: %s%s", task.task_type, status, f", {error}" if error else "", extra=extra)
        self._after(task, context)

    def _perform(self, entry: Entry, context: Context) -> tuple[Status | None, str | None]:
        """Run the operation: its status and error; no status when it is to go on after a restart."""
        task = entry.claim.task
        try:
            entry.interrupt.check()
            if is_late(task, self._clock.now()):
                raise OutOfTime("the deadline passed before it could start")
            if not entry.claim.notes and (rule := self._refusal(task)):
                return "failed", rule  # Set while it waited. What was begun is not left half done.
            with bounded_by(context.deadline):
                OPERATIONS[task.task_type](entry.parameters, context)
        except Suspended:
            return None, None
        except OutOfTime as stopped:
            return "timeout", str(stopped) or "the deadline passed during the work"
        except Cancelled as stopped:
            return "failed", f"cancelled; {stopped}".rstrip("; ")
        except HandedBack as stopped:
            reason = "the agent was shut down before the task ended; it is safe to send it again"
            return "failed", f"{reason}; {stopped}".rstrip("; ")
        except AgentError as error:
            return "failed", str(error)
        except Exception as error:
            _logger.exception("the operation failed unexpectedly")
            return "failed", f"unexpected {type(error).__name__}: {error}"
        return "success", None

    def _context(self, entry: Entry) -> Context:
        claim = entry.claim
        return Context(
            task=claim.task,
            settings=self._settings,
            kube=self._kube,
            evictor=self._evictor,
            announcer=self._announcer,
            clock=self._clock,
            deadline=Deadline.until(claim.task.deadline, self._clock),
            account=Account(self._clock),
            interrupt=entry.interrupt,
            cordoning=self._cordoning,
            replacements=self._replacements,
            notes=dict(claim.notes),
            record=lambda notes: self._journal.note(claim, **notes),
        )

    def _put_result(self, result: TaskResult) -> None:
        """Results are never lost: tried until the queue takes it (a killed worker does the task's rest again)."""
        pauses = Backoff(0.2, 5.0)
        while True:
            try:
                with self._journal_lock:
                    self._journal.finish(result, self._clock.now())
                return
            except TemporaryError as error:
                pause = pauses.pause(error.delay)
                _logger.error("the result cannot be queued (%s), next try in %.1f s", error, pause)
                threading.Event().wait(pause)

    def _after(self, task: Task, context: Context) -> None:
        """What follows a result: the metrics worker's sample, and what the operation left for the end."""
        if task.task_type == "drain_node":
            try:
                self._queue.set_state({DRAIN_ENDED: task.task_id})
            except AgentError as error:
                _logger.warning("the sample after the drain could not be asked for: %s", error)
        for action in context.afterwards:
            self._once_delivered(action, context)

    def _once_delivered(self, action: Callable[[], None], context: Context) -> None:
        """Do what ends this agent, and its spool with it: never while Central lacks a result.

        Tried until the task's deadline, as all it does.
        """
        why = "the task's time is up"

        def attempt() -> None:
            nonlocal why
            if not self._accepting:
                raise Suspended
            try:
                if waiting := self._queue.stats()[RESULTS].depth:
                    raise TemporaryError(f"{waiting} results are not with Central yet")
                action()
            except AgentError as error:
                why = str(error)
                raise

        try:
            with bounded_by(context.deadline):
                context.patiently("evict this agent's own pod", attempt)
        except (Stopped, AgentError):
            _logger.error("this agent's own pod is not evicted and stays on its drained node: %s", why)

    def _finish_unstarted(self, entry: Entry, status: Status, reason: str) -> None:
        """Answer a task that was withdrawn; it waits again when the queue does not take the answer."""
        try:
            with self._journal_lock:
                self._answer(entry.task_id, entry.claim.task.task_type, status, reason)
        except TemporaryError as error:
            _logger.warning("the answer cannot be queued, it is given when the task's turn comes: %s", error)
            self._backlog.put_back(entry)

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
                with logs.context(task_id=entry.task_id):
                    reason = "the agent was shut down before the task started; send it again"
                    self._finish_unstarted(entry, "failed", reason)
        deadline = Deadline.after(seconds, self._clock)
        self._join(deadline)
        for entry in self._backlog.taken():
            entry.interrupt.request(kind)
        self._join(Deadline.after(5.0, self._clock))
        self._evictor.close()

    def _join(self, deadline: Deadline) -> None:
        for thread in self._threads:
            thread.join(deadline.remaining)

    def show(self) -> None:
        """Update the gauges of what runs and waits."""
        running, now = list(self._running.values()), self._clock.monotonic()
        telemetry.TASKS_IN_PROGRESS.set(len(running))
        telemetry.TASKS_WAITING.set(len(self._backlog))
        telemetry.TASK_AGE.set(max((now - task.started for task in running), default=0.0))
        telemetry.PODS_LEFT.set(sum(task.context.progress.get("left", 0) for task in running))
        telemetry.PODS_BLOCKED.set(sum(task.context.progress.get("blocked", 0) for task in running))

    @property
    def in_progress(self) -> int:
        return len(self._running) + len(self._backlog)


def _about(task: Task) -> str:
    """The task in a few words for its log."""
    target = task.parameters.get("node_name") or "/".join(
        str(task.parameters.get(key, "?")) for key in ("namespace", "pod_name")
    )
    return f"{target}, deadline {_moment(task.deadline)}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
