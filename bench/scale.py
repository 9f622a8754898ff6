"""Memory, CPU and API load of the whole agent on large clusters, the first list included.

python -m bench.scale                        # 1,000 nodes / 30,000 pods, then 5,000 / 150,000
python -m bench.scale --nodes 20 --pods 600
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bench import image
from bench.cgroup import Group
from bench.report import Figure, report
from shared.kube.connection import Kube
from tests.sim.agent import ROOT, Agent, free_port
from tests.sim.central.server import Central

REST_SECONDS = 60.0
CHURN = 20
MIB = 2**20


@dataclass
class Sampler:
    """Samples a group's memory every quarter of a second, and keeps the highest."""

    group: Group
    working_set: int = 0
    pss: int = 0
    series: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._stop.wait(0.25):
            now = self.group.working_set()
            self.working_set, self.pss = max(self.working_set, now), max(self.pss, self.group.pss())
            self.series.append((round(time.monotonic() - started, 2), now))


@contextlib.contextmanager
def simulator(scratch: Path, nodes: int, pods: int) -> Iterator[tuple[str, Path]]:
    """A simulator with so many nodes and pods in a process of its own; its URL and the agent's kubeconfig."""
    port, kubeconfig = free_port(), scratch / "kubeconfig"
    command = [sys.executable, "-m", "tests.sim.kube", "--port", str(port), "--nodes", str(nodes)]
    command += ["--pods", str(pods), "--scenario", "scale", "--churn", str(CHURN)]
    command += ["--rbac", str(ROOT / "k8s" / "base" / "rbac.yaml"), "--kubeconfig", str(kubeconfig)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 180
            while not kubeconfig.exists():
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SystemExit("the simulator did not start")
                time.sleep(0.2)
            time.sleep(1)
            yield f"http://127.0.0.1:{port}", kubeconfig
        finally:
            process.terminate()


def bare_download(kube: Kube) -> tuple[float, int]:
    """Seconds and bytes of all pods in pages of 500, read and thrown away."""
    token, size, started = "", 0, time.monotonic()
    while True:
        body = kube.get("/api/v1/pods", {"limit": 500, **({"continue": token} if token else {})})
        size += len(body)
        found = re.search(rb'"continue":"([^"]+)"', body[:1000])
        if found is None:
            return time.monotonic() - started, size
        token = found[1].decode()


@dataclass(frozen=True)
class Site:
    """An API server with pods. ``url`` is the simulator's, for what only it can tell."""

    label: str
    kubeconfig: Path
    memory_target: float | None
    url: str | None = None
    reference: bool = False
    """Whether it is the 30,000 pods that the other targets speak of."""


def run(site: Site) -> list[Figure]:
    """All figures of one cluster."""
    kube = Kube(str(site.kubeconfig), "bench")
    downloads = sorted(bare_download(kube) for _ in range(5))
    bare, size = downloads[len(downloads) // 2]
    with (
        Group("scale") as group,
        Sampler(group) as sampler,
        Central() as central,
        Agent(central.url, site.kubeconfig, image.environment(), wrap=group.wrap) as agent,
    ):
        agent.wait_ready(120)
        agent.wait(lambda: central.ledger.of("metrics"), 120)
        metrics_cpu = _cpu_of(agent.pids()["metrics"])
        first = _seconds_to_list(agent)
        sample = central.ledger.of("metrics")[0].body
        time.sleep(10)
        if site.url:
            _forget_audit(site.url)
        before, since = group.cpu_seconds(), time.monotonic()
        time.sleep(REST_SECONDS)
        at_rest = (group.cpu_seconds() - before) / (time.monotonic() - since)
        load = _api_load(site.url) if site.url else None
    print(f"  {site.label}: {size / 1e6:.0f} MB of pods, first sample: {sample['pod_count']:,} pods", flush=True)
    judged = site.reference
    figures = [
        Figure(f"{site.label}: peak working set", sampler.working_set / MIB, "MiB", site.memory_target),
        Figure(f"{site.label}: peak sum of PSS", sampler.pss / MIB, "MiB", site.memory_target),
        Figure(f"{site.label}: bare paged download", bare, "s"),
        Figure(f"{site.label}: first totals of pods", first, "s"),
        Figure(f"{site.label}: of the bare download", first / bare, "", 1.2 if judged and not site.url else None),
        Figure(f"{site.label}: CPU of the metrics worker so far", metrics_cpu, "s", 1.5 if judged else None),
        Figure(f"{site.label}: CPU at rest", at_rest * 1000, "m", 50.0 if judged else None),
    ]
    if load is not None:
        lists, others = load
        figures += [
            Figure(f"{site.label}: lists of pods at rest", lists, "", 0.0),
            Figure(f"{site.label}: other requests a minute at rest", others / REST_SECONDS * 60, "", 2.0),
        ]
    return figures


def _seconds_to_list(agent: Agent) -> float:
    """From the metrics worker's start to its totals of pods, by its log."""

    def moment(text: str) -> float:
        line = next(line for line in agent.log("metrics") if text in line["message"])
        return datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()

    return moment(" pods") - moment("metrics started")


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _forget_audit(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/sim/audit", method="DELETE")).close()


def _api_load(url: str) -> tuple[int, int]:
    """Lists of pods, and requests that are neither watches nor for usage, since the audit was emptied."""
    with urllib.request.urlopen(f"{url}/sim/audit") as answer:
        entries = [entry for entry in json.load(answer) if "cloudoptim-agent" in entry["user"]]
    lists = [entry for entry in entries if (entry["verb"], entry["group"], entry["resource"]) == ("list", "", "pods")]
    plain = [entry for entry in entries if entry["verb"] != "watch" and entry["group"] != "metrics.k8s.io"]
    return len(lists), len(plain)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--pods", type=int)
    parser.add_argument("--kubeconfig", type=Path, help="a real cluster as it is, instead of the simulator")
    arguments = parser.parse_args()
    if arguments.kubeconfig:
        site = Site("a real cluster", arguments.kubeconfig, None, reference=True)
        report("scale-real", run(site), "an API server by kubeconfig")
        return
    sizes = [(1_000, 30_000, 128.0), (5_000, 150_000, 192.0)]
    if arguments.nodes:
        sizes = [(arguments.nodes, arguments.pods or 30 * arguments.nodes, 96.0)]
    figures: list[Figure] = []
    for nodes, pods, target in sizes:
        label = f"{nodes:,} nodes, {pods:,} pods"
        with tempfile.TemporaryDirectory() as scratch, simulator(Path(scratch), nodes, pods) as (url, kubeconfig):
            figures += run(Site(label, kubeconfig, target, url, reference=pods == 30_000))
    report("scale", figures, f"the simulator, in a process of its own, {CHURN} changes a second")


if __name__ == "__main__":
    main()
