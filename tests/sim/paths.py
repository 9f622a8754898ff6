"""Load balancers that lie, with real packets: the agent in a network namespace of its own, a router before it.

python -m tests.sim.paths --seconds 600          # make paths; root and iproute2

The router drops what it is told to without a word: no reset, no ICMP. Kernels retransmit, time out and forget as they
do in the field. Everything is as it ships; tasks come by poll and by stream and events happen all the while. Printed is
how long after the path works again a new task was done that came by poll, and one that came by the stream alone, and
what was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.container.bundle import rbac
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

BACK = 60.0
"""Seconds after which a path that works must be in use again."""

SETTLED = 180.0
"""Seconds this waits for what is still missing before it is called lost."""

NAME = "central.test"


@dataclass(frozen=True)
class Lie:
    """What the path does for a while."""

    name: str
    answers: bool = False
    """Whether what Central sends is dropped."""
    requests: bool = False
    """Whether what the agent sends is dropped."""
    moves: bool = False
    """Whether Central has another address afterwards, which the name leads to from the beginning of the lie."""


LIES = (
    Lie("dropped both ways", answers=True, requests=True),
    Lie("answers dropped", answers=True),
    Lie("requests dropped", requests=True),
    Lie("moved to another address", answers=True, requests=True, moves=True),
)


@dataclass
class Outcome:
    lie: Lie
    by_poll: float | None = None
    """Seconds from the path's return to the result of a task that came by poll."""
    by_stream: float | None = None
    tasks: int = 0
    events: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.lost and all(took is not None and took <= BACK for took in (self.by_poll, self.by_stream))


