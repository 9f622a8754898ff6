"""The task-runner as its main builds it, in this process: the real Runner on a queue in memory."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shared.basics.timing import SYSTEM_CLOCK, Clock, iso
from shared.kube.connection import JSON, Answer, Kube
from shared.queue.memory import MemoryQueue
from shared.queue.messages import RESULTS
from shared.schemas.tasks import TaskResult
from tests.unit.conftest import FastClock, settings_of
from workers.task_runner.runner import Runner
from workers.task_runner.work import calls, evictor
from workers.task_runner.work.context import Suspended


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, in the order of the answers."""

    method: str
    path: str
    query: Mapping[str, Any]
    body: Any
    answer: Answer
    at: float
    """When it was begun."""

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def options(self) -> Mapping[str, Any]:
        """The deleteOptions of an eviction or a deletion."""
        found: Mapping[str, Any] = self.body["deleteOptions"] if self.path.endswith("/eviction") else self.body
        return found


class WatchedKube(Kube):
    """A connection that keeps what was exchanged, and lets a test act just before a request."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(str(kubeconfig), "drain-tests", connections=calls.PARALLEL + evictor.PARALLEL + 2)
        self.exchanges: list[Exchange] = []
        self.at_once = 0
        """The most evictions that were under way together."""
        self._before: list[tuple[str, str, Callable[[], Any]]] = []
        self._under_way = 0
        self._counting = threading.Lock()

    def just_before(self, method: str, ending: str, action: Callable[[], Any]) -> None:
        """Do ``action`` once, before the first request of ``method`` whose path has this ``ending``."""
        self._before.append((method, ending, action))

    def exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> Answer:
        for hook in [hook for hook in self._before if method == hook[0] and path.endswith(hook[1])]:
            self._before.remove(hook)
            hook[2]()
        evicts, at = path.endswith("/eviction"), time.monotonic()
        with self._counting:
            self._under_way += evicts
            self.at_once = max(self.at_once, self._under_way)
        try:
            answer = super().exchange(method, path, query, body, content_type)
        finally:
            with self._counting:
                self._under_way -= evicts
        self.exchanges.append(Exchange(method, path, query or {}, body, answer, at))
        return answer

    @property
    def writes(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.is_write]

    @property
    def evictions(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.path.endswith("/eviction")]

    def evictions_of(self, pod: str) -> list[Exchange]:
        return [exchange for exchange in self.evictions if exchange.path.endswith(f"/{pod}/eviction")]


class Tasks:
    """Gives tasks to a Runner as Central's would arrive, and collects the results."""

    def __init__(
        self, kubeconfig: Path, run_dir: Path, env: Mapping[str, str], clock: Clock, queue: MemoryQueue | None = None
    ) -> None:
        """``queue`` is that of an earlier run, which this one takes up."""
        self.kube = WatchedKube(kubeconfig)
        self.queue = queue or MemoryQueue()
        self._clock = clock
        self._results: dict[str, TaskResult] = {}
        self._runner = Runner(settings_of(run_dir, **env), self.queue, self.kube, clock)
        self._runner.start()

    def begin(self, task_type: str, parameters: Mapping[str, Any], seconds: float = 1200.0, **fields: Any) -> str:
        """Hand over a task with so many seconds, by this runner's clock; its id."""
        payload = {
            "task_id": str(uuid.uuid4()),
            "cluster_id": "demo",
            "task_type": task_type,
            "parameters": dict(parameters),
            "priority": 5,
            "deadline": iso(self.now_in(seconds)),
            "created_at": iso(self.now_in(1)),
            **fields,
        }
        self._runner.receive(payload, "poll")
        return str(payload["task_id"])

    def result(self, task_id: str) -> TaskResult:
        """What the task was answered. Its results are taken off the queue, as heartbeat does."""
        while task_id not in self._results:
            leased = self.queue.lease([RESULTS], 10, 60.0, wait=60.0)
            assert leased, "no result in time"
            for message in leased:
                result = TaskResult.model_validate_json(bytes(message.body))
                assert result.task_id not in self._results, "answered twice"
                self._results[result.task_id] = result
            self.queue.ack(message.id for message in leased)
        return self._results[task_id]

    def do(self, task_type: str, parameters: Mapping[str, Any], **fields: Any) -> TaskResult:
        return self.result(self.begin(task_type, parameters, **fields))

    def now_in(self, seconds: float) -> datetime:
        """The moment so many seconds from now, by this runner's clock."""
        return self._clock.now() + timedelta(seconds=seconds)

    def cancel(self, task_id: str) -> None:
        self._runner.cancel(task_id)

    def account(self, task_id: str) -> str:
        """What a running task has said so far."""
        execution = self._runner._running.get(task_id)
        return execution.context.account.text() if execution else ""

    def close(self) -> None:
        self._runner.stop_accepting()
        self._runner.drain(0.0, Suspended)


def clock_of(times: float) -> Clock:
    return SYSTEM_CLOCK if times == 1 else FastClock(times)
