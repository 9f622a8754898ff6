"""Events of our own: ``kubectl describe node`` says who drained it and why (component kubernetes-events)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.container.bundle import fill_in, kubectl, one, render
from tests.integration.conftest import FAST
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster


@contextmanager
def agent_with(folder: Path, *components: str, wanted: bool = True) -> Iterator[tuple[Cluster, Central, Agent]]:
    """The agent with the rights and settings that the bundle with these components gives it."""
    bundle = render(fill_in(folder / "k8s", components=components))
    with Cluster(nodes=2, tls=folder, rbac=bundle) as cluster, Central() as central:
        cluster.add_deployment("shop", "web", 2, node="node-1")
        cluster.add_deployment("blocked", "held", 1, node="node-2")
        cluster.add_budget("blocked", "held", {"app": "held"}, max_unavailable=0)
        cluster.wait_settled()
        (container,) = one(bundle, "Deployment")["spec"]["template"]["spec"]["containers"]
        given = {entry["name"]: entry["value"] for entry in container["env"] if entry["name"] == "KUBERNETES_EVENTS"}
        env = {**FAST, "POD_NAME": "agent-x", **({"KUBERNETES_EVENTS": "true"} if wanted else {}), **given}
        with Agent(central.url, cluster.write_kubeconfig(folder / "kubeconfig"), env) as agent:
            agent.wait_ready()
            yield cluster, central, agent


def described(cluster: Cluster, folder: Path, node: str) -> str:
    """The Events that ``kubectl describe node`` shows, in one line each."""
    kubeconfig = cluster.write_kubeconfig(folder / "admin.kubeconfig", token="admin")
    arguments = ("--kubeconfig", str(kubeconfig), "--cache-dir", str(folder / "cache"))
    said = kubectl(*arguments, "describe", "node", node).stdout
    return re.sub(" +", " ", said[said.index("Events:") :])


def do(central: Central, task_type: str, node: str, **parameters: object) -> tuple[str, str]:
    """Have a task done; its id and status."""
    task_id = central.offer(central.task(task_type, {"node_name": node, **parameters}))
    return task_id, str(central.ledger.wait_result(task_id)["status"])


def test_kubectl_describe_node_says_who_drained_it_and_why(tmp_path: Path) -> None:
    with agent_with(tmp_path, "kubernetes-events", wanted=False) as (cluster, central, _):
        task_id, status = do(central, "drain_node", "node-1")
        assert status == "success"
        shown = described(cluster, tmp_path, "node-1")
        by = rf"\S+ cloudoptim-agent .*\(CloudOptim task {re.escape(task_id)}\)"
        assert re.search(rf"Normal Cordoned {by}", shown)
        assert re.search(rf"Normal Drained {by}", shown)

        assert do(central, "uncordon_node", "node-1")[1] == "success"
        assert do(central, "label_node", "node-1", labels={"tier": "cheap"})[1] == "success"
        shown = described(cluster, tmp_path, "node-1")
        assert re.search(r"Normal Uncordoned \S+ cloudoptim-agent Marked schedulable", shown)
        assert re.search(r"Normal Labelled \S+ cloudoptim-agent Labels changed: tier=cheap", shown)

        ours = cluster.events(reportingComponent="cloudoptim-agent")
        assert {event["metadata"]["namespace"] for event in ours} == {"default"}, "where Events on nodes live"
        assert {event["source"]["host"] for event in ours} == {"agent-x"}


def test_a_drain_that_failed_is_a_warning_with_the_reason(tmp_path: Path) -> None:
    with agent_with(tmp_path, "kubernetes-events", wanted=False) as (cluster, central, _):
        task = central.task("drain_node", {"node_name": "node-2"}, seconds=5)
        central.offer(task)
        assert central.ledger.wait_result(task["task_id"])["status"] == "timeout"
        shown = described(cluster, tmp_path, "node-2")
        assert re.search(r"Warning DrainFailed \S+ cloudoptim-agent Not drained: .*\(CloudOptim task", shown)


def test_without_the_right_the_task_succeeds_and_one_line_says_so(tmp_path: Path) -> None:
    """Wanted, but the component that grants it is not applied."""
    with agent_with(tmp_path) as (cluster, central, agent):
        for task_type in ("drain_node", "uncordon_node", "cordon_node", "uncordon_node"):
            assert do(central, task_type, "node-1")[1] == "success"
        said = [line for line in agent.log("task-runner") if "no Event on node" in line["message"]]
        assert [line["level"] for line in said] == ["WARNING"]
        assert "is the kubernetes-events component applied?" in said[0]["message"]
        assert 'cannot create resource "events"' in said[0]["message"]
        assert "cloudoptim" not in described(cluster, tmp_path, "node-1")


def test_unless_it_is_wanted_nobody_tries(tmp_path: Path) -> None:
    with agent_with(tmp_path, wanted=False) as (cluster, central, _):
        assert do(central, "drain_node", "node-1")[1] == "success"
        assert not cluster.audit.select(verb="create", resource="events")
