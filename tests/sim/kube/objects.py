"""Builders of what all objects share, and of nodes, as real ones look."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from tests.sim.kube import discovery
from tests.sim.kube.kinds import new_uid, timestamp
from tests.sim.kube.quantities import parse
from tests.sim.kube.resources import Object

_NODE_INFO = {
    "machineID": "ec2f8e0b1c5a4b7d9e3f6a2c8d4b1e70",
    "systemUUID": "ec2f8e0b-1c5a-4b7d-9e3f-6a2c8d4b1e70",
    "bootID": "5f0c5a2e-6c0e-4c55-9d0c-3f7b7b8f7a11",
    "kernelVersion": "6.12.40-63.114.amzn2023.x86_64",
    "osImage": "Amazon Linux 2023.8.20250808",
    "containerRuntimeVersion": "containerd://2.1.4",
    "kubeProxyVersion": "",
    "operatingSystem": "linux",
    "architecture": "amd64",
}
_PRESSURES = [
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
]


def identity(name: str, namespace: str | None = None, **more: Any) -> Object:
    """Metadata of an object that has just been created."""
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {})}
    metadata.update(uid=new_uid(), creationTimestamp=timestamp())
    metadata.update({key: value for key, value in more.items() if value})
    return metadata


def owner_reference(owner: Object, kind: str, api_version: str) -> Object:
    metadata = owner["metadata"]
    reference = {"apiVersion": api_version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
    return {**reference, "controller": True, "blockOwnerDeletion": True}


def node(
    name: str,
    labels: Mapping[str, str | None] | None = None,
    provider_id: str | None = None,
    instance_type: str = "m5.large",
    zone: str = "us-east-1a",
    cpu: str | int = 2,
    memory: str = "8Gi",
    pods: int = 110,
    capacity_type: str | None = None,
    taints: Iterable[Object] = (),
    minor: int = discovery.NEWEST,
) -> Object:
    """A Ready node. ``cpu`` and ``memory`` are allocatable; its capacity is a little more, as on real nodes.

    A label given as None is left out, and so is an empty provider ID.
    """
    number = zlib.crc32(name.encode())
    address = f"10.{number >> 16 & 63}.{number >> 8 & 255}.{number & 255}"
    found = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": instance_type,
        "topology.kubernetes.io/region": zone.rstrip("abcdef"),
        "topology.kubernetes.io/zone": zone,
    }
    if capacity_type:
        found["eks.amazonaws.com/capacityType"] = capacity_type.upper().replace("-", "_")
    allocatable = {"cpu": str(cpu), "ephemeral-storage": "76224326324", "memory": memory, "pods": str(pods)}
    capacity = {
        **allocatable,
        "cpu": f"{int(parse(cpu) * 1000) + 70}m",
        "memory": f"{int(parse(memory)) // 1024 + 700_000}Ki",
    }
    spec: Object = {"podCIDR": f"10.{64 + (number >> 8 & 63)}.{number & 255}.0/24"}
    spec["providerID"] = provider_id if provider_id is not None else f"aws:///{zone}/i-0{number:016x}"
    if not spec["providerID"]:
        del spec["providerID"]
    if taints:
        spec["taints"] = list(taints)
    status = {
        "capacity": capacity,
        "allocatable": allocatable,
        "conditions": ready_conditions(timestamp()),
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {**_NODE_INFO, "kubeletVersion": f"v1.{minor}.2"},
        "images": _images(),
    }
    chosen = {key: value for key, value in {**found, **(labels or {})}.items() if value is not None}
    return {"metadata": identity(name, labels=chosen), "spec": spec, "status": status}


def ready_conditions(since: str) -> list[Object]:
    times = {"lastHeartbeatTime": since, "lastTransitionTime": since}
    found = [
        {"type": kind, "status": "False", **times, "reason": reason, "message": message}
        for kind, reason, message in _PRESSURES
    ]
    ready = {"reason": "KubeletReady", "message": "kubelet is posting ready status"}
    return [*found, {"type": "Ready", "status": "True", **times, **ready}]


@lru_cache
def _images() -> list[Object]:
    names = ("kube-proxy", "amazon-k8s-cni", "coredns", "pause", "metrics-server")
    registry = "eks"
    return [{"names": [f"{registry}/{n}:v1.36.2"], "sizeBytes": 31_000_000 + len(n)} for n in names]
