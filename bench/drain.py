"""Drains, from push to result, beside ``kubectl drain`` on the same API server in the same run.

python -m bench.drain                       # the simulator, in a process of its own
python -m bench.drain --kubeconfig FILE     # a real cluster, as its administrator

On a real cluster it brings seven hollow nodes (tests/hollow), tainted and labelled as its own, and a namespace, and
takes them away again. Nobody else's node or pod is touched.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.cgroup import Group
from bench.report import Figure, percentile, report
from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.errors import NotFound
from shared.kube.nodes import Nodes
from shared.kube.pods import Pods, on_node
from tests.hollow.nodes import hollow_nodes
from tests.sim.agent import ROOT, Agent, free_port
from tests.sim.central.server import Central

RUN = f"bench-drain-{uuid.uuid4().hex[:6]}"
"""Name of the namespace and of the nodes, and value of the label and taint that keep them apart."""
LABEL = "bench-drain"
TAINT = {"key": LABEL, "value": RUN, "effect": "NoSchedule"}
PODS = 100
NODES = 7
"""Five are drained at once, two take what is evicted."""

_POLL = {"TASK_POLL_INTERVAL_SECONDS": "10", "EVENT_NAMESPACES": "bench-none"}


class Bench:
    """One API server, worked through its API: a namespace and ``nodes`` that carry the label and the taint."""

    def __init__(self, kube: Kube, kubeconfig: Path, kubectl: str, nodes: list[str]) -> None:
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl
        self._kube = kube
        self.nodes = nodes
        kube.call("POST", "/api/v1/namespaces", None, {"metadata": {"name": RUN}})
        self._wait(self._can_take_pods)

    def fill(self, targets: list[str], pods: int = PODS) -> None:
        """Exactly ``pods`` running pods of one ReplicaSet on each of ``targets``, none elsewhere."""
        self._clear()
        for node in self.nodes:
            Nodes(self._kube).set_unschedulable(node, True)
        for number, node in enumerate(targets):
            Nodes(self._kube).set_unschedulable(node, False)
            path = f"/apis/apps/v1/namespaces/{RUN}/replicasets"
            self._kube.call("POST", path, None, _replica_set(f"bench-{number}", pods))
            self._wait(lambda node=node: self._running(node) >= pods)
            Nodes(self._kube).set_unschedulable(node, True)
        for node in self.nodes:
            Nodes(self._kube).set_unschedulable(node, False)
        time.sleep(2)

    def drain_by_agent(self, central: Central, targets: list[str]) -> float:
        """Seconds from the first push to the last result."""
        tasks = [central.task("drain_node", {"node_name": node}, seconds=300) for node in targets]
        started = time.monotonic()
        for task in tasks:
            central.push(task)
        for task in tasks:
            result = central.ledger.wait_result(task["task_id"], 300)
            if result["status"] != "success":
                raise SystemExit(f"a drain failed: {result['error']}\n{result['logs'][-2000:]}")
        return time.monotonic() - started

    def drain_by_kubectl(self, node: str) -> float:
        """Seconds of ``kubectl drain``."""
        command = [self._kubectl, "--kubeconfig", str(self.kubeconfig), "drain", node]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--ignore-daemonsets", "--delete-emptydir-data"], capture_output=True, text=True, timeout=600
        )
        if done.returncode != 0:
            raise SystemExit(f"kubectl drain failed: {done.stderr[-2000:]}")
        return time.monotonic() - started

    def close(self) -> None:
        self._clear()
        self._kube.call("DELETE", f"/api/v1/namespaces/{RUN}")

    def _can_take_pods(self) -> bool:
        try:
            self._kube.get(f"/api/v1/namespaces/{RUN}/serviceaccounts/default")
        except NotFound:
            return False
        return True

    def _running(self, node: str) -> int:
        return sum(pod.is_ready for pod in Pods(self._kube, RUN).latest(on_node(node)) if not pod.terminating)

    def _clear(self) -> None:
        for number in range(NODES):
            path = f"/apis/apps/v1/namespaces/{RUN}/replicasets/bench-{number}"
            with contextlib.suppress(NotFound):
                self._kube.call("DELETE", path, {"propagationPolicy": "Background"})
        pods = Pods(self._kube, RUN)
        self._wait(lambda: not pods.latest({"labelSelector": "bench=drain"}))

    def _wait(self, condition: Any, timeout: float = 300) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit("the cluster did not get there in time")
            time.sleep(0.2)


def _replica_set(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name, "bench": "drain"}
    spec = {
        "containers": [{"name": "c", "image": "pause"}],
        "automountServiceAccountToken": False,
        "nodeSelector": {LABEL: RUN},
        "tolerations": [{"key": LABEL, "operator": "Exists"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": RUN},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def reaction(central: Central, simulator: str, count: int) -> list[float]:
    """Milliseconds from push to the agent's first request about it, as the simulator saw it."""
    found = []
    for number in range(count):
        node = f"none-{number}"
        pushed = time.time()
        task = central.task("cordon_node", {"node_name": node})
        central.push(task)
        central.ledger.wait_result(task["task_id"])
        found.append((node, pushed))
        time.sleep(0.02)
    seen = _audit(simulator)
    return [1000 * (seen[f"/api/v1/nodes/{node}"] - pushed) for node, pushed in found]


