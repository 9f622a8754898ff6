"""Objects as a user would apply them: small, and the same for the simulator and a real cluster."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

MARK = "drain-tests"
"""Label of the nodes that may be drained, and key of the taint that keeps other pods off them."""

RUN = f"run-{uuid.uuid4().hex[:6]}"
"""Value of that label: two runs on one cluster do not meet."""

FINALIZER = "drain-tests.cloudoptim.io/stuck"


def template(
    app: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    grace: int = 30,
    ends_after: float | None = None,
    ready: bool = True,
    pending: bool = False,
    empty_dir: bool = False,
    claim: str | None = None,
    ephemeral: str | None = None,
    priority_class: str | None = None,
    tolerations: Sequence[Object] = (),
    stuck: bool = False,
    never_ends: bool = False,
    only_on: str | None = None,
) -> Object:
    """A pod's metadata and spec. Whatever is to be slow or unready is told to the hollow kubelets."""
    wishes: dict[str, str] = {}
    if ends_after is not None:
        wishes["sim.cloudoptim.io/termination-seconds"] = str(ends_after)
    if not ready:
        wishes["sim.cloudoptim.io/never-ready"] = "true"
    if pending:
        wishes["sim.cloudoptim.io/start-seconds"] = "3600"
    if never_ends:
        wishes["sim.cloudoptim.io/never-ends"] = "true"
    volumes: list[Object] = []
    if empty_dir:
        volumes.append({"name": "scratch", "emptyDir": {}})
    if claim:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
    if ephemeral:
        claim_spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        volumes.append({"name": ephemeral, "ephemeral": {"volumeClaimTemplate": {"spec": claim_spec}}})
    metadata: Object = {"labels": {"app": app, **(labels or {})}, "annotations": {**wishes, **(annotations or {})}}
    if stuck:
        metadata["finalizers"] = [FINALIZER]
    spec: Object = {
        "containers": [{"name": "app", "image": "pause:3.10"}],
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": False,
        "volumes": volumes,
        "tolerations": [{"key": MARK, "operator": "Exists"}, *tolerations],
        "nodeSelector": {MARK: RUN, **({"kubernetes.io/hostname": only_on} if only_on else {})},
    }
    if priority_class:
        spec["priorityClassName"] = priority_class
    return {"metadata": metadata, "spec": spec}


def workload(kind: str, name: str, replicas: int | None, pods: Object) -> Object:
    """A ReplicaSet, StatefulSet or DaemonSet of ``pods``."""
    spec: Object = {"selector": {"matchLabels": {"app": pods["metadata"]["labels"]["app"]}}, "template": pods}
    if replicas is not None:
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def budget(name: str, app: str, **spec: Any) -> Object:
    selector = {"matchLabels": {"app": app}}
    metadata = {"name": name}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {"selector": selector, **spec},
    }


def attachment(name: str, node: str, volume: str) -> Object:
    spec = {"attacher": "drain-tests.cloudoptim.io", "nodeName": node, "source": {"persistentVolumeName": volume}}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": name},
        "spec": spec,
    }


def claim(name: str, volume: str) -> Object:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
        "volumeName": volume,
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def policy(name: str, namespace: str, message: str) -> list[Object]:
    """A ValidatingAdmissionPolicy that denies all evictions of one namespace, and its binding."""
    version = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    match = {"resourceRules": [rule], "namespaceSelector": selector}
    spec = {"matchConstraints": match, "validations": [{"expression": "false", "message": message}]}
    bound = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": bound},
    ]


def node_policy(name: str, node: str, message: str) -> list[Object]:
    """A ValidatingAdmissionPolicy that denies service accounts all updates of one node, and its binding."""
    version = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"]}
    users = "request.userInfo.username.startsWith('system:serviceaccount:drain-agents-')"
    conditions = [
        {"name": "node", "expression": f"object.metadata.name == '{node}'"},
        {"name": "agent", "expression": users},
    ]
    match = {"resourceRules": [rule]}
    spec = {
        "matchConstraints": match,
        "matchConditions": conditions,
        "validations": [{"expression": "false", "message": message}],
    }
    bound = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": bound},
    ]
