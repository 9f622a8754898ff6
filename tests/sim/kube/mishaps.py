"""What goes wrong on nodes: containers out of memory, pods evicted by the kubelet."""

from __future__ import annotations

from tests.sim.kube.kinds import timestamp
from tests.sim.kube.recorder import Recorder
from tests.sim.kube.resources import Object
from tests.sim.kube.store import Store, Stored
from tests.sim.kube.writes import change

_STARVED = (
    "The node was low on resource: {resource}. Threshold quantity: 100Mi, available: 92Mi. Container {container} was "
    "using 220Mi, request is 128Mi, has larger consumption of {resource}. "
)


def oom_kill(store: Store, pod: Stored, container: str) -> None:
    """The kernel kills the container and the kubelet starts it again. No event tells of it."""
    now = timestamp()

    def killed(status: Object) -> Object:
        if status["name"] != container:
            return status
        started = (status["state"].get("running") or {}).get("startedAt", now)
        end = {"exitCode": 137, "reason": "OOMKilled", "startedAt": started, "finishedAt": now}
        terminated = {**end, "containerID": status.get("containerID", "")}
        restarted = {"restartCount": status.get("restartCount", 0) + 1, "state": {"running": {"startedAt": now}}}
        return {**status, **restarted, "lastState": {"terminated": terminated}}

    def after(latest: Object) -> Object:
        status = dict(latest["status"])
        for group in ("containerStatuses", "initContainerStatuses"):
            if group in status:
                status[group] = [killed(one) for one in status[group]]
        return {**latest, "status": status}

    change(store, pod, after)


def system_oom(recorder: Recorder, node: Stored, process: str) -> None:
    message = f"System OOM encountered, victim process: {process}, pid: 4242"
    recorder.emit(node, "Warning", "SystemOOM", message, "kubelet", host=node.name)


def kubelet_evict(store: Store, recorder: Recorder, pod: Stored, resource: str) -> None:
    """Node pressure: the pod fails in place, its controller makes another."""
    container = pod.object["spec"]["containers"][0]["name"]
    message = _STARVED.format(resource=resource, container=container)
    now = timestamp()

    def failed(latest: Object) -> Object:
        end = {"exitCode": 137, "reason": "Error", "startedAt": now, "finishedAt": now}
        ended = {"ready": False, "started": False, "state": {"terminated": end}}
        statuses = [{**one, **ended} for one in latest["status"].get("containerStatuses") or ()]
        why = {"reason": "TerminationByKubelet", "message": message}
        target = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": now, **why}
        kept = [c for c in latest["status"].get("conditions") or () if c["type"] != "DisruptionTarget"]
        conditions = [target, *({**c, "status": "False"} if "Ready" in c["type"] else c for c in kept)]
        outcome = {"phase": "Failed", "reason": "Evicted", "message": message}
        status = {**latest["status"], **outcome, "conditions": conditions, "containerStatuses": statuses}
        return {**latest, "status": status}

    change(store, pod, failed)
    notes = {"offending_containers": container, "offending_containers_usage": "220Mi", "starved_resource": resource}
    host = pod.object["spec"].get("nodeName", "")
    recorder.emit(pod, "Warning", "Evicted", message, "kubelet", host=host, annotations=notes)
