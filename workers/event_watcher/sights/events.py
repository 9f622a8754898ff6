"""What Event objects tell of: pods that cannot be placed, evictions, nodes out of memory, notices about nodes."""

from __future__ import annotations

from datetime import datetime

from shared.schemas.events import ClusterEvent, Details, EventType, Severity
from workers.event_watcher.objects import Event
from workers.event_watcher.sights import notices
from workers.event_watcher.sights.sight import MESSAGE, Sight, latest, moment, name_of, object_key

_BEING_DELETED = "skip schedule deleting pod"
"""The scheduler's word for a pod that went while it waited: nobody's trouble.

https://github.com/kubernetes/kubernetes/blob/master/pkg/scheduler/schedule_one.go, skipPodSchedule
"""


def from_event(event: Event, now: datetime) -> Sight | None:
    """The occurrence an Event object tells of; None for the many that are nothing to us.

    NodeNotReady is not selected here: on a node it is a Normal event without the time of the transition, and
    the node's condition, which is watched, says more.
    """
    about = event.involved_object
    key = object_key(about.uid, about.namespace, about.name)
    if about.kind == "Pod" and event.reason == "FailedScheduling":
        if _BEING_DELETED in event.message:
            return None
        return _sight(event, now, "pod_scheduling_failed", "warning", name_of("scheduling", key), {"pods": 1})
    if about.kind == "Pod" and (by := _evicted_by(event)):
        severity: Severity = "warning" if event.type != "Normal" or by == "taint-manager" else "info"
        return _sight(event, now, "pod_evicted", severity, name_of("evicted", key), {"by": by})
    if about.kind == "Node" and event.reason in ("SystemOOM", "OOMKilling"):
        source = object_key(event.metadata.uid, event.metadata.namespace, event.metadata.name)
        return _sight(event, now, "oom_killed", "critical", name_of("node-oom", source), {})
    if about.kind == "Node" and (notice := notices.of_event(event.reason)):
        event_id, notice, details = notices.identify(key, notice, event.message, _first(event, now), event.metadata.uid)
        return _sight(event, now, "node_disruption_notice", notice.severity, event_id, details)
    return None


def is_node_not_ready(event: Event) -> bool:
    """Whether the event says that a node went NotReady: a hint to look at the node."""
    return event.involved_object.kind == "Node" and event.reason == "NodeNotReady"


def _evicted_by(event: Event) -> str | None:
    """Who evicts. The taint manager writes one reason for a deletion and its cancelling."""
    if event.reason == "Evicted":
        return event.component or "kubelet"
    taint = event.reason == "TaintManagerEviction" and event.message.startswith("Marking for deletion")
    return "taint-manager" if taint else None


def _last(event: Event, now: datetime) -> datetime:
    series = event.series.last_observed_time if event.series else None
    return latest((series, event.last_timestamp, _first(event, now))) or now


def _first(event: Event, now: datetime) -> datetime:
    moments = (event.first_timestamp, event.event_time, event.metadata.creation_timestamp)
    return next((known for known in map(moment, moments) if known is not None), now)


def _sight(event: Event, now: datetime, kind: EventType, severity: Severity, event_id: str, details: Details) -> Sight:
    about = event.involved_object
    series_count = event.series.count if event.series else 0
    host = event.source.host if event.source else ""
    told = ClusterEvent(
        event_id=event_id,
        event_type=kind,
        severity=severity,
        reason=event.reason,
        message=event.message[:MESSAGE],
        kind=about.kind,
        namespace=about.namespace or None,
        name=about.name,
        uid=about.uid or None,
        node_name=about.name if about.kind == "Node" else host or None,
        owner=None,
        count=max(1, event.count or 0, series_count),
        first_seen=_first(event, now),
        last_seen=_last(event, now),
        details=details,
    )
    meta = event.metadata
    return Sight(told, source=object_key(meta.uid, meta.namespace, meta.name))
