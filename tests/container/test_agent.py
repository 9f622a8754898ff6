"""The bundle's pod at work: a fifth of a CPU, 256 MiB, a read-only root and nobody's privileges."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from testcontainers.core.docker_client import DockerClient

from shared.basics.errors import EXIT_CONFIG, EXIT_UNAUTHORIZED
from shared.process.programs import PROGRAMS
from shared.schemas.parameters import PARAMETERS
from tests.container.conftest import NewPod
from tests.container.pod import AgentPod
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

MIB = 2**20


def pod_of(cluster: Cluster, app: str) -> dict[str, Any]:
    """A running pod of a Deployment in the namespace ``shop``."""
    cluster.wait_settled()
    return next(pod for pod in cluster.pods(namespace="shop") if pod["metadata"]["labels"]["app"] == app)


def parameters_of(cluster: Cluster, task_type: str) -> dict[str, Any]:
    labels = {"labels": {"team": "shop"}} if task_type.startswith("label") else {}
    if task_type.endswith("_node"):
        return {"node_name": "ip-10-0-1-77.ec2.internal", **labels}
    pod = pod_of(cluster, "frontend" if task_type == "reschedule_pod" else "checkout")
    return {"namespace": "shop", "pod_name": pod["metadata"]["name"], **labels}


def do(central: Central, way: str, task_type: str, parameters: dict[str, Any]) -> None:
    """Have a task done, and see that it succeeds."""
    task = central.task(task_type, parameters)
    if way == "poll":
        central.offer(task)
    else:
        central.ledger.wait(lambda: central.streams)
        central.push(task)
    result = central.ledger.wait_result(task["task_id"])
    assert result["status"] == "success", f"{result['error']}\n{result['logs']}"


@pytest.mark.parametrize("way", ["poll", "push"])
@pytest.mark.parametrize("task_type", PARAMETERS)
def test_does_every_task(agent: AgentPod, central: Central, cluster: Cluster, task_type: str, way: str) -> None:
    time.sleep(1.1)  # delete_pod leaves a pod alone that was created in the second of the task, or after it.
    if task_type != "reschedule_pod":
        do(central, way, task_type, parameters_of(cluster, task_type))
        return
    # Elsewhere, it says: so its own node must be closed to the replacement.
    node = {"node_name": pod_of(cluster, "frontend")["spec"]["nodeName"]}
    do(central, way, "cordon_node", node)
    do(central, way, task_type, parameters_of(cluster, task_type))
    do(central, way, "uncordon_node", node)


def test_asks_for_nothing_it_may_not(agent: AgentPod, cluster: Cluster, central: Central) -> None:
    central.ledger.wait(lambda: central.ledger.of("metrics"))
    assert len(cluster.audit.select(user="system:serviceaccount:kube-system:cloudoptim-agent")) > 0
    assert cluster.audit.select(code=403) == []


def test_has_no_privileges(agent: AgentPod) -> None:
    status, text = agent.execute("cat", "/proc/1/status")
    facts = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert status == 0
    assert set(facts["Uid"].split()) == {"10001"}
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


def test_writes_nowhere_but_in_its_run_directory(agent: AgentPod) -> None:
    for folder in ("/", "/tmp", "/opt/cloudoptim", "/etc/cloudoptim/secret"):
        status, said = agent.execute("touch", f"{folder}/probe")
        assert status != 0
        assert "Read-only file system" in said
    assert agent.execute("sh", "-c", "touch /run/cloudoptim/probe && rm /run/cloudoptim/probe")[0] == 0


def test_supervisorctl_needs_no_arguments(agent: AgentPod) -> None:
    status, said = agent.execute("supervisorctl", "status")
    assert status == 0, said
    before = {line.split()[0]: line for line in said.splitlines()}
    assert set(before) == set(PROGRAMS)
    assert all("RUNNING" in line for line in before.values())
    assert "metrics: started" in agent.execute("supervisorctl", "restart", "metrics")[1]
    agent.wait_ready()
    after = {line.split()[0]: line.split()[3] for line in agent.execute("supervisorctl", "status")[1].splitlines()}
    assert {name for name in PROGRAMS if after[name] != before[name].split()[3]} == {"metrics"}


def test_supervisorctl_works_from_any_directory(agent: AgentPod) -> None:
    status, said = agent.execute("sh", "-c", "cd / && supervisorctl status health")
    assert (status, "RUNNING" in said) == (0, True), said


def test_reaps_orphans(agent: AgentPod) -> None:
    """As PID 1 it inherits whatever loses its parent inside the container."""
    agent.execute("sh", "-c", "(sleep 0.5 &) ; exit 0")
    time.sleep(3)
    status, states = agent.execute("sh", "-c", "cat /proc/[0-9]*/stat | sed 's/.*) //' | cut -c1")
    assert status == 0
    assert "Z" not in states.split()


def test_logs_json_and_nothing_else(agent: AgentPod) -> None:
    assert agent.stray_lines() == []
    assert all(line["cluster_id"] == "demo" for line in agent.log())


def test_prometheus_can_scrape_it(agent: AgentPod) -> None:
    status, page = agent.get("/metrics")
    assert status == 200
    assert "cloudoptim_agent_ready 1.0" in page


def test_pauses_by_the_mounted_key(agent: AgentPod, central: Central) -> None:
    agent.kubelet.write("guards", "tasks-paused", "true")
    try:
        task_id = central.offer(central.task("cordon_node", {"node_name": "bare-metal-1"}))
        result = central.ledger.wait_result(task_id)
    finally:
        agent.kubelet.write("guards", "tasks-paused", "false")
    assert result["status"] == "failed"
    assert "tasks-paused says so" in result["error"]


def test_key_rotates_without_a_restart(agent: AgentPod, central: Central) -> None:
    central.keys.add("rotated-key")
    agent.kubelet.write("secret", "api-key", "rotated-key")
    central.ledger.wait(lambda: central.ledger.of("heartbeat")[-1].headers["Authorization"] == "Bearer rotated-key")
    central.keys.discard("demo-key")
    seen = len(central.ledger.of("heartbeat"))
    central.ledger.wait(lambda: len(central.ledger.of("heartbeat")) > seen + 1)
    central.keys.add("demo-key")
    assert len(central.ledger.of("register")) == 1


def test_memory_stays_under_the_request(new_pod: NewPod, cluster: Cluster, figures: dict[str, str]) -> None:
    """The peak of a minute on a cluster of 20 nodes and 600 pods, the start included."""
    names = [f"more-{number}" for number in range(20 - len(cluster.nodes()))]
    for name in names:
        cluster.add_node(name, cpu=64, memory="256Gi")
    cluster.add_deployment("more", "more", 600 - len(cluster.pods()), node=names)
    with new_pod() as agent:
        ready = agent.wait_ready()
        samples = []
        until = time.monotonic() + 60
        while time.monotonic() < until:
            samples.append(agent.working_set())
        figures["ready at 200m CPU"] = f"after {ready:.1f} s"
        figures["working set"] = f"{samples[-1]:.0f} MiB after a minute, at most {max(samples):.0f}"
        assert max(samples) < agent.kubelet.memory_request / MIB


def test_sigterm_stops_in_order_and_in_time(new_pod: NewPod, central: Central, figures: dict[str, str]) -> None:
    with new_pod() as agent:
        agent.wait_ready()
        asked = time.monotonic()
        status, seconds = agent.stop()
        figures["SIGTERM to exit"] = f"{seconds:.1f} s"
        stopped = [line["component"] for line in agent.log() if line["message"].endswith(" stopped")]
    assert status == 0
    assert [name for name in stopped if name in PROGRAMS] == list(reversed(PROGRAMS))
    instance = central.ledger.of("deregister")[-1].headers["X-Agent-Instance"]
    its = [arrival for arrival in central.ledger.arrivals if arrival.headers["X-Agent-Instance"] == instance]
    assert its[-1].call == "deregister"
    assert [arrival for arrival in its if arrival.call == "metrics" and arrival.at > asked], "the final snapshot"


def test_runs_as_whoever_openshift_says(new_pod: NewPod) -> None:
    """restricted-v2 gives it a user that no file knows, in the group 0, and an fsGroup of its own."""
    with new_pod(components=("openshift",)) as agent:
        agent.wait_ready()
        status, text = agent.execute("cat", "/proc/1/status")
        assert (status, "Uid:\t1000680000\t" in text, "Gid:\t0\t" in text) == (0, True, True)
        assert agent.execute("supervisorctl", "status")[0] == 0
        assert agent.stray_lines() == []


def test_a_refused_key_ends_the_pod_and_says_why(new_pod: NewPod) -> None:
    with new_pod(api_key="not-the-key") as agent:
        assert agent.wait() == EXIT_UNAUTHORIZED
        assert "key" in agent.kubelet.termination_log.read_text()
        assert "not-the-key" not in agent.log_text()


def test_settings_left_empty_are_named(new_pod: NewPod) -> None:
    """What someone sees who applied cluster.example/ as it is; FallbackToLogsOnError shows these lines."""
    with new_pod({"central-server-url": "", "cluster-id": ""}) as agent:
        assert agent.wait() == EXIT_CONFIG
        said = agent.log_text()
    assert "CENTRAL_SERVER_URL is not set" in said
    assert "CLUSTER_ID is not set" in said


def test_is_healthy_to_kubelet_and_engine(agent: AgentPod, engine: DockerClient, image: str) -> None:
    status, body = agent.get("/health")
    assert (status, json.loads(body)["status"]) == (200, "healthy")
    check = engine.client.images.get(image).attrs["Config"]["Healthcheck"]["Test"]
    assert agent.execute(*check[1:]) == (0, "")
    through_a_proxy = ("env", "http_proxy=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1")
    assert agent.execute(*through_a_proxy, *check[1:]) == (0, ""), "the loopback is nobody's to carry"


def test_doctor_finds_nothing_wrong(agent: AgentPod, cluster: Cluster) -> None:
    status, said = agent.execute("cloudoptim-agent", "doctor")
    cluster.audit.clear()  # The doctor tries what the agent may not read, and says so.
    assert status == 0, said
