"""The agent as it ships, at a glance: the endpoint and the commands say the same, whatever is away."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from shared.kube.connection import Kube
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster


def command(agent: Agent, *arguments: str) -> tuple[int, str]:
    """``cloudoptim-agent`` beside the agent, as in its pod."""
    done = subprocess.run(
        [sys.executable, "-m", "workers.commands", *arguments],
        env=agent.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def status(agent: Agent) -> dict[str, Any]:
    code, body = agent.get("/status")
    return dict(json.loads(body)) if code == 200 else {}


def test_a_held_drain_shows_everywhere_also_while_central_is_away(
    agent: Agent, central: Central, cluster: Cluster, admin: Kube
) -> None:
    cluster.add_budget("shop", "web", {"app": "web"}, max_unavailable=0)
    task = central.task("drain_node", {"node_name": "node-1"})
    central.push(task)
    agent.wait(lambda: any(task["held"] for task in status(agent).get("tasks", {}).get("listed", ())))
    (shown,) = status(agent)["tasks"]["listed"]
    assert (shown["task_id"], shown["target"], shown["phase"]) == (task["task_id"], "node-1", "evicting")
    assert shown["held"][0]["by"] == "budget web"
    assert shown["pods_left"] >= shown["held"][0]["pods"] >= 1

    central.stop()
    agent.wait(lambda: not all(one["ok"] for one in status(agent).get("connections", ())))
    code, text = command(agent, "status")
    assert code == 0
    assert "NOT READY" in text
    assert "NOT CONNECTED" in text
    assert "drain_node node-1: evicting" in text
    assert "budget web holds" in text
    assert "in progress" in command(agent, "tasks", task["task_id"])[1]

    central.start()
    admin.call("DELETE", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web")
    central.ledger.wait_result(task["task_id"], 120)
    agent.wait(lambda: [one["status"] for one in status(agent).get("results", ())] == ["success"])
    code, text = command(agent, "tasks", task["task_id"])
    assert code == 0
    assert "node node-1 is drained" in text
    assert json.loads(command(agent, "status", "--json")[1])["results"] == status(agent)["results"]
    assert "demo-key" not in json.dumps(status(agent)) + agent.get("/")[1]


def test_without_its_queue_the_status_says_so_and_who_is_down(agent: Agent) -> None:
    agent.supervisorctl("stop", "health")
    code, text = command(agent, "status")
    assert code == 1
    assert "is the health worker running?" in text
    assert "health         stopped" in text
    assert "task-runner    running" in text
