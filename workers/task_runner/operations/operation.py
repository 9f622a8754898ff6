"""What every operation is: a story, and what is said and put right when it ends before its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from shared.basics.timing import Backoff
from shared.kube.errors import Conflict, Forbidden, NotFound
from shared.kube.nodes import Node
from shared.kube.pods import Pod
from shared.schemas.parameters import Parameters
from workers.task_runner.work.context import Context, TaskFailed, refused

P = TypeVar("P", bound=Parameters)
O = TypeVar("O", Node, Pod)  # noqa: E741 - an object, as T is a type


class Absent(TaskFailed):
    """Proved: the object is not there, or another one is ``instead``."""

    def __init__(self, message: str, instead: str = "") -> None:
        super().__init__(message)
        self.instead = instead


class Operation(ABC, Generic[P]):
    """One task at work."""

    def __init__(self, parameters: P, context: Context) -> None:
        self._parameters = parameters
        self._context = context

    @abstractmethod
    async def run(self) -> None:
        """Do it. Returns when what the task promises is so, and was seen to be so.

        Called again after a restart, it goes on: what it decides, it decides from what is.

        Raises:
            TaskFailed, PermanentError: it cannot be done; the message says why.
            Stopped: the deadline passed or the task was interrupted.
        """

    async def last_look(self, when: str = "") -> str | None:
        """After the task's time is up: what is missing of what it promises, in words; None where nothing is.

        ``when`` is said with what is counted.

        Raises:
            AgentError, Stopped: nobody can tell.
        """
        return "it was not finished"

    async def take_back(self) -> None:
        """Put right what a task that failed shall not leave behind."""

    async def tell_failure(self, why: str) -> None:
        """Say on the object itself that the task failed, where Events are allowed."""


def instead_of(found: O, seen: O) -> TaskFailed:
    """What it means that another object than the one that was ``found`` has its name now.

    The one that was is gone; but a node of the same provider id is the same machine, whose kubelet registered it anew.
    """
    if isinstance(found, Node) and isinstance(seen, Node):
        if found.spec.provider_id and found.spec.provider_id.lower() == seen.spec.provider_id.lower():
            return TaskFailed(registered_anew(found.metadata.name, found.metadata.uid, seen))
        return Absent(f"node {found.metadata.name} (uid {found.metadata.uid}) is gone", ", another has its name")
    return Absent(f"pod {found.metadata.full_name} (uid {found.metadata.uid}) is gone", ", another has its name")


def registered_anew(name: str, uid: str, seen: Node) -> str:
    """The error of a task whose node's object is another one, though its machine is the same."""
    return (
        f"node {name} was registered anew: uid {uid} is {seen.metadata.uid} now, on the same machine"
        f" ({seen.spec.provider_id}); send the task again"
    )


async def read(context: Context, what: str, get: Callable[[], O]) -> O:
    """The object as it is now; ``what`` is its kind and name. Raises Absent, Stopped."""
    try:
        return await context.patiently(f"get {what}", get)
    except NotFound as error:
        raise Absent(f"{what} does not exist") from error


async def write(
    context: Context,
    verb: str,
    found: O,
    patch: Callable[[], O],
    get: Callable[[], O],
    is_done: Callable[[O], bool],
    missing: str,
) -> None:
    """``patch`` exactly the object that was ``found``, until a later read shows that it ``is_done`` (rule 26).

    A 409 means that it changed in between, and never that it is gone; ``missing`` says which right it takes.

    Raises:
        Absent: it is gone, or another has its name.
        TaskFailed: RBAC or the cluster's owner forbids it.
        Stopped: as the context says.
    """
    what = f"{'node' if isinstance(found, Node) else 'pod'} {found.metadata.full_name}"
    pauses = Backoff(0.2, 5.0)
    await context.allowed()
    if not context.notes:  # After a restart nobody could tell whether the answer or the request was lost.
        await context.remember("that it begins", begun=True)
    while True:
        await context.allowed()
        obstacle = f"{verb} {what}: accepted, but it does not show"
        try:
            await context.patiently(f"{verb} {what}", patch)
        except Forbidden as error:
            raise refused(error, missing) from error
        except NotFound as error:
            raise Absent(f"{what} (uid {found.metadata.uid}) is gone") from error
        except Conflict as error:
            obstacle = str(error)
            context.account.say(f"{error}; it is read again")
        seen = await read(context, what, get)
        if seen.metadata.uid != found.metadata.uid:
            raise instead_of(found, seen)
        if is_done(seen):
            return
        context.obstacle = obstacle
        await context.wait(pauses.pause())
