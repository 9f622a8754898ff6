"""What a worker counts, from its first second on and to its last: counters begin at 0, and the last of them are kept.

A counter that appears with its first occurrence hides it: Prometheus sees no increase in that.
"""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path
from typing import Any

from shared.basics import telemetry
from shared.process.programs import PROGRAMS
from shared.queue.messages import TOPICS
from shared.schemas.events import EVENT_TYPES
from shared.schemas.parameters import PARAMETERS
from shared.schemas.tasks import STATUSES

_WATCHED = ("nodes", "pods")
_BOUNDS = ("endpoint", "queue_connections", "queue_room", "queue_silence", "queue_unread")

KNOWN: dict[str, tuple[tuple[Any, tuple[tuple[str, ...], ...]], ...]] = {
    "task-runner": (
        (telemetry.TASKS_RECEIVED, (("poll", "stream"),)),
        (telemetry.TASKS_DROPPED, (("no_id", "not_understood", "other_cluster"),)),
        (telemetry.TASKS, (tuple(PARAMETERS), STATUSES)),
        (telemetry.EVICTIONS, (("200", "201", "404", "409", "429", "500"),)),
        (telemetry.RECONNECTS, (("stream",),)),
    ),
    "metrics": (
        (telemetry.COLLECTIONS, (("success", "failed", "not_ready"),)),
        (telemetry.SELF_CHECKS, (_WATCHED, ("match", "mismatch", "unknown"))),
        (telemetry.CHANGES, (_WATCHED,)),
        (telemetry.OBJECTS_SKIPPED, (_WATCHED,)),
    ),
    "event-watcher": (
        (telemetry.EVENTS_SEEN, (EVENT_TYPES,)),
        (telemetry.EVENTS_PUT, (EVENT_TYPES,)),
        (telemetry.EVENTS_DROPPED, (EVENT_TYPES,)),
        (telemetry.EVENTS_HISTORY, (EVENT_TYPES,)),
        (telemetry.OBJECTS_SKIPPED, (("events",),)),
    ),
    "heartbeat": (
        (telemetry.DELIVERIES, (TOPICS, ("delivered", "retried"))),
        (telemetry.DEAD_LETTERS, (TOPICS,)),
    ),
    "health": (
        (telemetry.BOUND_HITS, (_BOUNDS,)),
        (telemetry.WORKER_RESTARTS, (PROGRAMS,)),
        (telemetry.QUEUE_DROPPED, (TOPICS,)),
    ),
}
"""Each worker's counters with the label values that are known beforehand; others come as they come."""


def begin_at_zero(name: str) -> None:
    """Have the worker's counters on its first page already."""
    for counter, values in KNOWN[name]:
        for labels in product(*values):
            counter.labels(*labels)


class Usage:
    """What this process uses of the machine."""

    def __init__(self, name: str) -> None:
        self._memory = telemetry.WORKER_MEMORY.labels(name)
        self._cpu = telemetry.WORKER_CPU.labels(name)
        self._counted = 0.0

    def measure(self) -> None:
        """Bring the metrics up to now."""
        used = time.process_time()
        self._cpu.inc(used - self._counted)
        self._counted = used
        self._memory.set(private_bytes())


def private_bytes() -> int:
    """Memory that is this process's alone: what the five share through their parent is counted for none.

    By smaps_rollup, as RssAnon of proc(5) status counts what is shared since the fork for each of them. A millisecond.
    """
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:"))) * 1024
