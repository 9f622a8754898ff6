"""Hollow kubelets and controllers: what follows from what."""

from __future__ import annotations

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import DEPLOYMENTS, Object
from tests.unit.sim.kube.conftest import Caller

MERGE = "application/merge-patch+json"


def names(cluster: Cluster, namespace: str = "shop") -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods(namespace=namespace)}


def test_a_replica_set_replaces_an_evicted_pod_elsewhere(call: Caller, cluster: Cluster) -> None:
    cluster.add_deployment("shop", "web", 2, node="node-1")
    before = names(cluster)
    call("PATCH", "/api/v1/nodes/node-1", {"spec": {"unschedulable": True}}, MERGE)
    for name in before:
        assert call.evict("shop", name).status == 201
    cluster.wait_settled()
    assert not before & names(cluster)
    assert {pod["spec"]["nodeName"] for pod in cluster.pods(namespace="shop")} <= {"node-2", "node-3"}
    cluster.wait_for(lambda: cluster.store.all(DEPLOYMENTS)[0].object["status"].get("readyReplicas") == 2)


def test_a_stateful_set_waits_for_the_name(call: Caller, cluster: Cluster) -> None:
    cluster.add_statefulset("shop", "db", 1, node="node-1")
    old = cluster.pod("shop", "db-0")
    assert old is not None
    call.evict("shop", "db-0")
    cluster.wait_settled()
    new = cluster.pod("shop", "db-0")
    assert new is not None
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["status"]["phase"] == "Running"


def test_a_daemon_set_keeps_to_cordoned_nodes_and_follows_new_ones(call: Caller, cluster: Cluster) -> None:
    cluster.add_daemonset("kube-system", "proxy")
    call("PATCH", "/api/v1/nodes/node-1", {"spec": {"unschedulable": True}}, MERGE)
    [pod] = cluster.pods(node="node-1")
    call("DELETE", f"/api/v1/namespaces/kube-system/pods/{pod['metadata']['name']}")
    cluster.add_node("node-4")
    cluster.wait_settled()
    assert {pod["spec"]["nodeName"] for pod in cluster.pods()} == {f"node-{number}" for number in range(1, 5)}


def test_the_budget_frees_itself_when_the_replacement_is_ready(call: Caller, cluster: Cluster) -> None:
    cluster.add_deployment("shop", "web", 2)
    cluster.add_budget("shop", "web", {"app": "web"}, max_unavailable=1)
    first, second = sorted(names(cluster))
    assert call.evict("shop", first).status == 201
    assert call.evict("shop", second).status == 429
    cluster.wait_for(lambda: call.evict("shop", second).status == 201)


def test_a_pod_takes_its_own_time_to_end(call: Caller, cluster: Cluster) -> None:
    cluster.add_pod("shop", "slow", node="node-1", termination_seconds=0.2)
    cluster.add_pod("shop", "deaf", node="node-1", ignore_sigterm=True, grace=300)
    for name in ("slow", "deaf"):
        call("DELETE", f"/api/v1/namespaces/shop/pods/{name}")
    cluster.wait_for(lambda: cluster.pod("shop", "slow") is None)
    assert cluster.pod("shop", "deaf") is not None
    call("DELETE", "/api/v1/namespaces/shop/pods/deaf?gracePeriodSeconds=0")
    assert cluster.pod("shop", "deaf") is None


def test_a_stuck_pod_waits_for_its_finalizer(call: Caller, cluster: Cluster) -> None:
    cluster.add_pod("shop", "held", node="node-1", stuck=True)
    call("DELETE", "/api/v1/namespaces/shop/pods/held")
    cluster.wait_for(lambda: (cluster.pod("shop", "held") or {})["metadata"]["deletionGracePeriodSeconds"] == 0)
    cluster.release("shop", "held")
    assert cluster.pod("shop", "held") is None


def test_what_fits_nowhere_is_told_again_and_again(call: Caller, cluster: Cluster) -> None:
    cluster.add_pod("shop", "huge", cpu="64")
    cluster.wait_for(lambda: cluster.events(reason="FailedScheduling"))
    [event] = cluster.events(reason="FailedScheduling")
    assert event["message"].startswith("0/3 nodes are available: 3 Insufficient cpu. preemption:")
    assert (event["type"], event["reportingComponent"]) == ("Warning", "default-scheduler")
    assert "count" not in event
    cluster.fail_scheduling("shop", "huge", event["message"])
    [event] = cluster.events(reason="FailedScheduling")
    assert event["series"]["count"] == 2
    cluster.add_node("big", cpu=96)
    cluster.wait_settled()
    placed = cluster.pod("shop", "huge")
    assert placed is not None
    assert placed["spec"]["nodeName"] == "big"


def test_nodes_are_not_overcommitted(cluster: Cluster) -> None:
    cluster.add_deployment("shop", "half", 8, cpu="1")
    cluster.wait_for(lambda: cluster.events(reason="FailedScheduling"))
    cluster.wait_settled()
    assert [len(cluster.pods(node=f"node-{number}")) for number in (1, 2, 3)] == [2, 2, 2]


def test_a_cordon_is_tainted_by_the_controller(call: Caller, cluster: Cluster) -> None:
    def taints() -> list[str]:
        node = cluster.node("node-1")
        assert node is not None
        return [taint["key"] for taint in node["spec"].get("taints", ())]

    call("PATCH", "/api/v1/nodes/node-1", {"spec": {"unschedulable": True}}, MERGE)
    cluster.wait_for(lambda: taints() == ["node.kubernetes.io/unschedulable"])
    call("PATCH", "/api/v1/nodes/node-1", {"spec": {"unschedulable": None}}, MERGE)
    cluster.wait_for(lambda: taints() == [])


