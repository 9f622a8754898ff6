"""What a pod's status shows: containers killed for want of memory (there is no event for that), and evictions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from shared.kube.objects import controller_of
from shared.kube.resources import Requirements
from shared.schemas.events import ClusterEvent, Details, EventType, Severity
from workers.event_watcher.objects import ContainerStatus, Pod
from workers.event_watcher.sights.sight import MESSAGE, Sight, key_of, latest, moment, name_of, owner_name

_OOM = "OOMKilled"

_KILLED = 137
"""Exit code of what SIGKILL ended. Where it is another, a child was killed, and not the container itself."""

_EVICTIONS: dict[str, tuple[str, Severity, str]] = {
    "EvictionByEvictionAPI": ("evicted through the API", "info", "api"),
    "DeletionByTaintManager": ("evicted by a NoExecute taint", "warning", "taint-manager"),
    "DeletionByDeviceTaintManager": ("evicted by a taint of one of its devices", "warning", "device-taint-manager"),
    "PreemptionByScheduler": ("preempted by a pod of higher priority", "warning", "preemption"),
    "TerminationByKubelet": ("evicted by the kubelet", "warning", "kubelet"),
}
"""Reasons of the condition DisruptionTarget, and by whom that is; DeletionByPodGC only tidies up.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions, and for devices
pkg/controller/devicetainteviction of Kubernetes 1.33 and later.
"""


def from_pod(pod: Pod, now: datetime) -> Iterator[Sight]:
    """The occurrences that ``pod`` shows."""
    status = pod.status
    groups = (status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses)
    for container in (one for group in groups for one in group or ()):
        yield from _oom_kills(pod, container, now)
    eviction = _eviction(pod, now)
    if eviction is not None:
        yield eviction


def _oom_kills(pod: Pod, container: ContainerStatus, now: datetime) -> Iterator[Sight]:
    for state, run in ((container.state, container.restart_count), (container.last_state, container.restart_count - 1)):
        ended = state.terminated if state else None
        if ended is None or ended.reason != _OOM:
            continue
        when = moment(ended.finished_at)
        # The same end is seen in state first and in lastState then: the container's id is the same in both, and so
        # is the number of starts before it.
        which = when.isoformat() if when else ended.container_id or f"run {run}"
        code = ended.exit_code
        yield _of_pod(
            pod,
            event_id=name_of("oom", key_of(pod.metadata), container.name, which),
            event_type="oom_killed",
            severity="critical" if code == _KILLED else "warning",
            reason=_OOM,
            message=f"container {container.name} was killed for want of memory (exit code {code})"
            if code == _KILLED
            else f"a process of container {container.name} was killed for want of memory (exit code {code})",
            when=when or _about_when(pod, container) or now,
            undated=when is None,
            details={
                "container": container.name,
                "exit_code": code,
                "restart_count": container.restart_count,
                **_memory(pod, container),
            },
        )


def _about_when(pod: Pod, container: ContainerStatus) -> datetime | None:
    """Roughly when a run ended that does not say so: not later than the next one began."""
    running = container.state.running if container.state else None
    return (
        moment(running.started_at) if running else latest(c.last_transition_time for c in pod.status.conditions or ())
    )


def _memory(pod: Pod, status: ContainerStatus) -> Details:
    """What the container asked for and may have: in force, where the status says so, else as specified."""
    spec = pod.spec
    specified = [one for one in (*(spec.containers or ()), *(spec.init_containers or ())) if one.name == status.name]
    resources: Requirements | None = status.resources or (specified[0].resources if specified else None)
    requests, limits = (resources.requests, resources.limits) if resources else (None, None)
    found = {"memory_request": (requests or {}).get("memory"), "memory_limit": (limits or {}).get("memory")}
    return {key: value for key, value in found.items() if value is not None}


def _eviction(pod: Pod, now: datetime) -> Sight | None:
    event_id = name_of("evicted", key_of(pod.metadata))
    for condition in pod.status.conditions or ():
        if condition.type == "DisruptionTarget" and condition.status == "True" and condition.reason in _EVICTIONS:
            what, severity, by = _EVICTIONS[condition.reason]
            when = moment(condition.last_transition_time)
            message = pod.status.message or condition.message or what
            reason = condition.reason
            break
    else:
        if pod.status.reason != "Evicted":
            return None
        reason, severity, by = "Evicted", "warning", "kubelet"
        message = pod.status.message or "evicted by the kubelet"
        # The pod stays for days: dated now, it would be news again each time it is listed.
        when = latest(condition.last_transition_time for condition in pod.status.conditions or ())
    undated = when is None
    return _of_pod(pod, event_id, "pod_evicted", severity, reason, message, when or now, undated, {"by": by})


def _of_pod(
    pod: Pod,
    event_id: str,
    event_type: EventType,
    severity: Severity,
    reason: str,
    message: str,
    when: datetime,
    undated: bool,
    details: Details,
) -> Sight:
    controller = controller_of(pod.metadata)
    event = ClusterEvent(
        event_id=event_id,
        event_type=event_type,
        severity=severity,
        reason=reason,
        message=message[:MESSAGE],
        kind="Pod",
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid or None,
        node_name=pod.spec.node_name or None,
        owner=owner_name(controller),
        count=1,
        first_seen=when,
        last_seen=when,
        details=details,
    )
    return Sight(event, controller=controller, undated=undated)
