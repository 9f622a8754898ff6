"""What matters, and what is the same: from one object of the API to the occurrences it shows. Pure.

Every occurrence has an id that depends on what happened and not on who saw it, so that the same one seen in an
event and in a status, or again after a restart, is recognised by us and by Central.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

from shared.kube.nodes import Node
from shared.kube.objects import Condition, Owner, controller_of
from shared.schemas.events import ClusterEvent, EventType, Severity
from workers.event_watcher.objects import ContainerStatus, Event, Pod

_OOM = "OOMKilled"

_EVICTIONS: dict[str, tuple[str, Severity]] = {
    "EvictionByEvictionAPI": ("evicted through the API", "info"),
    "DeletionByTaintManager": ("evicted by a NoExecute taint", "warning"),
    "PreemptionByScheduler": ("preempted by a pod of higher priority", "warning"),
    "TerminationByKubelet": ("evicted by the kubelet", "warning"),
}
"""Reasons of the condition DisruptionTarget; DeletionByPodGC only tidies up.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""


def from_event(event: Event, now: datetime) -> ClusterEvent | None:
    """The occurrence an Event object tells of; None for the many that are nothing to us.

    NodeNotReady is not selected here: on a node it is a Normal event without the time of the transition, and
    the node's condition, which is watched, says more.
    """
    about = event.involved_object
    if about.kind == "Pod" and event.reason == "FailedScheduling":
        return _event(event, now, "pod_scheduling_failed", "warning", _id("scheduling", about.uid or about.name))
    if about.kind == "Pod" and _is_eviction(event):
        return _event(event, now, "pod_evicted", "warning", _id("evicted", about.uid or about.name))
    if about.kind == "Node" and event.reason in ("SystemOOM", "OOMKilling"):
        return _event(event, now, "oom_killed", "critical", _id("node-oom", event.metadata.uid))
    return None


def is_node_not_ready(event: Event) -> bool:
    """Whether the event says that a node went NotReady: a hint to look at the node."""
    return event.involved_object.kind == "Node" and event.reason == "NodeNotReady"


def from_pod(pod: Pod, now: datetime) -> Iterator[ClusterEvent]:
    """Containers killed for want of memory (there is no event for that) and evictions in the pod's status."""
    for status in (*(pod.status.container_statuses or ()), *(pod.status.init_container_statuses or ())):
        yield from _oom_kills(pod, status, now)
    eviction = _eviction(pod, now)
    if eviction is not None:
        yield eviction


def from_node(node: Node, now: datetime) -> ClusterEvent | None:
    """A node whose Ready condition is False or Unknown."""
    ready = node.ready
    if ready is None or ready.status == "True":
        return None
    return not_ready(node, ready, now)


def not_ready(node: Node, ready: Condition, now: datetime) -> ClusterEvent:
    """The occurrence of a node's not being ready since its last transition."""
    since = ready.last_transition_time or now
    return ClusterEvent(
        event_id=_id("not-ready", node.metadata.uid, since.isoformat()),
        event_type="node_not_ready",
        severity="critical",
        reason=ready.reason or "NodeNotReady",
        message=ready.message or f"Ready is {ready.status}",
        kind="Node",
        namespace=None,
        name=node.metadata.name,
        uid=node.metadata.uid,
        node_name=node.metadata.name,
        owner=None,
        count=1,
        first_seen=since,
        last_seen=since,
    )


def _is_eviction(event: Event) -> bool:
    """Evicted comes from the kubelet. The taint manager writes one reason for a deletion and its cancelling."""
    if event.reason == "Evicted":
        return True
    return event.reason == "TaintManagerEviction" and event.message.startswith("Marking for deletion")


def _event(event: Event, now: datetime, kind: EventType, severity: Severity, event_id: str) -> ClusterEvent:
    about = event.involved_object
    series_count = event.series.count if event.series else 0
    series_last = event.series.last_observed_time if event.series else None
    first = event.first_timestamp or event.event_time or event.metadata.creation_timestamp or now
    last = max(moment for moment in (series_last, event.last_timestamp, first) if moment is not None)
    host = event.source.host if event.source else ""
    return ClusterEvent(
        event_id=event_id,
        event_type=kind,
        severity=severity,
        reason=event.reason,
        message=event.message[:1024],
        kind=about.kind,
        namespace=about.namespace or None,
        name=about.name,
        uid=about.uid or None,
        node_name=about.name if about.kind == "Node" else host or None,
        owner=None,
        count=max(1, event.count or 0, series_count),
        first_seen=first,
        last_seen=last,
    )


def _oom_kills(pod: Pod, status: ContainerStatus, now: datetime) -> Iterator[ClusterEvent]:
    for state in (status.state, status.last_state):
        ended = state.terminated if state else None
        if ended is None or ended.reason != _OOM:
            continue
        when = ended.finished_at or now
        yield _of_pod(
            pod,
            event_id=_id("oom", pod.metadata.uid, status.name, when.isoformat()),
            event_type="oom_killed",
            severity="critical",
            reason=_OOM,
            message=f"container {status.name} was killed for want of memory (exit code {ended.exit_code})",
            when=when,
        )


def _eviction(pod: Pod, now: datetime) -> ClusterEvent | None:
    event_id = _id("evicted", pod.metadata.uid)
    for condition in pod.status.conditions or ():
        if condition.type == "DisruptionTarget" and condition.status == "True" and condition.reason in _EVICTIONS:
            what, severity = _EVICTIONS[condition.reason]
            when = condition.last_transition_time or now
            message = pod.status.message or condition.message or what
            return _of_pod(pod, event_id, "pod_evicted", severity, condition.reason, message, when)
    if pod.status.reason == "Evicted":
        message = pod.status.message or "evicted by the kubelet"
        moments = [condition.last_transition_time for condition in pod.status.conditions or ()]
        # The pod stays for days: dated now, it would be news again each time it is listed.
        when = max((moment for moment in moments if moment is not None), default=now)
        return _of_pod(pod, event_id, "pod_evicted", "warning", "Evicted", message, when)
    return None


def _of_pod(
    pod: Pod, event_id: str, event_type: EventType, severity: Severity, reason: str, message: str, when: datetime
) -> ClusterEvent:
    return ClusterEvent(
        event_id=event_id,
        event_type=event_type,
        severity=severity,
        reason=reason,
        message=message[:1024],
        kind="Pod",
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        node_name=pod.spec.node_name or None,
        owner=owner_name(controller_of(pod.metadata)),
        count=1,
        first_seen=when,
        last_seen=when,
    )


def owner_name(owner: Owner | None) -> str | None:
    """A controller as ``Kind/name``."""
    return f"{owner.kind}/{owner.name}" if owner else None


def _id(*parts: str) -> str:
    """A short, stable name for what ``parts`` identify."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]
