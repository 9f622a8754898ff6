"""Cluster events worth Central's attention."""

from __future__ import annotations

from typing import Literal, get_args

from shared.schemas.wire import Outgoing, UtcDatetime

EventType = Literal["pod_scheduling_failed", "node_not_ready", "pod_evicted", "oom_killed"]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
Severity = Literal["info", "warning", "critical"]


class ClusterEvent(Outgoing):
    """One happening. A repeat carries the same ``event_id`` with a higher ``count``."""

    event_id: str
    """Stable across repeats and restarts: Central may use it as a key."""
    event_type: EventType
    severity: Severity
    reason: str
    message: str
    kind: str
    """Kind of the object it happened to: ``Pod`` or ``Node``."""
    namespace: str | None
    name: str
    uid: str | None
    node_name: str | None
    owner: str | None
    """The pod's controller as ``Kind/name``."""
    count: int
    first_seen: UtcDatetime
    last_seen: UtcDatetime


class EventBatch(Outgoing):
    """What one POST carries."""

    cluster_id: str
    events: list[ClusterEvent]
