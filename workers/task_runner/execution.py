"""One task at work: its operation, how it ends, its result, and what follows it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from shared.basics import telemetry
from shared.basics.errors import AgentError, TemporaryError
from shared.basics.logs import cut_middle
from shared.basics.timing import Backoff, Deadline
from shared.kube.connection import bounded_by
from shared.process.state import DRAIN_ENDED
from shared.queue.messages import RESULTS
from shared.schemas.tasks import Status, Task, TaskResult
from workers.task_runner.operations import OPERATIONS
from workers.task_runner.operations.operation import Operation
from workers.task_runner.receiving.intake import is_late
from workers.task_runner.records.backlog import Entry
from workers.task_runner.records.journal import Claim, subject
from workers.task_runner.work.account import Account
from workers.task_runner.work.context import (
    Cancelled,
    Context,
    HandedBack,
    Interrupt,
    OutOfTime,
    Stopped,
    Surroundings,
    Suspended,
)

_LAST_LOOK_SECONDS = 10.0
"""How long a task whose time is up may still look at what is left."""

_TAKE_BACK_SECONDS = 3600.0
"""How long it is tried to put right what a failed task shall not leave behind. The claim stays until then."""

_HANDED_BACK_SECONDS = 4.0
"""How long both may take together when the pod stops: a little less than the runner waits."""

_LONGEST_ERROR = 8 * 1024
"""Characters of a result's error; what is left of a node, pod by pod, is in the logs."""

_LOOK_SECONDS = 2.0
"""At least so often it is looked whether all results are delivered, and whether the agent stops."""

_logger = logging.getLogger(__name__)


