"""The durable record of claimed and finished tasks, kept as state of the queue.

A task is claimed here before its first write to the cluster, so that it is executed once whatever arrives
twice, and resumed when this process is killed in the middle.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any

from shared.basics.logs import cut_middle
from shared.basics.timing import iso
from shared.process.state import EXECUTED, TASK
from shared.queue.client import Queue, value
from shared.queue.messages import RESULTS
from shared.schemas.tasks import Task, TaskResult
from workers.task_runner.records.executed import Executed

FINISHED_KEPT = 500
"""Finished tasks whose result is kept, so that a redelivery is answered. Of many more it is known that they ended."""

REJECTED_KEPT = 200
"""Likewise of what was no good task, apart: junk must not push the others out, and can do no harm when it returns."""

REPLACEMENT = "replacement"
"""Note of the pod that a task named as its pod's replacement; kept with the result, so that no other task names it."""

_LOGS_KEPT = 1024
"""Characters of a finished task's logs, and of its error, that are kept for answering a redelivery."""

_logger = logging.getLogger(__name__)


@dataclass
class Claim:
    """A task that was begun (or is about to be) and has no result yet."""

    task: Task
    notes: dict[str, Any] = field(default_factory=dict)
    """What an operation must remember across a restart, such as the UID of the pod it deletes."""
    resumed: bool = False


@dataclass(frozen=True)
class Finished:
    """A task that was answered."""

    result: TaskResult
    at: datetime
    """When it was answered last."""
    rejected: bool = False
    """It was no task that this agent could execute."""
    replacement: str | None = None
    task_type: str = ""
    target: str = ""
    """What it was about, for people: a node, or namespace/pod; empty where it was not begun."""


class Journal:
    """Not thread-safe but for ``note``, which touches one claim only; the runner serialises the rest."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._claims: dict[str, Claim] = {}
        self._finished: OrderedDict[str, Finished] = OrderedDict()
        self._rejected: OrderedDict[str, Finished] = OrderedDict()
        self._executed = Executed()

    def load(self) -> list[Claim]:
        """Read what an earlier run of this worker left; its unfinished claims, to be resumed.

        Raises:
            TemporaryError: the queue is not there.
        """
        self._executed.load({key: value(entry) for key, entry in self._queue.get_state(EXECUTED).items()})
        finished: list[Finished] = []
        for key, entry in self._queue.get_state(TASK).items():
            record = value(entry)
            try:
                if "result" in record:
                    at = datetime.fromisoformat(record["at"].replace("Z", "+00:00"))
                    result = TaskResult.model_validate(record["result"])
                    about = record.get("task_type", ""), record.get("target", "")
                    finished.append(Finished(result, at, bool(record.get("rejected")), record.get(REPLACEMENT), *about))
                else:
                    task = Task.model_validate(record["task"])
                    self._claims[task.task_id] = Claim(task, record["notes"], resumed=True)
            except (KeyError, TypeError, ValueError) as error:  # What another version wrote must not stop this one.
                _logger.error("the journal's record %s cannot be read, it is left alone: %s", key, error)
        for done in sorted(finished, key=lambda done: done.at):
            self._shelf(done)[done.result.task_id] = done
        return list(self._claims.values())

    def is_claimed(self, task_id: str) -> bool:
        return task_id in self._claims

    def finished(self, task_id: str) -> Finished | None:
        """How the task ended, if it did and its result is still kept."""
        return self._finished.get(task_id) or self._rejected.get(task_id)

    def was_executed(self, task_id: str) -> bool:
        """Whether the task ended, also where its result is kept no more."""
        return task_id in self._executed

    def replacements(self) -> dict[str, str]:
        """UIDs of pods that tasks named as replacements, to the task of each."""
        named = {claim.notes.get(REPLACEMENT): task_id for task_id, claim in self._claims.items()}
        named.update((done.replacement, task_id) for task_id, done in self._finished.items())
        return {uid: task_id for uid, task_id in named.items() if uid}

    def claim(self, task: Task) -> Claim:
        """Record durably that this agent executes ``task``.

        Raises:
            TemporaryError: it could not be recorded; the task must not be begun.
        """
        claim = Claim(task)
        self._write(claim)
        self._claims[task.task_id] = claim
        return claim

    def note(self, claim: Claim, **notes: Any) -> None:
        """Record durably what must be known after a crash, before the write that makes it matter."""
        claim.notes.update(notes)
        self._write(claim)

    def latest(self, most: int) -> list[Finished]:
        """The tasks that were answered last, the newest first."""
        newest = [done for shelf in (self._finished, self._rejected) for done in islice(reversed(shelf.values()), most)]
        return sorted(newest, key=lambda done: done.at, reverse=True)[:most]

    def finish(self, result: TaskResult, now: datetime, rejected: bool = False, task_type: str = "") -> None:
        """Put the result on the queue and close the claim, in one transaction. ``task_type`` is for what has no claim.

        Raises:
            TemporaryError: neither happened.
        """
        short = {"logs": cut_middle(result.logs, _LOGS_KEPT), "error": cut_middle(result.error or "", _LOGS_KEPT)}
        kept = result.model_copy(update={**short, "error": short["error"] or None})
        claim = self._claims.get(result.task_id)
        if claim is None:
            done = Finished(kept, now, rejected, task_type=task_type)
        else:
            about = claim.task.task_type, subject(claim.task)
            done = Finished(kept, now, rejected, claim.notes.get(REPLACEMENT), *about)
        shelf, room = self._shelf(done), REJECTED_KEPT if rejected else FINISHED_KEPT
        forgotten = [*shelf][: max(0, len(shelf) + 1 - room)]
        state = _recorded(done)
        state.update({f"{TASK}{task_id}": None for task_id in forgotten})
        if not rejected:
            state.update(self._executed.record(result.task_id))
        self._queue.put(RESULTS, [(result.task_id, result.to_json())], state)
        for task_id in forgotten:
            del shelf[task_id]
        if not rejected:
            self._executed.add(result.task_id)
        self._claims.pop(result.task_id, None)
        shelf[result.task_id] = done

    def answer_again(self, done: Finished, now: datetime) -> None:
        """Put a finished task's result on the queue once more: Central asks as if it had not heard.

        Raises:
            TemporaryError: it did not happen.
        """
        again = replace(done, at=now)
        self._queue.put(RESULTS, [(done.result.task_id, done.result.to_json())], _recorded(again))
        shelf = self._shelf(again)
        shelf[done.result.task_id] = again
        shelf.move_to_end(done.result.task_id)

    def _shelf(self, done: Finished) -> OrderedDict[str, Finished]:
        return self._rejected if done.rejected else self._finished

    def _write(self, claim: Claim) -> None:
        record = {"task": claim.task.model_dump(mode="json"), "notes": claim.notes}
        self._queue.set_state({f"{TASK}{claim.task.task_id}": record}, durable=True)


def subject(task: Task) -> str:
    """What a task is about, for people: a node, or namespace/pod."""
    parameters = task.parameters
    return parameters.get("node_name") or "/".join(str(parameters.get(key, "?")) for key in ("namespace", "pod_name"))


def _recorded(done: Finished) -> dict[str, Any]:
    """The state that keeps a finished task."""
    record = {
        "at": iso(done.at),
        "result": done.result.model_dump(mode="json"),
        "rejected": done.rejected,
        "task_type": done.task_type,
        "target": done.target,
    }
    if done.replacement:
        record[REPLACEMENT] = done.replacement
    return {f"{TASK}{done.result.task_id}": record}
