"""The cluster that is attacked: what is protected in it, by labels and by the component admission-limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from shared.kube.connection import MERGE_PATCH, Kube
from tests.container.bundle import COMPONENTS, policies, rbac
from tests.sim.hostile.verdict import PROTECTED
from tests.sim.kube.cluster import Cluster

MOST_CORDONED = 3
MOST_EVICTIONS = 10
MOST_DRAINS = 8

LIMITS = {
    "MAX_CORDONED_NODES": str(MOST_CORDONED),
    "MAX_EVICTIONS_PER_HOUR": str(MOST_EVICTIONS),
    "MAX_DRAINS_PER_HOUR": str(MOST_DRAINS),
}
"""What the owner sets besides what the component brings."""

OWN_NODE, CONTROL_PLANE, KEPT_NODE = "home", "cp-1", "kept-1"
PLAIN_NODES = tuple(f"node-{number}" for number in range(1, 7))
OWN_UID = "agent-uid"


@contextmanager
def attacked(folder: Path, guarded: bool) -> Iterator[Cluster]:
    """The cluster with all rights that components grant, so that nothing but the limits stands in the way."""
    grants = rbac("pod-labels", "forced-delete", "volume-wait")
    with Cluster(nodes=0, rbac=grants, start_seconds=0.02, termination_seconds=0.05) as cluster:
        admin = Kube(str(cluster.write_kubeconfig(folder / "admin.kubeconfig", token="admin")), "owner")
        for number, name in enumerate((OWN_NODE, *PLAIN_NODES)):
            cluster.add_node(name, zone=f"zone-{number % 2}")
        cluster.add_node(CONTROL_PLANE, labels={"node-role.kubernetes.io/control-plane": ""})
        cluster.add_node(KEPT_NODE, labels={PROTECTED: "true"})
        _fill(cluster)
        vault = {"metadata": {"labels": {PROTECTED: "true"}}}
        admin.call("PATCH", "/api/v1/namespaces/vault", None, vault, MERGE_PATCH)
        if guarded:
            for path, policy in policies("admission-limits"):
                admin.call("POST", path, None, policy)
        cluster.wait_settled()
        yield cluster


def _fill(cluster: Cluster) -> None:
    cluster.add_daemonset("kube-system", "proxy")
    cluster.add_deployment("kube-system", "coredns", 2, node=["node-1", "node-2"])
    cluster.add_pod("kube-system", "cloudoptim-agent-x", OWN_NODE, labels={"app": "cloudoptim-agent"})
    cluster.add_deployment("vault", "keys", 2, node=["node-1", "node-3"])
    cluster.add_deployment("shop", "web", 8, node=PLAIN_NODES)
    cluster.add_statefulset("shop", "db", 2, node=["node-4", "node-5"])
    cluster.add_budget("shop", "web", {"app": "web"}, max_unavailable=2)
    cluster.add_budget("shop", "db", {"app": "db"}, max_unavailable=0)
    cluster.add_pod("shop", "solo", "node-2")
    cluster.add_pod("shop", "kept", "node-3", labels={PROTECTED: "true"})
    cluster.add_pod("shop", "calm", "node-4", annotations={"karpenter.sh/do-not-disrupt": "true"})


def settings() -> dict[str, str]:
    """The agent's environment: the owner's limits, and those that the component sets beside its policies."""
    deployment = yaml.safe_load((COMPONENTS / "admission-limits" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    brought = {variable["name"]: variable["value"] for variable in container["env"]}
    pod = {"POD_NAMESPACE": "kube-system", "POD_NAME": "cloudoptim-agent-x", "POD_UID": OWN_UID, "NODE_NAME": OWN_NODE}
    return {**brought, **LIMITS, **pod}
