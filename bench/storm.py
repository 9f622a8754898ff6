"""A storm of events on the agent as it ships, and a week of a cluster's changes in fast motion.

python -m bench.storm                 # ten minutes of 10,000 events a minute, 1% of them relevant; then the week
python -m bench.storm --minutes 1 --no-week

The storm runs against the simulator, the agent in a control group of its own where that is allowed. The week goes
straight through the event-watcher's relays, with a clock that stands still between changes: what it remembers is
bounded and full after some days, so the second half of the week must not grow.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import resource
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec

from bench.cgroup import Group
from bench.report import Figure, percentile, report
from shared.basics.timing import iso
from shared.kube.connection import Kube
from shared.kube.reads import Change, Resource
from shared.queue.memory import MemoryQueue
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.sim.kube.kinds import timestamp
from tests.sim.kube.objects import identity
from tests.sim.kube.resources import EVENTS
from workers.event_watcher import aggregate, relay
from workers.event_watcher.objects import Event, Node, Pod
from workers.event_watcher.outages import Outages
from workers.event_watcher.relay import Relay
from workers.event_watcher.sights.events import from_event
from workers.event_watcher.sights.pods import from_pod
from workers.event_watcher.sights.sight import Sight
from workers.event_watcher.unplaced import HOLD_SECONDS, Unplaced

A_MINUTE = 10_000
RELEVANT = 100
"""One in so many."""

NOISE = ("Scheduled", "Pulling", "Pulled", "Created", "Started", "Killing", "BackOff", "ScalingReplicaSet")
MIB = 2**20

WEEK_EVENTS, WEEK_PODS, WEEK_OUTAGES = 1_000_000, 500_000, 20_000


# -- the storm ------------------------------------------------------------------------------------


@dataclass
class Sent:
    """When each relevant thing happened (monotonic), by the name of its pod."""

    at_once: dict[str, float] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)


def event(number: int, reason: str, name: str) -> dict[str, Any]:
    now = timestamp()
    about = {"kind": "Pod", "namespace": "storm", "name": name, "uid": f"uid-{name}"}
    return {
        "metadata": identity(f"{name}.{number:x}", "storm"),
        "involvedObject": about,
        "reason": reason,
        "message": f"{reason}: something that happens to pods all the time, in as many words",
        "type": "Normal" if reason in NOISE else "Warning",
        "source": {"component": "kubelet", "host": "node-1"},
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
    }


def blow(cluster: Cluster, numbers: range, sent: Sent) -> None:
    """The storm itself: evictions and kills are told at once, failures to place a pod are held back."""
    began, pause = time.monotonic(), 60.0 / A_MINUTE
    for number in numbers:
        time.sleep(max(0.0, began + (number - numbers.start) * pause - time.monotonic()))
        name = f"pod-{number}"
        if number % RELEVANT:
            cluster.store.put(EVENTS, event(number, NOISE[number % len(NOISE)], f"pod-{number % 5000}"))
        elif (kind := number // RELEVANT % 3) == 0:
            cluster.store.put(EVENTS, event(number, "FailedScheduling", name))
            sent.held[name] = time.monotonic()
        elif kind == 1:
            cluster.store.put(EVENTS, event(number, "Evicted", name))
            sent.at_once[name] = time.monotonic()
        else:
            cluster.add_pod("storm", name, "node-1")
            cluster.oom_kill("storm", name)
            sent.at_once[name] = time.monotonic()


def arrived(central: Central) -> dict[str, float]:
    """When Central first heard of each pod."""
    found: dict[str, float] = {}
    for arrival in central.ledger.of("events"):
        for told in arrival.body["events"]:
            found.setdefault(told["name"], arrival.at)
    return found


@contextlib.contextmanager
def group() -> Iterator[Group | None]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(Group("storm"))
        except OSError:
            made = None  # Not allowed here: CPU and memory are not told.
        yield made


def private_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Private_"))


def storm(minutes: float) -> list[Figure]:
    """Through the whole agent, from the API server to Central."""
    with tempfile.TemporaryDirectory() as scratch, Cluster(nodes=3) as cluster, Central() as central, group() as cell:
        kubeconfig = cluster.write_kubeconfig(Path(scratch) / "kubeconfig")
        with Agent(central.url, kubeconfig, wrap=cell.wrap if cell else list) as agent:
            cluster.add_namespace("storm")
            agent.wait_ready(60)
            watcher, sent, whole = agent.pids()["event-watcher"], Sent(), int(minutes * A_MINUTE)
            memory = [private_bytes(watcher)]
            cpu, began = cell.cpu_seconds() if cell else 0.0, time.monotonic()
            for half in (range(whole // 2), range(whole // 2, whole)):
                blow(cluster, half, sent)
                memory.append(private_bytes(watcher))
            used, lasted = (cell.cpu_seconds() if cell else 0.0) - cpu, time.monotonic() - began
            agent.wait(lambda: arrived(central).keys() >= sent.at_once.keys() | sent.held.keys(), 60)
            found = arrived(central)
    lost = len((sent.at_once.keys() | sent.held.keys()) - found.keys())
    at_once = [found[name] - moment for name, moment in sent.at_once.items()]
    held = [found[name] - moment - HOLD_SECONDS for name, moment in sent.held.items()]
    return [
        Figure("relevant events", len(sent.at_once) + len(sent.held), ""),
        Figure("of them lost", lost, "", 0),
        Figure("first sight at Central, p99", percentile(at_once, 99), "s", 2.0),
        Figure("first sight at Central, p50", percentile(at_once, 50), "s"),
        Figure(f"failures to place a pod, after their {HOLD_SECONDS:g} s, p99", percentile(held, 99), "s", 2.0),
        *([Figure("CPU of the whole agent", 1000 * used / lasted, "m", 60)] if cell else []),
        Figure("event-watcher's private memory, at rest", memory[0] / MIB, "MiB"),
        Figure("its growth in the first half, what it remembers included", (memory[1] - memory[0]) / MIB, "MiB"),
        Figure("its growth in the second half", (memory[2] - memory[1]) / MIB, "MiB", 2.0),
    ]


# -- the week -------------------------------------------------------------------------------------


class WeekClock:
    """Moves with the changes; stands in for ``time`` as well."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=timezone.utc) + timedelta(seconds=self.elapsed)