class LyingPath:
    """Two namespaces: the agent's, and a router between it and this one, where Central is.

    Central has the addresses ``central`` and ``elsewhere``; the API server is at ``kube``, by a link of its own.
    """

    def __init__(self, number: int) -> None:
        self._tag = f"p{os.getpid() % 10_000}{number}"
        self._net = f"10.{200 + number}"
        self.namespace, self._router = f"{self._tag}-a", f"{self._tag}-r"
        self.central, self.elsewhere, self.kube = f"{self._net}.1.1", f"{self._net}.1.2", f"{self._net}.3.1"
        self._agent = f"{self._net}.2.1"
        self._etc = Path("/etc/netns") / self.namespace

    def __enter__(self) -> LyingPath:
        here, there, net = self._router, self.namespace, self._net
        for namespace in (here, there):
            _run("ip", "netns", "add", namespace)
        for left, right, inside in (("c0", "c1", here), ("k0", "k1", there)):
            names = f"{self._tag}{left}", f"{self._tag}{right}"
            _run("ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1])
            _run("ip", "link", "set", names[1], "netns", inside)
        _in(here, f"ip link add {self._tag}b0 type veth peer name {self._tag}b1")
        _in(here, f"ip link set {self._tag}b1 netns {there}")
        for address in (self.central, self.elsewhere):
            _run("ip", "addr", "add", f"{address}/24", "dev", f"{self._tag}c0")
        _run("ip", "addr", "add", f"{self.kube}/24", "dev", f"{self._tag}k0")
        for name in ("c0", "k0"):
            _run("ip", "link", "set", f"{self._tag}{name}", "up")
        _up(here, f"{self._tag}c1", f"{net}.1.254/24")
        _up(here, f"{self._tag}b0", f"{net}.2.254/24")
        _up(there, f"{self._tag}b1", f"{self._agent}/24")
        _up(there, f"{self._tag}k1", f"{net}.3.2/24")
        _in(here, "echo 1 > /proc/sys/net/ipv4/ip_forward")
        _in(there, f"ip route add default via {net}.2.254")
        _run("ip", "route", "add", f"{net}.2.0/24", "via", f"{net}.1.254")
        self._etc.mkdir(parents=True)
        self.lead_to(self.central)
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in (self.namespace, self._router):
            subprocess.run(["ip", "netns", "del", namespace], check=False)
        for name in ("c0", "k0"):
            subprocess.run(["ip", "link", "del", f"{self._tag}{name}"], check=False, capture_output=True)
        (self._etc / "hosts").unlink(missing_ok=True)
        self._etc.rmdir()

    def lead_to(self, address: str) -> None:
        """Let Central's name lead there, as a change in DNS does; /etc/hosts is read at each look-up."""
        (self._etc / "hosts").write_text(f"127.0.0.1 localhost\n{address} {NAME}\n")

    @contextlib.contextmanager
    def lying(self, lie: Lie) -> Iterator[None]:
        if lie.moves:
            self.lead_to(self.elsewhere)
        dropped = [self._agent] if lie.answers else []
        dropped += [self.central] if lie.requests else []
        dropped += [self.elsewhere] if lie.requests else []
        for address in dropped:
            _in(self._router, f"ip route add blackhole {address}/32")
        yield
        for address in dropped:
            if not (lie.moves and address == self.central):  # The old address stays dead.
                _in(self._router, f"ip route del blackhole {address}/32")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _in(namespace: str, command: str) -> None:
    _run("ip", "netns", "exec", namespace, "sh", "-c", command)


def _up(namespace: str, device: str, address: str) -> None:
    _in(namespace, f"ip addr add {address} dev {device} && ip link set {device} up && ip link set lo up")


class Traffic:
    """Tasks by poll and by stream, and events, all the while; each is known by its name."""

    def __init__(self, central: Central, cluster: Cluster) -> None:
        self._central, self._cluster = central, cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.tasks: list[str] = []
        self.events: set[str] = set()

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _go_on(self) -> None:
        number = 0
        while not self._stop.wait(5.0):
            number += 1
            task = self._central.task("label_node", {"node_name": "node-1", "labels": {"n": str(number)}}, seconds=3600)
            self.tasks.append(self._central.offer(task))
            with contextlib.suppress(LookupError, OSError):  # A broken stream is what this is about.
                self._central.push(task, patience=0.0)
            self._cluster.fail_scheduling("shop", f"pod-{number}")
            self.events.add(f"pod-{number}")

    def missing(self) -> list[str]:
        """What Central has not."""
        ledger = self._central.ledger
        answered = {arrival.task_id for arrival in ledger.of("result")}
        told = {event["name"] for batch in ledger.of("events") for event in batch.body["events"]}
        return [task for task in self.tasks if task not in answered] + sorted(self.events - told)


def try_path(number: int, lie: Lie, seconds: float) -> Outcome:
    """One agent behind one path that lies for so many ``seconds``."""
    outcome = Outcome(lie)
    with (
        tempfile.TemporaryDirectory() as scratch,
        LyingPath(number) as path,
        Cluster(nodes=2, host=path.kube, rbac=[*rbac()]) as cluster,
        Central(host="0.0.0.0") as central,
    ):
        port = central.url.rpartition(":")[2]
        kubeconfig = cluster.write_kubeconfig(Path(scratch) / "kubeconfig")
        inside = ["ip", "netns", "exec", path.namespace]
        with Agent(f"http://{NAME}:{port}", kubeconfig, wrap=lambda command: [*inside, *command]) as agent:
            agent.wait(lambda: central.streams and central.ledger.of("tasks"), 60)
            with Traffic(central, cluster) as traffic:
                time.sleep(20)
                with path.lying(lie):
                    time.sleep(seconds)
                works = time.monotonic()
                outcome.by_poll, outcome.by_stream = _times_back(central, works)
            _wait(lambda: not traffic.missing(), SETTLED)
            outcome.tasks, outcome.events, outcome.lost = len(traffic.tasks), len(traffic.events), traffic.missing()
            agent.stop()
    return outcome


def _times_back(central: Central, works: float) -> tuple[float | None, float | None]:
    """When a task that is offered only, and one that is pushed only, were answered."""
    polled = central.offer(central.task("uncordon_node", {"node_name": "node-2"}, seconds=3600))
    pushed = central.task("uncordon_node", {"node_name": "node-2"}, seconds=3600)
    took: dict[str, float] = {}
    while len(took) < 2 and time.monotonic() - works < SETTLED:
        with contextlib.suppress(LookupError, OSError):
            central.push(pushed, patience=0.0)
        for task_id in {polled, pushed["task_id"]} - took.keys():
            if central.ledger.results(task_id):
                took[task_id] = time.monotonic() - works
        time.sleep(0.5)
    return took.get(polled), took.get(pushed["task_id"])


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)


def main() -> int:
    """Try all lies at once; 1 when one was not survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long each path lies")
    seconds = parser.parse_args().seconds
    outcomes: list[Outcome] = []

    def try_one(number: int, lie: Lie) -> None:
        outcomes.append(try_path(number, lie, seconds))

    threads = [threading.Thread(target=try_one, args=(number, lie)) for number, lie in enumerate(LIES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"| for {seconds:g} s | back by poll | back by stream | tasks | events | lost |")
    print("|---|--:|--:|--:|--:|--:|")
    for outcome in sorted(outcomes, key=lambda found: LIES.index(found.lie)):
        by_poll, by_stream = (
            f"{took:.0f} s" if took is not None else "never" for took in (outcome.by_poll, outcome.by_stream)
        )
        counts = f"{outcome.tasks} | {outcome.events} | {len(outcome.lost)}"
        print(f"| {outcome.lie.name} | {by_poll} | {by_stream} | {counts} |")
    return 0 if len(outcomes) == len(LIES) and all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
