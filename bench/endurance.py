"""A day in fast motion: what the agent holds of the machine while everything around it comes and goes.

python -m bench.endurance                      # 24 hours' worth: 200,000 tasks, 1,000,000 events and pods' changes
python -m bench.endurance --share 0.01         # a hundredth of it
python -m bench.endurance --minutes 15         # as much as comes in that time

The load goes as fast as the simulators do. Meanwhile each worker is restarted, key and token are rotated and the API
server is restarted, one after another. Private memory, descriptors and threads of each worker and the spool's size are
looked at every few seconds; at the end all results and events are counted.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.plot import Points, lines
from bench.report import RESULTS, Figure, report
from shared.kube.connection import Kube
from shared.process.programs import PROGRAMS
from tests.container.bundle import rbac
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

TASKS, EVENTS, CHANGES = 200_000, 1_000_000, 1_000_000
"""Of a day."""

CHANGES_OF_A_POD = 4
"""Made, running, terminating or ended, gone."""

NODES = 6
LOOK_SECONDS = 5.0
WARM = 1 / 8
"""The share of the run that is left out: caches fill, and a restarted worker starts anew."""

SETTINGS = {
    "TASK_POLL_INTERVAL_SECONDS": "1",
    "METRICS_POLL_INTERVAL_SECONDS": "5",
    "HEARTBEAT_INTERVAL_SECONDS": "2",
}
FLAT = 1.05
"""The last quarter may hold so many times the bytes that the second one did."""

STEADY = 2
"""And so many descriptors or threads more: a connection comes and goes."""


@dataclass
class Held:
    """What was seen of the agent, by minutes since the start."""

    memory: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """MiB that a worker has for itself."""
    descriptors: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    threads: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    spool: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def look(self, agent: Agent, minutes: float) -> None:
        for name, pid in agent.pids().items():
            try:
                private = sum(
                    int(line.split()[1])
                    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                    if line.startswith("Private_")
                )
                descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
            except OSError:
                continue  # It was restarted just now.
            self.memory[name].append((minutes, private / 1024))
            self.descriptors[name].append((minutes, descriptors))
            self.threads[name].append((minutes, threads))
        size = sum(path.stat().st_size for path in agent.run_dir.glob("spool.sqlite*"))
        self.spool["spool"].append((minutes, size / 1024 / 1024))


class Day:
    """One run against simulators in this process."""

    def __init__(self, share: float, minutes: float | None, pause: float) -> None:
        self._wanted = (int(TASKS * share), int(EVENTS * share), int(CHANGES * share / CHANGES_OF_A_POD))
        self._limit = None if minutes is None else minutes * 60
        self._pause = pause
        """Seconds between two disturbances."""
        self._done = threading.Event()
        self.held = Held()
        self.tasks: list[str] = []
        self.killed: list[str] = []
        self.pods = 0
        self.disturbed: dict[str, int] = defaultdict(int)

    def run(self) -> list[Figure]:
        with (
            tempfile.TemporaryDirectory() as scratch,
            Central() as central,
            Cluster(nodes=NODES, rbac=rbac("pod-labels"), start_seconds=0.02, termination_seconds=0.05) as cluster,
        ):
            folder = Path(scratch)
            key = folder / "api-key"
            key.write_text("demo-key")
            kubeconfig = cluster.write_kubeconfig(folder / "kubeconfig")
            admin = Kube(str(cluster.write_kubeconfig(folder / "admin", token="admin")), "endurance")
            env = {**SETTINGS, "CENTRAL_API_KEY_FILE": str(key)}
            with Agent(central.url, kubeconfig, env) as agent:
                agent.wait_ready()
                self._live(agent, central, cluster, admin, key, kubeconfig)
                agent.wait_ready(180)
                central.ledger.wait(lambda: self._lost(central) == (0, 0), 300)
                return self._figures(central)

    def _live(self, agent: Agent, central: Central, cluster: Cluster, admin: Kube, key: Path, kubeconfig: Path) -> None:
        tasks, events, pods = self._wanted
        loads = [
            self._repeat(tasks, lambda number: self._task(central, number)),
            self._repeat(events, lambda number: self._kill(cluster, admin, number)),
            self._repeat(pods, lambda number: self._pod(cluster, admin, number)),
        ]
        began = time.monotonic()
        disturbances = itertools.cycle(self._disturbances(agent, central, cluster, key, kubeconfig))
        next_one = began + self._pause
        while any(load.is_alive() for load in loads):
            now = time.monotonic()
            if self._limit is not None and now - began > self._limit:
                self._done.set()
            if now >= next_one:
                name, disturb = next(disturbances)
                disturb()
                self.disturbed[name] += 1
                next_one = now + self._pause
            self.held.look(agent, (now - began) / 60)
            time.sleep(LOOK_SECONDS)
        self.minutes = (time.monotonic() - began) / 60

    def _disturbances(
        self, agent: Agent, central: Central, cluster: Cluster, key: Path, kubeconfig: Path
    ) -> list[tuple[str, Callable[[], object]]]:
        keys = itertools.count(1)

        def rotate_key() -> None:
            fresh = f"key-{next(keys)}"
            central.keys = {*central.keys, fresh}
            unready = key.with_name("fresh")
            unready.write_text(fresh)
            unready.rename(key)

        def rotate_token() -> None:
            cluster.rotate_token()
            cluster.write_kubeconfig(kubeconfig)

        restarts: list[tuple[str, Callable[[], object]]] = [
            ("a worker restarted", lambda name=name: agent.supervisorctl("restart", name))  # type: ignore[misc]
            for name in PROGRAMS
        ]
        others: list[tuple[str, Callable[[], object]]] = [
            ("the key rotated", rotate_key),
            ("the token rotated", rotate_token),
            ("the API server restarted", cluster.restart),
        ]
        return [*others, *restarts]

    def _repeat(self, times: int, once: Callable[[int], None]) -> threading.Thread:
        def run() -> None:
            for number in range(times):
                if self._done.is_set():
                    return
                once(number)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _task(self, central: Central, number: int) -> None:
        node = f"node-{number % NODES + 1}"
        if number % 3:
            task = central.task(
                "label_node", {"node_name": node, "labels": {"endurance": str(number % 100)}}, seconds=3600
            )
        else:
            task = central.task("cordon_node" if number % 2 else "uncordon_node", {"node_name": node}, seconds=3600)
        self.tasks.append(task["task_id"])
        try:
            central.push(task)
        except (LookupError, OSError):
            pass  # No stream just now, as it happens; the poll brings it.
        central.offer(task)
        # In step with the events, as in the day; and never so many ahead that Central's list is what is measured.
        while not self._done.is_set() and (
            len(self.tasks) * EVENTS > (len(self.killed) + 100) * TASKS
            or (number % 100 == 0 and len(self.tasks) - len(central.ledger.of("result")) > 200)
        ):
            time.sleep(0.05)

    def _kill(self, cluster: Cluster, admin: Kube, number: int) -> None:
        """One event of a pod of its own."""
        name = f"hungry-{number}"
        cluster.add_pod("endurance", name, f"node-{number % NODES + 1}")
        cluster.oom_kill("endurance", name)
        self.killed.append(name)
        time.sleep(0.01)
        self._delete(admin, name)

    def _pod(self, cluster: Cluster, admin: Kube, number: int) -> None:
        name = f"pod-{number}"
        cluster.add_pod("endurance", name, f"node-{number % NODES + 1}")
        self.pods += 1
        time.sleep(0.03)
        self._delete(admin, name)

    def _delete(self, admin: Kube, name: str) -> None:
        try:
            admin.call("DELETE", f"/api/v1/namespaces/endurance/pods/{name}", {"gracePeriodSeconds": 0})
        except Exception:
            time.sleep(0.2)  # The API server is being restarted; a pod more stays.

    def _lost(self, central: Central) -> tuple[int, int]:
        """Results and events that have not arrived."""
        results = {arrival.task_id for arrival in central.ledger.of("result")}
        told = {event["name"] for batch in central.ledger.of("events") for event in batch.body["events"]}
        return len(set(self.tasks) - results), len(set(self.killed) - told)

    def _figures(self, central: Central) -> list[Figure]:
        results, events = self._lost(central)
        figures = [
            Figure("minutes", self.minutes, "min"),
            Figure("tasks", len(self.tasks), ""),
            Figure("results that did not arrive", results, "", 0),
            Figure("events (pods killed for memory)", len(self.killed), ""),
            Figure("events that did not arrive", events, "", 0),
            Figure("pods' changes", CHANGES_OF_A_POD * (self.pods + len(self.killed)), ""),
            Figure(
                "disturbances",
                sum(self.disturbed.values()),
                "",
                note=", ".join(f"{name} {count}" for name, count in self.disturbed.items()),
            ),
        ]
        for what, unit, series in (
            ("private memory", "MiB", self.held.memory),
            ("descriptors", "", self.held.descriptors),
            ("threads", "", self.held.threads),
            ("size", "MiB", self.held.spool),
        ):
            for name, points in sorted(series.items()):
                early, late = quarters(points)
                figures.append(Figure(f"{name}: {what}, last quarter", late, unit, note=f"second quarter {early:.4g}"))
                if unit:
                    figures.append(Figure(f"{name}: {what}, last over second quarter", late / (early or 1.0), "", FLAT))
                else:
                    figures.append(Figure(f"{name}: {what}, last less second quarter", late - early, "", STEADY))
        return figures


def quarters(points: Points) -> tuple[float, float]:
    """The median of the second quarter and of the last one, the first minutes left out."""
    if not points:
        return 0.0, 0.0
    end = points[-1][0]
    kept = [point for point in points if point[0] >= end * WARM] or list(points)
    second = [y for x, y in kept if x <= end / 2] or [y for _, y in kept]
    last = [y for x, y in kept if x >= end * 3 / 4] or [y for _, y in kept]
    return statistics.median(second), statistics.median(last)


def draw(held: Held, folder: Path) -> None:
    """The plots of docs/reliability.md."""
    folder.mkdir(parents=True, exist_ok=True)
    lines(folder / "endurance-memory.svg", "Private memory of each worker", "MiB", held.memory)
    lines(folder / "endurance-descriptors.svg", "Descriptors of each worker", "", held.descriptors)
    lines(folder / "endurance-threads.svg", "Threads of each worker", "", held.threads)
    lines(folder / "endurance-spool.svg", "The spool with its write-ahead journal", "MiB", held.spool)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of a day's load")
    parser.add_argument("--minutes", type=float, help="end the load after so many")
    parser.add_argument("--pause", type=float, default=20.0, help="seconds between two disturbances")
    parser.add_argument("--plots", type=Path, default=RESULTS, help="where to write the SVG files")
    arguments = parser.parse_args()
    day = Day(arguments.share, arguments.minutes, arguments.pause)
    figures = day.run()
    report("endurance", figures, "the simulator, in the process of the load")
    draw(day.held, arguments.plots)
    (RESULTS / "endurance-series.json").write_text(json.dumps(vars(day.held)))


if __name__ == "__main__":
    main()
