"""Builders of the objects that own pods, and of budgets."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from tests.sim.kube.objects import identity, owner_reference
from tests.sim.kube.resources import Object


def _workload(namespace: str, name: str, template: Object, owner: Object | None = None, **spec: object) -> Object:
    labels = template["metadata"]["labels"]
    selector = {"matchLabels": dict(labels)}
    metadata = identity(name, namespace, generation=1, labels=dict(labels), ownerReferences=[owner] if owner else None)
    return {"metadata": metadata, "spec": {**spec, "selector": selector, "template": template}, "status": {}}


def deployment(namespace: str, name: str, replicas: int, template: Object) -> Object:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    return _workload(namespace, name, template, replicas=replicas, strategy=strategy)


def replica_set(owner: Object) -> Object:
    """The one ReplicaSet of a Deployment; its pods carry the template's hash."""
    metadata, template = owner["metadata"], owner["spec"]["template"]
    code = f"{zlib.crc32(metadata['uid'].encode()):08x}"
    labels = {**template["metadata"]["labels"], "pod-template-hash": code}
    hashed = {**template, "metadata": {**template["metadata"], "labels": labels}}
    reference = owner_reference(owner, "Deployment", "apps/v1")
    name = f"{metadata['name']}-{code}"
    return _workload(metadata["namespace"], name, hashed, reference, replicas=owner["spec"]["replicas"])


def stateful_set(namespace: str, name: str, replicas: int, template: Object) -> Object:
    return _workload(namespace, name, template, serviceName=name, podManagementPolicy="Parallel", replicas=replicas)


def daemon_set(namespace: str, name: str, template: Object) -> Object:
    return _workload(namespace, name, template, updateStrategy={"type": "RollingUpdate"})


def budget(
    namespace: str,
    name: str,
    selector: Mapping[str, str] | Object,
    min_available: int | str | None = None,
    max_unavailable: int | str | None = None,
    unhealthy_policy: str | None = None,
) -> Object:
    """A budget; ``selector`` is labels to match, or a whole LabelSelector."""
    whole = "matchLabels" in selector or "matchExpressions" in selector or not selector
    spec: Object = {"selector": dict(selector) if whole else {"matchLabels": dict(selector)}}
    wanted = {
        "minAvailable": min_available,
        "maxUnavailable": max_unavailable,
        "unhealthyPodEvictionPolicy": unhealthy_policy,
    }
    spec.update({key: value for key, value in wanted.items() if value is not None})
    status = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
    return {"metadata": identity(name, namespace, generation=1), "spec": spec, "status": status}
