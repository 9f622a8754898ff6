"""Hollow kubelets: bound pods start after a while, deleted ones end."""

from __future__ import annotations

from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.objects import identity
from tests.sim.kube.pods import SIM, running_status
from tests.sim.kube.resources import NAMESPACES, PODS, Object
from tests.sim.kube.status import ApiError
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.writes import Target, change

_AT_ONCE = 0.02
"""Seconds in which a kubelet sees to a mirror pod."""


class Kubelets:
    """The kubelets of the nodes served: a node that somebody made through the API has none, as on a real cluster."""

    def __init__(self, store: Store, clockwork: Clockwork, start_seconds: float, termination_seconds: float) -> None:
        self.start_seconds, self.termination_seconds = start_seconds, termination_seconds
        self._store, self._clockwork = store, clockwork
        self._up: set[str] = set()
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
            if is_mirror(change.latest.object):
                self._clockwork.after(_AT_ONCE, lambda: self._mirror(change.latest))
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
            self._ending.pop(pod.object["metadata"]["uid"], None)
            self._starting.discard(pod.object["metadata"]["uid"])
            self._tend(pod)

    def _tend(self, pod: Stored) -> None:
        metadata, status = pod.object["metadata"], pod.object["status"]
        uid = metadata["uid"]
        if "deletionTimestamp" in metadata and is_mirror(pod.object):
            self._clockwork.after(_AT_ONCE, lambda: self._remove(pod))
        elif "deletionTimestamp" in metadata:
            if (metadata.get("annotations") or {}).get(f"{SIM}/never-ends") == "true":
                return
            grace = metadata.get("deletionGracePeriodSeconds", 0)
            if grace < self._ending.get(uid, 1 << 31):
                self._ending[uid] = grace
                self._clockwork.after(self._time_to_end(pod.object, grace), lambda: self._end(pod, grace))
        elif status.get("phase") == "Pending" and uid not in self._starting:
            self._starting.add(uid)
            self._clockwork.after(_wish(pod.object, "start-seconds", self.start_seconds), lambda: self._start(pod))

    def _time_to_end(self, pod: Object, grace: int) -> float:
        if _ignores_sigterm(pod):
            return grace
        return min(grace, _wish(pod, "termination-seconds", self.termination_seconds))

    def _start(self, pod: Stored) -> None:
        if pod.object["spec"]["nodeName"] not in self._up:
            return

        def started(latest: Object) -> Object | None:
            if latest["status"].get("phase") != "Pending" or "deletionTimestamp" in latest["metadata"]:
                return None
            never_ready = (latest["metadata"].get("annotations") or {}).get(f"{SIM}/never-ready") == "true"
            return {**latest, "status": running_status(latest, ready=not never_ready)}

        change(self._store, pod, started)

    def _end(self, pod: Stored, grace: int) -> None:
        """The containers are over: first the status says so, then the object goes, finalizers permitting."""
        uid = pod.object["metadata"]["uid"]
        if pod.object["spec"]["nodeName"] not in self._up or self._ending.get(uid) != grace:
            return  # the node is gone, the pod is gone, or a shorter grace took over
        change(self._store, pod, _ended)
        self._remove(pod)

    def _remove(self, pod: Stored) -> None:
        try:
            options = DeleteOptions(grace=0, uid=pod.object["metadata"]["uid"])
            delete(self._store, Target(PODS, pod.namespace, pod.name), options)
        except ApiError:
            pass  # someone deleted it first

    def _mirror(self, gone: Stored) -> None:
        """A static pod runs on: deleting its mirror makes another, of another UID."""
        metadata = gone.object["metadata"]
        namespace = self._store.get(NAMESPACES, None, gone.namespace or "")
        if gone.object["spec"].get("nodeName") not in self._up or namespace is None:
            return
        if "deletionTimestamp" in namespace.object["metadata"]:
            return
        kept = {name: metadata[name] for name in ("labels", "annotations", "ownerReferences") if name in metadata}
        fresh = {**gone.object, "metadata": identity(gone.name, gone.namespace, **kept)}
        with self._store.lock:
            if self._store.get(PODS, gone.namespace, gone.name) is None:
                self._store.put(PODS, fresh)


def is_mirror(pod: Object) -> bool:
    """Whether the pod stands for one that the kubelet runs from a file."""
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def _ignores_sigterm(pod: Object) -> bool:
    return (pod["metadata"].get("annotations") or {}).get(f"{SIM}/ignore-sigterm") == "true"


def _ended(pod: Object) -> Object | None:
    """A terminating pod's last status: Failed where a container had to be killed."""
    if pod["status"].get("phase") in ("Succeeded", "Failed"):
        return None
    code, phase = (137, "Failed") if _ignores_sigterm(pod) else (0, "Succeeded")
    now = timestamp()
    over = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": now}}
    statuses = [
        {**one, "ready": False, "started": False, "state": over} for one in pod["status"].get("containerStatuses") or ()
    ]
    conditions = [
        {**c, "status": "False", "reason": f"Pod{phase}"} if "Ready" in c["type"] else c
        for c in pod["status"].get("conditions") or ()
    ]
    status = {**pod["status"], "phase": phase, "conditions": conditions, "containerStatuses": statuses}
    return {**pod, "status": status}


def _wish(pod: Object, name: str, default: float) -> float:
    text = (pod["metadata"].get("annotations") or {}).get(f"{SIM}/{name}")
    return default if text is None else float(text)
