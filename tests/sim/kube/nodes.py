"""The node life-cycle controller: taints, lost kubelets, and what becomes of pods on lost nodes."""

from __future__ import annotations

from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.kubelet import Kubelets
from tests.sim.kube.objects import ready_conditions
from tests.sim.kube.recorder import Recorder
from tests.sim.kube.resources import NODES, PODS, Object
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.writes import Target, change

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_LOST = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")


class NodeLifecycle:
    def __init__(self, store: Store, clockwork: Clockwork, kubelets: Kubelets, recorder: Recorder) -> None:
        self._store, self._clockwork = store, clockwork
        self._kubelets, self._recorder = kubelets, recorder

    def see(self, change: Change) -> None:
        if change.resource is NODES and change.object is not None:
            self._taint_cordoned(change.object)
        elif change.resource is NODES:
            for pod in self._store.pods.on_node(change.latest.name):
                delete(self._store, Target(PODS, pod.namespace, pod.name), DeleteOptions(grace=0))

    def work(self) -> None:
        """Everything is done on sight."""

    def _taint_cordoned(self, node: Stored) -> None:
        def tainted(latest: Object) -> Object | None:
            spec = latest["spec"]
            taints = spec.get("taints") or []
            others = [taint for taint in taints if taint["key"] != _UNSCHEDULABLE]
            if bool(spec.get("unschedulable")) == (len(others) < len(taints)):
                return None
            added = {"key": _UNSCHEDULABLE, "effect": "NoSchedule", "timeAdded": timestamp()}
            return _with_taints(latest, [*others, added] if spec.get("unschedulable") else others)

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