class Feed(Resource[Any]):
    """Changes that are handed in, one bunch a turn."""

    def __init__(self, kind: type[Any]) -> None:
        super().__init__(Kube(None, "bench"), "/api/v1/events", kind)
        self._version = itertools.count(1)
        self.bunch: list[Change[Any]] = []

    def changes(self, *_: Any, **__: Any) -> Generator[list[Change[Any]], None, None]:
        bunch, self.bunch = self.bunch, []
        if bunch:
            yield bunch

    def add(self, kind: str, content: Any) -> None:
        self.bunch.append(Change(kind, content, str(next(self._version))))


class Week:
    """The three relays and what they remember, on a queue whose every message is delivered at once."""

    def __init__(self) -> None:
        self.clock, self.queue = WeekClock(), MemoryQueue()
        self.outages, self.unplaced = Outages(), Unplaced()
        self.told = 0
        self._rng = random.Random(7)
        self._stuck: deque[dict[str, Any]] = deque()
        self._feeds = {"events": Feed(Event), "pods": Feed(Pod), "nodes": Feed(Node)}
        shared = aggregate.Aggregator()
        state = {f"checkpoint/{name}": {"version": "1", "time": iso(self.clock.now())} for name in self._feeds}
        self.queue.set_state(state, durable=True)

        def select_pod(pod: Pod) -> list[Sight]:
            self.unplaced.saw(pod)
            return list(from_pod(pod, self.clock.now()))

        selects = {
            "events": lambda event: [seen] if (seen := from_event(event, self.clock.now())) else [],
            "pods": select_pod,
            "nodes": lambda node: [seen] if (seen := self.outages.saw(node, self.clock.now())) else [],
        }
        gone: dict[str, Any] = {"pods": self.unplaced.gone, "nodes": self.outages.gone}
        memos: dict[str, Any] = {"events": self.unplaced, "nodes": self.outages}
        self._relays = {
            name: Relay(
                name,
                feed,
                selects[name],
                self.queue,
                self.clock,
                gone=gone.get(name, lambda item: None),
                aggregator=shared,
                unplaced=self.unplaced,
                memo=memos.get(name),
            )
            for name, feed in self._feeds.items()
        }

    def pass_by(self, number: int, of: int) -> None:
        """One ``of``-th of a week: events, pods that come and go, pods that nobody can place, nodes that fail."""
        self.clock.elapsed += 7 * 86_400 / of
        stamp, rng = iso(self.clock.now()), self._rng
        for part in range(WEEK_EVENTS // of):
            self._tell(rng.choice((*NOISE, "FailedScheduling", "Evicted")), f"other-{number}-{part}", stamp)
        for part in range(WEEK_PODS // of // 3):
            self._pod(number, part, stamp)
        if number % (of // WEEK_OUTAGES or 1) == 0:
            ready = {"type": "Ready", "status": rng.choice(("True", "False", "Unknown")), "lastTransitionTime": stamp}
            metadata = {"name": f"node-{number % 9000}", "uid": f"node-{number % 9000}"}
            self._put("nodes", "MODIFIED", Node, {"metadata": metadata, "status": {"conditions": [ready]}})
        for each in self._relays.values():
            each.follow(lambda: None)
        self._deliver()

    def _pod(self, number: int, part: int, stamp: str) -> None:
        """One that comes, gets a node or waits for one in vain, may be killed, and goes."""
        name = f"web-{number}-{part}"
        owner = {"kind": "ReplicaSet", "name": f"web-{number // 50}", "uid": f"rs-{number // 50}", "controller": True}
        metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "ownerReferences": [owner]}
        self._put("pods", "ADDED", Pod, {"metadata": metadata})
        if self._rng.random() < 0.1:
            self._tell("FailedScheduling", name, stamp)
            self._stuck.append(metadata)
            if len(self._stuck) > 100:
                self._put("pods", "DELETED", Pod, {"metadata": self._stuck.popleft()})
            return
        killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": stamp}}
        status = {"containerStatuses": [{"name": "app", "lastState": killed}]} if self._rng.random() < 0.01 else {}
        placed = {"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": status}
        self._put("pods", "MODIFIED", Pod, placed)
        self._put("pods", "DELETED", Pod, placed)

    def _tell(self, reason: str, name: str, stamp: str) -> None:
        about = {"kind": "Pod", "namespace": "shop", "name": name, "uid": f"uid-{name}"}
        content = {"metadata": {"uid": f"{reason}-{name}"}, "involvedObject": about, "reason": reason}
        self._put("events", "ADDED", Event, {**content, "firstTimestamp": stamp, "lastTimestamp": stamp})

    def _put(self, name: str, kind: str, struct: type[Any], content: dict[str, Any]) -> None:
        self._feeds[name].add(kind, msgspec.convert(content, struct))

    def _deliver(self) -> None:
        while leased := self.queue.lease(["notices", "events"], 200, 60.0):
            self.told += len(leased)
            self.queue.ack([message.id for message in leased])


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def week() -> list[Figure]:
    """Nothing that is kept may grow with time."""
    passing, of = Week(), 20_000
    setattr(relay, "time", passing.clock)  # noqa: B010 - its windows are to pass as the week does
    try:
        for number in range(of // 2):
            passing.pass_by(number, of)
        early = resident()
        for number in range(of // 2, of):
            passing.pass_by(number, of)
    finally:
        setattr(relay, "time", time)  # noqa: B010
    return [
        Figure("a week: events", WEEK_EVENTS, ""),
        Figure("a week: changes of pods and nodes", WEEK_PODS + WEEK_OUTAGES, ""),
        Figure("a week: events told", passing.told, ""),
        Figure("a week: growth of memory in its second half", resident() - early, "MiB", 2.0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the storm (default %(default)s)")
    parser.add_argument("--no-week", action="store_true")
    arguments = parser.parse_args()
    figures = storm(arguments.minutes)
    if not arguments.no_week:
        figures += week()
    report("storm", figures, f"simulator, {A_MINUTE} events a minute for {arguments.minutes:g} minutes, 1% relevant")


if __name__ == "__main__":
    main()
