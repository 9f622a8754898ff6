"""A scheduler: the fitting node with the fewest pods, or a FailedScheduling event and another try later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.quantities import parse, pod_requests
from tests.sim.kube.recorder import Recorder
from tests.sim.kube.resources import NODES, PODS, Object
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.writes import change

_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0


class Loads:
    """What is reserved on each node; kept exact as pods change, so that no node is overcommitted."""

    def __init__(self) -> None:
        self._by_node: dict[str, list[int]] = {}
        self._requests: dict[int, tuple[object, int, int]] = {}

    def observe(self, change: Change) -> None:
        if change.resource is PODS:
            for stored, sign in ((change.previous, -1), (change.object, 1)):
                if stored is not None:
                    self._count(stored.object, sign)

    def on(self, node: str) -> tuple[int, int, int]:
        """Pods, millicores and bytes."""
        pods, cpu, memory = self._by_node.get(node, (0, 0, 0))
        return pods, cpu, memory

    def requests(self, pod: Object) -> tuple[int, int]:
        """Pods of a template share their containers, so this is worked out once for all of them."""
        containers = pod["spec"]["containers"]
        known = self._requests.get(id(containers))
        if known is None or known[0] is not containers:
            known = self._requests[id(containers)] = (containers, *pod_requests(pod))
        return known[1], known[2]

    def _count(self, pod: Object, sign: int) -> None:
        node = pod["spec"].get("nodeName")
        if node and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            load = self._by_node.setdefault(node, [0, 0, 0])
            for place, amount in enumerate((1, *self.requests(pod))):
                load[place] += sign * amount


class Scheduler:
    def __init__(self, store: Store, clockwork: Clockwork, recorder: Recorder) -> None:
        self._store, self._clockwork, self._recorder = store, clockwork, recorder
        self.loads = Loads()
        store.observers.append(self.loads.observe)
        self._fresh: dict[str, Stored] = {}
        self._waiting: dict[str, tuple[Stored, float]] = {}
        """Pods that fit nowhere, and how long they were told to wait last."""
        self._changed = False
        """Whether there may be room that was not there before."""

    def see(self, change: Change) -> None:
        if change.resource is PODS:
            uid = change.latest.object["metadata"]["uid"]
            pod = change.object
            if pod is None or pod.object["spec"].get("nodeName") or "deletionTimestamp" in pod.object["metadata"]:
                self._fresh.pop(uid, None)
                self._waiting.pop(uid, None)
                self._changed |= pod is None
            elif uid not in self._waiting:
                self._fresh[uid] = pod
        self._changed |= change.resource is NODES

    def work(self) -> None:
        if self._changed:
            self._changed = False
            self._try_waiting()
        fresh, self._fresh = self._fresh, {}
        for uid, pod in fresh.items():
            if not self._place(pod):
                self._fail(uid, pod, _FIRST_RETRY)

    def _try_waiting(self) -> None:
        """The cluster changed: pods that fit now need not wait. Those that do not are not told again."""
        for uid, (pod, _) in list(self._waiting.items()):
            if self._place(pod):
                self._waiting.pop(uid, None)

    def _retry(self, uid: str) -> None:
        if uid in self._waiting:
            pod, waited = self._waiting[uid]
            if not self._place(pod):
                self._fail(uid, pod, min(_LAST_RETRY, waited * 2))

    def _fail(self, uid: str, pod: Stored, pause: float) -> None:
        self._waiting[uid] = (pod, pause)
        self.report(pod, self._explain(pod.object))
        self._clockwork.after(pause, lambda: self._retry(uid))

    def report(self, pod: Stored, message: str) -> Stored:
        """Tell that ``pod`` cannot be placed: its condition and an event."""

        def unschedulable(latest: Object) -> Object:
            why = {"reason": "Unschedulable", "message": message}
            condition = {"type": "PodScheduled", "status": "False", "lastProbeTime": None, **why}
            old = [c for c in latest["status"].get("conditions") or () if c["type"] == "PodScheduled"]
            since = old[0]["lastTransitionTime"] if old else timestamp()
            conditions = [{**condition, "lastTransitionTime": since}]
            return {**latest, "status": {**latest["status"], "conditions": conditions}}

        change(self._store, pod, unschedulable)
        return self._recorder.emit_series(pod, "FailedScheduling", message, "Scheduling", "default-scheduler")

    def _place(self, pod: Stored) -> bool:
        with self._store.lock:
            node = self.choose(pod.object)
            if node is not None:
                change(self._store, pod, lambda latest: _bound(latest, node))
            return node is not None

    def choose(self, pod: Object) -> str | None:
        """The fitting node with the fewest pods."""
        fitting = [node.name for node in self._store.all(NODES) if not self._obstacle(node.object, pod)]
        return min(fitting, key=lambda name: self.loads.on(name)[0], default=None)

    def _explain(self, pod: Object) -> str:
        nodes = self._store.all(NODES)
        reasons = Counter(self._obstacle(node.object, pod) for node in nodes)
        found = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        head = f"0/{len(nodes)} nodes are available" if nodes else "no nodes available to schedule pods"
        return f"{head}: {found}. preemption: 0/{len(nodes)} nodes are available: {len(nodes)} Preemption is not " \
               "helpful for scheduling." if nodes else head  # fmt: skip

    def _obstacle(self, node: Object, pod: Object) -> str:
        """Why ``pod`` cannot go to ``node``; empty if it can."""
        spec = pod["spec"]
        if node["spec"].get("unschedulable") and not tolerates(spec, _CORDONED):
            return "node(s) were unschedulable"
        for taint in node["spec"].get("taints") or ():
            if taint["effect"] != "PreferNoSchedule" and not tolerates(spec, taint):
                return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
        labels = node["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
            return "node(s) didn't match Pod's node affinity/selector"
        allocatable = node["status"].get("allocatable") or {}
        pods, cpu, memory = self.loads.on(node["metadata"]["name"])
        need_cpu, need_memory = self.loads.requests(pod)
        if pods + 1 > int(allocatable.get("pods", 110)):
            return "Too many pods"
        if cpu + need_cpu > int(parse(allocatable.get("cpu", 0)) * 1000):
            return "Insufficient cpu"
        if memory + need_memory > int(parse(allocatable.get("memory", 0))):
            return "Insufficient memory"
        return ""


_CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def tolerates(spec: Object, taint: Object) -> bool:
    tolerations: Iterable[Object] = spec.get("tolerations") or ()
    return any(
        t.get("effect", taint["effect"]) in ("", taint["effect"])
        and t.get("key", taint["key"]) in ("", taint["key"])
        and (t.get("operator") == "Exists" or t.get("value", "") == taint.get("value", ""))
        for t in tolerations
    )


def runs_daemon(node: Object, template: Object) -> bool:
    """Whether a DaemonSet of ``template`` has a pod on the node, as its controller decides it."""
    spec = template["spec"]
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    taints = node["spec"].get("taints") or ()
    return all(taint["effect"] == "PreferNoSchedule" or tolerates(spec, taint) for taint in taints)


def _bound(pod: Object, node: str) -> Object | None:
    if pod["spec"].get("nodeName") or "deletionTimestamp" in pod["metadata"]:
        return None
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp()}
    status = {**pod["status"], "conditions": [scheduled]}
    return {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status}
