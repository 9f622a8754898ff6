"""What an object does not say itself: looked up beside the way, within two seconds or not at all.

Nothing that matters waits for it: an occurrence is told when its time is up, with what is known by then. An API
server that does not answer in time is left alone for a while, and while the worker stops nothing is asked.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from shared.basics import telemetry
from shared.basics.errors import AgentError
from shared.kube.connection import Kube, optional
from shared.kube.errors import Forbidden, KubeUnavailable
from shared.kube.nodes import PATH as NODES
from shared.kube.objects import Meta, Owner, Struct, controller_of
from shared.kube.pods import PATH as PODS
from shared.kube.pods import on_node, pod_path
from shared.kube.reads import Resource
from shared.kube.usage import GROUP, UsageApi
from shared.schemas.events import ClusterEvent, Details
from workers.event_watcher.aggregate import Allowance
from workers.event_watcher.objects import Node, Pod
from workers.event_watcher.pending import Pending
from workers.event_watcher.sights.sight import owner_name
from workers.event_watcher.unplaced import Unplaced
from workers.event_watcher.work import OwnWork

RATE, BURST = 5.0, 20
"""Calls a second, and at once: in a storm most occurrences go without."""

REST_SECONDS = 10.0
"""After an answer that did not come in time nothing is asked for so long."""

WAITING = 2000
"""Occurrences that may wait for their turn; more go without."""

REMEMBERED = 2000
"""Owners that are remembered; the oldest go first."""

_IDLE = 20.0

_ABOVE = {"ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets/{}", "Job": "/apis/batch/v1/namespaces/{}/jobs/{}"}
"""Controllers that belong to another one as a rule, and where that is said. Others are the topmost themselves."""

_SEVERITIES = ("critical", "warning", "info")

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class _Owned(Struct, frozen=True):
    metadata: Meta


class _Phase(Struct, frozen=True):
    phase: str = ""


class _Running(Struct, frozen=True):
    metadata: Meta
    status: _Phase = _Phase()


class _ContainerUsage(Struct, frozen=True):
    name: str = ""
    usage: dict[str, str] = {}


class _PodUsage(Struct, frozen=True):
    metadata: Meta
    timestamp: datetime | None = None
    containers: list[_ContainerUsage] = []


class Lookups:
    """Thread-safe; ``run`` may run on several threads. ``done`` is called when something that was asked is known."""

    def __init__(
        self, kube: Kube, work: OwnWork, unplaced: Unplaced, stop: threading.Event, done: Callable[[], None]
    ) -> None:
        self._kube = kube
        self._work = work
        self._unplaced = unplaced
        self._stop = stop
        self._done = done
        self._allowance = Allowance(RATE, BURST)
        self._lock = threading.Lock()
        self._rests_until = 0.0
        self._owners: OrderedDict[tuple[str, str, str], str] = OrderedDict()
        self._unreadable: set[str] = set()
        """Kinds that RBAC does not let us read."""
        self._usage = UsageApi(kube)
        self._pods = Resource(kube, PODS, Pod)
        self._running = Resource(kube, PODS, _Running)
        self._owned = Resource(kube, PODS, _Owned)
        self._used = Resource(kube, PODS, _PodUsage)
        self._nodes = Resource(kube, NODES, Node)
        self._numbers = itertools.count()
        self._asked: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = queue.PriorityQueue(WAITING)

    def ask(self, pending: Pending) -> None:
        """Find out what can be known of ``pending``, and mark it as known then."""
        if not self._later(_SEVERITIES.index(pending.event.severity), lambda: self._answer(pending)):
            pending.known = True

    def ask_node(self, name: str, take_in: Callable[[Node], None]) -> None:
        """Read a node of which something was heard."""
        path = f"{NODES}/{quote(name, safe='')}"

        def answer() -> None:
            node = self._look(lambda: self._nodes.decoded(self._kube.get(path), f"GET {path}"))
            if node is not None:
                take_in(node)

        self._later(0, answer)

    def run(self) -> float:
        """Look up what was asked for next, or wait for it; the seconds until the next time."""
        try:
            *_, answer = self._asked.get(timeout=_IDLE)
        except queue.Empty:
            return 0.0
        answer()
        return 0.0

    def _later(self, rank: int, answer: Callable[[], None]) -> bool:
        """Have a thread call ``answer``, lower ranks first; whether there is room."""
        try:
            if self._stop.is_set():
                return False
            self._asked.put_nowait((rank, next(self._numbers), answer))
        except queue.Full:
            return False
        return True

    def _answer(self, pending: Pending) -> None:
        try:
            if time.monotonic() < pending.due:
                self._complete(pending)
        finally:
            pending.known = True
            self._done()

    def _complete(self, pending: Pending) -> None:
        event = pending.event
        if event.kind == "Pod" and event.namespace is not None:
            self._find_pod(pending)
            if pending.controller is not None:
                pending.event = pending.event.model_copy(
                    update={"owner": self._top_owner(event.namespace, pending.controller)}
                )
        details = self._details(pending.event)
        if details:
            pending.event = pending.event.model_copy(update={"details": {**pending.event.details, **details}})

    def _find_pod(self, pending: Pending) -> None:
        """Whose the pod is and whether it has a node: an Event says neither."""
        event = pending.event
        pending.controller = pending.controller or self._unplaced.controller(event)
        if pending.controller is not None or not pending.from_event or self._unplaced.is_waiting(event):
            return
        path = pod_path(event.namespace or "", event.name)
        pod = self._look(lambda: self._pods.decoded(self._kube.get(path), f"GET {path}"))
        if pod is None or (event.uid and pod.metadata.uid != event.uid):
            return
        pending.controller, node = controller_of(pod.metadata), pod.spec.node_name or None
        pending.placed = node is not None
        self._unplaced.saw(pod)  # From here on the watch of pods tells when it gets one.
        pending.event = event.model_copy(update={"node_name": event.node_name or node})

    def _top_owner(self, namespace: str, controller: Owner) -> str:
        key = namespace, controller.kind, controller.name
        with self._lock:
            known = self._owners.get(key)
        if known is not None or controller.kind not in _ABOVE or controller.kind in self._unreadable:
            return known or f"{controller.kind}/{controller.name}"
        path = _ABOVE[controller.kind].format(quote(namespace, safe=""), quote(controller.name, safe=""))
        found = self._look(lambda: self._owned.decoded(self._kube.get(path), f"GET {path}"), controller.kind)
        if found is None:
            return f"{controller.kind}/{controller.name}"
        top = owner_name(controller_of(found.metadata)) or f"{controller.kind}/{controller.name}"
        with self._lock:
            self._owners[key] = top
            if len(self._owners) > REMEMBERED:
                self._owners.popitem(last=False)
        return top

    def _details(self, event: ClusterEvent) -> Details:
        if event.event_type == "node_not_ready":
            return self._pods_on(event.name)
        if event.event_type == "oom_killed" and event.kind == "Pod":
            return self._used_by(event)
        if event.event_type == "pod_evicted" and event.details.get("by") == "api":
            task = self._work.on_pod(event.namespace, event.name, event.node_name)
            return {"by": "cloudoptim-agent", "task_id": task} if task else {}
        return {}

    def _pods_on(self, node: str) -> Details:
        page = self._look(lambda: self._running.cached(on_node(node)))
        if page is None:
            return {}
        return {"pods": sum(1 for pod in page.items if pod.status.phase not in ("Succeeded", "Failed"))}

    def _used_by(self, event: ClusterEvent) -> Details:
        def ask() -> _PodUsage:
            pod = f"namespaces/{quote(event.namespace or '', safe='')}/pods/{quote(event.name, safe='')}"
            path = f"{GROUP}/{self._usage.version()}/{pod}"
            return self._used.decoded(self._kube.get(path), f"GET {path}")

        found = self._look(ask)
        for container in found.containers if found else ():
            if container.name == event.details.get("container") and "memory" in container.usage:
                return {"memory_usage": container.usage["memory"], **_as_of(found)}
        return {}

    def _look(self, ask: Callable[[], T], kind: str = "") -> T | None:
        """What ``ask`` answers, if it may be asked now and answers in time."""
        now = time.monotonic()
        with self._lock:
            if self._stop.is_set() or now < self._rests_until or not self._allowance.lets_through("", now):
                telemetry.LOOKUPS.labels("skipped").inc()
                return None
        try:
            with optional():
                found = ask()
        except AgentError as error:
            telemetry.LOOKUPS.labels("failed").inc()
            _logger.debug("a look-up failed: %s", error)
            if isinstance(error, KubeUnavailable):
                self._rests_until = time.monotonic() + REST_SECONDS
            if isinstance(error, Forbidden) and kind:
                self._unreadable.add(kind)
            return None
        telemetry.LOOKUPS.labels("answered").inc()
        return found


def _as_of(found: Any) -> Details:
    return {"memory_usage_at": found.timestamp.isoformat().replace("+00:00", "Z")} if found.timestamp else {}
