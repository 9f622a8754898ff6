"""Starting in any order, restarting any worker, stopping in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.basics.errors import EXIT_CONFIG, EXIT_UNAUTHORIZED
from shared.kube.connection import Kube
from shared.process.programs import PROGRAMS
from tests.integration.conftest import FAST
from tests.sim.agent import CONF, ROOT, Agent, free_port
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster


def test_nothing_is_claimed_before_registering_was_tried(cluster: Cluster, kubeconfig: Path) -> None:
    with Central() as central:
        central.fault("register", status=503, times=2)
        task_id = central.offer(central.task("cordon_node", {"node_name": "node-3"}))
        with Agent(central.url, kubeconfig, FAST):
            assert central.ledger.wait_result(task_id)["status"] == "success"
            calls = [arrival.call for arrival in central.ledger.arrivals]
            assert calls.index("heartbeat") < calls.index("tasks")
            assert central.ledger.wait(lambda: central.ledger.of("register"))


def test_start_order_does_not_matter(tmp_path: Path) -> None:
    """Neither Central nor Kubernetes is there at first; the agent waits, says so, and exits for neither."""
    with Cluster(nodes=1) as cluster, Central() as central:
        kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig")
        cluster.stop()
        central.stop()
        with Agent(central.url, kubeconfig, FAST) as agent:
            agent.wait(lambda: agent.ready().get("reasons"))
            agent.wait(lambda: "kubernetes" in str(agent.ready()["reasons"]))
            said = agent.ready()
            assert (said["ready"], said["central_server_connected"], said["k8s_api_connected"]) == (False,) * 3
            assert agent.get("/health")[0] == 200, "what is missing outside is no reason to restart the pod"
            cluster.start()
            central.start()
            agent.wait_ready(60)
            assert set(agent.pids()) == set(PROGRAMS)


def test_workers_wait_for_the_queue(agent: Agent, central: Central) -> None:
    """The broker's worker is away for a while; the others neither exit nor lose a result."""
    pids = agent.pids()
    agent.supervisorctl("stop", "health")
    task = central.task("cordon_node", {"node_name": "node-3"})
    central.offer(task)
    time.sleep(2)
    agent.supervisorctl("start", "health")
    assert central.ledger.wait_result(task["task_id"])["status"] == "success"
    agent.wait_ready()
    others = {name: pid for name, pid in pids.items() if name != "health"}
    assert others.items() <= agent.pids().items()


def test_restarting_a_worker_disturbs_no_other_and_deregisters_nothing(agent: Agent, central: Central) -> None:
    for worker in PROGRAMS:
        before = agent.pids()
        agent.supervisorctl("restart", worker)
        agent.wait_ready()
        after = agent.pids()
        assert after[worker] != before[worker]
        assert {name: pid for name, pid in after.items() if name != worker}.items() <= before.items()
        task = central.task("uncordon_node", {"node_name": "node-1"})
        central.offer(task)
        assert central.ledger.wait_result(task["task_id"])["status"] == "success"
    assert not central.ledger.of("deregister")
    assert len(central.ledger.of("register")) == 1


