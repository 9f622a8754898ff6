"""The oldest Kubernetes that docs/platforms.md names: the agent at work on an API server that answers as it."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.chart.values import OLDEST_KUBERNETES
from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.discovery import OLDEST


def test_the_page_the_chart_and_the_simulator_mean_the_same_version() -> None:
    assert f"1.{OLDEST}" == OLDEST_KUBERNETES
    page = (ROOT / "docs" / "platforms.md").read_text()
    assert re.search(rf"\| Kubernetes \| {re.escape(OLDEST_KUBERNETES)} to ", page)


def test_the_agent_works_there(tmp_path: Path) -> None:
    """Every kind of thing it does: registers, drains, samples with usage, tells events."""
    with (
        Cluster(nodes=2, minor=OLDEST, rbac=[ROOT / "k8s" / "base" / "rbac.yaml"]) as cluster,
        Central() as central,
        Agent(central.url, cluster.write_kubeconfig(tmp_path / "kubeconfig"), FAST) as agent,
    ):
        cluster.add_deployment("shop", "web", 3, node=["node-1", "node-2"])
        cluster.wait_settled()
        agent.wait_ready()
        (registration,) = central.ledger.of("register")
        assert registration.body["kubernetes_version"] == f"v1.{OLDEST}.2"
        task = central.task("drain_node", {"node_name": "node-1"})
        central.offer(task)
        assert central.ledger.wait_result(task["task_id"])["status"] == "success"
        cluster.add_pod("shop", "greedy", "node-2")
        cluster.oom_kill("shop", "greedy")
        central.ledger.wait(lambda: central.ledger.of("events"))
        central.ledger.wait(
            lambda: [
                sample
                for sample in central.ledger.of("metrics")
                if sample.body["cpu_utilization_percent"] is not None and sample.body["pod_count"] >= 4
            ]
        )
        assert agent.stop() == 0
        assert not [line for line in agent.log() if line["level"] == "ERROR"]
