"""What a kubelet would do with a pod, as pure functions of what the API shows of it.

Pods say by annotations what is to be unusual about them: those of the simulator (``tests/sim/kube/pods.py``).
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple

from tests.sim.kube.pods import SIM

Object = dict[str, Any]

START_SECONDS, END_SECONDS = 0.02, 0.05
"""What starting and ending take where a pod does not say."""


class Due(NamedTuple):
    """What is to be done with a pod, and in how many seconds."""

    action: str
    """``start``, ``end`` or ``mirror``: end it and show it anew."""
    seconds: float


def due(pod: Object) -> Due | None:
    """What is to be done next; nothing with pods that run, that have ended, or that wish to be left."""
    metadata, phase = pod["metadata"], pod["status"].get("phase")
    if "deletionTimestamp" in metadata:
        if is_mirror(pod):
            return Due("mirror", 0)
        if _wish(pod, "never-ends") == "true":
            return None
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        own = float(_wish(pod, "termination-seconds") or END_SECONDS)
        return Due("end", grace if ignores_sigterm(pod) else min(grace, own))
    if phase == "Pending":
        return Due("start", float(_wish(pod, "start-seconds") or START_SECONDS))
    return None


def is_mirror(pod: Object) -> bool:
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def ignores_sigterm(pod: Object) -> bool:
    return _wish(pod, "ignore-sigterm") == "true"


def _wish(pod: Object, name: str) -> str | None:
    found: str | None = (pod["metadata"].get("annotations") or {}).get(f"{SIM}/{name}")
    return found


def running(pod: Object) -> Object:
    """The status of a pod whose containers run, as a strategic merge patch."""
    now = timestamp()
    ready = _wish(pod, "never-ready") != "true"
    kinds = {"PodReadyToStartContainers": True, "Initialized": True, "Ready": ready, "ContainersReady": ready}
    conditions = [{"type": k, "status": str(v), "lastTransitionTime": now} for k, v in kinds.items()]
    statuses = [{**_container(one), "ready": ready, "started": True, "state": {"running": {"startedAt": now}}}
                for one in pod["spec"]["containers"]]  # fmt: skip
    status = {"phase": "Running", "startTime": now, "conditions": conditions, "containerStatuses": statuses}
    return _patch(pod, status)


def ended(pod: Object) -> Object:
    """The last status, as a strategic merge patch: Failed where a container had to be killed."""
    code, phase = (137, "Failed") if ignores_sigterm(pod) else (0, "Succeeded")
    over = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": timestamp()}}
    statuses = [{**_container(one), "ready": False, "state": over} for one in pod["spec"]["containers"]]
    conditions = [{"type": kind, "status": "False", "reason": f"Pod{phase}"} for kind in ("Ready", "ContainersReady")]
    return _patch(pod, {"phase": phase, "conditions": conditions, "containerStatuses": statuses})


def again(pod: Object) -> Object:
    """The mirror of a static pod that runs on, to be created."""
    metadata = pod["metadata"]
    kept = {name: metadata[name] for name in ("name", "labels", "annotations", "ownerReferences") if name in metadata}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": pod["spec"]}


def _container(container: Object) -> Object:
    return {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}


def _patch(pod: Object, status: Object) -> Object:
    """With the UID, as a kubelet says it: another pod of the name is not meant."""
    return {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}


def timestamp() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
