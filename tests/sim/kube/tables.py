"""Server-side printing: the Tables ``kubectl get`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from tests.sim.kube.resources import BUDGETS, EVENTS, NAMESPACES, NODES, PODS, Object, Resource
from tests.sim.kube.store import Stored

_ROLE = "node-role.kubernetes.io/"


class Column(NamedTuple):
    name: str
    wide: bool = False
    type: str = "string"
    format: str = ""

    def definition(self) -> Object:
        row: Object = {"name": self.name, "type": self.type, "format": self.format}
        return {**row, "description": "", "priority": int(self.wide)}


_NAME = Column("Name", format="name")
_AGE = Column("Age")
_COLUMNS: dict[Resource, list[Column]] = {
    NODES: [
        _NAME, Column("Status"), Column("Roles"), _AGE, Column("Version"), Column("Internal-IP", True),
        Column("External-IP", True), Column("OS-Image", True), Column("Kernel-Version", True),
        Column("Container-Runtime", True),
    ],
    PODS: [
        _NAME, Column("Ready"), Column("Status"), Column("Restarts"), _AGE, Column("IP", True),
        Column("Node", True), Column("Nominated Node", True), Column("Readiness Gates", True),
    ],
    EVENTS: [Column("Last Seen"), Column("Type"), Column("Reason"), Column("Object"), Column("Message")],
    NAMESPACES: [_NAME, Column("Status"), _AGE],
    BUDGETS: [
        _NAME, Column("Min Available"), Column("Max Unavailable"),
        Column("Allowed Disruptions", type="integer"), _AGE,
    ],
}  # fmt: skip


def table(resource: Resource, items: Iterable[Stored], metadata: Object, include: str = "Metadata") -> Object:
    """A meta.k8s.io/v1 Table. ``include`` says what each row carries: Metadata, Object or None."""
    cells = _CELLS.get(resource, _name_and_age)
    rows = []
    for stored in items:
        row: Object = {"cells": cells(stored.object)} if stored.key else {"cells": []}
        if include == "Object":
            row["object"] = {"kind": resource.kind, "apiVersion": resource.api_version, **stored.object}
        elif include == "Metadata":
            row["object"] = partial(stored)
        rows.append(row)
    columns = [column.definition() for column in _COLUMNS.get(resource, [_NAME, _AGE])]
    head: Object = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {**head, "columnDefinitions": columns, "rows": rows}


def partial(stored: Stored) -> Object:
    head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return {**head, "metadata": stored.object["metadata"]}


def partial_list(items: Iterable[Stored], metadata: Object) -> Object:
    head: Object = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {**head, "items": [partial(stored) for stored in items]}


def human_duration(seconds: float) -> str:
    """An age as kubectl shows it: two units at most, fewer as it grows."""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(0, whole)}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _two(days // 365, "y", days % 365 if days < 2920 else 0, "d")


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first}{unit}{second}{smaller}" if second else f"{first}{unit}"


def _since(text: str | None) -> str:
    if not text:
        return "<unknown>"
    moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return human_duration((datetime.now(timezone.utc) - moment).total_seconds())


def _age(obj: Object) -> str:
    return _since(obj["metadata"].get("creationTimestamp"))


def _node(node: Object) -> list[Any]:
    metadata, status = node["metadata"], node["status"]
    ready = next((c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    state = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    if node["spec"].get("unschedulable"):
        state.append("SchedulingDisabled")
    roles = sorted(key[len(_ROLE) :] for key in metadata.get("labels") or () if key.startswith(_ROLE))
    info = status.get("nodeInfo", {})
    addresses = {a["type"]: a["address"] for a in reversed(status.get("addresses") or ())}
    kernel = info.get("kernelVersion") or "<unknown>"
    return [
        metadata["name"],
        ",".join(state),
        ",".join(roles) or "<none>",
        _age(node),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        f"{kernel} ({info['architecture']})" if info.get("architecture") else kernel,
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _pod(pod: Object) -> list[Any]:
    status, spec = pod["status"], pod["spec"]
    sidecars = [c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    statuses = list(status.get("containerStatuses") or ())
    statuses += [c for c in status.get("initContainerStatuses") or () if c["name"] in sidecars]
    ready = sum(1 for c in statuses if c.get("ready"))
    restarts = sum(c.get("restartCount", 0) for c in statuses)
    finished = [c["lastState"]["terminated"]["finishedAt"] for c in statuses if "terminated" in c.get("lastState", {})]
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec['containers']) + len(sidecars)}",
        _pod_reason(pod, statuses),
        f"{restarts} ({_since(max(finished))} ago)" if restarts and finished else str(restarts),
        _age(pod),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        "<none>",
    ]


def _pod_reason(pod: Object, statuses: list[Object]) -> str:
    status = pod["status"]
    phase = status.get("phase", "")
    if "deletionTimestamp" in pod["metadata"] and phase not in ("Succeeded", "Failed"):
        return "Terminating"
    reason = str(status.get("reason") or phase)
    for container in reversed(statuses):
        state = container.get("state", {})
        stopped = state.get("waiting") or state.get("terminated")
        if stopped and stopped.get("reason"):
            reason = stopped["reason"]
    return reason


def _event(event: Object) -> list[Any]:
    about = event["involvedObject"]
    series = (event.get("series") or {}).get("lastObservedTime")
    seen = _since(series or event.get("lastTimestamp") or event.get("eventTime"))
    message = (event.get("message") or "").strip()
    return [seen, event.get("type", ""), event.get("reason", ""), f"{about.get('kind', '').lower()}/{about['name']}",
            message]  # fmt: skip


def _name_and_age(obj: Object) -> list[Any]:
    return [obj["metadata"]["name"], _age(obj)]


def _namespace(namespace: Object) -> list[Any]:
    return [namespace["metadata"]["name"], namespace["status"]["phase"], _age(namespace)]


def _budget(budget: Object) -> list[Any]:
    spec, status = budget["spec"], budget["status"]
    limits = [str(spec.get(key, "N/A")) for key in ("minAvailable", "maxUnavailable")]
    return [budget["metadata"]["name"], *limits, status.get("disruptionsAllowed", 0), _age(budget)]


_CELLS: dict[Resource, Callable[[Object], list[Any]]] = {
    NODES: _node,
    PODS: _pod,
    EVENTS: _event,
    NAMESPACES: _namespace,
    BUDGETS: _budget,
}
