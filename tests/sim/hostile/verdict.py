"""What the owner's limits allow to be different afterwards: every object compared, field by field."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from tests.sim.kube.resources import EVENTS, NODES, PODS, STORED, Object
from tests.sim.kube.store import Store

Objects = Mapping[tuple[str, str], Object]
"""Objects by kind and key."""

PROTECTED = "cloudoptim.io/protected"
_DOMAINS = ("kubernetes.io", "k8s.io", "karpenter.sh", "eks.amazonaws.com", "cloud.google.com", "kubernetes.azure.com")
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_CORDON_TAINT = "node.kubernetes.io/unschedulable"


def objects_of(store: Store) -> Objects:
    """Everything there is but Events, which only tell."""
    return {
        (resource.kind, stored.key): copy.deepcopy(stored.object)
        for resource in STORED
        if resource is not EVENTS
        for stored in store.all(resource)
    }


def trespasses(before: Objects, after: Objects, most_cordoned: int) -> list[str]:
    """Everything that is not as the limits allow; empty when they held."""
    found: list[str] = []
    protected = {key[1] for key, each in before.items() if key[0] == "Namespace" and _is_protected(each)}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if key[0] == NODES.kind and old is not None and new is not None:
            found += (f"node {key[1]}: {what}" for what in _of_node(old, new))
        elif key[0] == PODS.kind:
            found += (f"pod {key[1]}: {what}" for what in _of_pod(old, new, protected | {"kube-system"}))
        elif old is None or new is None or _lasting(old) != _lasting(new):
            found.append(f"{key[0]} {key[1]} was {'made' if old is None else 'removed' if new is None else 'changed'}")
    cordoned = [key[1] for key, each in after.items() if key[0] == NODES.kind and each["spec"].get("unschedulable")]
    if len(cordoned) > most_cordoned:
        found.append(f"{len(cordoned)} nodes are cordoned, {most_cordoned} may be: {', '.join(cordoned)}")
    return found


def _of_node(old: Object, new: Object) -> Iterator[str]:
    labels, cordon = _difference(old, new, "labels"), {"unschedulable", "taints"}
    if _is_protected(old) or _CONTROL_PLANE in old["metadata"]["labels"]:
        if labels or _spec(old, set()) != _spec(new, set()):
            yield "is to be left alone, and was changed"
        return
    if kept := sorted(key for key in labels if _of_the_system(key)):
        yield f"labels {', '.join(kept)} were changed"
    for part in ("annotations", "finalizers", "ownerReferences"):
        if old["metadata"].get(part) != new["metadata"].get(part):
            yield f"{part} were changed"
    if _spec(old, cordon) != _spec(new, cordon) or _taints(old) != _taints(new):
        yield "its spec was changed beyond the cordon"


def _of_pod(old: Object | None, new: Object | None, protected: set[str]) -> Iterator[str]:
    if old is None:
        return  # Its controller made it.
    if old["metadata"]["namespace"] in protected or _is_protected(old):
        if new is None or new["metadata"]["uid"] != old["metadata"]["uid"]:
            yield "is protected, and gone"
        elif "deletionTimestamp" in new["metadata"] or _lasting(old) != _lasting(new):
            yield "is protected, and was changed"
    elif new is not None and new["metadata"]["uid"] == old["metadata"]["uid"]:
        if kept := sorted(key for key in _difference(old, new, "labels") if _of_the_system(key)):
            yield f"labels {', '.join(kept)} were changed"
        if old["spec"] != new["spec"] or _difference(old, new, "annotations"):
            yield "was changed beyond its labels"


def _is_protected(obj: Object) -> bool:
    return bool((obj["metadata"].get("labels") or {}).get(PROTECTED) == "true")


def _of_the_system(key: str) -> bool:
    prefix = key.rpartition("/")[0]
    return key == PROTECTED or any(prefix == domain or prefix.endswith(f".{domain}") for domain in _DOMAINS)


def _difference(old: Object, new: Object, part: str) -> set[str]:
    was, is_now = old["metadata"].get(part) or {}, new["metadata"].get(part) or {}
    return {key for key in was.keys() | is_now.keys() if was.get(key) != is_now.get(key)}


def _spec(obj: Object, without: set[str]) -> Object:
    return {key: value for key, value in obj["spec"].items() if key not in without}


def _taints(obj: Object) -> list[Any]:
    """Without the one that the controller adds to a cordoned node."""
    return [taint for taint in obj["spec"].get("taints") or () if taint["key"] != _CORDON_TAINT]


def _lasting(obj: Object) -> Object:
    """Without what controllers count and the API server stamps."""
    passing = ("resourceVersion", "generation", "managedFields")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in passing}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
