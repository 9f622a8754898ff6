"""The garbage collector: what a deleted owner leaves behind is deleted, too, in the background."""

from __future__ import annotations

from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.resources import DAEMON_SETS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS
from tests.sim.kube.store import Change, Store, Stored, controller_of
from tests.sim.kube.writes import Target

_OWNERS = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS)


class GarbageCollector:
    """Knows the owners this simulator has: workloads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gone: list[str] = []

    def see(self, change: Change) -> None:
        if change.resource in _OWNERS and change.object is None:
            self._gone.append(change.latest.object["metadata"]["uid"])

    def work(self) -> None:
        gone, self._gone = self._gone, []
        for uid in gone:
            for stored in self._dependents(uid):
                if "deletionTimestamp" not in stored.object["metadata"]:
                    delete(self._store, Target(stored.resource, stored.namespace, stored.name), DeleteOptions())

    def _dependents(self, uid: str) -> list[Stored]:
        sets = [s for s in self._store.all(REPLICA_SETS) if (controller_of(s.object) or {}).get("uid") == uid]
        return [*sets, *self._store.pods.owned_by(uid)]
