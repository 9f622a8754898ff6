"""The parts of events, pods and nodes in which something worth forwarding shows."""

from __future__ import annotations

from datetime import datetime

from shared.kube.objects import Condition, Meta, Struct


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
    reason: str = ""
    message: str = ""
    count: int | None = None
    series: Series | None = None
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    source: Source | None = None


class Terminated(Struct, frozen=True):
    reason: str = ""
    exit_code: int = 0
    finished_at: datetime | None = None


class ContainerState(Struct, frozen=True):
    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True):
    name: str = ""
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None


class PodStatus(Struct, frozen=True):
    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class PodSpec(Struct, frozen=True):
    node_name: str = ""


class Pod(Struct, frozen=True):
    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
