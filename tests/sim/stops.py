"""Stops the agent, as it ships, at random moments of a bad time at Central, and compares.

python -m tests.sim.stops --stops 100        # make stops

What was accepted (tasks claimed, by its log; events that happened three seconds before, by the cluster) is with Central
or left in the spool; what is left is what the log says; and where Central worked during the stop, nothing is.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.queue.messages import TOPICS
from tests.container.bundle import rbac
from tests.sim.agent import Agent
from tests.sim.central.faults import Fault
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

FAST = {
    "TASK_POLL_INTERVAL_SECONDS": "0.5",
    "METRICS_POLL_INTERVAL_SECONDS": "3",
    "HEARTBEAT_INTERVAL_SECONDS": "1",
}
SEEN_WITHIN = 3.0
"""Seconds an event may take to the queue; one that happens later need not have been accepted."""

PAGE: dict[str, Any] = {"body": b"<html>no</html>", "headers": {"Content-Type": "text/html"}}
TROUBLES: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503, "headers": {"Retry-After": "30"}},
    {"status": 404, "body": b"default backend - 404"},
    {"status": 409, **PAGE},
    {"status": 502, "after": True},
    {"cut": True},
    {"cut": True, "after": True},
    {"delay": 30.0, "cut": True},
)
CALLS = ("*", "*", "result", "result", "events", "metrics", "heartbeat")


@dataclass
class Outcome:
    """What one stop left."""

    seed: int
    worked: bool
    """Whether Central worked during the stop."""
    claimed: int = 0
    events: int = 0
    left: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Weather:
    """Troubles at Central, one after the other, until they are over."""

    def __init__(self, dice: random.Random) -> None:
        self._begun = time.monotonic()
        self._episodes = list(self._draw(dice))
        self.over = False

    @staticmethod
    def _draw(dice: random.Random) -> Iterator[tuple[float, float, Fault]]:
        at = 0.0
        while at < 120:
            begin = at + dice.expovariate(1 / 2)
            at = begin + dice.expovariate(1 / 5)
            yield begin, at, Fault(dice.choice(CALLS), **dice.choice(TROUBLES))

    def take(self, call: str) -> Fault | None:
        now = time.monotonic() - self._begun
        for begin, end, fault in () if self.over else self._episodes:
            if begin <= now < end and fault.call in ("*", call):
                return fault
        return None


def stop_once(seed: int) -> Outcome:
    """One agent, stopped once."""
    dice = random.Random(seed)
    outcome = Outcome(seed, worked=dice.random() < 0.6)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Central() as central,
        Cluster(nodes=2, rbac=rbac("pod-labels")) as cluster,
        Agent(central.url, cluster.write_kubeconfig(Path(scratch) / "kubeconfig"), FAST) as agent,
    ):
        agent.wait_ready(120)
        weather = Weather(dice)
        central.faults.take = weather.take  # type: ignore[method-assign]
        happened = _traffic(central, cluster, dice, dice.uniform(2, 15))
        stopped = time.monotonic()
        weather.over = outcome.worked
        status = agent.stop()
        outcome.seconds = time.monotonic() - stopped
        accepted = {name for name, at in happened.items() if at < stopped - SEEN_WITHIN}
        _compare(outcome, central, agent, accepted)
        if status:
            outcome.wrong.append(f"exit status {status}")
    return outcome


def _traffic(central: Central, cluster: Cluster, dice: random.Random, seconds: float) -> dict[str, float]:
    """Tasks and events for a while; the pods of the events, and when each happened."""
    happened: dict[str, float] = {}
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        labels = {"number": str(number)}
        task = central.task("label_node", {"node_name": "node-1", "labels": labels}, seconds=600)
        central.offer(task)
        if dice.random() < 0.5:
            cluster.add_pod("shop", f"pod-{number}", "node-2")
            cluster.oom_kill("shop", f"pod-{number}")
            happened[f"pod-{number}"] = time.monotonic()
        time.sleep(dice.uniform(0.05, 0.6))
    return happened


def _compare(outcome: Outcome, central: Central, agent: Agent, happened: set[str]) -> None:
    ledger = central.ledger
    claimed = {line["task_id"] for line in agent.log("task-runner") if line["message"].startswith("claimed ")}
    left = _left(agent.run_dir / "spool.sqlite")
    outcome.claimed, outcome.events = len(claimed), len(happened)
    outcome.left = {topic: len(found) for topic, found in left.items()}
    answered = {arrival.task_id for arrival in ledger.of("result")} | {body["task_id"] for body in left["results"]}
    told = {event["name"] for batch in ledger.of("events") for event in batch.body["events"]}
    told |= {body["name"] for body in left["events"]}
    outcome.wrong += [f"task {task_id} is lost" for task_id in sorted(claimed - answered)]
    outcome.wrong += [f"the event of {name} is lost" for name in sorted(happened - told)]
    if outcome.left != (said := _said(agent)):
        outcome.wrong.append(f"{outcome.left} are left, and the log says {said}")
    if outcome.worked and any(outcome.left.values()):
        outcome.wrong.append(f"Central worked, and {outcome.left} are left")


def _left(spool: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {topic: [] for topic in TOPICS}
    with sqlite3.connect(spool) as database:
        for topic, body in database.execute("SELECT topic, body FROM message"):
            found[topic].append(json.loads(body))
    database.close()
    return found


def _said(agent: Agent) -> dict[str, int]:
    counts = dict.fromkeys(TOPICS, 0)
    for line in agent.log("heartbeat"):
        if "left undelivered" in line["message"]:
            counts.update({topic: int(number) for number, topic in re.findall(r"(\d+) (\w+)", line["message"])})
    return counts


def main() -> int:
    """Stop as often as asked; 1 when something was lost, left without need, or left unsaid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=3, help="agents beside each other")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    lock = threading.Lock()

    def one(seed: int) -> Outcome:
        outcome = stop_once(seed)
        with lock:
            for wrong in outcome.wrong:
                print(f"seed {seed}: {wrong}", flush=True)
        return outcome

    with ThreadPoolExecutor(asked.at_once) as pool:
        outcomes = list(pool.map(one, range(asked.seed, asked.seed + asked.stops)))
    worked = [outcome for outcome in outcomes if outcome.worked]
    others = [outcome for outcome in outcomes if not outcome.worked]
    print("| Central during the stop | stops | tasks claimed | events | left | wrong | longest stop |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, some in (("works", worked), ("goes on as before", others)):
        claimed, events = sum(outcome.claimed for outcome in some), sum(outcome.events for outcome in some)
        left, wrong = sum(sum(o.left.values()) for o in some), sum(len(o.wrong) for o in some)
        longest = max((outcome.seconds for outcome in some), default=0.0)
        print(f"| {name} | {len(some)} | {claimed} | {events} | {left} | {wrong} | {longest:.0f} s |")
    return int(any(outcome.wrong for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
