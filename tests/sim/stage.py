"""Where the demo plays: the simulator, or a real cluster by kubeconfig. Both are worked through the API."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from shared.basics.errors import AgentError
from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.errors import NotFound
from shared.kube.nodes import Node, Nodes
from shared.kube.pods import Pod, Pods, on_node
from tests.container.bundle import rbac
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.scenarios import demo

Mishap = tuple[str, str, Callable[[], None]]
"""What happens in words, the event type it shows as, and how to make it happen."""

_BUDGET = "cloudoptim-demo"


class Stage:
    """A cluster with a node to spare and pods that may be moved."""

    simulated = False
    namespace = ""
    """Where the pods are that tasks are tried on."""
    slow_namespace = ""
    """Where the pods are that a budget holds in mid-drain."""

    def __init__(self) -> None:
        self.kubeconfig = Path()
        """What the agent gets."""
        self.kube: Kube

    def __enter__(self) -> Stage:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Set the stage. Fills ``kubeconfig`` and ``kube``."""

    def close(self) -> None:
        """Leave nothing behind."""

    # -- what there is ----------------------------------------------------------------------------

    def describe(self) -> Iterator[str]:
        """The cluster in a few lines."""
        yield f"{'NODE':32} {'TYPE':12} {'ZONE':12} {'CAPACITY':10} {'STATUS':26} PODS"
        for node in self.nodes():
            labels = node.metadata.labels or {}
            status = "Ready" if node.is_ready else "NotReady"
            status += ",SchedulingDisabled" if node.spec.unschedulable else ""
            pods = len(Pods(self.kube).latest(on_node(node.metadata.name)))
            yield (
                f"{node.metadata.name:32} {labels.get('node.kubernetes.io/instance-type', '-'):12}"
                f" {labels.get('topology.kubernetes.io/zone', '-'):12} {_capacity(labels):10} {status:26} {pods}"
            )

    def nodes(self) -> list[Node]:
        return Nodes(self.kube).latest()

    def node_count(self) -> int:
        return len(self.nodes())

    def spare_node(self) -> str:
        """A node that may be cordoned, labelled and drained."""
        raise NotImplementedError

    def pod(self) -> dict[str, str]:
        """A pod to label."""
        return self.pods_elsewhere(1)[0]

    def pods_elsewhere(self, count: int) -> list[dict[str, str]]:
        """Pods with a controller that are not on the spare node, as parameters of a task."""
        found = [pod for pod in self._movable(self.namespace) if pod.spec.node_name != self.spare_node()]
        return [{"namespace": pod.metadata.namespace, "pod_name": pod.metadata.name} for pod in found[:count]]

    def is_cordoned(self, node: str) -> bool:
        return Nodes(self.kube).find(node).spec.unschedulable

    # -- what is done -----------------------------------------------------------------------------

    def before(self, task_type: str, parameters: dict[str, Any]) -> None:
        """Cordon the node a pod is to be moved from, or it might come back there."""
        if task_type == "reschedule_pod":
            pod = Pods(self.kube).find(parameters["namespace"], parameters["pod_name"])
            self._moved_from = pod.spec.node_name
            Nodes(self.kube).set_unschedulable(self._moved_from, True)

    def after(self, task_type: str, parameters: dict[str, Any]) -> None:
        """Make the nodes schedulable again."""
        if task_type == "reschedule_pod":
            Nodes(self.kube).set_unschedulable(self._moved_from, False)
        if task_type == "drain_node":
            Nodes(self.kube).set_unschedulable(parameters["node_name"], False)
        if task_type in ("delete_pod", "reschedule_pod", "drain_node"):
            self._settle()

    def slow_node(self) -> tuple[str, str]:
        """A node whose drain a budget now holds, and what to say about it."""
        pod = next(pod for pod in self._movable(self.slow_namespace))
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": _BUDGET, "namespace": self.slow_namespace},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": (pod.metadata.labels or {})["app"]}}},
        }
        path = f"/apis/policy/v1/namespaces/{self.slow_namespace}/poddisruptionbudgets"
        self.kube.call("POST", path, None, budget)
        return pod.spec.node_name, f"the budget {_BUDGET} lets no pod of {pod.name}'s kind go"

    def unblock(self) -> None:
        """Let the pods go."""
        path = f"/apis/policy/v1/namespaces/{self.slow_namespace}/poddisruptionbudgets/{_BUDGET}"
        try:
            self.kube.call("DELETE", path)
        except NotFound:
            pass

    def mishaps(self) -> list[Mishap]:
        """What goes wrong in the cluster, and by which event it shows."""
        return []

    def recover(self) -> None:
        """Undo the mishaps."""

    def verdict(self, check: Callable[[object, str], None]) -> None:
        """What the cluster has to say at the end."""

    def what_to_try(self) -> list[str]:
        """Commands for whoever keeps it running."""
        return [f"kubectl --kubeconfig {self.kubeconfig} get nodes"]

    def _movable(self, namespace: str) -> list[Pod]:
        """Ready pods of a ReplicaSet, of the workload with the most of them first."""
        pods = [
            pod
            for pod in Pods(self.kube, namespace).latest()
            if pod.is_ready and not pod.terminating and pod.controller and pod.controller.kind == "ReplicaSet"
        ]
        owners = [pod.controller.uid for pod in pods if pod.controller]
        return sorted(pods, key=lambda pod: (-owners.count(pod.controller.uid) if pod.controller else 0, pod.name))

    def _settle(self) -> None:
        """Wait until what was evicted has its replacements Ready, so that budgets allow the next step."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            pods = Pods(self.kube, self.namespace).latest()
            if pods and all(pod.is_ready and not pod.terminating for pod in pods if not pod.ended):
                time.sleep(0.3)  # The disruption controller counts a moment later.
                return
            time.sleep(0.1)


class SimulatedStage(Stage):
    """The simulator with its demo scenario. The agent gets what the bundle grants, and nothing more."""

    simulated = True
    namespace = "shop"
    slow_namespace = "batch"

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        self._scratch = scratch
        self._cluster = Cluster(nodes=0, tls=scratch, rbac=rbac("pod-labels"))  # kubectl sends no token without TLS.

    def open(self) -> None:
        self._cluster.__enter__()
        demo(self._cluster, 0, 0)
        self._cluster.wait_settled()
        self.kubeconfig = self._cluster.write_kubeconfig(self._scratch / "agent.kubeconfig")
        self._admin = self._cluster.write_kubeconfig(self._scratch / "admin.kubeconfig", token="admin")
        self.kube = Kube(str(self._admin), "demo")

    def close(self) -> None:
        self._cluster.__exit__(None, None, None)

    def spare_node(self) -> str:
        return next(name for name in self._names() if name.startswith("ip-10-0-1-77"))

    def _names(self) -> list[str]:
        return [node["metadata"]["name"] for node in self._cluster.nodes()]

    def mishaps(self) -> list[Mishap]:
        pod = self.pod()
        return [
            (
                f"a container of {pod['pod_name']} is OOMKilled",
                "oom_killed",
                lambda: self._cluster.oom_kill(pod["namespace"], pod["pod_name"]),
            ),
            ("bare-metal-1 goes NotReady", "node_not_ready", lambda: self._cluster.node_not_ready("bare-metal-1")),
            ("a pod finds no node", "pod_scheduling_failed", lambda: self._cluster.fail_scheduling("batch", "huge")),
            ("the kubelet evicts a pod", "pod_evicted", self._evict_one),
        ]

    def recover(self) -> None:
        self._cluster.node_ready("bare-metal-1")
        self.kube.call("DELETE", "/api/v1/namespaces/batch/pods/huge")
        self._settle()

    def _evict_one(self) -> None:
        pod = self.pod()
        self._cluster.kubelet_evict(pod["namespace"], pod["pod_name"])

    def verdict(self, check: Callable[[object, str], None]) -> None:
        by_agent = [entry for entry in self._cluster.audit if "cloudoptim-agent" in entry.user]
        denied = [entry for entry in by_agent if entry.code in (401, 403)]
        check(by_agent and not denied, f"{len(by_agent)} requests of the agent to the API server, none denied by RBAC")

    def what_to_try(self) -> list[str]:
        server = f"kubectl --kubeconfig {self._admin}"
        drain = f"drain {self.spare_node()} --ignore-daemonsets --delete-emptydir-data"
        return [f"{server} get nodes", f"{server} get pods -A -o wide", f"{server} {drain}"]


class RealStage(Stage):
    """A real cluster. Everything made here is in one namespace, which goes again; one node is worked on."""

    namespace = slow_namespace = "cloudoptim-demo"

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__()
        self.kubeconfig = kubeconfig
        self._node = os.environ.get("DEMO_NODE", "")
        self._drained: set[str] = set()

    def open(self) -> None:
        self.kube = Kube(str(self.kubeconfig), "demo")
        schedulable = [n.metadata.name for n in self.nodes() if n.is_ready and not n.spec.unschedulable]
        if len(schedulable) < 2:
            raise LookupError("the demo needs two schedulable nodes")
        self._node = self._node or schedulable[-1]
        self._ask()
        self._make({"kind": "Namespace", "metadata": {"name": self.namespace}}, "/api/v1/namespaces")
        self._make(_deployment(self.namespace, 6), f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        deadline = time.monotonic() + 120
        while len(self._movable(self.namespace)) < 6:
            if time.monotonic() > deadline:
                raise LookupError("the demo's six pods did not become Ready within two minutes")
            time.sleep(0.5)

    def close(self) -> None:
        clean = {"metadata": {"labels": {"demo.cloudoptim.io/by": None}}, "spec": {"unschedulable": None}}
        for node in {self._node, *self._drained}:
            self._put_back("PATCH", f"/api/v1/nodes/{node}", clean)
        self._put_back("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def _put_back(self, method: str, path: str, body: Any = None) -> None:
        try:
            self.kube.call(method, path, None, body, MERGE_PATCH)
        except AgentError as error:
            print(f"  not put back: {error}")

    def spare_node(self) -> str:
        return self._node

    def slow_node(self) -> tuple[str, str]:
        node, blocked = super().slow_node()
        self._drained.add(node)
        return node, blocked

    def _ask(self) -> None:
        """Nobody's cluster is written to unasked."""
        print(f"KUBECONFIG={self.kubeconfig}: this makes the namespace {self.namespace} and takes it away again,")
        print(f"cordons, labels and DRAINS the node {self._node} (all pods but kube-system's are evicted from it)")
        print("and, in the last step, whichever node holds one of the demo's own pods.")
        if os.environ.get("DEMO_YES") == "1":
            return
        if input("Type the node's name to go on: ").strip() != self._node:
            raise LookupError("not confirmed, nothing was touched")

    def _make(self, body: dict[str, Any], path: str) -> None:
        try:
            self.kube.call("POST", path, None, body)
        except AgentError as error:
            if "already exists" not in str(error):
                raise


def _deployment(namespace: str, replicas: int) -> dict[str, Any]:
    labels = {"app": "cloudoptim-demo"}
    container = {
        "name": "pause",
        "image": "busybox",
        "command": ["sleep", "infinity"],
        "resources": {"requests": {"cpu": "10m"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cloudoptim-demo", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


def _capacity(labels: dict[str, str]) -> str:
    return labels.get("karpenter.sh/capacity-type") or labels.get("eks.amazonaws.com/capacityType") or "-"
