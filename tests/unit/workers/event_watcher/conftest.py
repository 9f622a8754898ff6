"""Occurrences to forward, and objects of the API as the event-watcher decodes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from shared.kube.nodes import Node
from shared.schemas.events import ClusterEvent
from tests.unit.conftest import NOON
from workers.event_watcher.objects import Event, Pod


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


def node(status: str | None = "False", since: str | None = "2026-03-01T11:00:00Z", **condition: Any) -> Node:
    """A node whose Ready condition has this status; None leaves the condition out."""
    ready = {"type": "Ready", "status": status, "lastTransitionTime": since, **condition}
    conditions = [{"type": "MemoryPressure", "status": "True"}, *([ready] if status else [])]
    return msgspec.convert(
        {"metadata": {"name": "node-1", "uid": "node-uid"}, "status": {"conditions": conditions}}, Node
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")