def test_a_deleted_namespace_empties(call: Caller, cluster: Cluster) -> None:
    cluster.add_statefulset("gone", "db", 2)
    assert call("DELETE", "/api/v1/namespaces/gone").body["status"]["phase"] == "Terminating"
    cluster.wait_for(lambda: call("GET", "/api/v1/namespaces/gone").status == 404)
    cluster.wait_settled()
    assert cluster.pods() == []


def test_scaling_a_deployment(call: Caller, cluster: Cluster) -> None:
    cluster.add_deployment("shop", "web", 1)
    call("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", {"spec": {"replicas": 3}}, MERGE)
    cluster.wait_for(lambda: len(names(cluster)) == 3)
    cluster.wait_settled()


def test_what_a_deleted_deployment_owned_goes_with_it(call: Caller, cluster: Cluster) -> None:
    cluster.add_deployment("shop", "web", 2, node="node-1")
    call("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web")
    cluster.wait_for(lambda: not names(cluster))


def test_orphans_are_set_free(call: Caller, cluster: Cluster) -> None:
    cluster.add_daemonset("shop", "agent")
    before = names(cluster)
    answer = call("DELETE", "/apis/apps/v1/namespaces/shop/daemonsets/agent", {"propagationPolicy": "Orphan"})
    assert answer.body["metadata"]["finalizers"] == ["orphan"]
    cluster.wait_for(lambda: call("GET", "/apis/apps/v1/namespaces/shop/daemonsets/agent").status == 404)
    assert names(cluster) == before
    assert all("ownerReferences" not in pod["metadata"] for pod in cluster.pods(namespace="shop"))
    tolerated = {t["key"] for t in cluster.pods(namespace="shop")[0]["spec"]["tolerations"]}
    assert "node.kubernetes.io/unschedulable" in tolerated, "as it was when its DaemonSet made it"


def test_what_lost_one_owner_of_two_stays(call: Caller, cluster: Cluster) -> None:
    owners = [
        {"apiVersion": "v1", "kind": "Node", "name": name, "uid": (cluster.node(name) or {})["metadata"]["uid"]}
        for name in ("node-1", "node-2")
    ]
    cluster.add_namespace("shop")
    container = {"name": "c", "image": "i"}
    pod = {"metadata": {"name": "p", "ownerReferences": owners}, "spec": {"containers": [container]}}
    assert call("POST", "/api/v1/namespaces/shop/pods", pod).status == 201
    cluster.delete_node("node-1")
    cluster.wait_for(lambda: len((cluster.pod("shop", "p") or {})["metadata"]["ownerReferences"]) == 1)
    cluster.delete_node("node-2")
    cluster.wait_for(lambda: cluster.pod("shop", "p") is None)


def test_daemon_pods_tolerate_what_the_controller_adds_and_go_only_where_they_may(cluster: Cluster) -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations"""
    cluster.add_node("apart", taints=[{"key": "gpu", "effect": "NoSchedule"}])
    cluster.add_daemonset("shop", "agent")
    cluster.wait_settled()
    pods = cluster.pods(namespace="shop")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-1", "node-2", "node-3"}
    assert {(t["key"].rpartition("/")[2], t["effect"]) for t in pods[0]["spec"]["tolerations"]} == {
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    }
    assert not any("tolerationSeconds" in t for t in pods[0]["spec"]["tolerations"])


def test_a_finalizer_keeps_a_pod_that_has_ended(call: Caller, cluster: Cluster) -> None:
    cluster.add_pod("shop", "held", node="node-1", stuck=True)
    call("DELETE", "/api/v1/namespaces/shop/pods/held")
    cluster.wait_for(lambda: (cluster.pod("shop", "held") or {})["status"]["phase"] == "Succeeded")


def test_a_mirror_pod_comes_back_as_another(call: Caller, cluster: Cluster) -> None:
    """The kubelet runs it from a file; the API shows it, and cannot end it."""
    uid = cluster.add_mirror_pod("kube-system", "proxy", "node-1")["metadata"]["uid"]
    assert call.evict("kube-system", "proxy").status == 201
    cluster.wait_for(lambda: (found := cluster.pod("kube-system", "proxy")) and found["metadata"]["uid"] != uid)


def test_a_node_of_the_api_has_no_kubelet(call: Caller, cluster: Cluster) -> None:
    assert call("POST", "/api/v1/nodes", {"metadata": {"name": "bare"}}).status == 201
    cluster.add_pod("shop", "on-cluster", node="node-1")
    container = {"name": "c", "image": "i"}
    pod: Object = {"metadata": {"name": "p"}, "spec": {"containers": [container], "nodeName": "bare"}}
    call("POST", "/api/v1/namespaces/shop/pods", pod)
    other = {**pod, "metadata": {"name": "q"}, "spec": {**pod["spec"], "nodeName": "node-1"}}
    call("POST", "/api/v1/namespaces/shop/pods", other)
    cluster.wait_for(lambda: (cluster.pod("shop", "q") or {})["status"]["phase"] == "Running")
    assert (cluster.pod("shop", "p") or {})["status"]["phase"] == "Pending"
