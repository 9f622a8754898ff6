"""What goes wrong on nodes, as the API shows it."""

from __future__ import annotations

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.resources import Object
from tests.unit.sim.kube.conftest import Caller


def condition(obj: Object | None, kind: str = "Ready") -> str:
    assert obj is not None
    return next(str(c["status"]) for c in obj["status"]["conditions"] if c["type"] == kind)


def test_an_oom_kill_shows_in_the_last_state_only(cluster: Cluster) -> None:
    sidecar = {"name": "proxy", "restartPolicy": "Always"}
    cluster.add_pod("shop", "p", node="node-1", init_containers=[sidecar, {"name": "setup"}])
    cluster.oom_kill("shop", "p")
    cluster.oom_kill("shop", "p", "proxy")
    pod = cluster.pod("shop", "p")
    assert pod is not None
    [app] = pod["status"]["containerStatuses"]
    proxy = pod["status"]["initContainerStatuses"][0]
    for status in (app, proxy):
        assert status["lastState"]["terminated"]["reason"] == "OOMKilled"
        assert (status["lastState"]["terminated"]["exitCode"], status["restartCount"]) == (137, 1)
        assert "running" in status["state"]
    assert cluster.events() == []


def test_a_system_oom_is_an_event_of_the_node(cluster: Cluster) -> None:
    cluster.add_pod("shop", "p", node="node-1")
    cluster.oom_kill("shop", "p", system=True)
    [event] = cluster.events(reason="SystemOOM")
    assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("Node", "node-1")
    assert event["metadata"]["namespace"] == "default"


def test_a_kubelet_eviction_fails_the_pod_and_says_why(cluster: Cluster) -> None:
    cluster.add_deployment("shop", "web", 1, node="node-1")
    [pod] = cluster.pods(namespace="shop")
    cluster.kubelet_evict("shop", pod["metadata"]["name"])
    cluster.wait_settled()
    found = {p["status"]["phase"]: p for p in cluster.pods(namespace="shop")}
    assert (found["Failed"]["status"]["reason"], "Running" in found) == ("Evicted", True)
    [event] = cluster.events(reason="Evicted")
    assert event["metadata"]["annotations"]["starved_resource"] == "memory"
    assert (event["type"], event["count"], event["source"]["component"]) == ("Warning", 1, "kubelet")


def test_a_lost_node(cluster: Cluster) -> None:
    cluster.add_pod("shop", "p", node="node-1")
    cluster.node_not_ready("node-1")
    node = cluster.node("node-1")
    assert node is not None
    assert (condition(node), condition(node, "DiskPressure")) == ("Unknown", "Unknown")
    assert {(t["key"], t["effect"]) for t in node["spec"]["taints"]} == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }
    assert condition(cluster.pod("shop", "p")) == "False"
    events = {event["involvedObject"]["kind"]: event["type"] for event in cluster.events(reason="NodeNotReady")}
    assert events == {"Node": "Normal", "Pod": "Warning"}
    cluster.node_ready("node-1")
    assert condition(cluster.node("node-1")) == condition(cluster.pod("shop", "p")) == "True"
    assert "taints" not in (cluster.node("node-1") or {})["spec"]


def test_pods_of_a_lost_node_do_not_end_until_it_is_back(cluster: Cluster) -> None:
    cluster.add_deployment("shop", "web", 1, node="node-1")
    [pod] = cluster.pods(namespace="shop")
    cluster.node_not_ready("node-1", status="False")
    stored = cluster.pods(node="node-1")[0]["metadata"]["name"]
    Caller(cluster).evict("shop", stored)
    cluster.wait_for(lambda: len(cluster.pods(namespace="shop")) == 2)
    assert cluster.pod("shop", pod["metadata"]["name"]) is not None
    cluster.node_ready("node-1")
    cluster.wait_for(lambda: cluster.pod("shop", pod["metadata"]["name"]) is None)


def test_pods_of_a_deleted_node_are_collected(cluster: Cluster) -> None:
    cluster.add_deployment("shop", "web", 2, node="node-1")
    cluster.delete_node("node-1")
    assert len(cluster.pods(node="node-1")) == 2, "for a while nothing happens"
    cluster.wait_settled()
    assert {pod["spec"]["nodeName"] for pod in cluster.pods(namespace="shop")} <= {"node-2", "node-3"}
