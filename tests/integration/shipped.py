"""The agent as it ships with a cluster and a Central of its own, for tests that share one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.kube.connection import Kube
from tests.integration.conftest import FAST
from tests.sim.agent import ROOT, Agent
from tests.sim.central.ledger import Json
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

BLOCKED = "blocked"
"""The namespace of pods that a budget holds."""


@dataclass(frozen=True)
class Shipped:
    """An agent that is ready, and what it talks to."""

    cluster: Cluster
    central: Central
    agent: Agent
    admin: Kube
    """The API server as an administrator sees it."""

    def offer(self, task_type: str, node: str, **fields: Any) -> str:
        """A task about a node, by poll; its id."""
        return self.central.offer(self.central.task(task_type, {"node_name": node}, **fields))

    def push(self, task_type: str, node: str, **fields: Any) -> str:
        """The same by stream, and by stream only."""
        task = self.central.task(task_type, {"node_name": node}, **fields)
        self.central.push(task)
        return str(task["task_id"])

    def cancel(self, task_id: str) -> Json:
        """Cancel a task; its result."""
        self.central.push({"type": "cancel", "task_id": task_id})
        return self.result(task_id)

    def result(self, task_id: str) -> Json:
        return self.central.ledger.wait_result(task_id)

    def hold(self, node: str) -> None:
        """A pod on ``node`` that no eviction gets past its budget: a drain of the node does not end by itself.

        It can be on no other node, so that it is in no other test's way once it is let go.
        """
        name = f"held-{node}"
        self.cluster.add_deployment(BLOCKED, name, 1, node=node, node_selector={"kubernetes.io/hostname": node})
        self.cluster.add_budget(BLOCKED, name, {"app": name}, max_unavailable=0)

    def let_go(self, node: str) -> None:
        """Lift the budget again."""
        self.admin.call("DELETE", f"/apis/policy/v1/namespaces/{BLOCKED}/poddisruptionbudgets/held-{node}")

    def draining(self, node: str, **parameters: Any) -> str:
        """A drain that has begun and waits for a budget; its task's id."""
        self.hold(node)
        task = self.central.task("drain_node", {"node_name": node, **parameters})
        self.central.offer(task)
        self.cluster.wait_for(lambda: self.is_cordoned(node), 30)
        return str(task["task_id"])

    def is_cordoned(self, node: str) -> bool:
        return bool((self.cluster.node(node) or {})["spec"].get("unschedulable"))

    def patches(self, *nodes: str) -> list[str]:
        """The names of the nodes that were patched, in order, of all or of these."""
        names = [entry.name for entry in self.cluster.audit.select(verb="patch", resource="nodes")]
        return [name for name in names if not nodes or name in nodes]

    def polls(self, number: int) -> None:
        """Wait until Central was polled so many times more."""
        ledger = self.central.ledger
        wanted = len(ledger.of("tasks")) + number
        ledger.wait(lambda: len(ledger.of("tasks")) >= wanted)

    def logged(self, words: str, component: str = "task-runner") -> list[Json]:
        """Lines of the agent's log with ``words`` in their message."""
        return [line for line in self.agent.log(component) if words in line["message"]]


@contextlib.contextmanager
def shipped(folder: Path, nodes: int = 3, env: Mapping[str, str] | None = None) -> Iterator[Shipped]:
    """Start all of it; the cluster's nodes are empty."""
    rbac = [ROOT / "k8s" / "base" / "rbac.yaml"]
    with Cluster(nodes=nodes, rbac=rbac) as cluster, Central() as central:
        kubeconfig = cluster.write_kubeconfig(folder / "kubeconfig")
        admin = Kube(str(cluster.write_kubeconfig(folder / "admin.kubeconfig", token="admin")), "test")
        with Agent(central.url, kubeconfig, {**FAST, **(env or {})}) as agent:
            agent.wait_ready()
            agent.wait(lambda: central.streams)
            yield Shipped(cluster, central, agent, admin)
