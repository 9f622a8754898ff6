"""Real clients: kubectl, the official Python client, and the command line of the simulator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sim.kube.cluster import Cluster
from tests.sim.kube.tables import human_duration
from tests.tools import require


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Cluster]:
    rbac = {"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": [_EVERYTHING]}
    with Cluster(nodes=2, tls=tmp_path, rbac=[rbac], start_seconds=0.02, termination_seconds=0.05) as running:
        running.add_deployment("shop", "web", 3, node="node-1")
        running.add_daemonset("kube-system", "proxy")
        running.add_budget("shop", "web", {"app": "web"}, max_unavailable=3)
        yield running


_EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


def kubectl(cluster: Cluster, tmp_path: Path, *arguments: str) -> str:
    config = cluster.write_kubeconfig(tmp_path / "kubeconfig")
    command = [require("kubectl"), "--kubeconfig", str(config), "--cache-dir", str(tmp_path / "cache"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_kubectl_prints_tables(shop: Cluster, tmp_path: Path) -> None:
    kubectl(shop, tmp_path, "cordon", "node-2")
    nodes = kubectl(shop, tmp_path, "get", "nodes").splitlines()
    assert nodes[0].split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert nodes[2].split()[:3] == ["node-2", "Ready,SchedulingDisabled", "<none>"]
    wide = kubectl(shop, tmp_path, "get", "pods", "-A", "-o", "wide").splitlines()
    assert wide[0].split()[:8] == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert wide[-1].split()[2:4] == ["1/1", "Running"]


def test_kubectl_drains_and_labels(shop: Cluster, tmp_path: Path) -> None:
    kubectl(shop, tmp_path, "label", "node", "node-1", "team=a")
    assert kubectl(shop, tmp_path, "get", "nodes", "-l", "team=a", "-o", "name") == "node/node-1\n"
    said = kubectl(shop, tmp_path, "drain", "node-1", "--ignore-daemonsets", "--pod-selector=app=web", "--timeout=15s")
    assert said.endswith("node/node-1 drained\n")
    assert {pod["metadata"]["namespace"] for pod in shop.pods(node="node-1")} == {"kube-system"}
    assert "Non-terminated Pods:          (1 in total)" in kubectl(shop, tmp_path, "describe", "node", "node-1")


def test_kubectl_drains_past_budgets_in_protobuf(shop: Cluster, tmp_path: Path) -> None:
    """``--disable-eviction`` deletes, and sends its options as no other command does."""
    shop.add_budget("shop", "none", {"app": "web"}, max_unavailable=0)
    arguments = ("--ignore-daemonsets", "--disable-eviction", "--grace-period=1", "--timeout=30s")
    said = kubectl(shop, tmp_path, "drain", "node-1", *arguments)
    assert said.endswith("node/node-1 drained\n")
    deleted = shop.audit.select(verb="delete", resource="pods", namespace="shop")
    assert [entry.code for entry in deleted] == [200] * 3
    assert not shop.audit.select(subresource="eviction")


def test_kubectl_watches(shop: Cluster, tmp_path: Path) -> None:
    config = shop.write_kubeconfig(tmp_path / "kubeconfig")
    command = [
        require("kubectl"),
        "--kubeconfig",
        str(config),
        "get",
        "pods",
        "-n",
        "shop",
        "--watch-only",
        "-o",
        "name",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        shop.wait_for(lambda: shop.audit.select(verb="watch", resource="pods"))
        shop.add_pod("shop", "new", node="node-2")
        assert watching.stdout is not None
        assert watching.stdout.readline() == "pod/new\n"
        watching.terminate()


def test_the_official_client(shop: Cluster, tmp_path: Path) -> None:
    kubernetes: Any = pytest.importorskip("kubernetes")
    config = shop.write_kubeconfig(tmp_path / "kubeconfig")
    with kubernetes.config.new_client_from_config(str(config)) as client:
        core = kubernetes.client.CoreV1Api(client)
        assert [node.metadata.name for node in core.list_node().items] == ["node-1", "node-2"]
        core.patch_node("node-1", {"metadata": {"labels": {"a": "b"}}, "spec": {"unschedulable": True}})
        page = core.list_pod_for_all_namespaces(limit=2)
        assert page.metadata.remaining_item_count == 3
        pod = core.list_namespaced_pod("shop").items[0].metadata
        metadata = kubernetes.client.V1ObjectMeta(name=pod.name, namespace="shop")
        core.create_namespaced_pod_eviction(pod.name, "shop", kubernetes.client.V1Eviction(metadata=metadata))
        with pytest.raises(kubernetes.client.ApiException) as refused:
            core.read_namespaced_pod("nope", "shop")
        assert json.loads(refused.value.body)["message"] == 'pods "nope" not found'


def test_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "tests.sim.kube", "--nodes", "20", "--pods", "200", "--churn", "50"]
    command += ["--token", "secret", "--kubeconfig", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        first = simulator.stdout.readline()
        assert "(scale: 20 nodes, 200 pods, seeded in " in first
        assert simulator.stdout.readline() == f"kubeconfig of the agent: {config}\n"
        assert "token: secret" in config.read_text()
        for _ in range(3):  # as when a process group and its leader are both told
            simulator.send_signal(signal.SIGTERM)
        assert simulator.wait(60) == 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (119, "119s"), (125, "2m5s"), (660, "11m"), (3 * 3600 + 60, "3h1m"), (90000, "25h"), (200000, "2d7h")],
)
def test_ages(seconds: int, shown: str) -> None:
    assert human_duration(seconds) == shown
