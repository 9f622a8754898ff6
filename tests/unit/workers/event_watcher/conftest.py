"""Occurrences to forward, and objects of the API as the event-watcher decodes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from shared.schemas.events import ClusterEvent
from tests.unit.conftest import NOON
from workers.event_watcher.objects import Event, Node, Pod
from workers.event_watcher.sights.events import from_event
from workers.event_watcher.sights.pods import from_pod
from workers.event_watcher.sights.sight import Sight


def occurrence(event_id: str = "id-1", **fields: Any) -> ClusterEvent:
    """An occurrence at noon."""
    content: dict[str, Any] = {
        "event_id": event_id,
        "event_type": "oom_killed",
        "severity": "critical",
        "reason": "OOMKilled",
        "message": "killed",
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-0",
        "uid": "uid-1",
        "node_name": None,
        "owner": None,
        "count": 1,
        "first_seen": NOON,
        "last_seen": NOON,
    }
    return ClusterEvent.model_validate({**content, **fields})


def sight(event_id: str = "id-1", source: str = "", **fields: Any) -> Sight:
    """An occurrence at noon, as some object shows it."""
    return Sight(occurrence(event_id, **fields), source)


def in_event(event: Event) -> ClusterEvent | None:
    """What an Event tells of."""
    seen = from_event(event, NOON)
    return seen.event if seen else None


def in_pod(pod: Pod) -> list[ClusterEvent]:
    """What a pod shows."""
    return [seen.event for seen in from_pod(pod, NOON)]


def event(reason: str = "FailedScheduling", kind: str = "Pod", **fields: Any) -> Event:
    """A core/v1 Event about the pod or node ``thing``."""
    involved = {"kind": kind, "name": "thing", "uid": "uid-1", **({"namespace": "shop"} if kind == "Pod" else {})}
    content: dict[str, Any] = {
        "metadata": {"name": "thing.1", "uid": "event-uid", "creationTimestamp": "2026-03-01T11:00:00Z"},
        "involvedObject": involved,
        "reason": reason,
        "message": "0/3 nodes are available",
        "firstTimestamp": "2026-03-01T11:00:00Z",
        "lastTimestamp": "2026-03-01T11:30:00Z",
        "count": 3,
    }
    return msgspec.convert({**content, **fields}, Event)


def pod(**status: Any) -> Pod:
    """A pod of a ReplicaSet on node-1 with this status."""
    owner = {"kind": "ReplicaSet", "name": "web-5c", "uid": "rs", "controller": True}
    metadata = {"name": "web-0", "namespace": "shop", "uid": "uid-1", "ownerReferences": [owner]}
    return msgspec.convert({"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": status}, Pod)


def node(
    status: str | None = "False",
    since: str | None = "2026-03-01T11:00:00Z",
    made: str | None = "2026-02-01T00:00:00Z",
    taints: list[dict[str, str]] | None = None,
    labels: dict[str, str] | None = None,
    others: list[dict[str, Any]] | None = None,
    deleted: str | None = None,
    **condition: Any,
) -> Node:
    """A node whose Ready condition has this status; None leaves the condition out."""
    ready = {"type": "Ready", "status": status, "lastTransitionTime": since, **condition}
    conditions = [{"type": "MemoryPressure", "status": "True"}, *(others or ()), *([ready] if status else [])]
    metadata = {"name": "node-1", "uid": "node-uid", "labels": labels, "creationTimestamp": made}
    content = {
        "metadata": {**metadata, "deletionTimestamp": deleted},
        "spec": {"taints": taints},
        "status": {"conditions": conditions},
    }
    return msgspec.convert(content, Node)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")
