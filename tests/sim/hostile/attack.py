"""The attack itself: floods by poll and stream, then one good task, then the comparison."""

from __future__ import annotations

import functools
import json
import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.payloads import generated
from tests.sim.agent import Agent
from tests.sim.central.faults import Fault
from tests.sim.central.server import Central
from tests.sim.hostile.ground import (
    CONTROL_PLANE,
    KEPT_NODE,
    MOST_CORDONED,
    MOST_EVICTIONS,
    OWN_NODE,
    PLAIN_NODES,
    attacked,
    settings,
)
from tests.sim.hostile.verdict import objects_of, trespasses
from tests.sim.hostile.words import Json, Words
from tests.sim.kube.cluster import Cluster

_ENV = {"TASK_POLL_INTERVAL_SECONDS": "0.2", "METRICS_POLL_INTERVAL_SECONDS": "30", "HEARTBEAT_INTERVAL_SECONDS": "2"}
_AT_ONCE = 200
"""Tasks of one poll or frame."""


@dataclass
class Outcome:
    """What it came to."""

    said: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """Results by status."""
    writes: Counter[str] = field(default_factory=Counter)
    """The agent's writes by what became of them: ``evict 201``, ``patch nodes 403`` and so on."""
    trespasses: list[str] = field(default_factory=list)
    good_seconds: float = 0.0
    """From the flood's end to the answer of a good task."""
    good_status: str = ""
    peak_mib: float = 0.0
    """Of all processes of the agent, shared pages divided."""
    log_mib: float = 0.0
    restarted: bool = False


def attack(tasks: int, seconds: float, seed: int = 1, guarded: bool = True) -> Outcome:
    """At least so many tasks, for at least so long; without the limits where it is not ``guarded``."""
    outcome, env = Outcome(), {**_ENV, **(settings() if guarded else {"ALLOW_CONTROL_PLANE_NODES": "true"})}
    with (
        tempfile.TemporaryDirectory(prefix="hostile-") as scratch,
        attacked(Path(scratch), guarded) as cluster,
        Central() as central,
        Agent(central.url, cluster.write_kubeconfig(Path(scratch) / "kubeconfig"), env) as agent,
    ):
        agent.wait_ready()
        agent.wait(lambda: central.streams)
        pids, before = agent.pids(), objects_of(cluster.store)
        with _Memory(agent) as memory:
            _flood(central, cluster, tasks, seconds, seed, outcome)
            _good_task(central, outcome)
            _settle(agent, cluster)
        outcome.peak_mib = memory.peak / 2**20
        outcome.trespasses = trespasses(before, objects_of(cluster.store), MOST_CORDONED)
        if (went := _made_to_go(cluster)) > MOST_EVICTIONS:
            outcome.trespasses.append(f"{went} pods were made to go within the hour, {MOST_EVICTIONS} may be")
        outcome.log_mib = agent.log_path.stat().st_size / 2**20
        outcome.restarted = agent.pids() != pids
        outcome.answers.update(arrival.body["status"] for arrival in central.ledger.of("result"))
        outcome.writes.update(
            f"{entry.verb} {entry.resource}{'/' if entry.subresource else ''}{entry.subresource} {entry.code}"
            for entry in cluster.audit
            if "cloudoptim-agent" in entry.user and entry.verb not in ("get", "list", "watch")
        )
    return outcome


def _made_to_go(cluster: Cluster) -> int:
    """Evictions and deletions of the agent that were accepted."""
    return sum(
        "cloudoptim-agent" in entry.user and entry.resource == "pods" and entry.code < 300
        for entry in cluster.audit
        if entry.subresource == "eviction" or entry.verb == "delete"
    )


def _flood(central: Central, cluster: Cluster, tasks: int, seconds: float, seed: int, outcome: Outcome) -> None:
    pods = [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in cluster.pods()]
    words = Words([*PLAIN_NODES, OWN_NODE, CONTROL_PLANE, KEPT_NODE, "nowhere"], pods, seed)
    chance, junk = random.Random(seed), generated(200, seed)
    until, first = time.monotonic() + seconds, words.first()
    while outcome.said < tasks or time.monotonic() < until:
        batch: list[Json] = [task for _, task in zip(range(_AT_ONCE), first, strict=False)]
        batch += [words.more() for _ in range(_AT_ONCE - len(batch))]
        chance.shuffle(batch)
        outcome.said += len(batch)
        if chance.random() < 0.5:
            body = json.dumps([*batch, *chance.sample(junk, 10)]).encode()
            fault = central.fault("tasks", status=200, headers={"Content-Type": "application/json"}, body=body, times=1)
            central.ledger.wait(functools.partial(_is_spent, fault))
        else:
            central.ledger.wait(lambda: central.streams)
            while batch:
                size = chance.choice([1, 5, 50])
                some, batch = batch[:size], batch[size:]
                central.push(words.frame(some))


def _is_spent(fault: Fault) -> bool:
    return fault.times == 0


def _good_task(central: Central, outcome: Outcome) -> None:
    """What an honest Central would ask for next, and how long it waits."""
    task = central.task("label_node", {"node_name": PLAIN_NODES[0], "labels": {"good": "true"}}, priority=1)
    begun = time.monotonic()
    central.push(task)
    central.offer(task)
    result = central.ledger.wait_result(task["task_id"], timeout=120)
    outcome.good_seconds, outcome.good_status = time.monotonic() - begun, result["status"]


def _settle(agent: Agent, cluster: Cluster) -> None:
    """Until what was taken in has ended; the longest deadline is 20 s."""
    agent.wait(
        lambda: agent.metric("cloudoptim_tasks_in_progress") + agent.metric("cloudoptim_tasks_waiting") == 0, 180
    )
    cluster.wait_settled()


class _Memory:
    """Samples the agent's memory while it is open."""

    def __init__(self, agent: Agent) -> None:
        assert agent.process is not None
        self._root = agent.process.pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(60)

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            self.peak = max(self.peak, sum(map(_pss, [self._root, *_children(self._root)])))


def _children(pid: int) -> list[int]:
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*found, *(grandchild for child in found for grandchild in _children(child))]


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
