"""The garbage collector: what has no owner left goes; the deletion of an owner may wait for that, or free it.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from tests.sim.kube.deletes import FOREGROUND, ORPHAN, DeleteOptions, delete
from tests.sim.kube.resources import PODS, REPLICA_SETS, STORED, Object, Resource
from tests.sim.kube.status import ApiError
from tests.sim.kube.store import Change, Store, Stored
from tests.sim.kube.writes import Target, change

_DEPENDENTS = (REPLICA_SETS, PODS)
"""The kinds that have owners here."""
_BY_KIND: dict[tuple[str, str], Resource] = {(r.api_version, r.kind): r for r in STORED}


class GarbageCollector:
    """Works by what is there: an owner exists if its kind, name and UID do. Owners of unknown kinds are left alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gone: dict[str, None] = {}
        self._going: dict[str, Stored] = {}
        self._dependents: dict[str, Stored] = {}

    def see(self, change: Change) -> None:
        metadata = change.latest.object["metadata"]
        if change.object is None:
            self._gone[metadata["uid"]] = None
            if change.resource in _DEPENDENTS:
                self._owners_wait(metadata)
        elif "deletionTimestamp" in metadata and {ORPHAN, FOREGROUND} & set(metadata.get("finalizers") or ()):
            self._going[metadata["uid"]] = change.object
        if change.object is not None and change.resource in _DEPENDENTS and metadata.get("ownerReferences"):
            before = change.previous.object["metadata"].get("ownerReferences") if change.previous else None
            if before != metadata["ownerReferences"]:
                self._dependents[metadata["uid"]] = change.object

    def work(self) -> None:
        gone, self._gone = self._gone, {}
        going, self._going = self._going, {}
        for uid in gone:
            self._dependents.update((found.object["metadata"]["uid"], found) for found in self._depend_on(uid))
        dependents, self._dependents = self._dependents, {}
        for stored in dependents.values():
            self._attend(stored)
        for stored in going.values():
            if ORPHAN in (stored.object["metadata"].get("finalizers") or ()):
                self._orphan(stored)
            else:
                self._clear_the_way(stored)

    def _attend(self, stored: Stored) -> None:
        """Delete what has lost all its owners; of one that has others left, forget those that are gone."""
        with self._store.lock:
            latest = self._store.get(stored.resource, stored.namespace, stored.name)
            if latest is None or latest.object["metadata"]["uid"] != stored.object["metadata"]["uid"]:
                return
            owners = latest.object["metadata"].get("ownerReferences") or []
            left = [owner for owner in owners if self._exists(owner, latest.namespace)]
            if owners and not left:
                self._delete(latest)
            elif len(left) < len(owners):
                change(self._store, latest, lambda found: _with_owners(found, left))

    def _exists(self, owner: Object, namespace: str | None) -> bool:
        resource = _BY_KIND.get((owner.get("apiVersion", ""), owner.get("kind", "")))
        if resource is None:
            return True
        found = self._store.get(resource, namespace if resource.namespaced else None, owner["name"])
        return found is not None and found.object["metadata"]["uid"] == owner["uid"]

    def _orphan(self, owner: Stored) -> None:
        uid = owner.object["metadata"]["uid"]
        for stored in self._depend_on(uid):
            change(self._store, stored, lambda found: _with_owners(found, _others(found, uid)))
        self._release(owner, ORPHAN)

    def _clear_the_way(self, owner: Stored) -> None:
        """Foreground: the dependents first; the owner when none is left that blocks it."""
        uid = owner.object["metadata"]["uid"]
        for stored in self._depend_on(uid):
            self._delete(stored)
        if not any(_blocks(stored.object, uid) for stored in self._depend_on(uid)):
            self._release(owner, FOREGROUND)

    def _owners_wait(self, metadata: Object) -> None:
        """The owners of what is gone now may have waited for it."""
        for owner in metadata.get("ownerReferences") or ():
            resource = _BY_KIND.get((owner.get("apiVersion", ""), owner.get("kind", "")))
            if resource is not None:
                namespace = metadata.get("namespace") if resource.namespaced else None
                found = self._store.get(resource, namespace, owner["name"])
                if found is not None and FOREGROUND in (found.object["metadata"].get("finalizers") or ()):
                    self._going[owner["uid"]] = found

    def _release(self, owner: Stored, finalizer: str) -> None:
        with self._store.lock:
            latest = change(self._store, owner, lambda found: _without_finalizer(found, finalizer))
            if latest is not None and not latest.object["metadata"].get("finalizers"):
                self._store.remove(latest)

    def _delete(self, stored: Stored) -> None:
        if "deletionTimestamp" not in stored.object["metadata"]:
            try:
                delete(self._store, Target(stored.resource, stored.namespace, stored.name), DeleteOptions())
            except ApiError:
                pass  # Somebody was faster.

    def _depend_on(self, uid: str) -> list[Stored]:
        sets = [stored for stored in self._store.all(REPLICA_SETS) if _owned(stored.object, uid)]
        return [*sets, *self._store.pods.depend_on(uid)]


def _owned(obj: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences") or ())


def _blocks(obj: Object, uid: str) -> bool:
    owners = obj["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)


def _others(obj: Object, uid: str) -> list[Object]:
    return [owner for owner in obj["metadata"].get("ownerReferences") or () if owner["uid"] != uid]


def _with_owners(obj: Object, owners: list[Object]) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return {**obj, "metadata": {**metadata, **({"ownerReferences": owners} if owners else {})}}


def _without_finalizer(obj: Object, finalizer: str) -> Object:
    left = [name for name in obj["metadata"].get("finalizers") or () if name != finalizer]
    metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    return {**obj, "metadata": {**metadata, **({"finalizers": left} if left else {})}}
