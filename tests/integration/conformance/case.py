"""One comparison, and the objects that comparisons are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.integration.conformance.asking import MERGE, Answer, Ask

Object = dict[str, Any]

CORE = "/api/v1/namespaces/{ns}"
PODS = f"{CORE}/pods"
SETS = "/apis/apps/v1/namespaces/{ns}/replicasets"
DAEMONS = "/apis/apps/v1/namespaces/{ns}/daemonsets"
BUDGETS = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
MINE = f"{PODS}/{{me}}"
"""The pod that bears the case's name, as all objects of a case do."""
NODE = "/api/v1/nodes/{me}"

UID = {"uid": ("metadata", "uid")}
VERSION = {"version": ("metadata", "resourceVersion")}


OTHER = "11111111-2222-4333-8444-555555555555"
"""A UID that nothing has."""
OF_OTHER = {"preconditions": {"uid": OTHER}}
FINALIZER = ["conformance.cloudoptim.io/held"]
ENDING = ("metadata.name", "metadata.deletionGracePeriodSeconds", "metadata.deletionTimestamp", "metadata.finalizers")
"""What shows how far an object's end has come."""


@dataclass(frozen=True)
class Case:
    """``ask`` is compared, after ``before`` was done; ``show`` are the fields compared of an object."""

    name: str
    ask: Ask
    before: tuple[Ask, ...] = ()
    show: tuple[str, ...] = ()


def pod(name: str = "{me}", node: str | None = "{node}", grace: int = 30, **metadata: Any) -> Object:
    spec: Object = {
        "containers": [{"name": "app", "image": "pause:3.10"}],
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": False,
    }
    if node:
        spec["nodeName"] = node
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "{me}"}, **metadata},
        "spec": spec,
    }


def made(**options: Any) -> Ask:
    """A pod of the case's name on a node whose kubelet does nothing."""
    return Ask("POST", PODS, pod(**options), keep=UID)


def running(name: str = "{me}", ready: str = "True") -> Ask:
    """What its kubelet would report."""
    conditions = [{"type": "Ready", "status": ready}]
    return Ask("PATCH", f"{PODS}/{name}/status", {"status": {"phase": "Running", "conditions": conditions}}, MERGE)


def budget(name: str = "{me}", **spec: Any) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "{me}"}}, **spec},
    }


def guarded(name: str = "{me}", healthy: int = 1, **spec: Any) -> tuple[Ask, Ask]:
    """A budget, once its controller has counted so many ready pods."""

    def counted(answer: Answer) -> bool:
        status = answer.find("status") or {}
        return status.get("observedGeneration") == 1 and status.get("currentHealthy") == healthy

    return (Ask("POST", BUDGETS, budget(name, **spec)), Ask("GET", f"{BUDGETS}/{name}", until=counted))


def replica_set(replicas: int = 1, **metadata: Any) -> Object:
    template = pod()
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "{me}", **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "{me}"}},
            "template": {"metadata": {"labels": {"app": "{me}"}}, "spec": template["spec"]},
        },
    }


def with_a_pod() -> tuple[Ask, Ask]:
    """A ReplicaSet, once its pod is there."""
    its_pods = Ask(
        "GET",
        f"{PODS}?labelSelector=app%3D{{me}}",
        until=lambda answer: len(answer.find("items") or ()) == 1,
        keep={"pod": ("items", "0", "metadata", "name")},
    )
    return Ask("POST", SETS, replica_set(), keep=UID), its_pods


def node(**metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "{me}", **metadata}, "spec": {}}


def a_node() -> Ask:
    """A node of the case's own. Nobody schedules to it: it is never Ready."""
    return Ask("POST", "/api/v1/nodes", node(labels={"conformance": "{ns}"}), keep={**UID, **VERSION})


def gone(answer: Answer) -> bool:
    return answer.code == 404


def eviction(name: str = "{me}", **options: Any) -> Object:
    body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return {**body, "deleteOptions": options} if options else body


def after(name: str, *before: Ask, path: str = MINE, show: tuple[str, ...] = ENDING, until: Any = None) -> Case:
    """What is there when something was done."""
    return Case(name, Ask("GET", path, until=until), before, show)
