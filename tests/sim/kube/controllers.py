"""The workload controllers: ReplicaSets, StatefulSets and DaemonSets keep their pods, and report."""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.kube.budgets import is_ready
from tests.sim.kube.clockwork import Clockwork
from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.objects import owner_reference
from tests.sim.kube.pods import daemon_template, pod
from tests.sim.kube.resources import (
    DAEMON_SETS,
    DEPLOYMENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Object,
    Resource,
)
from tests.sim.kube.scheduler import runs_daemon
from tests.sim.kube.store import Change, Store, Stored, controller_of
from tests.sim.kube.writes import Target, change, free_name

_OWNERS = (REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS)
_REPORT_DELAY = 0.05
"""Status follows a little later, so that a hundred changes make one report."""


class Workloads:
    """Every owner of pods. Works by what is there, not by what happened."""

    def __init__(self, store: Store, clockwork: Clockwork) -> None:
        self._store, self._clockwork = store, clockwork
        self._owners: dict[str, tuple[Resource, str | None, str]] = {}
        self._dirty: dict[str, None] = {}
        self._unreported: set[str] = set()

    def see(self, change: Change) -> None:
        if change.resource is PODS:
            for stored in (change.object, change.previous):
                if stored is not None and (owner := controller_of(stored.object)):
                    self._dirty[owner["uid"]] = None
        elif change.resource in _OWNERS:
            self.learn([change.latest])
            if change.object is not None:
                self._dirty[change.object.object["metadata"]["uid"]] = None
        elif change.resource is DEPLOYMENTS and change.object is not None:
            self._scale(change.object)
        elif change.resource is NODES and (change.object is None or change.previous is None):
            self._dirty.update((uid, None) for uid, place in self._owners.items() if place[0] is DAEMON_SETS)

    def work(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for uid in dirty:
            if owner := self._find(uid):
                self._reconcile(owner)
                self._report_later(uid)

    def scale_of(self, reference: Object) -> int | None:
        """Replicas wanted by the controller a reference names; DaemonSets have no scale."""
        owner = self._find(reference["uid"])
        if owner is None or owner.resource is DAEMON_SETS:
            return None
        return int(owner.object["spec"].get("replicas", 1))

    def learn(self, owners: Iterable[Stored]) -> None:
        """Know these owners at once, before their changes come round."""
        for stored in owners:
            self._owners[stored.object["metadata"]["uid"]] = (stored.resource, stored.namespace, stored.name)

    def _find(self, uid: str) -> Stored | None:
        place = self._owners.get(uid)
        found = self._store.get(*place) if place else None
        return found if found and found.object["metadata"]["uid"] == uid else None

    def _scale(self, deployment: Stored) -> None:
        replicas = deployment.object["spec"]["replicas"]
        for stored in self._store.all(REPLICA_SETS, deployment.namespace):
            if (owner := controller_of(stored.object)) and owner["uid"] == deployment.object["metadata"]["uid"]:
                change(self._store, stored, lambda rs: {**rs, "spec": {**rs["spec"], "replicas": replicas}})

    def _reconcile(self, owner: Stored) -> None:
        if "deletionTimestamp" in owner.object["metadata"]:
            return
        with self._store.lock:
            pods = self._store.pods.owned_by(owner.object["metadata"]["uid"])
            if owner.resource is REPLICA_SETS:
                self._keep_replicas(owner, pods)
            elif owner.resource is STATEFUL_SETS:
                self._keep_ordinals(owner, pods)
            else:
                self._keep_on_nodes(owner, pods)

    def _keep_replicas(self, owner: Stored, pods: list[Stored]) -> None:
        """A terminating pod does not count: its replacement is made at once."""
        active = [stored for stored in pods if _is_active(stored.object)]
        wanted = owner.object["spec"]["replicas"]
        for _ in range(wanted - len(active)):
            self._create(owner, owner.object["spec"]["template"])
        for stored in active[wanted:]:
            self._delete(stored)

    def _keep_ordinals(self, owner: Stored, pods: list[Stored]) -> None:
        """A name is free again only when its pod is gone."""
        names = [f"{owner.name}-{ordinal}" for ordinal in range(owner.object["spec"]["replicas"])]
        for name in names:
            if self._store.get(PODS, owner.namespace, name) is None:
                self._create(owner, owner.object["spec"]["template"], name)
        for stored in pods:
            if stored.name not in names or _is_over(stored.object):
                self._delete(stored)

    def _keep_on_nodes(self, owner: Stored, pods: list[Stored]) -> None:
        """One on each node that the template selects and whose taints it tolerates, cordoned or not."""
        held = {stored.object["spec"].get("nodeName") for stored in pods}
        template = daemon_template(owner.object["spec"]["template"])
        for node in self._store.all(NODES):
            if node.name not in held and runs_daemon(node.object, template):
                self._create(owner, template, node=node.name)
        for stored in pods:
            if _is_over(stored.object):
                self._delete(stored)

    def _create(self, owner: Stored, template: Object, name: str | None = None, node: str | None = None) -> None:
        name = name or free_name(self._store, PODS, owner.namespace, f"{owner.name}-")
        reference = owner_reference(owner.object, owner.resource.kind, owner.resource.api_version)
        self._store.put(PODS, pod(template, owner.namespace or "default", name, reference, node))

    def _delete(self, stored: Stored) -> None:
        if "deletionTimestamp" not in stored.object["metadata"]:
            delete(self._store, Target(PODS, stored.namespace, stored.name), DeleteOptions())

    def _report_later(self, uid: str) -> None:
        if uid not in self._unreported:
            self._unreported.add(uid)
            self._clockwork.after(_REPORT_DELAY, lambda: self._report(uid))

    def _report(self, uid: str) -> None:
        self._unreported.discard(uid)
        owner = self._find(uid)
        if owner is None:
            return
        active = [s.object for s in self._store.pods.owned_by(uid) if _is_active(s.object)]
        status = _status(owner, active)
        change(self._store, owner, lambda latest: {**latest, "status": status})
        if owner.resource is REPLICA_SETS and (above := controller_of(owner.object)):
            deployment = self._store.get(DEPLOYMENTS, owner.namespace, above["name"])
            if deployment is not None:
                more = {**status, "updatedReplicas": status["replicas"]}
                change(self._store, deployment, lambda latest: {**latest, "status": more})


def _status(owner: Stored, active: Iterable[Object]) -> Object:
    pods = list(active)
    ready = sum(1 for found in pods if is_ready(found))
    generation = owner.object["metadata"].get("generation", 1)
    if owner.resource is DAEMON_SETS:
        counts = ("currentNumberScheduled", "desiredNumberScheduled", "updatedNumberScheduled")
        status = dict.fromkeys(counts, len(pods))
        return {**status, "numberReady": ready, "numberAvailable": ready, "observedGeneration": generation}
    return {"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": generation}


def _is_over(found: Object) -> bool:
    return found["status"].get("phase") in ("Succeeded", "Failed")


def _is_active(found: Object) -> bool:
    return not _is_over(found) and "deletionTimestamp" not in found["metadata"]
