"""The namespace controllers: a new namespace gets its account, one being deleted loses what is in it, then itself."""

from __future__ import annotations

from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.objects import identity
from tests.sim.kube.pods import SIM
from tests.sim.kube.resources import NAMESPACES, PODS, SERVICE_ACCOUNTS, STORED
from tests.sim.kube.store import Change, Store
from tests.sim.kube.writes import Target

HOLD = f"{SIM}/hold"
"""Annotation that leaves a terminating namespace as it is."""


def default_account(store: Store, namespace: str) -> None:
    """The account of pods that name none; without it no pod can be made."""
    with store.lock:
        if store.get(SERVICE_ACCOUNTS, namespace, "default") is None:
            store.put(SERVICE_ACCOUNTS, {"metadata": identity("default", namespace)})


class Namespaces:
    def __init__(self, store: Store) -> None:
        self._store = store

    def see(self, change: Change) -> None:
        if change.resource not in (NAMESPACES, PODS):
            return
        name = change.latest.name if change.resource is NAMESPACES else change.latest.namespace
        namespace = self._store.get(NAMESPACES, None, name or "")
        if namespace is None:
            return
        if "deletionTimestamp" not in namespace.object["metadata"]:
            default_account(self._store, namespace.name)
            return
        if HOLD in (namespace.object["metadata"].get("annotations") or {}):
            return
        for resource in (resource for resource in STORED if resource.namespaced and resource is not PODS):
            for stored in self._store.all(resource, name):
                self._store.remove(stored)
        for pod in self._store.all(PODS, name):
            if "deletionTimestamp" not in pod.object["metadata"]:
                delete(self._store, Target(PODS, name, pod.name), DeleteOptions())
        if not self._store.count(PODS, name):
            self._store.remove(namespace)

    def work(self) -> None:
        """Everything is done on sight."""
