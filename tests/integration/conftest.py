"""A cluster, a Central and the agent as it ships, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.kube.connection import Kube
from tests.integration.drain.fixtures import ground, real_cluster, start, tasks  # noqa: F401
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

FAST = {
    "TASK_POLL_INTERVAL_SECONDS": "0.5",
    "METRICS_POLL_INTERVAL_SECONDS": "2",
    "HEARTBEAT_INTERVAL_SECONDS": "1",
}
"""Intervals that make a test short; the agent is the same."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes, two of them with pods; the agent's account has what the bundle grants."""
    with Cluster(nodes=3, rbac=[ROOT / "k8s" / "base" / "rbac.yaml"]) as cluster:
        cluster.add_deployment("shop", "web", 4, node=["node-1", "node-2"])
        cluster.add_daemonset("kube-system", "proxy")
        cluster.wait_settled()
        yield cluster


@pytest.fixture
def central() -> Iterator[Central]:
    with Central() as central:
        yield central


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Path:
    return cluster.write_kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def admin(cluster: Cluster, tmp_path: Path) -> Kube:
    """The API server as an administrator sees it."""
    return Kube(str(cluster.write_kubeconfig(tmp_path / "admin.kubeconfig", token="admin")), "test")


@pytest.fixture
def agent(central: Central, kubeconfig: Path) -> Iterator[Agent]:
    """The agent, started and ready."""
    with Agent(central.url, kubeconfig, FAST) as agent:
        agent.wait_ready()
        yield agent
