"""Creating, changing and deleting objects as the API server does it, dry runs included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.kube import kinds, patches
from tests.sim.kube.admission import Admit, admit_all
from tests.sim.kube.resources import BUDGETS, NAMESPACES, PODS, SERVICE_ACCOUNTS, Object, Resource
from tests.sim.kube.status import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    modified,
    namespace_terminating,
    not_found,
)
from tests.sim.kube.store import Store, Stored
from tests.sim.kube.validation import check_create, check_update


@dataclass(frozen=True)
class Target:
    """What a write is aimed at."""

    resource: Resource
    namespace: str | None
    name: str
    subresource: str = ""


def existing(store: Store, target: Target) -> Stored:
    stored = store.get(target.resource, target.namespace, target.name)
    if stored is None:
        raise not_found(target.resource, target.name)
    return stored


def admit_into_namespace(store: Store, target: Target) -> None:
    """Refuse to create in a namespace that is missing or going away."""
    if not target.resource.namespaced:
        return
    namespace = store.get(NAMESPACES, None, target.namespace or "")
    if namespace is None:
        raise not_found(NAMESPACES, target.namespace or "")
    if "deletionTimestamp" in namespace.object["metadata"]:
        raise namespace_terminating(target.resource, target.namespace or "", target.name)


def check_envelope(resource_kind: str, target: Target, body: Object, internal: str) -> None:
    """The checks of a decoded body against its URL that come before all others."""
    kind = body.get("kind", resource_kind)
    if kind != resource_kind:
        version = body.get("apiVersion", target.resource.api_version)
        conversion = f"converting (v1.{kind}) to ({internal}.{resource_kind}): unknown conversion"
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {resource_kind}: {conversion}')
    namespace = (body.get("metadata") or {}).get("namespace")
    if target.namespace and namespace and namespace != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def create(store: Store, target: Target, body: Object, dry_run: bool = False, admit: Admit = admit_all) -> Stored:
    resource = target.resource
    check_envelope(resource.kind, target, body, resource.group.partition(".")[0] or "core")
    with store.lock:
        name = (body.get("metadata") or {}).get("name", "")
        if (body.get("metadata") or {}).get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        admit_into_namespace(store, Target(resource, target.namespace, name))
        if resource is PODS:
            _admit_account(store, target.namespace or "", body)
        obj = kinds.created(resource, body, target.namespace)
        check_create(resource, obj)
        admit("CREATE", obj, None)
        if store.get(resource, target.namespace, obj["metadata"]["name"]):
            raise already_exists(resource, obj["metadata"]["name"])
        return _unstored(resource, obj) if dry_run else store.put(resource, obj)


def _admit_account(store: Store, namespace: str, pod: Object) -> None:
    """Refuse a pod whose service account is not there; a mirror pod has none."""
    metadata = pod.get("metadata") or {}
    if "kubernetes.io/config.mirror" in (metadata.get("annotations") or {}):
        return
    account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
    if store.get(SERVICE_ACCOUNTS, namespace, account) is None:
        why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise forbidden("", "pods", metadata.get("name", ""), why)


def free_name(store: Store, resource: Resource, namespace: str | None, prefix: str) -> str:
    """A generated name that nobody has."""
    while store.get(resource, namespace, name := kinds.generated_name(prefix)) is not None:
        pass
    return name


def replace(store: Store, target: Target, body: Object, dry_run: bool = False, admit: Admit = admit_all) -> Stored:
    check_envelope(target.resource.kind, target, body, target.resource.group.partition(".")[0] or "core")
    with store.lock:
        _check_name(target, body)
        old = existing(store, target)
        if target.resource in _VERSIONED and not body["metadata"].get("resourceVersion"):
            cause = Cause(
                "FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion"
            )
            raise invalid(target.resource.qualified, target.name, [cause])
        uid = body["metadata"].get("uid", "")
        if uid and uid != old.object["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
            raise conflict(target.resource, target.name, _storage_error(target, why + old.object["metadata"]["uid"]))
        body = {**body, "metadata": {**body["metadata"], "uid": old.object["metadata"]["uid"]}}
        return _update(store, target, old, body, dry_run, admit, patched=False)


_VERSIONED = (BUDGETS,)
"""Kinds that are replaced only by who says which version he has seen."""


def _storage_error(target: Target, why: str) -> str:
    plural = "minions" if target.resource.plural == "nodes" else target.resource.plural
    key = f"/registry/{plural}/{target.resource.key(target.namespace, target.name)}"
    return f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {why}"


def patch(
    store: Store, target: Target, content_type: str, body: bytes, dry_run: bool = False, admit: Admit = admit_all
) -> Stored:
    with store.lock:
        old = existing(store, target)
        head: Object = {"kind": target.resource.kind, "apiVersion": target.resource.api_version}
        new = patches.apply(content_type, {**head, **old.object}, body)
        _check_name(target, new)
        return _update(store, target, old, new, dry_run, admit, patched=True)


def _check_name(target: Target, body: Object) -> None:
    name = (body.get("metadata") or {}).get("name", "")
    if not name:
        why = f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        raise bad_request(why)
    if name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")


def _update(
    store: Store, target: Target, old: Stored, new: Object, dry_run: bool, admit: Admit, patched: bool
) -> Stored:
    asked = new["metadata"].get("resourceVersion")
    if asked and not asked.isdigit():
        raise ApiError(500, "", f'strconv.ParseUint: parsing "{asked}": invalid syntax')
    if asked and asked != old.object["metadata"]["resourceVersion"]:
        raise modified(target.resource, target.name)
    obj = kinds.updated(new, old.object, target.resource, target.subresource)
    obj["metadata"]["resourceVersion"] = old.object["metadata"]["resourceVersion"]
    candidate = {**obj, "metadata": {**obj["metadata"], "uid": new["metadata"].get("uid")}}
    check_update(target.resource, candidate, old.object, patched, target.subresource)
    obj = _without_empty(obj)
    admit("UPDATE", obj, old.object)
    if obj == old.object:
        return old
    if dry_run:
        return Stored(target.resource, old.key, obj, old.revision)
    new_stored = store.put(target.resource, obj)
    metadata = obj["metadata"]
    if "deletionTimestamp" in metadata and not metadata.get("finalizers") and deletion_due(metadata):
        store.remove(new_stored)
    return new_stored


_OMITTED = ("labels", "annotations", "finalizers", "ownerReferences")


def _without_empty(obj: Object) -> Object:
    """Fields that the typed server omits when empty."""
    metadata = {k: v for k, v in obj["metadata"].items() if v or k not in _OMITTED}
    spec = obj.get("spec")
    if isinstance(spec, dict):
        omitted = [key for key in ("unschedulable", "taints") if key in spec and not spec[key]]
        if omitted:
            return {**obj, "metadata": metadata, "spec": {k: v for k, v in spec.items() if k not in omitted}}
    return {**obj, "metadata": metadata}


def change(store: Store, stored: Stored, edit: Callable[[Object], Object | None]) -> Stored | None:
    """A controller's own write: ``edit`` the latest version of ``stored``, unless it is gone or declines."""
    with store.lock:
        latest = store.get(stored.resource, stored.namespace, stored.name)
        if latest is None or latest.object["metadata"]["uid"] != stored.object["metadata"]["uid"]:
            return None
        new = edit(latest.object)
        return latest if new is None or new == latest.object else store.put(stored.resource, new)


def dry_run_asked(kind: str, values: list[str]) -> bool:
    if any(value != "All" for value in values):
        shown = "[" + ",".join(f'"{value}"' for value in values) + "]"
        cause = Cause("FieldValueNotSupported", f'Unsupported value: {shown}: supported values: "All"', "dryRun")
        raise invalid(f"{kind}.meta.k8s.io", "", [cause])
    return bool(values)


def deletion_due(metadata: Object) -> bool:
    """Whether a marked object waits for nothing but its finalizers."""
    return not metadata.get("deletionGracePeriodSeconds")


def _unstored(resource: Resource, obj: Object) -> Stored:
    return Stored(resource, resource.key(obj["metadata"].get("namespace"), obj["metadata"]["name"]), obj, 0)
