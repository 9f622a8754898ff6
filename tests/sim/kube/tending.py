"""What a kubelet does with a pod, as pure functions of what the API shows of it.

The simulator's own kubelets (``kubelet.py``) and the hollow nodes for any cluster (``tests/hollow``) both go by it.
Pods say by annotations what is to be unusual about them (``pods.py``).
"""

from __future__ import annotations

from typing import NamedTuple

from tests.sim.kube.kinds import timestamp
from tests.sim.kube.pods import SIM
from tests.sim.kube.resources import Object


class Due(NamedTuple):
    """What is to be done with a pod, and in how many seconds."""

    action: str
    """``start``, ``end``, or ``mirror``: take the object away and show the pod, which runs on, anew."""
    seconds: float


def due(pod: Object, start_seconds: float, end_seconds: float) -> Due | None:
    """What is to be done next; nothing with pods that run, that have ended, or that wish to be left.

    The two durations are for pods that name none of their own.
    """
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        if is_mirror(pod):
            return Due("mirror", 0)
        if _wish(pod, "never-ends") == "true":
            return None
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        own = _wish(pod, "termination-seconds")
        return Due("end", grace if _ignores_sigterm(pod) else min(grace, float(own) if own else end_seconds))
    if pod["status"].get("phase") == "Pending":
        own = _wish(pod, "start-seconds")
        return Due("start", float(own) if own else start_seconds)
    return None


def is_mirror(pod: Object) -> bool:
    """Whether the pod stands for one that the kubelet runs from a file."""
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def becomes_ready(pod: Object) -> bool:
    return _wish(pod, "never-ready") != "true"


def _ignores_sigterm(pod: Object) -> bool:
    return _wish(pod, "ignore-sigterm") == "true"


def _wish(pod: Object, name: str) -> str | None:
    found: str | None = (pod["metadata"].get("annotations") or {}).get(f"{SIM}/{name}")
    return found


def ended(pod: Object) -> Object | None:
    """The last status of a terminating pod: Failed where a container had to be killed. None if it has ended before."""
    if pod["status"].get("phase") in ("Succeeded", "Failed"):
        return None
    code, phase = (137, "Failed") if _ignores_sigterm(pod) else (0, "Succeeded")
    over = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": timestamp()}}
    statuses = [
        {**one, "ready": False, "started": False, "state": over} for one in pod["status"].get("containerStatuses") or ()
    ]
    conditions = [
        {**c, "status": "False", "reason": f"Pod{phase}"} if "Ready" in c["type"] else c
        for c in pod["status"].get("conditions") or ()
    ]
    return {**pod["status"], "phase": phase, "conditions": conditions, "containerStatuses": statuses}


def mirrored_again(pod: Object) -> Object:
    """The mirror of a static pod that runs on, to be created."""
    metadata = pod["metadata"]
    kept = {name: metadata[name] for name in ("name", "labels", "annotations", "ownerReferences") if name in metadata}
    return {"metadata": kept, "spec": pod["spec"]}
