"""Whether a hollow cluster has come to rest."""

from __future__ import annotations

from tests.sim.kube.clockwork import Clockwork, is_restless
from tests.sim.kube.disruption import Disruption
from tests.sim.kube.pods import daemon_template
from tests.sim.kube.resources import BUDGETS, DAEMON_SETS, NODES, PODS, REPLICA_SETS, STATEFUL_SETS, Object
from tests.sim.kube.scheduler import runs_daemon
from tests.sim.kube.store import Store


def settled(store: Store, clockwork: Clockwork, disruption: Disruption) -> bool:
    """True when no pod is about to change and all owners and budgets have what they want."""
    if not clockwork.idle:
        return False
    with store.lock:
        return (
            all(_rests(stored.object, store) for stored in store.all(PODS))
            and _owners_content(store)
            and all(b.object["status"] == disruption.status(b.object) for b in store.all(BUDGETS))
        )


def _rests(pod: Object, store: Store) -> bool:
    """Running, over, unschedulable, or held by a finalizer; but not on a node that is gone."""
    node = pod["spec"].get("nodeName")
    if node and store.get(NODES, None, node) is None:
        return False
    if "deletionTimestamp" in pod["metadata"]:
        return bool(pod["metadata"].get("finalizers"))
    conditions = pod["status"].get("conditions") or ()
    return not is_restless(pod) or any(c.get("reason") == "Unschedulable" for c in conditions)


def _owners_content(store: Store) -> bool:
    for resource in (REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS):
        for owner in store.all(resource):
            pods = [s.object for s in store.pods.owned_by(owner.object["metadata"]["uid"])]
            active = [p for p in pods if p["status"].get("phase") not in ("Succeeded", "Failed")]
            template = daemon_template(owner.object["spec"]["template"])
            nodes = [n for n in store.all(NODES) if resource is DAEMON_SETS and runs_daemon(n.object, template)]
            if len(active) < owner.object["spec"].get("replicas", len(nodes)):
                return False
    return True
