"""Hollow kubelets: bound pods start after a while, deleted ones end."""

from __future__ import annotations

from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.pods import SIM, running_status
from tests.sim.kube.resources import PODS, Object
from tests.sim.kube.status import ApiError
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.writes import Target, change


class Kubelets:
    """All nodes' kubelets. Those in ``down`` do nothing until they are up again."""

    def __init__(self, store: Store, clockwork: Clockwork, start_seconds: float, termination_seconds: float) -> None:
        self.start_seconds, self.termination_seconds = start_seconds, termination_seconds
        self._store, self._clockwork = store, clockwork
        self._down: set[str] = set()
        self._starting: set[str] = set()
        self._ending: dict[str, int] = {}
        """Grace with which each terminating pod's end is timed."""

    def see(self, change: Change) -> None:
        if change.resource is not PODS:
            return
        if change.object is None:
            uid = change.latest.object["metadata"]["uid"]
            self._starting.discard(uid)
            self._ending.pop(uid, None)
        elif change.object.object["spec"].get("nodeName"):
            self._tend(change.object)

    def work(self) -> None:
        """Everything is done by timers."""

    def stop_on(self, node: str) -> None:
        self._down.add(node)

    def resume_on(self, node: str) -> None:
        self._down.discard(node)
        for pod in self._store.pods.on_node(node):
            self._ending.pop(pod.object["metadata"]["uid"], None)
            self._starting.discard(pod.object["metadata"]["uid"])
            self._tend(pod)

    def _tend(self, pod: Stored) -> None:
        metadata, status = pod.object["metadata"], pod.object["status"]
        uid = metadata["uid"]
        if "deletionTimestamp" in metadata:
            grace = metadata.get("deletionGracePeriodSeconds", 0)
            if grace < self._ending.get(uid, 1 << 31):
                self._ending[uid] = grace
                self._clockwork.after(self._time_to_end(pod.object, grace), lambda: self._end(pod, grace))
        elif status.get("phase") == "Pending" and uid not in self._starting:
            self._starting.add(uid)
            self._clockwork.after(_wish(pod.object, "start-seconds", self.start_seconds), lambda: self._start(pod))

    def _time_to_end(self, pod: Object, grace: int) -> float:
        if (pod["metadata"].get("annotations") or {}).get(f"{SIM}/ignore-sigterm") == "true":
            return grace
        return min(grace, _wish(pod, "termination-seconds", self.termination_seconds))

    def _start(self, pod: Stored) -> None:
        if pod.object["spec"]["nodeName"] in self._down:
            return

        def started(latest: Object) -> Object | None:
            if latest["status"].get("phase") != "Pending" or "deletionTimestamp" in latest["metadata"]:
                return None
            never_ready = (latest["metadata"].get("annotations") or {}).get(f"{SIM}/never-ready") == "true"
            return {**latest, "status": running_status(latest, ready=not never_ready)}

        change(self._store, pod, started)

    def _end(self, pod: Stored, grace: int) -> None:
        uid = pod.object["metadata"]["uid"]
        if pod.object["spec"]["nodeName"] in self._down or self._ending.get(uid) != grace:
            return  # the node is gone, the pod is gone, or a shorter grace took over
        try:
            delete(self._store, Target(PODS, pod.namespace, pod.name), DeleteOptions(grace=0, uid=uid))
        except ApiError:
            pass  # someone deleted it first


def _wish(pod: Object, name: str, default: float) -> float:
    text = (pod["metadata"].get("annotations") or {}).get(f"{SIM}/{name}")
    return default if text is None else float(text)
