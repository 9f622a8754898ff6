"""Kills workers at random instants under a stream of tasks and events, then counts what went in and came out.

python -m tests.sim.soak --kills 500        # make soak
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.process.programs import PROGRAMS
from tests.container.bundle import rbac
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

FAST = {
    "TASK_POLL_INTERVAL_SECONDS": "0.5",
    "METRICS_POLL_INTERVAL_SECONDS": "2",
    "HEARTBEAT_INTERVAL_SECONDS": "1",
}
NODES = 6
TASK_PAUSE = 0.25
EVENT_PAUSE = 0.5
KILL_PAUSE = (0.1, 1.2)
"""Seconds between two kills, at random in this range: often before the worker killed last is back."""


@dataclass
class Counts:
    """What went in, what came out, what came twice."""

    kills: Counter[str] = field(default_factory=Counter)
    tasks_in: int = 0
    results_lost: list[str] = field(default_factory=list)
    results_twice: int = 0
    """Results delivered more than once: allowed, Central knows them by their id."""
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    effects_twice: list[str] = field(default_factory=list)
    """Pods deleted more than once for one task: never allowed."""
    events_in: int = 0
    events_lost: list[str] = field(default_factory=list)
    events_twice: int = 0

    @property
    def clean(self) -> bool:
        return not (self.results_lost or self.effects_twice or self.events_lost or self.failures)

    def report(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        statuses = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        lines = [
            f"kills:   {sum(self.kills.values())} ({kills})",
            f"tasks:   {self.tasks_in} in; {statuses}; {len(self.results_lost)} results lost,"
            f" {self.results_twice} delivered twice",
            f"effects: {len(self.effects_twice)} done twice",
            f"events:  {self.events_in} in; {len(self.events_lost)} lost, {self.events_twice} delivered twice",
        ]
        return "\n".join([*lines, *self.failures[:10], *self.results_lost[:5], *self.effects_twice[:5]])


class Soak:
    """One run. Each delete_pod has a StatefulSet of its own, so that a second deletion shows as a third pod."""

    def __init__(self, kills: int, seed: int = 1) -> None:
        self._kills = kills
        self._random = random.Random(seed)
        self._done = threading.Event()
        self._numbers = itertools.count(1)
        self._expected: list[tuple[str, str]] = []
        """(task id, what it was) of every task that went in."""
        self._victims: dict[str, str] = {}
        """StatefulSet to the task that deletes its pod."""
        self._killed_pods: list[str] = []
        self.counts = Counts()

    def run(self) -> Counts:
        with (
            tempfile.TemporaryDirectory() as scratch,
            Central() as central,
            Cluster(nodes=NODES, rbac=rbac("pod-labels")) as cluster,
        ):
            cluster.add_deployment("shop", "web", 12)
            cluster.wait_settled()
            kubeconfig = cluster.write_kubeconfig(Path(scratch) / "kubeconfig")
            with Agent(central.url, kubeconfig, FAST) as agent:
                agent.wait_ready(60)
                self._load_and_kill(agent, cluster, central)
                agent.wait_ready(90)
                self._settle(central)
                self._count(cluster, central)
        return self.counts

    def _load_and_kill(self, agent: Agent, cluster: Cluster, central: Central) -> None:
        load = [
            threading.Thread(target=self._send_tasks, args=(cluster, central)),
            threading.Thread(target=self._make_events, args=(cluster,)),
        ]
        for thread in load:
            thread.start()
        try:
            self._kill(agent)
        finally:
            self._done.set()
            for thread in load:
                thread.join()

    def _kill(self, agent: Agent) -> None:
        """Kill whichever worker is drawn, if it is there, as often as was asked."""
        while sum(self.counts.kills.values()) < self._kills:
            time.sleep(self._random.uniform(*KILL_PAUSE))
            name = self._random.choice(PROGRAMS)
            pid = agent.pids().get(name)
            if pid is None:
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.counts.kills[name] += 1

    def _send_tasks(self, cluster: Cluster, central: Central) -> None:
        """Tasks by poll and by push, at random, until the killing is over."""
        while not self._done.wait(TASK_PAUSE):
            task_type, parameters = self._draw(cluster)
            task = central.task(task_type, parameters, seconds=300, task_id=f"soak-{next(self._numbers)}")
            self._expected.append((task["task_id"], task_type))
            if task_type == "delete_pod":
                self._victims[parameters["pod_name"].removesuffix("-0")] = task["task_id"]
            if self._random.random() < 0.5:
                try:
                    central.push(task)
                except (LookupError, OSError):
                    pass  # No stream just now, as it happens; the poll brings it.
            central.offer(task)

    def _draw(self, cluster: Cluster) -> tuple[str, dict[str, Any]]:
        kind = self._random.choice(("label_node", "cordon_node", "uncordon_node", "delete_pod", "drain_node"))
        node = f"node-{self._random.randint(1, NODES)}"
        if kind == "label_node":
            return kind, {"node_name": node, "labels": {"soak": str(self._random.randint(0, 99))}}
        if kind == "delete_pod":
            name = f"db-{len(self._victims)}"
            cluster.add_statefulset("soak", name, 1, node=node)
            time.sleep(1.1)  # Creation times have whole seconds: the pod must not look newer than the task.
            return kind, {"namespace": "soak", "pod_name": f"{name}-0"}
        if kind == "drain_node":
            return kind, {"node_name": node, "skip_namespaces": ["kube-system", "soak"]}
        return kind, {"node_name": node}

    def _make_events(self, cluster: Cluster) -> None:
        """OOM kills of pods made for it, one each, so that each is one event."""
        while not self._done.wait(EVENT_PAUSE):
            name = f"hungry-{len(self._killed_pods)}"
            cluster.add_pod("soak", name, f"node-{self._random.randint(1, NODES)}")
            cluster.oom_kill("soak", name)
            self._killed_pods.append(name)

    def _settle(self, central: Central) -> None:
        """Wait until everything is answered and forwarded, or no more comes."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            answered = {arrival.task_id for arrival in central.ledger.of("result")}
            forwarded = {event["name"] for event in _events(central)}
            if {task_id for task_id, _ in self._expected} <= answered and set(self._killed_pods) <= forwarded:
                break
            time.sleep(0.5)
        time.sleep(2)  # What comes twice comes late.

    def _count(self, cluster: Cluster, central: Central) -> None:
        counts = self.counts
        results = Counter(arrival.task_id for arrival in central.ledger.of("result"))
        counts.tasks_in = len(self._expected)
        counts.results_lost = [f"{task_id} ({kind})" for task_id, kind in self._expected if not results[task_id]]
        counts.results_twice = sum(times - 1 for times in results.values())
        for arrival in central.ledger.of("result"):
            counts.statuses[arrival.body["status"]] += 1
            if arrival.body["status"] != "success":
                counts.failures.append(f"{arrival.task_id}: {arrival.body['error']}")
        for name, task_id in self._victims.items():
            deletions = _deletions(cluster, name)
            if deletions > 1:
                counts.effects_twice.append(f"{task_id}: the pod of {name} was deleted {deletions} times")
        oom = Counter(event["event_id"] for event in _events(central))
        names = {event["name"] for event in _events(central)}
        counts.events_in = len(self._killed_pods)
        counts.events_lost = [name for name in self._killed_pods if name not in names]
        counts.events_twice = sum(times - 1 for times in oom.values())
        counts.failures += [f"Central refused: {refusal}" for refusal in central.refused]


def _events(central: Central) -> list[dict[str, Any]]:
    batches = central.ledger.of("events")
    return [e for batch in batches for e in batch.body["events"] if e["event_type"] == "oom_killed"]


def _deletions(cluster: Cluster, name: str) -> int:
    """Evictions of the StatefulSet's pod that the API server accepted while it was not terminating yet."""
    accepted = cluster.audit.select(verb="create", subresource="eviction", name=f"{name}-0", code=201)
    return len(accepted)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    counts = Soak(arguments.kills, arguments.seed).run()
    print(counts.report())
    print(f"{'clean' if counts.clean else 'NOT CLEAN'}, {time.monotonic() - started:.0f} s")
    raise SystemExit(0 if counts.clean else 1)


if __name__ == "__main__":
    main()
