"""Builders of pods that look and weigh like real ones.

What is alike between pods of one template is one object in memory, managedFields included.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from tests.sim.kube.kinds import timestamp
from tests.sim.kube.objects import identity
from tests.sim.kube.resources import Object

SIM = "sim.cloudoptim.io"
STUCK_FINALIZER = f"{SIM}/stuck"


def pod_template(
    app: str,
    image: str = "team/service:1.4.2",
    cpu: str = "100m",
    memory: str = "128Mi",
    limit_cpu: str | None = None,
    limit_memory: str | None = "256Mi",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    grace: int = 30,
    empty_dir: bool = False,
    termination_seconds: float | None = None,
    start_seconds: float | None = None,
    never_ready: bool = False,
    ignore_sigterm: bool = False,
    never_ends: bool = False,
    stuck: bool = False,
    priority_class: str | None = None,
    tolerations: Iterable[Object] = (),
    node_selector: Mapping[str, str] | None = None,
    init_containers: Iterable[Object] = (),
    containers: Iterable[Object] = (),
) -> Object:
    """A template for pods. The simulator's own wishes travel as ``sim.cloudoptim.io/`` annotations."""
    wishes = {
        "termination-seconds": termination_seconds,
        "start-seconds": start_seconds,
        "never-ready": "true" if never_ready else None,
        "ignore-sigterm": "true" if ignore_sigterm else None,
        "never-ends": "true" if never_ends else None,
    }
    notes = {**(annotations or {}), **{f"{SIM}/{k}": str(v) for k, v in wishes.items() if v is not None}}
    limits = {"cpu": limit_cpu, "memory": limit_memory}
    resources: Object = {"requests": {"cpu": cpu, "memory": memory}}
    if any(limits.values()):
        resources["limits"] = {key: value for key, value in limits.items() if value}
    spec: Object = {
        "volumes": [*_volumes(), *([{"name": "scratch", "emptyDir": {}}] if empty_dir else [])],
        "containers": [_container("app", app, image, resources, empty_dir), *containers],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": grace,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "schedulerName": "default-scheduler",
        "tolerations": [*tolerations, *_TOLERATIONS],
        "priority": 2_000_000_000 if priority_class else 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    if priority_class:
        spec["priorityClassName"] = priority_class
    if node_selector:
        spec["nodeSelector"] = dict(node_selector)
    if inits := list(init_containers):
        spec["initContainers"] = [{"image": image, "resources": {}, **container} for container in inits]
    metadata: Object = {"labels": {"app": app, **(labels or {})}, "annotations": notes}
    if stuck:
        metadata["finalizers"] = [STUCK_FINALIZER]
    return {"metadata": metadata, "spec": spec}


_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for taint in ("not-ready", "unreachable")
]


def daemon_template(template: Object) -> Object:
    """``template`` with the tolerations that the DaemonSet controller adds to its pods, one of its own replaced.

    https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations
    """
    spec = template["spec"]
    added = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect} for key, effect in _DAEMONS]
    if spec.get("hostNetwork"):
        key = "node.kubernetes.io/network-unavailable"
        added.append({"key": key, "operator": "Exists", "effect": "NoSchedule"})
    names = {(one["key"], one["operator"], one["effect"]) for one in added}
    own = [
        toleration
        for toleration in spec.get("tolerations") or ()
        if (toleration.get("key"), toleration.get("operator"), toleration.get("effect")) not in names
    ]
    return {**template, "spec": {**spec, "tolerations": [*own, *added]}}


_DAEMONS = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


@lru_cache
def _volumes() -> list[Object]:
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources: list[Object] = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]
    return [{"name": "kube-api-access-x7k2p", "projected": {"sources": sources, "defaultMode": 420}}]


def _container(name: str, app: str, image: str, resources: Object, empty_dir: bool) -> Object:
    env = [{"name": f"{app.upper().replace('-', '_')}_{key}", "value": value} for key, value in _ENVIRONMENT]
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounts = [{"name": "kube-api-access-x7k2p", "readOnly": True, "mountPath": account}]
    if empty_dir:
        mounts.append({"name": "scratch", "mountPath": "/scratch"})
    return {
        "name": name,
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": env,
        "resources": resources,
        "volumeMounts": mounts,
        "livenessProbe": _probe("/healthz", 10),
        "readinessProbe": _probe("/readyz", 5),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
        },
    }