def test_a_killed_task_runner_resumes_its_drain(agent: Agent, central: Central, cluster: Cluster, admin: Kube) -> None:
    cluster.add_budget("shop", "web", {"app": "web"}, max_unavailable=0)
    task = central.task("drain_node", {"node_name": "node-1"})
    central.offer(task)
    cluster.wait_for(lambda: (cluster.node("node-1") or {})["spec"].get("unschedulable"))
    os.kill(agent.pids()["task-runner"], signal.SIGKILL)
    agent.wait(lambda: "task-runner" in agent.pids())
    assert not central.ledger.results(task["task_id"])
    admin.call("DELETE", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web")
    result = central.ledger.wait_result(task["task_id"])
    assert result["status"] == "success"
    assert "drain_node resumed" in result["logs"]
    assert len(central.ledger.results(task["task_id"])) == 1


def test_sigterm_stops_in_order_and_deregisters_last(agent: Agent, central: Central) -> None:
    samples = len(central.ledger.of("metrics"))
    assert agent.stop() == 0
    assert len(central.ledger.of("metrics")) > samples, "the final snapshot"
    assert central.ledger.arrivals[-1].call == "deregister"
    stopped = [line["component"] for line in agent.log() if line["message"].endswith(" stopped")]
    assert stopped == ["task-runner", "metrics", "event-watcher", "heartbeat", "health"]


def test_sigterm_lets_a_running_task_finish(agent: Agent, central: Central, cluster: Cluster) -> None:
    cluster.add_pod("shop", "slow", "node-3", termination_seconds=3, grace=10)
    task = central.task("delete_pod", {"namespace": "shop", "pod_name": "slow", "pod_uid": _uid(cluster, "slow")})
    central.offer(task)
    cluster.wait_for(lambda: (cluster.pod("shop", "slow") or {})["metadata"].get("deletionTimestamp"))
    assert agent.stop() == 0
    assert central.ledger.results(task["task_id"])[0]["status"] == "success"
    assert central.ledger.arrivals[-1].call == "deregister"


def test_plain_supervisord_works_as_well(central: Central, kubeconfig: Path) -> None:
    with Agent(central.url, kubeconfig, FAST, preload=False) as agent:
        agent.wait_ready(60)
        task = central.task("cordon_node", {"node_name": "node-2"})
        central.offer(task)
        assert central.ledger.wait_result(task["task_id"])["status"] == "success"
        assert agent.stop() == 0
        assert central.ledger.arrivals[-1].call == "deregister"


def test_two_agents_run_on_one_machine(central: Central, kubeconfig: Path) -> None:
    with Agent(central.url, kubeconfig, FAST) as one, Agent(central.url, kubeconfig, FAST) as other:
        one.wait_ready()
        other.wait_ready()
        instances = {arrival.headers["X-Agent-Instance"] for arrival in central.ledger.of("heartbeat")}
        assert len(instances) == 2


def test_wrong_settings_end_with_78_before_anything_starts(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "AGENT_RUN_DIR": str(tmp_path / "run"), "HEALTH_CHECK_PORT": "eighty"}
    command = [sys.executable, "-m", "workers.commands", "run", "-c", str(CONF)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == EXIT_CONFIG
    assert "HEALTH_CHECK_PORT='eighty'; expected a whole number from 0 to 65535" in done.stderr
    assert "CLUSTER_ID is not set" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_kubeconfig_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    with Agent("http://127.0.0.1:1", tmp_path / "absent") as agent:
        assert agent.process is not None
        assert agent.process.wait(60) == EXIT_CONFIG
        assert f"KUBECONFIG='{tmp_path / 'absent'}'; expected a file that is there" in agent.log_path.read_text()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nothing_critical_is_said_at_a_start_that_is_well(central: Central, kubeconfig: Path, log_format: str) -> None:
    with Agent(central.url, kubeconfig, {**FAST, "LOG_FORMAT": log_format}) as agent:
        agent.wait_ready()
        assert "CRIT" not in agent.log_path.read_text()


def test_a_refused_key_ends_the_pod_with_a_reason(cluster: Cluster, kubeconfig: Path) -> None:
    """Confirmed three times over thirty seconds, then 77, with the reason in the termination log."""
    with Central(api_key="right") as central:
        agent = Agent(central.url, kubeconfig, FAST, api_key="wrong-key")
        with agent:
            assert agent.process is not None
            assert agent.process.wait(90) == EXIT_UNAUTHORIZED
            reason = Path(agent.env["TERMINATION_LOG"]).read_text()
            assert "Central refused the API key" in reason
            assert "wrong-key" not in reason + agent.log_path.read_text()


def test_every_log_line_is_json_and_short(agent: Agent) -> None:
    agent.stop()
    lines = agent.log_path.read_text().splitlines()
    assert lines
    for text in lines:
        line = json.loads(text)
        assert {"timestamp", "level", "cluster_id", "component", "message"} <= set(line)
        assert line["timestamp"].endswith("Z")
        assert len(text.encode()) <= 4096
    assert {"supervisord", *PROGRAMS} <= {json.loads(text)["component"] for text in lines}


def test_a_port_in_use_is_said(central: Central, kubeconfig: Path) -> None:
    port = free_port()
    with Agent(central.url, kubeconfig, {**FAST, "HEALTH_CHECK_PORT": str(port)}) as one:
        one.port = port
        one.wait_ready()
        with Agent(central.url, kubeconfig, {**FAST, "HEALTH_CHECK_PORT": str(port)}) as other:
            other.wait(lambda: any("in use" in line["message"] for line in other.log("health")))
            (said, *_) = (line["message"] for line in other.log("health") if "in use" in line["message"])
            assert (
                said
                == f"configuration: HEALTH_CHECK_PORT={port} cannot be listened on at 127.0.0.1: Address already in use"
            )
            assert "Traceback" not in other.log_path.read_text()


def _uid(cluster: Cluster, name: str) -> str:
    pod = cluster.pod("shop", name)
    assert pod is not None
    return str(pod["metadata"]["uid"])
