"""What the agent says about itself: registration, heartbeat, deregistration."""

from __future__ import annotations

from typing import Literal

from shared.schemas.wire import Outgoing, UtcDatetime


class Registration(Outgoing):
    """Sent once per start of the pod. What could not be read from the cluster yet is null."""

    cluster_id: str
    instance_id: str
    """A UUID per start of the pod, the same as the header ``X-Agent-Instance``."""
    agent_version: str
    timestamp: UtcDatetime
    kubernetes_version: str | None
    provider: str | None
    region: str | None
    node_count: int | None
    task_types: list[str]
    """The task types this agent executes, after the owner's allow-list."""


class Heartbeat(Outgoing):
    """Liveness of the agent."""

    cluster_id: str
    instance_id: str
    agent_version: str
    timestamp: UtcDatetime
    status: Literal["healthy", "degraded", "stopping"]
    uptime_seconds: float
    k8s_api_connected: bool
    workers: dict[str, str]
    """Program to its state: ``running``, ``starting``, ``stale``, or supervisord's own word."""
    tasks_in_progress: int
    queue_depth: dict[str, int]
    """Messages waiting to be delivered, by topic."""
    dropped: dict[str, int]
    """Messages lost for want of room since the spool began, by topic."""
    dead_letters: dict[str, int]
    """Messages that Central refused for good since the spool began, by topic."""


class Deregistration(Outgoing):
    """The last call of an orderly shutdown."""

    cluster_id: str
    instance_id: str
    timestamp: UtcDatetime
    reason: str
