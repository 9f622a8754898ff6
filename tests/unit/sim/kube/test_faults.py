"""Faults made to order, restarts, and the control endpoint."""

from __future__ import annotations

import http.client

import pytest

from tests.sim.kube.cluster import Cluster
from tests.unit.sim.kube.conftest import Caller


def test_a_fault_takes_so_many_matching_requests(ask: Caller, still: Cluster) -> None:
    still.fail(verb="get", resource="nodes", name="node-1", status=500, body={"kind": "Status", "code": 500}, times=2)
    codes = [ask("GET", "/api/v1/nodes/node-1").status for _ in range(3)]
    assert codes == [500, 500, 200]


def test_a_fault_can_stay_until_cleared(ask: Caller, still: Cluster) -> None:
    fault = still.fail(path="/api/v1/nodes", status=503, body="gone fishing", times=None)
    assert ask("GET", "/api/v1/nodes").body == "gone fishing"
    assert ask("GET", "/api/v1/namespaces").status == 200
    still.clear_faults()
    assert (ask("GET", "/api/v1/nodes").status, fault.hits) == (200, 1)


def test_throttling_is_plain_text(ask: Caller, still: Cluster) -> None:
    still.throttle(retry_after=7)
    answer = ask("GET", "/api/v1/nodes")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert answer.body == "Too many requests, please try again later.\n"


def test_a_connection_can_be_cut(ask: Caller, still: Cluster) -> None:
    still.fail(close=True)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        ask("GET", "/api/v1/nodes")


def test_a_restart_keeps_state_port_and_versions(ask: Caller, still: Cluster) -> None:
    before = ask("GET", "/api/v1/nodes").body["metadata"]["resourceVersion"]
    still.stop()
    with pytest.raises(ConnectionRefusedError):
        ask("GET", "/api/v1/nodes")
    still.compact()
    still.start()
    assert ask("GET", "/api/v1/nodes").body["metadata"]["resourceVersion"] == before


def test_the_cluster_can_be_steered_over_http(call: Caller, cluster: Cluster) -> None:
    made = call("POST", "/sim/add_deployment", {"namespace": "shop", "name": "web", "replicas": 2})
    assert made.body["metadata"]["name"] == "web"
    assert len(cluster.pods(namespace="shop")) == 2
    call("POST", "/sim/node_not_ready", {"name": "node-1"})
    assert cluster.events(reason="NodeNotReady")
    call("POST", "/sim/fail", {"resource": "nodes", "status": 418, "body": "teapot"})
    assert call("GET", "/api/v1/nodes").status == 418
    assert [entry["code"] for entry in call("GET", "/sim/audit?resource=nodes").body] == [418]
    assert call("POST", "/sim/oom_kill", {"namespace": "shop", "name": "nope"}).status == 400
    assert call("POST", "/sim/__init__").status == 404


def test_the_metrics_api_can_be_partial_down_or_absent(ask: Caller, still: Cluster) -> None:
    still.add_node("node-2")
    still.add_pod("shop", "p", node="node-1", cpu="1")
    nodes = "/apis/metrics.k8s.io/v1beta1/nodes"
    found = {item["metadata"]["name"]: item["usage"] for item in ask("GET", nodes).body["items"]}
    assert int(found["node-1"]["cpu"].rstrip("n")) > int(found["node-2"]["cpu"].rstrip("n"))
    [pod] = ask("GET", "/apis/metrics.k8s.io/v1beta1/pods").body["items"]
    assert [container["name"] for container in pod["containers"]] == ["app"]
    still.set_metrics("ready", missing=["node-1"])
    assert [item["metadata"]["name"] for item in ask("GET", nodes).body["items"]] == ["node-2"]
    still.set_metrics("down")
    assert (ask("GET", nodes).status, ask("GET", nodes).body) == (503, "service unavailable\n")
    still.set_metrics("absent")
    assert (ask("GET", nodes).status, ask("GET", nodes).body) == (404, "404 page not found\n")
    groups = [group["name"] for group in ask("GET", "/apis").body["groups"]]
    assert "metrics.k8s.io" not in groups
