"""What an operation works with: the cluster, its budget of time, and the reasons to stop early."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.basics.errors import PermanentError, TemporaryError
from shared.basics.timing import Backoff, Clock, Deadline
from shared.config import Settings
from shared.kube.connection import Kube
from shared.kube.errors import Forbidden
from shared.kube.nodes import Node, Nodes
from shared.kube.pods import Pods
from shared.queue.client import Queue
from shared.schemas.tasks import Task
from workers.task_runner.guards.owner import Owner
from workers.task_runner.work.account import Account
from workers.task_runner.work.announce import Announcer
from workers.task_runner.work.calls import Calls, Rank
from workers.task_runner.work.evictor import Evictor
from workers.task_runner.work.progress import Progress
from workers.task_runner.work.story import WAITS_FOR_NEWS, Story, until
from workers.task_runner.work.view import View

T = TypeVar("T")

_PAUSED_LOOK = 2.0
"""Seconds between two looks at whether a pause is over."""


class TaskFailed(PermanentError):
    """The task cannot succeed; the message becomes the result's ``error``."""


def refused(error: Forbidden, missing: str) -> TaskFailed:
    """A 403 of RBAC's as the task's end; ``missing`` says which right is not granted."""
    return TaskFailed(f"{error}; {missing}")


class Stopped(Exception):
    """The work ends here, at a safe point. The message says how far it came."""


class OutOfTime(Stopped):
    """The deadline passed: the result is ``timeout``."""


class Cancelled(Stopped):
    """Central cancelled the task: the result is ``failed``."""


class HandedBack(Stopped):
    """The agent goes down before the task ended: the result is ``failed``; Central may send it anew."""


class Suspended(Stopped):
    """This worker restarts: no result, the task goes on when it is back."""


class Interrupt:
    """Tells a running operation to stop at its next safe point. Used from other threads."""

    def __init__(self, story: Story | None = None) -> None:
        self._story = story or Story()
        self._kind: type[Stopped] | None = None

    def request(self, kind: type[Stopped]) -> None:
        """Stop the operation with ``kind``; the first request counts, but for the agent's own end."""
        if self._kind is None or self._kind is Cancelled:
            self._kind = kind
            self._story.wake()

    @property
    def requested(self) -> bool:
        return self._kind is not None

    def check(self) -> None:
        """Raise what was requested, if anything was."""
        if self._kind is not None:
            raise self._kind


