"""What an operation works with: the cluster, its budget of time, and the reasons to stop early."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.basics.errors import PermanentError, TemporaryError
from shared.basics.timing import Backoff, Clock, Deadline
from shared.config import Settings
from shared.kube.connection import Kube
from shared.kube.errors import Forbidden
from shared.kube.nodes import Node, Nodes
from shared.kube.pods import Pods
from shared.schemas.tasks import Task
from workers.task_runner.account import Account
from workers.task_runner.announce import Announcer
from workers.task_runner.evictor import Evictor

T = TypeVar("T")


class TaskFailed(PermanentError):
    """The task cannot succeed; the message becomes the result's ``error``."""


def refused(error: Forbidden, missing: str) -> TaskFailed:
    """A 403 as the task's end; ``missing`` says which right is not granted, where it is that and no webhook."""
    return TaskFailed(f"{error}; {missing}" if " cannot " in str(error) else str(error))


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

    def __init__(self) -> None:
        self._set = threading.Event()
        self._kind: type[Stopped] = Suspended

    def request(self, kind: type[Stopped]) -> None:
        """Stop the operation with ``kind``; the first request counts."""
        if not self._set.is_set():
            self._kind = kind
            self._set.set()

    @property
    def requested(self) -> bool:
        return self._set.is_set()

    def check(self) -> None:
        """Raise what was requested, if anything was."""
        if self._set.is_set():
            raise self._kind

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up for an interrupt and raise it."""
        self._set.wait(max(0.0, seconds))
        self.check()


@dataclass
class Context:
    """One task's surroundings. Operations get their time, log and interrupts from here and nowhere else."""

    task: Task
    settings: Settings
    kube: Kube
    evictor: Evictor
    announcer: Announcer
    clock: Clock
    deadline: Deadline
    account: Account
    interrupt: Interrupt
    cordoning: threading.Lock
    """Held by whoever counts cordoned nodes and then cordons one."""
    replacements: dict[str, str]
    """UIDs of replacements to the task that named each; shared by all tasks, so that none is named twice."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What an earlier run of this very task recorded."""
    record: Callable[[dict[str, Any]], None] = lambda notes: None
    """Makes notes durable; see remember()."""
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    """Run once the result is safe with Central."""
    progress: dict[str, int] = field(default_factory=dict)
    """Pods ``left`` and ``blocked``, for the metrics."""

    @property
    def nodes(self) -> Nodes:
        return Nodes(self.kube)

    @property
    def pods(self) -> Pods:
        return Pods(self.kube)

    def announce(self, node: Node, reason: str, what: str, warning: bool = False) -> None:
        """An Event on ``node``: what was done to it, and for which task."""
        self.announcer.on_node(node, reason, f"{what} (CloudOptim task {self.task.task_id})", warning)

    def remember(self, **notes: Any) -> None:
        """Make notes durable before the write that makes them matter. Raises TemporaryError."""
        self.notes.update(notes)
        self.record(notes)

    def check(self) -> None:
        """A safe point: raise a Stopped if there is reason to."""
        self.interrupt.check()
        if self.deadline.expired:
            raise OutOfTime

    def wait(self, seconds: float) -> None:
        """Sleep up to ``seconds``; a safe point."""
        self.interrupt.wait(min(seconds, self.deadline.remaining))
        self.check()

    def patiently(self, what: str, call: Callable[[], T]) -> T:
        """``call()``, again and again while it fails temporarily, until the deadline.

        Raises:
            PermanentError: as ``call`` raised it.
            Stopped: instead of a try, the first one too.
        """
        pauses = Backoff(0.2, 10.0)
        while True:
            self.check()
            try:
                return call()
            except TemporaryError as error:
                pause = pauses.pause(error.delay)
                self.account.say(f"{what}: {error}; next try in {pause:.1f} s")
                self.wait(pause)
