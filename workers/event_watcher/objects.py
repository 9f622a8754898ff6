"""The parts of events, pods and nodes in which something worth forwarding shows."""

from __future__ import annotations

from datetime import datetime

import msgspec

from shared.kube.objects import Condition, Meta, Struct
from shared.kube.resources import Requirements


class Involved(Struct, frozen=True):
    """The object an event is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Series(Struct, frozen=True):
    count: int = 0
    last_observed_time: datetime | None = None


class Source(Struct, frozen=True):
    component: str = ""
    host: str = ""


class Event(Struct, frozen=True):
    """A core/v1 Event; events.k8s.io shows the same ones, so only this API is watched."""

    metadata: Meta
    involved_object: Involved = Involved()
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    series: Series | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    source: Source | None = None
    reporting_component: str = ""

    @property
    def component(self) -> str:
        """Who wrote it."""
        return self.reporting_component or (self.source.component if self.source else "")


class Terminated(Struct, frozen=True):
    reason: str = ""
    exit_code: int = 0
    finished_at: datetime | None = None
    container_id: str = msgspec.field(name="containerID", default="")


class Running(Struct, frozen=True):
    started_at: datetime | None = None


class ContainerState(Struct, frozen=True):
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True):
    name: str = ""
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    resources: Requirements | None = None
    """In force; the spec's may be ahead of them while a pod is resized."""


class PodStatus(Struct, frozen=True):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    ephemeral_container_statuses: list[ContainerStatus] | None = None


class Container(Struct, frozen=True):
    name: str = ""
    resources: Requirements | None = None


class PodSpec(Struct, frozen=True):
    node_name: str = ""
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class Pod(Struct, frozen=True):
    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Taint(Struct, frozen=True):
    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: datetime | None = None


class NodeSpec(Struct, frozen=True):
    taints: list[Taint] | None = None


class NodeStatus(Struct, frozen=True):
    conditions: list[Condition] | None = None


class Node(Struct, frozen=True):
    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> Condition | None:
        """The Ready condition, which a node has from its first heartbeat on."""
        return next((condition for condition in self.status.conditions or () if condition.type == "Ready"), None)
