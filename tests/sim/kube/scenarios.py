"""Clusters to start from, and the bustle of a live one."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.deletes import DeleteOptions, delete
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.resources import PODS, Object
from tests.sim.kube.store import Stored
from tests.sim.kube.writes import Target, change

_TYPES = (("m5.large", 2, "8Gi"), ("m5.xlarge", 4, "16Gi"), ("c5.2xlarge", 8, "16Gi"), ("m5.2xlarge", 8, "32Gi"))
_ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


def empty(cluster: Cluster, nodes: int, pods: int) -> None:
    """Nodes without workloads."""
    for number in range(nodes):
        cluster.add_node(f"node-{number + 1}")


def demo(cluster: Cluster, nodes: int, pods: int) -> None:
    """Six nodes of a small shop on AWS, and one node that does not say what it is."""
    for number, zone in enumerate(_ZONES[:2]):
        name = f"ip-10-0-{number}-10.ec2.internal"
        cluster.add_node(name, zone=zone, capacity_type="on-demand", labels={"eks.amazonaws.com/nodegroup": "base"})
    for number, (kind, cpu, memory) in enumerate(_TYPES[:3]):
        name = f"ip-10-0-{number}-77.ec2.internal"
        size = {"instance_type": kind, "cpu": cpu, "memory": memory, "zone": _ZONES[number]}
        cluster.add_node(name, capacity_type="spot", labels={"eks.amazonaws.com/nodegroup": "spot"}, **size)
    unlabelled = {"provider_id": "", "labels": {"node.kubernetes.io/instance-type": None}}
    cluster.add_node("bare-metal-1", cpu=4, memory="16Gi", **unlabelled)
    critical = {"priority_class": "system-node-critical", "cpu": "50m", "memory": "64Mi"}
    cluster.add_daemonset("kube-system", "aws-node", **critical)
    cluster.add_daemonset("kube-system", "kube-proxy", **critical)
    cluster.add_deployment("kube-system", "coredns", 2, cpu="100m", memory="70Mi")
    cluster.add_deployment("shop", "frontend", 6, cpu="200m", memory="256Mi", empty_dir=True)
    cluster.add_deployment("shop", "checkout", 3, cpu="250m", memory="512Mi", limit_memory="1Gi")
    cluster.add_statefulset("shop", "orders-db", 2, cpu="500m", memory="1Gi", limit_memory="2Gi", grace=60)
    cluster.add_deployment("batch", "reports", 2, cpu="300m", memory="512Mi", termination_seconds=2)
    cluster.add_budget("shop", "frontend", {"app": "frontend"}, min_available="80%")
    cluster.add_budget("shop", "checkout", {"app": "checkout"}, max_unavailable=1)
    cluster.add_budget("shop", "orders-db", {"app": "orders-db"}, max_unavailable=1)


def scale(cluster: Cluster, nodes: int, pods: int) -> None:
    """``pods`` over ``nodes``: one DaemonSet, and Deployments of fifty in namespaces of a thousand or so."""
    names = [f"ip-10-{number >> 8}-{number & 255}-10.ec2.internal" for number in range(nodes)]
    for number, name in enumerate(names):
        kind, _, _ = _TYPES[number % len(_TYPES)]
        capacity = "spot" if number % 3 else "on-demand"
        size = {"instance_type": kind, "cpu": 16, "memory": "64Gi", "zone": _ZONES[number % len(_ZONES)]}
        cluster.add_node(name, capacity_type=capacity, **size)
    cluster.add_daemonset("kube-system", "kube-proxy", cpu="50m", memory="64Mi")
    left, number = pods - nodes, 0
    while left > 0:
        replicas = min(50, left)
        first = number * 50 % nodes
        namespace, name = f"team-{number // 20:02}", f"service-{number:04}"
        cluster.add_deployment(namespace, name, replicas, node=names[first:] + names[:first], cpu="100m")
        if number % 5 == 0:
            cluster.add_budget(namespace, name, {"app": name}, max_unavailable="10%")
        left, number = left - replicas, number + 1
    for stored in cluster.store.all(PODS):
        _ = stored.raw  # encoded now, so that the first list is as fast as the next


SCENARIOS: dict[str, Callable[[Cluster, int, int], None]] = {"demo": demo, "empty": empty, "scale": scale}


_DELETED, _CHANGES_OF_A_DELETION = 0.06, 6
"""Marked, out of grace, gone; and its replacement created, bound and started."""


class Churn:
    """So many pod changes a second: most are status updates, the rest deletions and what follows from them."""

    def __init__(self, cluster: Cluster, rate: float, seed: int = 1) -> None:
        self._cluster, self._pause = cluster, (1 + _DELETED * (_CHANGES_OF_A_DELETION - 1)) / rate
        self._random = random.Random(seed)
        self._keys: list[tuple[str | None, str]] = []

    def start(self) -> None:
        self._cluster.clockwork.after(self._pause, self._step)

    def _step(self) -> None:
        self._cluster.clockwork.after(self._pause, self._step)
        pod = self._pick()
        if pod is None:
            return
        if self._random.random() < _DELETED:
            delete(self._cluster.store, Target(PODS, pod.namespace, pod.name), DeleteOptions())
        else:
            change(self._cluster.store, pod, _touched)

    def _pick(self) -> Stored | None:
        """A pod of some Deployment that is not on its way out."""
        if not self._keys:
            self._keys = [(stored.namespace, stored.name) for stored in self._cluster.store.all(PODS)]
            self._random.shuffle(self._keys)
        while self._keys:
            stored = self._cluster.store.get(PODS, *self._keys.pop())
            if stored is not None and "deletionTimestamp" not in stored.object["metadata"]:
                return stored
        return None


def _touched(pod: Object) -> Object:
    """What a kubelet's heartbeat of a probe changes."""
    now = timestamp()
    conditions = [{**c, "lastProbeTime": now} for c in pod["status"].get("conditions") or ()]
    return {**pod, "status": {**pod["status"], "conditions": conditions}}
