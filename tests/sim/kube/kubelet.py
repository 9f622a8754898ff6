"""Hollow kubelets: bound pods start after a while, deleted ones end."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.kube import tending
from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.kinds import created
from tests.sim.kube.pods import running_status
from tests.sim.kube.resources import NAMESPACES, PODS, Object
from tests.sim.kube.status import ApiError
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.tending import Due
from tests.sim.kube.writes import Target, change


class Kubelets:
    """The kubelets of the nodes served: a node that somebody made through the API has none, as on a real cluster."""

    def __init__(self, store: Store, clockwork: Clockwork, start_seconds: float, termination_seconds: float) -> None:
        self.start_seconds, self.termination_seconds = start_seconds, termination_seconds
        self._store, self._clockwork = store, clockwork
        self._up: set[str] = set()
        self._planned: dict[str, Due] = {}
        """Each pod's next step by its UID; a shorter grace takes its place."""

    def see(self, change: Change) -> None:
        if change.resource is not PODS:
            return
        if change.object is None:
            self._planned.pop(change.latest.object["metadata"]["uid"], None)
        elif change.object.object["spec"].get("nodeName"):
            self._tend(change.object)

    def work(self) -> None:
        """Everything is done by timers."""

    def serve(self, node: str) -> None:
        self._up.add(node)

    def stop_on(self, node: str) -> None:
        self._up.discard(node)

    def resume_on(self, node: str) -> None:
        self._up.add(node)
        for pod in self._store.pods.on_node(node):
            self._planned.pop(pod.object["metadata"]["uid"], None)
            self._tend(pod)

    def _tend(self, pod: Stored) -> None:
        uid = pod.object["metadata"]["uid"]
        due = tending.due(pod.object, self.start_seconds, self.termination_seconds)
        if due is None or self._planned.get(uid) == due:
            return
        self._planned[uid] = due
        action: Callable[[Stored], None] = {"start": self._start, "end": self._end, "mirror": self._mirror}[due.action]

        def act() -> None:
            if pod.object["spec"]["nodeName"] in self._up and self._planned.get(uid) == due:
                action(pod)

        self._clockwork.after(due.seconds, act)

    def _start(self, pod: Stored) -> None:
        def started(latest: Object) -> Object | None:
            if latest["status"].get("phase") != "Pending" or "deletionTimestamp" in latest["metadata"]:
                return None
            return {**latest, "status": running_status(latest, ready=tending.becomes_ready(latest))}

        change(self._store, pod, started)

    def _end(self, pod: Stored) -> None:
        """The containers are over: first the status says so, then the object goes, finalizers permitting."""

        def over(latest: Object) -> Object | None:
            status = tending.ended(latest)
            return {**latest, "status": status} if status else None

        change(self._store, pod, over)
        self._remove(pod)

    def _mirror(self, pod: Stored) -> None:
        self._remove(pod)
        with self._store.lock:
            namespace = self._store.get(NAMESPACES, None, pod.namespace or "")
            taken = self._store.get(PODS, pod.namespace, pod.name)
            if taken is None and namespace and "deletionTimestamp" not in namespace.object["metadata"]:
                self._store.put(PODS, created(PODS, tending.mirrored_again(pod.object), pod.namespace))

    def _remove(self, pod: Stored) -> None:
        try:
            options = DeleteOptions(grace=0, uid=pod.object["metadata"]["uid"])
            delete(self._store, Target(PODS, pod.namespace, pod.name), options)
        except ApiError:
            pass  # someone deleted it first
