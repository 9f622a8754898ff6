"""A herd: 10,000 agents when Central comes back after an outage. A simulation on a virtual clock.

python -m bench.herd [--plot docs/herd.svg]

Each agent's calls are driven by the agent's own pauses: ``Backoff`` as ``lifecycle`` uses it after a failure,
``jittered`` as poll and heartbeat do after a success, and the constants of the loops as the workers declare them.
Beside it the same herd without jitter: every pause at its longest, every interval exact.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.plot import lines
from bench.report import Figure, percentile, report
from shared import config
from shared.basics.timing import Backoff, jittered
from shared.central.client import CentralClient
from shared.process.lifecycle import FIRST_RETRY, Loop, Process
from shared.process.programs import Programs
from shared.queue.memory import MemoryQueue
from workers.heartbeat.prices import PriceKeeper
from workers.heartbeat.worker import HeartbeatWorker
from workers.task_runner.worker import TaskRunner

AGENTS = 10_000
OUTAGE = 600.0
"""Seconds Central is away; all connections broke at 0 at the same instant."""

WATCHED = 300.0
"""Seconds after its return that are looked at."""

PLOTTED = 121
"""Seconds of it that are drawn; what follows is alike."""

PEAK = 3.0
"""Target: no second has more than this many times the arrivals of an average second at rest."""

CALLS = ("register", "tasks", "heartbeat", "stream")


class Fixed(random.Random):
    """No jitter: a pause is as long as it may be, an interval exactly as long as it should be."""

    def uniform(self, a: float, b: float) -> float:
        return b if a == 0.0 else (a + b) / 2


@dataclass(frozen=True)
class Call:
    """One of an agent's calls: how long until the next after a failure, and after a success (None: no next)."""

    name: str
    slowest_retry: float
    interval: float | None


def calls() -> list[Call]:
    """As the workers that ship declare them."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {"CENTRAL_SERVER_URL": "http://central", "CENTRAL_API_KEY": "key", "CLUSTER_ID": "demo"}
        settings = config.load({**environ, "AGENT_RUN_DIR": folder})
        process = Process("herd", settings, MemoryQueue(), Programs(Path(folder)), "instance")
        nobody = cast(Any, None)
        beating = HeartbeatWorker(process, cast(CentralClient, nobody), nobody, PriceKeeper(process, nobody)).loops()
        running = TaskRunner(process, nobody, nobody, nobody).loops()
    loops: dict[str, Loop] = {loop.name: loop for loop in [*beating, *running]}
    central = settings.central
    return [
        # Only agents that started while Central was away still have to register; here all of them do.
        Call("register", loops["register"].slowest_retry, None),
        Call("tasks", loops["poll"].slowest_retry, central.poll_seconds),
        Call("heartbeat", loops["beat"].slowest_retry, central.heartbeat_seconds),
        Call("stream", loops["stream"].slowest_retry, None),
    ]


def arrivals(call: Call, rng: random.Random) -> tuple[list[float], list[float]]:
    """Seconds after Central's return at which calls reach it: all of them, and each agent's first."""
    moments: list[float] = []
    firsts: dict[int, float] = {}
    waiting: list[tuple[float, int]] = [(0.0, agent) for agent in range(AGENTS)]
    pauses = [Backoff(FIRST_RETRY, call.slowest_retry, rng) for _ in range(AGENTS)]
    while waiting:
        now, agent = heapq.heappop(waiting)
        if now < OUTAGE:
            heapq.heappush(waiting, (now + pauses[agent].pause(), agent))
            continue
        moments.append(now - OUTAGE)
        firsts.setdefault(agent, now - OUTAGE)
        if call.interval is not None and now < OUTAGE + WATCHED:
            heapq.heappush(waiting, (now + jittered(call.interval, rng=rng), agent))
    return moments, sorted(firsts.values())


def per_second(moments: Iterable[float]) -> Counter[int]:
    return Counter(math.floor(moment) for moment in moments if moment < WATCHED)


def table(rows: Callable[[str], tuple[Counter[int], Counter[int]]]) -> str:
    """Arrivals in the seconds after Central's return, with jitter and without, as Markdown."""
    seconds = [0, 1, 2, 5, 10, 20, 30, 60, 120, 299]
    head = " | ".join(f"{second}" for second in seconds)
    written = [f"| call | jitter | peak | in second | {head} |", "|---|---|--:|--:|" + "--:|" * len(seconds)]
    for name in CALLS:
        for word, counted in zip(("yes", "none"), rows(name), strict=True):
            cells = " | ".join(f"{counted[second]}" for second in seconds)
            second, peak = max(counted.items(), key=lambda item: item[1])
            written.append(f"| {name} | {word} | {peak} | {second} | {cells} |")
    return "\n".join(written)


def plot(path: Path, shown: Mapping[str, Counter[int]], total: Counter[int]) -> None:
    """Arrivals in each of the first seconds after Central's return, with jitter."""
    series = {"all calls": total, **{name: shown[name] for name in ("tasks", "heartbeat", "stream")}}
    points = {name: [(float(s), float(counted[s])) for s in range(PLOTTED)] for name, counted in series.items()}
    lines(path, f"{AGENTS:,} agents when Central returns: arrivals a second", "", points, "seconds after its return")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.herd")
    parser.add_argument("--plot", type=Path, help="write a plot of the arrivals there, as SVG")
    arguments = parser.parse_args()
    shown: dict[str, tuple[Counter[int], Counter[int]]] = {}
    figures = []
    total: Counter[int] = Counter()
    for call in calls():
        herd, firsts = arrivals(call, random.Random(1))
        marching = per_second(arrivals(call, Fixed())[0])
        shown[call.name] = (per_second(herd), marching)
        total += shown[call.name][0]
        peak = max(shown[call.name][0].values())
        # At rest: the interval's share; for a call made once, the herd spread over the longest pause.
        even = AGENTS / (call.interval or call.slowest_retry)
        figures += [
            Figure(f"{call.name}: peak", peak, "/s", PEAK * even, note=f"{max(marching.values())} without jitter"),
            Figure(f"{call.name}: 99% of the agents heard after", percentile(firsts, 99), "s", call.slowest_retry),
        ]
    figures.append(Figure("all calls together: peak", max(total.values()), "/s"))
    if arguments.plot:
        plot(arguments.plot, {name: jitter for name, (jitter, _) in shown.items()}, total)
    print(table(lambda name: shown[name]))
    report("herd", figures, f"{AGENTS} agents, Central away for {OUTAGE:g} s, virtual time")


if __name__ == "__main__":
    main()
