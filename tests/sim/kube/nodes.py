"""The node life-cycle controller: taints, lost kubelets, and what becomes of pods on lost nodes."""

from __future__ import annotations

from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.kubelet import Kubelets
from tests.sim.kube.objects import ready_conditions
from tests.sim.kube.recorder import Recorder
from tests.sim.kube.resources import NODES, PODS, Object
from tests.sim.kube.status import ApiError
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.writes import Target, change

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_QUARANTINE = 1.0
"""Seconds for which the pods of a node that is gone are left as they are."""
_LOST = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")


class NodeLifecycle:
    def __init__(self, store: Store, clockwork: Clockwork, kubelets: Kubelets, recorder: Recorder) -> None:
        self._store, self._clockwork = store, clockwork
        self._kubelets, self._recorder = kubelets, recorder

    def see(self, change: Change) -> None:
        if change.resource is NODES and change.object is not None:
            self._taint(change.object)
        elif change.resource is NODES:
            self._clockwork.after(_QUARANTINE, lambda: self._collect(change.latest.name))
        elif change.resource is PODS and change.object is not None and change.previous is None:
            node = change.object.object["spec"].get("nodeName")
            if node and self._store.get(NODES, None, node) is None:
                self._clockwork.after(_QUARANTINE, lambda: self._collect(node))

    def work(self) -> None:
        """Everything is done on sight."""

    def _collect(self, node: str) -> None:
        """What the pod garbage collector does when a node stays away; the real one waits 40 s and more."""
        if self._store.get(NODES, None, node) is not None:
            return
        for pod in self._store.pods.on_node(node):
            change(self._store, pod, _collected)
            try:
                delete(self._store, Target(PODS, pod.namespace, pod.name), DeleteOptions(grace=0))
            except ApiError:
                pass  # Somebody was faster.

    def _taint(self, node: Stored) -> None:
        """The taints that follow from a cordon and from the Ready condition."""

        def tainted(latest: Object) -> Object | None:
            ready = {c["type"]: c["status"] for c in latest["status"].get("conditions") or ()}.get("Ready", "False")
            wanted = {
                _UNSCHEDULABLE: bool(latest["spec"].get("unschedulable")),
                _LOST[0]: ready == "Unknown",
                _LOST[1]: ready == "False",
            }
            taints = latest["spec"].get("taints") or []
            kept = [t for t in taints if t.get("effect") != "NoSchedule" or wanted.get(t["key"], True)]
            there = {taint["key"] for taint in kept if taint.get("effect") == "NoSchedule"}
            missing = [key for key, is_wanted in wanted.items() if is_wanted and key not in there]
            added = [{"key": key, "effect": "NoSchedule", "timeAdded": timestamp()} for key in missing]
            return _with_taints(latest, [*kept, *added]) if added or kept != taints else None

        change(self._store, node, tainted)

    def lose(self, node: Stored, status: str) -> None:
        """The kubelet stops (``Unknown``) or reports trouble (``False``)."""
        self._kubelets.stop_on(node.name)
        key = _LOST[0] if status == "Unknown" else _LOST[1]

        def lost(latest: Object) -> Object:
            taints = [t for t in latest["spec"].get("taints") or () if t["key"] not in _LOST]
            since = timestamp()
            taints += [{"key": key, "effect": effect, "timeAdded": since} for effect in ("NoSchedule", "NoExecute")]
            conditions = [_lost_condition(c, status, since) for c in latest["status"]["conditions"]]
            return _with_taints({**latest, "status": {**latest["status"], "conditions": conditions}}, taints)

        message = f"Node {node.name} status is now: NodeNotReady"
        changed = change(self._store, node, lost) or node
        self._recorder.emit(changed, "Normal", "NodeNotReady", message, "node-controller")
        for pod in self._store.pods.on_node(node.name):
            change(self._store, pod, lambda latest: _with_readiness(latest, "False"))
            self._recorder.emit(pod, "Warning", "NodeNotReady", "Node is not ready", "node-controller")

    def find(self, node: Stored) -> None:
        """The node is back."""

        def found(latest: Object) -> Object:
            taints = [t for t in latest["spec"].get("taints") or () if t["key"] not in _LOST]
            status = {**latest["status"], "conditions": ready_conditions(timestamp())}
            return _with_taints({**latest, "status": status}, taints)

        changed = change(self._store, node, found) or node
        message = f"Node {node.name} status is now: NodeReady"
        self._recorder.emit(changed, "Normal", "NodeReady", message, "kubelet", host=node.name)
        for pod in self._store.pods.on_node(node.name):
            change(self._store, pod, lambda latest: _with_readiness(latest, "True"))
        self._clockwork.after(0, lambda: self._kubelets.resume_on(node.name))


def _collected(pod: Object) -> Object:
    """A pod whose node no longer exists, as the pod garbage collector leaves it."""
    why = {"reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"}
    since = timestamp()
    target = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": since, **why}
    others = [c for c in pod["status"].get("conditions") or () if c["type"] != "DisruptionTarget"]
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    phase = pod["status"].get("phase") if ended else "Failed"
    return {**pod, "status": {**pod["status"], "phase": phase, "conditions": [*others, target]}}


def taint(store: Store, node: Stored, key: str, value: str, effect: str) -> None:
    """Somebody puts a taint on the node."""

    def tainted(latest: Object) -> Object:
        others = [taint for taint in latest["spec"].get("taints") or () if taint["key"] != key]
        return _with_taints(latest, [*others, {"key": key, "effect": effect, **({"value": value} if value else {})}])

    change(store, node, tainted)


def set_condition(store: Store, node: Stored, kind: str, status: str, reason: str, message: str) -> None:
    """Somebody, such as a node-problem-detector, sets a condition of the node."""
    condition = {"type": kind, "status": status, "reason": reason, "message": message}

    def told(latest: Object) -> Object:
        others = [one for one in latest["status"]["conditions"] if one["type"] != kind]
        conditions = [*others, {**condition, "lastTransitionTime": timestamp()}]
        return {**latest, "status": {**latest["status"], "conditions": conditions}}

    change(store, node, told)


def _with_taints(node: Object, taints: list[Object]) -> Object:
    spec = {key: value for key, value in node["spec"].items() if key != "taints"}
    return {**node, "spec": {**spec, "taints": taints} if taints else spec}


def _lost_condition(condition: Object, status: str, since: str) -> Object:
    if status == "Unknown":
        why = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
        return {**condition, "status": "Unknown", "lastTransitionTime": since, **why}
    if condition["type"] != "Ready":
        return condition
    why = {"reason": "KubeletNotReady", "message": "container runtime is down"}
    return {**condition, "status": "False", "lastTransitionTime": since, **why}


def _with_readiness(pod: Object, status: str) -> Object | None:
    conditions = pod["status"].get("conditions") or []
    if pod["status"].get("phase") != "Running":
        return None
    since = timestamp()
    changed = [
        {**c, "status": status, "lastTransitionTime": since} if c["type"] == "Ready" and c["status"] != status else c
        for c in conditions
    ]
    return {**pod, "status": {**pod["status"], "conditions": changed}}
