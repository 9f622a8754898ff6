"""A real Prometheus scrapes the agent and evaluates the bundle's alerts (with shorter waits)."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.kube.connection import Kube
from tests.sim.agent import ROOT, Agent, free_port
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.tools import require

_ALERTS = ROOT / "k8s" / "components" / "monitoring" / "alerts.yaml"
_TASKS = 'cloudoptim_tasks_total{status="success",task_type="cordon_node"}'


class Prometheus:
    """One that scrapes ``port`` twice a second and waits one second where the alerts say minutes."""

    def __init__(self, directory: Path, port: int) -> None:
        self._port = free_port()
        rules = yaml.safe_load(_ALERTS.read_text())["spec"]
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.update({"for": "1s"} if "for" in rule else {})
        (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms", "scrape_timeout": "500ms"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "agent", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._command = [
            *(require("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=warn"),
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self._directory = directory

    def __enter__(self) -> Prometheus:
        self._process = subprocess.Popen(self._command, cwd=self._directory)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def query(self, expression: str) -> list[float]:
        """Values of an instant query; empty while Prometheus starts."""
        found = self._get(f"/api/v1/query?query={urllib.parse.quote(expression)}")
        return [float(series["value"][1]) for series in found.get("data", {}).get("result", [])]

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = self._get("/api/v1/alerts").get("data", {}).get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=60) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}


@pytest.fixture
def prometheus(agent: Agent, tmp_path: Path) -> Iterator[Prometheus]:
    directory = tmp_path / "prometheus"
    directory.mkdir()
    with Prometheus(directory, agent.port) as prometheus:
        agent.wait(lambda: prometheus.query("up") == [1.0], 30, lambda: "Prometheus scrapes nothing")
        yield prometheus


def test_alerts_fire_when_central_is_away_and_when_a_drain_is_stuck(
    agent: Agent, central: Central, cluster: Cluster, admin: Kube, prometheus: Prometheus
) -> None:
    agent.wait(lambda: prometheus.query("cloudoptim_agent_ready") == [1.0])
    assert not {"CloudOptimCentralUnreachable", "CloudOptimDrainBlocked"} & prometheus.firing()

    cluster.add_budget("shop", "web", {"app": "web"}, max_unavailable=0)
    task = central.task("drain_node", {"node_name": "node-1"})
    central.offer(task)
    agent.wait(lambda: "CloudOptimDrainBlocked" in prometheus.firing(), 30)
    admin.call("DELETE", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web")
    assert central.ledger.wait_result(task["task_id"])["status"] == "success"
    agent.wait(lambda: "CloudOptimDrainBlocked" not in prometheus.firing(), 30)

    central.stop()
    agent.wait(lambda: "CloudOptimCentralUnreachable" in prometheus.firing(), 30)
    central.start()
    agent.wait(lambda: "CloudOptimCentralUnreachable" not in prometheus.firing(), 60)


def test_the_page_is_as_promtool_wants_it(agent: Agent, central: Central) -> None:
    _cordon(central)
    agent.wait(lambda: agent.metric(_TASKS) == 1)
    page = agent.get("/metrics")[1]
    done = subprocess.run([require("promtool"), "check", "metrics"], input=page, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_a_worker_counted_stays_counted_when_it_restarts(agent: Agent, central: Central) -> None:
    for _ in range(3):
        _cordon(central)
    agent.wait(lambda: agent.metric(_TASKS) == 3)
    for worker in ("task-runner", "health"):
        agent.supervisorctl("restart", worker)
        agent.wait_ready()
        agent.wait(lambda: agent.metric(_TASKS) == 3)
    _cordon(central)
    agent.wait(lambda: agent.metric(_TASKS) == 4)
    assert agent.metric('cloudoptim_worker_restarts_total{worker="task-runner"}') == 1


def _cordon(central: Central) -> None:
    task = central.task("cordon_node", {"node_name": "node-3"})
    central.offer(task)
    assert central.ledger.wait_result(task["task_id"])["status"] == "success"