def _audit(simulator: str) -> dict[str, float]:
    import json
    import urllib.request

    with urllib.request.urlopen(f"{simulator}/sim/audit") as answer:
        return {entry["path"]: entry["time"] for entry in json.load(answer)}


@contextlib.contextmanager
def simulator(scratch: Path) -> Iterator[tuple[Path, str]]:
    """A simulator in a process of its own; its admin's kubeconfig and its URL."""
    port, kubeconfig = free_port(), scratch / "kubeconfig"
    command = [sys.executable, "-m", "tests.sim.kube", "--port", str(port), "--nodes", str(NODES)]
    command += ["--scenario", "empty", "--kubeconfig", str(kubeconfig), "--termination-seconds", "0.05"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not kubeconfig.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(0.5)
            yield kubeconfig, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def nodes_of(kube: Kube, simulated: bool) -> Iterator[list[str]]:
    """Seven nodes of our own: hollow ones, or all of the simulator's, set apart in the same way."""
    if not simulated:
        names = [f"{RUN}-{number}" for number in range(1, NODES + 1)]
        with hollow_nodes(kube, names, {LABEL: RUN}, [TAINT]):
            yield names
        return
    names = sorted(node.metadata.name for node in Nodes(kube).latest())
    for name in names:
        patch = {"metadata": {"labels": {LABEL: RUN}}, "spec": {"taints": [TAINT]}}
        kube.call("PATCH", f"/api/v1/nodes/{name}", None, patch, MERGE_PATCH)
    yield names


def measure(bench: Bench, url: str | None, repeats: int) -> list[Figure]:
    figures: list[Figure] = []
    first, five = bench.nodes[:1], bench.nodes[:5]
    singles: list[float] = []
    by_kubectl: list[float] = []
    with Central() as central, Agent(central.url, bench.kubeconfig, _POLL) as agent:
        agent.wait_ready(60)
        central.ledger.wait(lambda: central.streams)
        for _ in range(repeats):
            bench.fill(first)
            singles.append(bench.drain_by_agent(central, first))
            bench.fill(first)
            by_kubectl.append(bench.drain_by_kubectl(first[0]))
            print(f"  agent {singles[-1]:.2f} s, kubectl drain {by_kubectl[-1]:.2f} s", flush=True)
        bench.fill(five)
        together = bench.drain_by_agent(central, five)
        reactions = reaction(central, url, 200) if url else []
    one, kubectl = statistics.median(singles), statistics.median(by_kubectl)
    figures += [
        Figure(f"one node of {PODS} pods, push to result", one, "s", 2.5),
        Figure("kubectl drain of the same", kubectl, "s"),
        Figure("ratio", one / kubectl, "", 0.15),
        Figure(f"five nodes of {PODS} pods at once", together, "s", 6.0),
    ]
    if reactions:
        figures.append(Figure("push to first Kubernetes call, p99 of 200", percentile(reactions, 99), "ms", 20.0))
        figures.append(Figure("push to first Kubernetes call, median", statistics.median(reactions), "ms"))
    return figures + limited(bench, url)


def limited(bench: Bench, url: str | None) -> list[Figure]:
    """The same under a CPU quota of 200m, where a control group can be made."""
    first, five = bench.nodes[:1], bench.nodes[:5]
    try:
        group = Group("drain", cpu=0.2).__enter__()
    except OSError as error:
        print(f"  no CPU quota can be set here: {error}")
        return []
    try:
        with Central() as central, Agent(central.url, bench.kubeconfig, _POLL, wrap=group.wrap) as agent:
            agent.wait_ready(120)
            central.ledger.wait(lambda: central.streams)
            time.sleep(5)
            bench.fill(first)
            one = bench.drain_by_agent(central, first)
            bench.fill(five)
            together = bench.drain_by_agent(central, five)
            time.sleep(5)
            reactions = reaction(central, url, 200) if url else []
    finally:
        group.__exit__()
    figures = [
        Figure(f"at 200m CPU: one node of {PODS} pods", one, "s"),
        Figure("at 200m CPU: five at once", together, "s"),
    ]
    if reactions:
        figures.append(Figure("at 200m CPU: push to first Kubernetes call, p99", percentile(reactions, 99), "ms"))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.drain", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, help="an administrator's")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    kubectl = os.environ.get("KUBECTL", "kubectl")
    with contextlib.ExitStack() as stack:
        if arguments.kubeconfig:
            kubeconfig, url, where = arguments.kubeconfig, None, "a real cluster"
        else:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            kubeconfig, url = stack.enter_context(simulator(scratch))
            where = "the simulator"
        kube = Kube(str(kubeconfig), "bench", connections=16)
        nodes = stack.enter_context(nodes_of(kube, simulated=url is not None))
        bench = Bench(kube, kubeconfig, kubectl, nodes)
        stack.callback(bench.close)
        report("drain-real" if arguments.kubeconfig else "drain", measure(bench, url, arguments.repeats), where)


if __name__ == "__main__":
    main()