@dataclass
class Surroundings:
    """What all tasks of the process share."""

    settings: Settings
    kube: Kube
    queue: Queue
    clock: Clock
    calls: Calls
    """To the API server."""
    records: Calls
    """To the queue."""
    evictor: Evictor
    view: View
    announcer: Announcer
    owner: Owner
    """The law of the cluster's owner."""
    paused: Callable[[], str | None] = lambda: None
    """The rule by which the cluster's owner has all tasks wait now; None when they may go on."""
    cordoning: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever counts cordoned nodes and then cordons one."""
    replacements: dict[str, str] = field(default_factory=dict)
    """UIDs of replacements to the task that named each, so that none is named twice."""

    def close(self) -> None:
        """Begin no more calls."""
        self.evictor.close()
        self.calls.close()
        self.records.close()


@dataclass
class Context:
    """One task's surroundings. Operations get their time, log and interrupts from here and nowhere else."""

    shared: Surroundings
    task: Task
    deadline: Deadline
    account: Account
    story: Story
    interrupt: Interrupt
    notes: dict[str, Any] = field(default_factory=dict)
    """What an earlier run of this very task recorded."""
    record: Callable[[dict[str, Any]], None] = lambda notes: None
    """Makes notes durable; see remember()."""
    afterwards: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Done once the result is safe with Central."""
    progress: Progress = field(default_factory=Progress)
    """How far it is, for the metrics and whoever looks."""
    obstacle: str = ""
    """What the last call was answered that has to be tried again; empty when nothing stands in the way."""

    @property
    def kube(self) -> Kube:
        return self.shared.kube

    @property
    def clock(self) -> Clock:
        return self.shared.clock

    @property
    def nodes(self) -> Nodes:
        return Nodes(self.kube)

    @property
    def pods(self) -> Pods:
        return Pods(self.kube)

    @property
    def rank(self) -> Rank:
        """How urgent its calls are."""
        return self.task.priority, self.task.deadline.timestamp()

    async def announce(self, node: Node, reason: str, what: str, warning: bool = False) -> None:
        """An Event on ``node``: what was done to it, and for which task."""
        announcer = self.shared.announcer
        if announcer.wanted:
            message = f"{what} (CloudOptim task {self.task.task_id})"
            await self.call(lambda: announcer.on_node(node, reason, message, warning))

    async def remember(self, what: str, **notes: Any) -> None:
        """Make notes durable before the write that makes them matter; ``what`` they are, for the account."""
        wanted = {**self.notes, **notes}
        await self._patiently(f"record {what}", lambda: self.tell_queue(lambda: self.record(wanted)))
        self.notes.update(notes)

    def check(self) -> None:
        """A safe point: raise a Stopped if there is reason to."""
        self.interrupt.check()
        if self.deadline.expired:
            raise OutOfTime(f"last, {self.obstacle}" if self.obstacle else "")

    async def call(self, function: Callable[[], T]) -> T:
        """``function()``, which talks to the API server, on another thread; returns and raises what it does.

        Until the call is made this is a safe point; a call under way is waited for.
        """
        call = self.shared.calls.begin(function, self.rank, self.story.wake)
        while not call.there:
            await until(WAITS_FOR_NEWS if call.begun else self.deadline.at)
            if (self.interrupt.requested or self.deadline.expired) and call.withdraw():
                self.check()
        return call.value()

    async def tell_queue(self, function: Callable[[], T]) -> T:
        """``function()``, which talks to the queue, on another thread, which no API server keeps; no safe point."""
        call = self.shared.records.begin(function, self.rank, self.story.wake)
        while not call.there:
            await until()
        return call.value()

    async def until(self, moment: float) -> None:
        """Wait until ``moment`` (monotonic seconds), or for news; a safe point."""
        self.check()
        await until(min(moment, self.deadline.at))
        self.check()

    async def wait(self, seconds: float) -> None:
        """Wait so many seconds; a safe point, now and then."""
        moment = self.clock.monotonic() + seconds
        self.check()
        while self.clock.monotonic() < moment:
            await self.until(moment)

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds whatever happens: no safe point."""
        moment = self.clock.monotonic() + seconds
        while self.clock.monotonic() < moment:
            await until(moment)

    @property
    def is_dry_run(self) -> bool:
        """Whether the task only says what it would do."""
        return self.task.parameters.get("dry_run") is True

    def held(self) -> str | None:
        """The rule by which the cluster's owner has this task wait now: a pause, or the time of day."""
        return self.shared.paused() or (None if self.is_dry_run else self.shared.owner.closed())

    def obey(self, rule: str | None) -> None:
        """End the task by the owner's ``rule``, if there is one; a dry run only says it. Raises TaskFailed."""
        if rule is None:
            return
        if not self.is_dry_run:
            raise TaskFailed(rule)
        self.account.say(f"the limits of the cluster's owner would refuse this: {rule}")

    async def allowed(self) -> None:
        """Wait while the cluster's owner has paused all tasks, or has no window open; a safe point."""
        said, phase = False, self.progress.phase
        while rule := self.held():
            if not said:
                self.progress.phase = "paused by the cluster's owner"
                self.account.say(f"paused by the cluster's owner: {rule}; the task goes on when that ends")
            said = True
            await self.wait(_PAUSED_LOOK)
        if said:
            self.progress.phase = phase
            self.account.say("the pause is over")

    async def patiently(self, what: str, function: Callable[[], T]) -> T:
        """``function()`` on another thread, again and again while it fails temporarily, until the deadline.

        Raises:
            PermanentError: as ``function`` raised it.
            Stopped: instead of a try, the first one too; its message has the answer that stood in the way.
        """
        return await self._patiently(what, lambda: self.call(function))

    async def _patiently(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        pauses = Backoff(0.2, 10.0)
        while True:
            self.check()
            try:
                answer = await call()
            except TemporaryError as error:
                self.obstacle = f"{what}: {error}"
                pause = pauses.pause(error.delay)
                self.account.say(f"{self.obstacle}; next try in {pause:.1f} s")
                await self.wait(pause)
            else:
                self.obstacle = ""
                return answer
