"""What the API server fills in, keeps and resets for each kind when an object is written."""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timezone

from tests.sim.kube.resources import (
    BUDGETS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Object,
    Resource,
)
from tests.sim.kube.status import Cause, invalid

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_NODE_INFO = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip
_POD_DEFAULTS: Object = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
    "priority": 0,
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
}
_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for taint in ("not-ready", "unreachable")
]
_EVENT_TIMES = ("firstTimestamp", "lastTimestamp", "eventTime")
_NO_GENERATION = (NODES, EVENTS, NAMESPACES)


def timestamp(moment: datetime | None = None) -> str:
    return (moment or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_uid() -> str:
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def generated_name(prefix: str) -> str:
    return prefix + "".join(random.choices(_SUFFIX, k=5))


def created(resource: Resource, obj: Object, namespace: str | None) -> Object:
    """``obj`` with identity and defaults, as the server first stores it."""
    metadata = dict(obj.get("metadata") or {})
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated_name(metadata["generateName"])
    if resource.namespaced:
        metadata["namespace"] = namespace
    metadata.update(uid=new_uid(), creationTimestamp=timestamp())
    metadata.pop("resourceVersion", None)
    if resource not in _NO_GENERATION:
        metadata["generation"] = 1
    result = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    result["metadata"] = metadata
    defaults = {PODS: _pod, NODES: _node, NAMESPACES: _namespace, BUDGETS: _budget, EVENTS: _event}
    defaults |= dict.fromkeys((DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS), _scalable)
    return defaults[resource](result) if resource in defaults else result


def _pod(pod: Object) -> Object:
    spec = {**_POD_DEFAULTS, **(pod.get("spec") or {})}
    spec.setdefault("tolerations", _TOLERATIONS)
    spec["containers"] = [
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent" if ":" in container.get("image", "") else "Always",
            **container,
        }
        for container in spec.get("containers") or ()
    ]
    return {**pod, "spec": spec, "status": {"phase": "Pending", "qosClass": _qos(spec)}}


def _qos(spec: Object) -> str:
    resources = [container["resources"] for container in spec["containers"]]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    limited = all({"cpu", "memory"} <= set(r.get("limits") or ()) for r in resources)
    guaranteed = limited and all(r.get("requests", r["limits"]) == r["limits"] for r in resources)
    return "Guaranteed" if guaranteed else "Burstable"


def _node(node: Object) -> Object:
    spec = dict(node.get("spec") or {})
    if not any(t.get("key") == "node.kubernetes.io/not-ready" for t in spec.get("taints") or ()):
        not_ready = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
        spec["taints"] = [*(spec.get("taints") or ()), not_ready]
    status = {
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": dict.fromkeys(_NODE_INFO, ""),
        **(node.get("status") or {}),
    }
    return {**node, "spec": spec, "status": status}


def _namespace(namespace: Object) -> Object:
    metadata = namespace["metadata"]
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata.get("name", "")}
    return {
        **namespace,
        "metadata": {**metadata, "labels": labels},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _budget(budget: Object) -> Object:
    status = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
    return {**budget, "spec": budget.get("spec") or {}, "status": status}


def _scalable(owner: Object) -> Object:
    return {**owner, "spec": {"replicas": 1, **(owner.get("spec") or {})}}


def _event(event: Object) -> Object:
    metadata = event["metadata"]
    about = (event.get("involvedObject") or {}).get("namespace", "")
    if about != metadata["namespace"] and (about or metadata["namespace"] != "default"):
        why = f'Invalid value: "{about}": does not match event.namespace'
        raise invalid("Event", metadata["name"], [Cause("FieldValueInvalid", why, "involvedObject.namespace")])
    blank: Object = {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None}
    told = {**blank, "reportingComponent": "", "reportingInstance": "", **event}
    return {**told, **{key: _in_utc(told[key]) for key in _EVENT_TIMES if told[key]}}


def _in_utc(text: str) -> str:
    """A time as Go writes it: in UTC, in whatever year that is, so also in the year 10000 and before the year 1."""
    year, rest = int(text[:4]), text[4:].replace("Z", "+00:00")
    alike = 2000 + year % 400  # The calendar repeats itself, and Python's begins with the year 1 and ends with 9999.
    moment = datetime.fromisoformat(f"{alike}{rest}").astimezone(timezone.utc)
    year += moment.year - alike
    fraction = f".{moment.microsecond:06}" if "." in rest else ""
    return f"{'-' if year < 0 else ''}{abs(year):04}{moment:-%m-%dT%H:%M:%S}{fraction}Z"


def updated(new: Object, old: Object, resource: Resource, subresource: str) -> Object:
    """``new`` with what such a write may not change taken from ``old``, and the generation it earns."""
    result = {key: value for key, value in new.items() if key not in ("kind", "apiVersion")}
    fixed = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
    kept = {key: old["metadata"][key] for key in (*fixed, "namespace") if key in old["metadata"]}
    metadata = {**new["metadata"], **kept}
    if resource.status:
        for part in ("spec",) if subresource == "status" else ("status",):
            result.pop(part, None)
            if part in old:
                result[part] = old[part]
    if "generation" in metadata and result.get("spec") != old.get("spec"):
        metadata["generation"] += 1
    result["metadata"] = metadata
    return result
