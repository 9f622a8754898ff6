"""Cluster events worth Central's attention."""

from __future__ import annotations

from typing import Literal, get_args

from shared.schemas.wire import Outgoing, UtcDatetime

EventType = Literal["pod_scheduling_failed", "node_not_ready", "pod_evicted", "oom_killed", "node_disruption_notice"]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
Severity = Literal["info", "warning", "critical"]

Details = dict[str, str | int | bool | list[str]]


class ClusterEvent(Outgoing):
    """One happening. A repeat carries the same ``event_id`` with a higher ``count``."""

    event_id: str
    """Stable across repeats and restarts: Central may use it as a key."""
    event_type: EventType
    """What happened."""
    severity: Severity
    """``critical`` where something is lost or down, ``info`` where it was to be expected."""
    reason: str
    """Kubernetes' own word for it, such as ``FailedScheduling``."""
    message: str
    """Kubernetes' own sentence, cut to a bound."""
    kind: str
    """Kind of the object it happened to: ``Pod`` or ``Node``."""
    namespace: str | None
    """Of the object; null for a node."""
    name: str
    """Of the object."""
    uid: str | None
    """Of the object, where it is known."""
    node_name: str | None
    """The node it happened on, where there is one."""
    owner: str | None
    """What the pod belongs to as ``Kind/name``: its topmost controller, as far as may be read."""
    count: int
    """Occurrences so far."""
    first_seen: UtcDatetime
    """The first occurrence."""
    last_seen: UtcDatetime
    """The last occurrence so far."""
    details: Details = {}
    """What else is known, by the names that docs/events.md gives for each type."""


class EventBatch(Outgoing):
    """What one POST carries."""

    cluster_id: str
    """The cluster's id at Central."""
    events: list[ClusterEvent]
    """In the order in which they happened, as far as one can say."""
