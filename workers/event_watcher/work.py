"""Which tasks of this agent are at work on which nodes and pods, as the journal in the queue's state says."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from shared.basics.timing import Clock
from shared.process.state import TASK
from shared.queue.client import Queue, value

AFTER = 600.0
"""Seconds for which a task that ended still accounts for what it did."""

REMEMBERED = 5000
"""Tasks; the oldest go first."""

_WAIT = 20.0

_REMOVING = ("drain_node", "delete_pod", "reschedule_pod")


class OwnWork:
    """Thread-safe."""

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._lock = threading.Lock()
        self._version = 0
        self._targets: OrderedDict[str, str] = OrderedDict()
        """Task id to what it works on: ``node/NAME`` or ``pod/NAMESPACE/NAME``."""
        self._ended: dict[str, float] = {}

    def follow(self) -> float:
        """Take in what changed in the journal, waiting for it; the seconds until the next time."""
        entries, self._version = self._queue.watch_state(TASK, self._version, wait=_WAIT)
        with self._lock:
            for key, entry in entries.items():
                self._take_in(key.removeprefix(TASK), value(entry))
            now = self._clock.monotonic()
            for task_id in [one for one, ended in self._ended.items() if now - ended > AFTER]:
                del self._ended[task_id]
                self._targets.pop(task_id, None)
            while len(self._targets) > REMEMBERED:
                self._ended.pop(self._targets.popitem(last=False)[0], None)
        return 0.0

    def on_node(self, node: str | None) -> str | None:
        """The task that empties ``node``, or did a moment ago."""
        return self._of(f"node/{node}")

    def on_pod(self, namespace: str | None, name: str, node: str | None) -> str | None:
        """The task that removes the pod, by name or with all others of its node."""
        return self._of(f"pod/{namespace}/{name}") or self.on_node(node)

    def _of(self, target: str) -> str | None:
        with self._lock:
            return next((task_id for task_id, at in reversed(self._targets.items()) if at == target), None)

    def _take_in(self, task_id: str, record: Any) -> None:
        if not isinstance(record, Mapping) or "result" in record:
            if task_id in self._targets:
                self._ended.setdefault(task_id, self._clock.monotonic())
            return
        task = record.get("task")
        if not isinstance(task, Mapping) or task.get("task_type") not in _REMOVING:
            return
        parameters = task.get("parameters") or {}
        if task.get("task_type") == "drain_node":
            self._targets[task_id] = f"node/{parameters.get('node_name')}"
        else:
            self._targets[task_id] = f"pod/{parameters.get('namespace')}/{parameters.get('pod_name')}"
