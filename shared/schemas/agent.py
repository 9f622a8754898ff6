"""What the agent says about itself: registration, heartbeat, deregistration."""

from __future__ import annotations

from typing import Literal

from shared.schemas.wire import Outgoing, UtcDatetime


class Registration(Outgoing):
    """Sent once per start of the pod. What could not be read from the cluster yet is null."""

    cluster_id: str
    """The cluster's id at Central."""
    instance_id: str
    """A UUID per start of the pod, the same as the header ``X-Agent-Instance``."""
    agent_version: str
    """Of the agent, as in its ``User-Agent``."""
    timestamp: UtcDatetime
    """When it was sent."""
    kubernetes_version: str | None
    """The API server's ``gitVersion``, such as ``v1.36.2``."""
    provider: str | None
    """``aws``, ``gcp``, ``azure``, ...: what most nodes say."""
    region: str | None
    """What most nodes say."""
    node_count: int | None
    """Nodes of the cluster."""
    task_types: list[str]
    """The task types this agent executes, after the owner's allow-list."""


class Heartbeat(Outgoing):
    """Liveness of the agent."""

    cluster_id: str
    """The cluster's id at Central."""
    instance_id: str
    """As in the registration."""
    agent_version: str
    """As in the registration."""
    timestamp: UtcDatetime
    """When it was sent."""
    status: Literal["healthy", "degraded", "stopping"]
    """``degraded`` while /ready is not true, ``stopping`` from the order to stop on."""
    uptime_seconds: float
    """Seconds since the start of the pod's agent."""
    k8s_api_connected: bool
    """Whether the API server answers every worker that asks it."""
    workers: dict[str, str]
    """Program to its state: ``running``, ``starting``, ``stale``, or supervisord's own word."""
    tasks_in_progress: int
    """Tasks that were taken and have no result yet."""
    queue_depth: dict[str, int]
    """Messages waiting to be delivered, by topic."""
    dropped: dict[str, int]
    """Messages lost for want of room since the spool began, by topic."""
    dead_letters: dict[str, int]
    """Messages that Central refused for good since the spool began, by topic."""
    reasons: list[str] = []
    """While it is degraded, what /ready says of it: which worker cannot do what, for how long and why."""


class Deregistration(Outgoing):
    """The last call of an orderly shutdown."""

    cluster_id: str
    """The cluster's id at Central."""
    instance_id: str
    """As in the registration."""
    timestamp: UtcDatetime
    """When it was sent."""
    reason: str
    """Why it stops, for people."""
