"""A zone at once: hundreds of drains in one small pod, against the simulator or a real API server.

python -m bench.zone                        # all of it: about ten minutes
python -m bench.zone --only zone            # one part: zone, slow, held, burst, watch
python -m bench.zone --only zone --kills 100      # workers killed meanwhile; what was lost, and what was done twice

The agent runs whole in a control group of 200m CPU where one can be made. The pods belong to a controller of another
kind, so that nobody makes new ones: what is measured is the going.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import image
from bench.cgroup import Group
from bench.report import Figure, percentile, report
from shared.kube.connection import Kube
from tests.sim.agent import ROOT, Agent, free_port
from tests.sim.central.server import Central

NAMESPACE = "default"
CPU = 0.2
MIB = 1024 * 1024

_SETTINGS = {"TASK_POLL_INTERVAL_SECONDS": "10"}


@dataclass
class Site:
    """One simulator with its nodes, an agent beside it, and their Central."""

    kube: Kube
    url: str
    central: Central
    agent: Agent
    group: Group | None

    def fill(self, nodes: int, pods: int, app: str) -> list[str]:
        """So many pods on each of the first nodes; the nodes' names."""
        names = [f"node-{number}" for number in range(1, nodes + 1)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda node: self.pods(node, pods, app), names))
        self.wait(lambda: self.count(app) >= nodes * pods)
        return names

    def pods(self, node: str, count: int, app: str) -> None:
        """So many pods on one node."""
        for number in range(count):
            self._pod(node, number, app)

    def _pod(self, node: str, number: int, app: str) -> None:
        owner = {"apiVersion": "bench.example.com/v1", "kind": "Load", "name": app, "uid": app, "controller": True}
        metadata = {"name": f"{app}-{node}-{number}", "labels": {"app": app}, "ownerReferences": [owner]}
        spec = {"nodeName": node, "terminationGracePeriodSeconds": 90, "containers": [{"name": "c", "image": "pause"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.kube.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", None, body)

    def hold(self, app: str) -> None:
        """A budget that lets none of these pods go."""
        metadata = {"name": app}
        spec = {"maxUnavailable": 0, "selector": {"matchLabels": {"app": app}}}
        body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}
        self.kube.call("POST", f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets", None, body)

    def count(self, app: str) -> int:
        """Running pods of ``app``."""
        query = {"labelSelector": f"app={app}", "resourceVersion": "0"}
        items = json.loads(self.kube.get(f"/api/v1/namespaces/{NAMESPACE}/pods", query))["items"]
        return sum(item["status"].get("phase") == "Running" for item in items)

    def push(self, node: str, seconds: float = 3600) -> str:
        task = self.central.task("drain_node", {"node_name": node}, seconds=seconds)
        self.central.push(task)
        return str(task["task_id"])

    def drain(self, nodes: list[str], timeout: float = 1200) -> float:
        """Seconds from the first push to the last result, all of them pushed at once."""
        started = time.monotonic()
        tasks = [self.push(node) for node in nodes]
        for task_id in tasks:
            result = self.central.ledger.wait_result(task_id, timeout)
            if result["status"] != "success":
                raise SystemExit(f"a drain failed: {result['error']}\n{result['logs'][-2000:]}")
        return time.monotonic() - started

    def audit(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/sim/audit") as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    @staticmethod
    def wait(condition: Any, timeout: float = 300) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit("it did not get there in time")
            time.sleep(0.2)


@contextlib.contextmanager
def site(
    nodes: int, ending_seconds: float, limited: bool = True, options: Sequence[str] = ("--scenario", "empty")
) -> Iterator[Site]:
    """A simulator of ``nodes`` nodes whose pods take so long to end, and an agent that is ready."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, kubeconfig = free_port(), scratch / "kubeconfig"
        command = [sys.executable, "-m", "tests.sim.kube", "--port", str(port), "--nodes", str(nodes)]
        command += [*options, "--kubeconfig", str(kubeconfig), "--start-seconds", "0.05"]
        command += ["--termination-seconds", str(ending_seconds), "--history", "200000"]
        process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
        stack.callback(process.terminate)
        Site.wait(kubeconfig.exists, 60)
        group = None
        if limited:
            try:
                group = stack.enter_context(Group("zone", cpu=CPU))
            except OSError as error:
                print(f"  no CPU quota can be set here: {error}")
        central = stack.enter_context(Central())
        wrap: Any = {"wrap": group.wrap} if group else {}
        agent = stack.enter_context(Agent(central.url, kubeconfig, {**image.environment(), **_SETTINGS}, **wrap))
        agent.wait_ready(120)
        central.ledger.wait(lambda: central.streams)
        yield Site(Kube(str(kubeconfig), "bench", connections=8), f"http://127.0.0.1:{port}", central, agent, group)


class Peak:
    """The highest working set of a group while the block runs, and the highest PSS of each worker."""

    def __init__(self, site: Site) -> None:
        self._group = site.group
        self._agent = site.agent
        self._done = threading.Event()
        self.bytes = 0
        self.workers: dict[str, int] = {}
        """Bytes by program."""

    def __enter__(self) -> Peak:
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def _look(self) -> None:
        looks = 0
        while self._group is not None and not self._done.wait(0.2):
            self.bytes = max(self.bytes, self._group.working_set())
            if looks % 25 == 0:
                for name, pid in self._agent.pids().items():
                    self.workers[name] = max(self.workers.get(name, 0), _pss(pid))
            looks += 1

    def __exit__(self, *_: object) -> None:
        self._done.set()


def _pss(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def zone(kills: int) -> list[Figure]:
    """500 nodes with 15 pods each that take 30 s to end; optionally with workers killed meanwhile.

    With kills there is no quota: to look at 500 nodes anew takes longer at 200m than the time between two kills.
    """
    with site(500, 30.0, limited=not kills) as at:
        nodes = at.fill(500, 15, "zone")
        killer = Killer(at.agent, kills)
        with Peak(at) as peak:
            killer.start()
            seconds = at.drain(nodes)
            killed = killer.stop()
        figures = [
            Figure("500 nodes x 15 pods, 30 s to end, pushed at once", seconds, "s", None if kills else 150),
            *(Figure(f"peak PSS of {name}", size / MIB, "MiB") for name, size in sorted(peak.workers.items())),
        ]
        if at.group is not None:
            figures += [
                Figure("peak working set of the whole agent meanwhile", peak.bytes / MIB, "MiB", 160),
                Figure("CPU of the whole agent", at.group.cpu_seconds(), "s"),
            ]
        if kills:
            accepted = Counter(
                entry["path"] for entry in at.audit() if entry["path"].endswith("/eviction") and entry["code"] == 201
            )
            answered = {arrival.body["task_id"] for arrival in at.central.ledger.of("result")}
            figures += [
                Figure("workers killed", killed, ""),
                Figure("drains without a result", 500 - len(answered), "", 0),
                Figure("pods evicted twice", sum(count > 1 for count in accepted.values()), "", 0),
                Figure("pods left", at.count("zone"), "", 0),
            ]
        return figures


class Killer:
    """Kills a random worker of the agent, now and then."""

    def __init__(self, agent: Agent, kills: int) -> None:
        self._agent = agent
        self._kills = kills
        self._done = threading.Event()
        self._killed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        while self._killed < self._kills and not self._done.wait(random.uniform(1.0, 3.0)):
            pids = self._agent.pids()
            name = random.choice(["task-runner", "task-runner", *pids])
            with contextlib.suppress(KeyError, ProcessLookupError):
                os.kill(pids[name], signal.SIGKILL)
                self._killed += 1

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._killed


def slow() -> list[Figure]:
    """40 nodes whose pods take 10 s to end, beside one such drain alone."""
    with site(41, 10.0) as at:
        nodes = at.fill(41, 10, "slow")
        one = at.drain(nodes[40:])
        many = at.drain(nodes[:40])
    return [
        Figure("one drain of pods that take 10 s", one, "s"),
        Figure("40 such drains at once", many, "s"),
        Figure("ratio", many / one, "", 1.3),
    ]


def held() -> list[Figure]:
    """200 drains that a budget holds, then free ones; and what one more held drain costs."""
    with site(1050, 0.5) as at:
        nodes = at.fill(1000, 1, "held")
        at.hold("held")
        free = [f"node-{number}" for number in range(1001, 1051)]
        for node in free:
            at.pods(node, 1, "free")
        for node in nodes[:200]:
            at.push(node)
        at.wait(lambda: at.agent.metric("cloudoptim_drain_pods_blocked") == 200)
        time.sleep(10)
        before = at.group.working_set() if at.group else 0
        pushed = {}
        for node in free:
            pushed[node] = time.time()
            at.central.ledger.wait_result(at.push(node), 60)
        first: dict[str, float] = {}
        for entry in at.audit():
            if entry["path"].endswith("/eviction") and "/free-" in entry["path"]:
                first.setdefault(entry["path"].split("/free-")[1].rpartition("-")[0], entry["time"])
        delays = [first[node] - pushed[node] for node in free]
        for node in nodes[200:]:
            at.push(node)
        at.wait(lambda: at.agent.metric("cloudoptim_drain_pods_blocked") == 1000, 600)
        time.sleep(10)
        after = at.group.working_set() if at.group else 0
    return [
        Figure("beside 200 held drains: push to first eviction, p99 of 50", percentile(delays, 99), "s", 1.0),
        Figure("the same, median", statistics.median(delays), "s"),
        Figure("memory of one more held drain (of 800)", (after - before) / 800 / 1024, "KiB", 40),
    ]


def burst() -> list[Figure]:
    """500 nodes with one pod each that ends at once."""
    with site(500, 0.05, limited=False) as at:
        nodes = at.fill(500, 1, "burst")
        seconds = at.drain(nodes)
    return [Figure("500 nodes with one pod each, pushed at once", seconds, "s", 10)]


def watch() -> list[Figure]:
    """What the shared watch costs beside 30,000 pods of which 20 change a second, for as long as one drain is held."""
    options = ["--scenario", "scale", "--pods", "30000", "--churn", "20"]
    with site(1000, 0.3, limited=False, options=options) as at:
        pid = at.agent.pids()["task-runner"]
        idle = _cpu_over(pid, 40)
        at.pods("node-1", 1, "held")
        at.hold("held")
        at.push("node-1")
        at.wait(lambda: at.agent.metric("cloudoptim_drain_pods_blocked") == 1)
        time.sleep(5)
        watching = _cpu_over(pid, 40)
    return [
        Figure("task-runner at rest, 1,000 nodes, 30,000 pods", 1000 * idle, "m"),
        Figure("the same while a held drain keeps the watch open, 20 changes/s", 1000 * watching, "m"),
    ]


def _cpu_over(pid: int, seconds: float) -> float:
    """CPUs used by a process over so many seconds."""
    before, began = _cpu(pid), time.monotonic()
    time.sleep(seconds)
    return (_cpu(pid) - before) / (time.monotonic() - began)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.zone", description=__doc__)
    parser.add_argument("--only", choices=["zone", "slow", "held", "burst", "watch"])
    parser.add_argument("--kills", type=int, default=0)
    arguments = parser.parse_args()
    parts: dict[str, Any] = {
        "zone": lambda: zone(arguments.kills),
        "slow": slow,
        "held": held,
        "burst": burst,
        "watch": watch,
    }
    figures: list[Figure] = []
    for name, part in parts.items():
        if arguments.only in (None, name):
            print(f"  {name} ...", flush=True)
            figures += part()
    named = f"zone-{arguments.only}" if arguments.only else "zone"
    report(f"{named}-kills" if arguments.kills else named, figures, "the simulator")


if __name__ == "__main__":
    main()
