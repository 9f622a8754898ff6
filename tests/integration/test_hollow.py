"""Hollow nodes as the suite brings them to a real cluster, on the simulator: there they are nodes of the API alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.kube.connection import Kube
from tests.hollow.nodes import hollow_nodes
from tests.integration.drain import objects
from tests.integration.drain.objects import MARK, RUN, Object
from tests.sim.kube.cluster import Cluster

PODS = "/api/v1/namespaces/shop/pods"
TAINT = {"key": MARK, "value": RUN, "effect": "NoSchedule"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=1) as cluster:
        cluster.add_namespace("shop")
        yield cluster


@pytest.fixture
def kube(cluster: Cluster, tmp_path: Path) -> Kube:
    return Kube(str(cluster.write_kubeconfig(tmp_path / "kubeconfig")), "test", connections=8)


@pytest.fixture
def hollow(kube: Kube) -> Iterator[str]:
    with hollow_nodes(kube, ["hollow"], {MARK: RUN}, [TAINT]):
        yield "hollow"


def make(kube: Kube, name: str, **options: Any) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **objects.template(name, **options)}
    pod["metadata"]["name"] = name
    kube.call("POST", PODS, None, pod)


def phase(cluster: Cluster, name: str) -> str:
    pod = cluster.pod("shop", name)
    return str(pod["status"]["phase"]) if pod else "gone"


def is_ready(pod: Object | None) -> bool:
    conditions = pod["status"].get("conditions") or () if pod else ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_what_is_scheduled_there_runs_and_ends(cluster: Cluster, kube: Kube, hollow: str) -> None:
    make(kube, "web")
    cluster.wait_for(lambda: is_ready(cluster.pod("shop", "web")))
    assert (cluster.pod("shop", "web") or {})["spec"]["nodeName"] == hollow
    kube.call("DELETE", f"{PODS}/web")
    cluster.wait_for(lambda: cluster.pod("shop", "web") is None)


def test_a_pods_wishes_are_heard(cluster: Cluster, kube: Kube, hollow: str) -> None:
    make(kube, "unready", ready=False)
    make(kube, "pending", pending=True)
    make(kube, "stuck", stuck=True)
    make(kube, "immortal", never_ends=True)
    make(kube, "slow", ends_after=3600, grace=3600)
    for name in ("unready", "stuck", "immortal", "slow"):
        cluster.wait_for(lambda: phase(cluster, name) == "Running")  # noqa: B023 - called at once
    assert not is_ready(cluster.pod("shop", "unready"))
    for name in ("stuck", "immortal", "slow"):
        kube.call("DELETE", f"{PODS}/{name}")
    cluster.wait_for(lambda: phase(cluster, "stuck") == "Succeeded")
    kube.call("DELETE", f"{PODS}/slow", None, {"gracePeriodSeconds": 1})
    cluster.wait_for(lambda: phase(cluster, "slow") == "gone")
    assert (phase(cluster, "immortal"), phase(cluster, "pending")) == ("Running", "Pending")


def test_a_mirror_pod_comes_back(cluster: Cluster, kube: Kube, hollow: str) -> None:
    make(kube, "static", annotations={"kubernetes.io/config.mirror": "c0ffee"})
    cluster.wait_for(lambda: phase(cluster, "static") == "Running")
    uid = (cluster.pod("shop", "static") or {})["metadata"]["uid"]
    kube.call("DELETE", f"{PODS}/static")
    cluster.wait_for(lambda: (pod := cluster.pod("shop", "static")) and pod["metadata"]["uid"] != uid)
    cluster.wait_for(lambda: phase(cluster, "static") == "Running")


def test_nothing_is_left_and_nothing_else_was_touched(cluster: Cluster, kube: Kube) -> None:
    other = cluster.add_daemonset("shop", "everywhere", tolerations=[{"operator": "Exists"}])
    before = cluster.node("node-1")
    with hollow_nodes(kube, ["a", "b"], {MARK: RUN}, [TAINT]):
        cluster.wait_for(lambda: len(cluster.pods(namespace="shop")) == 3)
        leases = json.loads(kube.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"))
        assert {lease["spec"]["holderIdentity"] for lease in leases["items"]} == {"a", "b"}
    assert [node["metadata"]["name"] for node in cluster.nodes()] == ["node-1"]
    assert [pod["spec"]["nodeName"] for pod in cluster.pods(namespace=other["metadata"]["namespace"])] == ["node-1"]
    assert cluster.node("node-1") == before
    assert json.loads(kube.get("/apis/coordination.k8s.io/v1/leases"))["items"] == []