_ENVIRONMENT = (
    ("DATABASE_URL", "postgres://service@db.internal.example.com:5432/service?sslmode=verify-full"),
    ("CACHE_URL", "redis://cache.internal.example.com:6379/0"),
    ("LOG_LEVEL", "info"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-collector.observability:4317"),
)


def _probe(path: str, period: int) -> Object:
    get = {"path": path, "port": "http", "scheme": "HTTP"}
    return {"httpGet": get, "timeoutSeconds": 1, "periodSeconds": period, "successThreshold": 1, "failureThreshold": 3}


def pod(
    template: Object, namespace: str, name: str, owner: Object | None = None, node_name: str | None = None
) -> Object:
    """A Pending pod of ``template``; ``owner`` is its controller's reference."""
    body = template["metadata"]
    metadata = identity(
        name,
        namespace,
        generation=1,
        labels=body.get("labels"),
        annotations=body.get("annotations"),
        finalizers=body.get("finalizers"),
        ownerReferences=[owner] if owner else None,
        managedFields=_managed_fields(),
    )
    spec = {**template["spec"], "nodeName": node_name} if node_name else template["spec"]
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Pending", "qosClass": "Burstable"}}


@lru_cache
def _managed_fields() -> list[Object]:
    """About as much as a real pod carries from the controller that made it and the kubelet that runs it."""
    container: Object = {
        name: {} for name in ("f:env", "f:image", "f:imagePullPolicy", "f:livenessProbe", "f:name", "f:ports",
        "f:readinessProbe", "f:resources", "f:securityContext", "f:terminationMessagePath",
        "f:terminationMessagePolicy", "f:volumeMounts")
    }  # fmt: skip
    nested: Object = {
        "f:httpGet": {"f:path": {}, "f:port": {}, "f:scheme": {}},
        "f:periodSeconds": {},
        "f:timeoutSeconds": {},
    }
    container |= {"f:livenessProbe": {".": {}, **nested}, "f:readinessProbe": {".": {}, **nested}}
    spec: Object = {f"f:{key}": {} for key in ("dnsPolicy", "enableServiceLinks", "restartPolicy", "schedulerName",
            "terminationGracePeriodSeconds", "serviceAccount", "serviceAccountName")}  # fmt: skip
    owner: Object = {".": {}, 'k:{"uid":"5cdb0a0e-1f3a-4b3c-9d2e-7f0d5b6c8e9a"}': {}}
    made = {
        "f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:app": {}}, "f:ownerReferences": owner},
        "f:spec": {**spec, "f:containers": {'k:{"name":"app"}': {".": {}, **container}}, "f:securityContext": {}},
    }
    kinds = ("ContainersReady", "Initialized", "PodReadyToStartContainers", "Ready")
    times: Object = {"f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {}}
    conditions = {f'k:{{"type":"{kind}"}}': {".": {}, **times} for kind in kinds}
    keys = ("containerStatuses", "hostIP", "hostIPs", "phase", "podIP", "podIPs", "startTime")
    run = {"f:status": {"f:conditions": conditions, **{f"f:{key}": {} for key in keys}}}
    head = {"operation": "Update", "apiVersion": "v1", "time": timestamp(), "fieldsType": "FieldsV1"}
    return [
        {"manager": "kube-controller-manager", **head, "fieldsV1": made},
        {"manager": "kube-scheduler", **head, "fieldsV1": {"f:status": {"f:conditions": conditions}}},
        {"manager": "kubelet", **head, "fieldsV1": run, "subresource": "status"},
    ]


def running_status(pod: Object, ready: bool = True) -> Object:
    """The status a kubelet reports once the containers run."""
    number = zlib.crc32(pod["metadata"]["uid"].encode())
    host = zlib.crc32(pod["spec"].get("nodeName", "").encode())
    now = timestamp()
    address = f"10.{128 + (number >> 16 & 63)}.{number >> 8 & 255}.{number & 255}"
    host_address = f"10.{host >> 16 & 63}.{host >> 8 & 255}.{host & 255}"
    spec, status = pod["spec"], pod["status"]
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    kept = [c for c in status.get("conditions") or () if c["type"] == "DisruptionTarget"]
    new: Object = {
        "phase": "Running",
        "conditions": kept + running_conditions(now, ready) if kept else running_conditions(now, ready),
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "containerStatuses": [_container_status(c, pod, now, ready) for c in spec["containers"]],
        "qosClass": status.get("qosClass", "Burstable"),
    }
    if "initContainers" in spec:
        new["initContainerStatuses"] = [
            _container_status(c, pod, now, True) if c["name"] in sidecars else _completed(c, pod, now)
            for c in spec["initContainers"]
        ]
    return new


@lru_cache(maxsize=64)
def running_conditions(now: str, ready: bool) -> list[Object]:
    def condition(kind: str, status: str, **why: str) -> Object:
        return {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": now, **why}

    if ready:
        names = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        return [condition(name, "True") for name in names]
    why = {"reason": "ContainersNotReady", "message": "containers with unready status: [app]"}
    return [
        condition("PodReadyToStartContainers", "True"),
        condition("Initialized", "True"),
        condition("Ready", "False", **why),
        condition("ContainersReady", "False", **why),
        condition("PodScheduled", "True"),
    ]


def _container_status(container: Object, pod: Object, now: str, ready: bool) -> Object:
    identifier = f"{zlib.crc32((pod['metadata']['uid'] + container['name']).encode()):08x}" * 8
    image = container.get("image", "")
    return {
        "name": container["name"],
        "state": {"running": {"startedAt": now}},
        "lastState": {},
        "ready": ready,
        "restartCount": 0,
        "image": image,
        "imageID": f"{image.partition(':')[0]}@sha256:{identifier[::-1]}",
        "containerID": f"containerd://{identifier}",
        "started": True,
    }


def _completed(container: Object, pod: Object, now: str) -> Object:
    status = _container_status(container, pod, now, True)
    done = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    return {**status, "state": {"terminated": {**done, "containerID": status["containerID"]}}, "started": False}