class Execution:
    """Runs the task of one entry. All of it happens in passes."""

    def __init__(
        self,
        entry: Entry,
        surroundings: Surroundings,
        note: Callable[[Claim, dict[str, Any]], None],
        finish: Callable[[TaskResult], None],
        refusal: Callable[[Task], str | None],
    ) -> None:
        """``note`` and ``finish`` write to the journal and may block; ``refusal`` is the owner's rule against it."""
        self.entry = entry
        self._task = entry.claim.task
        self._clock = surroundings.clock
        self._finish = finish
        self._refusal = refusal
        self.started = self._clock.monotonic()
        self.begun = self._clock.now()
        """The same moment, for people."""
        self._stopping: Deadline | None = None
        """When the pod stops: the end of all that is left to do."""
        self._failure: tuple[Operation[Any], str] | None = None
        self.context = Context(
            shared=surroundings,
            task=self._task,
            deadline=Deadline.until(self._task.deadline, self._clock),
            account=Account(self._clock),
            story=entry.story,
            interrupt=entry.interrupt,
            notes=dict(entry.claim.notes),
            record=lambda notes: note(entry.claim, notes),
        )

    async def run(self) -> bool:
        """Execute the task and put its result on the queue; False when it goes on after a restart instead."""
        task, context, executed_at = self._task, self.context, self._clock.now()
        context.account.say(f"{task.task_type} {'resumed' if self.entry.claim.resumed else 'started'}: {_about(task)}")
        try:
            status, error = await self._perform()
        except Exception as bug:  # A task is answered, whatever happens; a claim without an answer is offered for ever.
            _logger.exception("the task's end failed unexpectedly")
            status, error = _told(bug, "")
        if status is None:
            _logger.info("suspended; the task goes on after the restart")
            return False
        duration = self._clock.monotonic() - self.started
        result = TaskResult(
            task_id=task.task_id,
            status=status,
            logs=context.account.text(),
            executed_at=executed_at,
            duration_seconds=round(duration, 3),
            error=cut_middle(error, _LONGEST_ERROR) if error else None,
        )
        await self._put(result)
        telemetry.TASKS.labels(task.task_type, status).inc()
        telemetry.TASK_SECONDS.labels(task.task_type).observe(duration)
        extra = {"duration_seconds": result.duration_seconds}
        level = logging.INFO if status == "success" else logging.WARNING
        _logger.log(level, "%s ended: %s%s", task.task_type, status, f", {error}" if error else "", extra=extra)
        return True

    async def _perform(self) -> tuple[Status | None, str | None]:
        """Run the operation: its status and error; no status when it is to go on after a restart."""
        task, context = self._task, self.context
        operation = OPERATIONS[task.task_type](self.entry.parameters, context)
        begun = bool(self.entry.claim.notes)
        try:
            self.entry.interrupt.check()
            if is_late(task, self._clock.now()):
                raise OutOfTime("" if begun else "the deadline passed before it could start")
            if not begun and (rule := self._refusal(task)):
                return "failed", rule  # Set while it waited. What was begun is not left half done.
            begun = True
            with bounded_by(context.deadline):
                await context.allowed()
                await operation.run()
        except Suspended:
            return None, None
        except Exception as error:
            if not isinstance(error, (Stopped, AgentError)):
                _logger.exception("the operation failed unexpectedly")
            return await self._end_early(operation, error) if begun else _told(error, "")
        return "success", None

    async def _end_early(self, operation: Operation[Any], error: Exception) -> tuple[Status | None, str | None]:
        """What became of a task that did not come to its end: seen by a last look, and put right where it asks."""
        self.context.progress.phase = "ending early"
        left = ""
        try:
            if isinstance(error, OutOfTime) or self.context.notes:
                left, done = await self._last_look(operation, error)
                if done and isinstance(error, OutOfTime):
                    return "success", None
            await self._with_time(operation.take_back(), _TAKE_BACK_SECONDS, error)
        except Suspended:
            return None, None
        except HandedBack as stopped:  # The pod stops meanwhile.
            error = stopped if isinstance(error, OutOfTime) else error
        except (Stopped, AgentError) as failure:
            self.context.account.say(f"what was begun could not be taken back: {failure or 'its time is up'}")
        status, said = _told(error, left)
        self._failure = (operation, said)
        return status, said

    async def _last_look(self, operation: Operation[Any], error: Exception) -> tuple[str, bool]:
        """What is left, and whether that is nothing. Raises Suspended, HandedBack."""
        said: list[str | None] = []

        async def look() -> None:
            said.append(await operation.last_look(" at the deadline" if isinstance(error, OutOfTime) else ""))

        try:
            await self._with_time(look(), _LAST_LOOK_SECONDS, error)
        except (OutOfTime, Cancelled, AgentError) as failure:
            self.context.account.say(f"what is left could not be seen: {failure or 'no answer in time'}")
            return "", False
        return said[0] or "", said[0] is None

    async def _with_time(self, work: Awaitable[None], seconds: float, error: Exception) -> None:
        """``work``, though the task's own time is up; when the pod stops, all that follows has a few seconds."""
        context = self.context
        if context.interrupt.requested:  # It was heard. One that comes now, because the pod stops, is a new one.
            context.interrupt = self.entry.interrupt = Interrupt(self.entry.story)
        if isinstance(error, HandedBack):
            self._stopping = self._stopping or Deadline.after(_HANDED_BACK_SECONDS, self._clock)
            context.deadline = self._stopping
        else:
            context.deadline = Deadline.after(seconds, self._clock)
        with bounded_by(context.deadline):
            await work

    async def _put(self, result: TaskResult) -> None:
        """Results are never lost: tried until the queue takes it (a killed worker does the task's rest again)."""
        pauses = Backoff(0.2, 5.0)
        while True:
            try:
                await self.context.tell_queue(lambda: self._finish(result))
                return
            except TemporaryError as error:
                pause = pauses.pause(error.delay)
                _logger.error("the result cannot be queued (%s), next try in %.1f s", error, pause)
                await self.context.sleep(pause)

    async def follow_up(self, accepting: Callable[[], bool]) -> None:
        """What follows a result: the metrics worker's sample, and what the operation left for the end."""
        context = self.context
        if self._failure is not None:
            operation, said = self._failure
            context.deadline = Deadline.after(_LAST_LOOK_SECONDS, self._clock)
            with contextlib.suppress(Stopped, AgentError), bounded_by(context.deadline):
                await operation.tell_failure(said)
        if self._task.task_type == "drain_node":
            try:
                await context.tell_queue(lambda: context.shared.queue.set_state({DRAIN_ENDED: self._task.task_id}))
            except AgentError as error:
                _logger.warning("the sample after the drain could not be asked for: %s", error)
        for action in context.afterwards:
            await self._once_delivered(action, accepting)

    async def _once_delivered(self, action: Callable[[], Awaitable[None]], accepting: Callable[[], bool]) -> None:
        """Do what ends this agent, and its spool with it: never while Central lacks a result.

        Tried until the task's deadline, as all it does.
        """
        context, pauses, why = self.context, Backoff(0.2, 10.0), "the task's time is up"
        with bounded_by(context.deadline):
            while accepting() and not context.deadline.expired:
                try:
                    if waiting := (await context.tell_queue(context.shared.queue.stats))[RESULTS].depth:
                        raise TemporaryError(f"{waiting} results are not with Central yet")
                    await action()
                    return
                except TemporaryError as error:
                    why = str(error)
                    await context.sleep(min(pauses.pause(error.delay), context.deadline.remaining, _LOOK_SECONDS))
                except AgentError as error:
                    why = str(error)
                    break
        _logger.error("this agent's own pod is not evicted and stays on its drained node: %s", why)


def _told(error: Exception, left: str) -> tuple[Status, str]:
    """The status and the error of a result, for what ended the operation and what is ``left``."""
    said = str(error)
    if isinstance(error, OutOfTime):
        said = "; ".join(words for words in (left, said) if words) or "the deadline passed during the work"
        return "timeout", said
    ending = left or said
    if isinstance(error, Cancelled):
        return "failed", f"cancelled; {ending}".rstrip("; ")
    if isinstance(error, HandedBack):
        reason = "the agent was shut down before the task ended; it is safe to send it again"
        return "failed", f"{reason}; {ending}".rstrip("; ")
    if isinstance(error, AgentError):
        return "failed", said
    return "failed", f"unexpected {type(error).__name__}: {error}"


def _about(task: Task) -> str:
    """The task in a few words for its log."""
    return f"{subject(task)}, deadline {_moment(task.deadline)}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
