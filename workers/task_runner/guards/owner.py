"""The owner's law as operations ask it: with the looks at the cluster, the clock and the records that it takes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from shared.basics.errors import TemporaryError
from shared.basics.timing import Clock
from shared.config.limits import Limits
from shared.kube.connection import Kube
from shared.kube.nodes import Node
from shared.kube.objects import Struct
from shared.kube.pods import Pod
from shared.kube.reads import Resource
from shared.queue.client import Queue
from workers.task_runner import guards
from workers.task_runner.guards import Protection
from workers.task_runner.guards.law import PROTECTED
from workers.task_runner.guards.ledger import Ledger, Permit

_FRESH = 5.0
"""Seconds for which labels of namespaces count as known: many drains at once ask once."""

_READ = 1.0
"""Seconds for which limits that were read count as known."""

_ANY_MARK = {"labelSelector": PROTECTED}


class _Meta(Struct, frozen=True):
    name: str = ""
    labels: dict[str, str] | None = None


class _Namespace(Struct, frozen=True):
    """As little of a namespace as can be, so that nothing odd in it keeps its mark from being seen."""

    metadata: _Meta = _Meta()


class Owner:
    """One for the process. Thread-safe."""

    def __init__(self, limits: Limits, kube: Kube, queue: Queue, clock: Clock) -> None:
        self._limits = limits
        self._namespaces = Resource(kube, "/api/v1/namespaces", _Namespace)
        self._clock = clock
        self._reading = threading.Lock()
        self._looking = threading.Lock()
        """Held while the API server is asked: never wanted by who must not wait for it."""
        self._current = limits
        self._read_at: float | None = None
        self._marks: Mapping[str, Mapping[str, str]] = {}
        self._known_at: float | None = None
        self._drains = Ledger(queue, "drains", clock)
        self._evictions = Ledger(queue, "evictions", clock)

    @property
    def limits(self) -> Limits:
        """The limits as they are now, or were a second ago: hundreds of tasks ask before each request."""
        with self._reading:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= _READ:
                self._current, self._read_at = self._limits.current(), now
            return self._current

    def closed(self) -> str | None:
        """The rule by which no work goes on now: no maintenance window is open."""
        return guards.on_time(self._clock.now(), self.limits)

    def on_task(self, task_type: str, dry_run: bool) -> str | None:
        """The rule that keeps a task from beginning, or going on, now."""
        return guards.on_task(task_type, self._clock.now(), self._limits.current(), dry_run)

    def on_node(self, node: Node) -> str | None:
        """The rule by which no task writes to ``node``."""
        return guards.on_node(node, self.limits)

    def protection(self) -> Protection:
        """What says of each pod by which rule no task evicts, deletes or labels it.

        Raises:
            TemporaryError, Forbidden: the namespaces' labels cannot be read, so nobody knows.
        """
        limits, marks = self.limits, self._marked()
        return lambda pod: guards.on_pod(pod, marks.get(pod.metadata.namespace, {}), limits)

    def on_pod(self, pod: Pod) -> str | None:
        """The rule by which no task evicts, deletes or labels ``pod``. Raises as ``protection``."""
        return self.protection()(pod)

    def on_labels(self, keys: Iterable[str]) -> str | None:
        """The rule by which no task changes one of these labels."""
        return guards.on_labels(keys, self.limits)

    def begin_drain(self) -> str | None:
        """Count one more drain, or the rule that refuses it. Raises TemporaryError."""
        taken = self._drains.take(guards.hourly_drains(self.limits))
        return taken if isinstance(taken, str) else None

    def next_drain(self) -> str | None:
        """The rule that would refuse a drain now. Raises TemporaryError."""
        return self._drains.look(guards.hourly_drains(self.limits))

    def next_evictions(self, count: int) -> str | None:
        """The rule by which some of so many evictions would have to wait. Raises TemporaryError."""
        return self._evictions.look(guards.hourly_evictions(self.limits), count)

    def begin_eviction(self) -> Permit | str:
        """Count one more eviction or deletion, or the rule that makes it wait. Raises TemporaryError."""
        return self._evictions.take(guards.hourly_evictions(self.limits))

    def not_evicted(self, permit: Permit) -> None:
        """The eviction was not accepted: another may take its place."""
        self._evictions.give_back(permit)

    def _marked(self) -> Mapping[str, Mapping[str, str]]:
        """Labels of the namespaces that have the owner's mark, by name."""
        with self._looking:
            now = self._clock.monotonic()
            if self._known_at is None or now - self._known_at > _FRESH:
                page = self._namespaces.cached(_ANY_MARK)
                if page.skipped:
                    raise TemporaryError(f"{page.skipped} namespaces cannot be read: they may be protected")
                self._marks = {each.metadata.name: each.metadata.labels or {} for each in page.items}
                self._known_at = now
            return self._marks
