"""A green light means that the jobs can be done: each is broken for real, and seen to be named, in virtual time.

What needs the agent as it ships (a full disk, a stopped supervisord) is in tests/integration/test_green_light.py.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.basics.timing import Backoff
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.central.stream import TaskStream
from shared.kube.connection import Kube
from shared.process.lifecycle import Loop, Process, one_pass
from shared.process.programs import PROGRAMS
from shared.process.state import CLUSTER, DRAIN_ENDED, REGISTRATION, TASK, WORKER
from shared.process.state import REFUSED as REFUSED_KEYS
from shared.queue.client import QueueClient, QueueRefused
from shared.queue.limits import Limits
from shared.queue.retained import Retained
from shared.queue.store import Store
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FakeClock, process_of
from tests.unit.shared.queue.conftest import RunningBroker
from tests.unit.workers.conftest import FakeSupervisord
from workers.event_watcher.worker import EventWatcher
from workers.health.rules import JOBS
from workers.health.worker import HealthWorker
from workers.heartbeat.delivery import Delivery
from workers.heartbeat.prices import PriceKeeper
from workers.heartbeat.worker import HeartbeatWorker
from workers.metrics.worker import MetricsWorker
from workers.task_runner.runner import Runner
from workers.task_runner.worker import TaskRunner

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")

CONNECTED = {"central": {"ok": True, "detail": ""}, "kubernetes": {"ok": True, "detail": ""}}


class Agent:
    """The real workers over a real broker and Central, each loop when it is due by a clock that is turned."""

    def __init__(self, run_dir: Path, central: Central, cluster: Cluster, kube: Kube) -> None:
        self.clock, self.central, self.cluster, self.kube = FakeClock(), central, cluster, kube
        self.limits = Limits(state_bytes=64 * 1024)
        self.broker = RunningBroker(run_dir, self.limits, self.clock)
        self.queue = QueueClient(self.broker.path)
        self.queue.set_state({CLUSTER: {}})  # What metrics says: else registering waits for it, in time that stands.
        self._loops: list[tuple[Process, Loop, Backoff]] = []
        self._due: list[float] = []
        processes = {name: process_of(run_dir, self.queue, name, self.clock) for name in PROGRAMS}
        settings = processes["task-runner"].settings
        self._caller = Caller(settings.central.api_key, "instance-1")
        self._clients: list[CentralClient] = []
        self._runners: list[Runner] = []
        self.processes = processes
        self.health = HealthWorker(processes["health"])
        delivery = Delivery(self.queue, self._client(), "demo", self.clock)
        prices = PriceKeeper(processes["heartbeat"], self._client())
        self.heartbeat = HeartbeatWorker(processes["heartbeat"], self._client(), delivery, prices)
        self.run("health", self.health.loops(), "spool", "supervisord", "assess")
        self.run("heartbeat", self.heartbeat.loops(), "register", "beat", "refusals")
        self.start_task_runner()

    def start_task_runner(self) -> None:
        """Start it, or start it anew."""
        process = self.processes["task-runner"]
        self.stop("task-runner")
        self.runner = Runner(process.settings, self.queue, self.kube, self.clock)
        self._runners.append(self.runner)
        stream = TaskStream(self.central.url, "demo", self._caller)
        self.task_runner = TaskRunner(process, self.runner, self._client(), stream)
        self.run("task-runner", self.task_runner.loops(), "poll", "gauges")

    def start(self, name: str, loop: str) -> None:
        """One loop of a worker that is started anew."""
        process = self.processes[name]
        if name == "metrics":
            self.run(name, MetricsWorker(process, self.kube).loops(), loop)
        elif name == "event-watcher":
            self.run(name, EventWatcher(process, self.kube).loops(), loop)
        else:
            self.run(name, self.heartbeat.loops(), loop)

    def mend(self) -> None:
        """Nothing is wrong any more; what was stopped runs again."""
        self.central.faults.clear()
        self.cluster.clear_faults()
        self.stop("metrics")
        self.queue.set_state({"other/1": None}, durable=True)
        self.stop("heartbeat")
        self.run("heartbeat", self.heartbeat.loops(), "register", "beat", "refusals")

    def _client(self) -> CentralClient:
        self._clients.append(CentralClient(self.central.url, "demo", self._caller))
        return self._clients[-1]

    def run(self, name: str, loops: list[Loop], *wanted: str) -> None:
        """From now on, these loops of the worker."""
        for loop in loops:
            if loop.name in wanted:
                self._loops.append((self.processes[name], loop, Backoff()))
                self._due.append(self.clock.monotonic())

    def stop(self, name: str) -> None:
        """From now on, no loop of the worker; what it says of itself last is that all is well."""
        for process, loop, _ in self._loops:
            if process.name == name:
                process.beats.end(loop.name, 1e9)
        kept = [place for place, (process, _, _) in enumerate(self._loops) if process.name != name]
        self._loops, self._due = [self._loops[place] for place in kept], [self._due[place] for place in kept]

    def live(self, seconds: float) -> None:
        """Let so many seconds pass, a second at a time."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            for place, (process, loop, pauses) in enumerate(self._loops):
                if self._due[place] <= self.clock.monotonic():
                    self._due[place] = self.clock.monotonic() + one_pass(process.beats, loop, pauses)
            for name, process in self.processes.items():
                said = {"jobs": process.beats.jobs(), "overdue": process.beats.overdue(), "connections": CONNECTED}
                self.queue.set_state({WORKER + name: said})

    def until_named(self, limit: int = 300) -> str:
        """The reason that /ready gives at last; /health is green then."""
        for _ in range(limit):
            self.live(1)
            status, _, body = self.health.ready()
            if status == 503:
                assert self.health.health()[0] == 200
                return "; ".join(json.loads(body)["reasons"])
        raise AssertionError(f"/ready stays green for {limit} s")

    def lasts(self, seconds: int) -> bool:
        """Whether /health turned red after so many seconds more."""
        self.live(seconds)
        return self.health.health()[0] == 503

    def statuses(self) -> list[str]:
        """The status of each heartbeat that Central took."""
        return [str(arrival.body["status"]) for arrival in self.central.ledger.of("heartbeat")]

    def close(self) -> None:
        for runner in self._runners:
            runner.stop_accepting()
        self.task_runner.close(pod_stopping=False)
        self.health.server.server_close()
        for client in self._clients:
            client.close()
        self.queue.disconnect()
        self.broker.stop()


@pytest.fixture
def agent(
    run_dir: Path, central: Central, cluster: Cluster, kube: Kube, supervisord: FakeSupervisord
) -> Iterator[Agent]:
    with closing(Agent(run_dir, central, cluster, kube)) as agent:
        agent.live(70)
        assert agent.health.ready()[0] == 200, agent.health.ready()
        assert agent.statuses()[-1] == "healthy"
        yield agent


def refuse(call: str) -> Callable[[Agent, pytest.MonkeyPatch], None]:
    def do(agent: Agent, patched: pytest.MonkeyPatch) -> None:
        body = b'{"error": "no such cluster"}'
        agent.central.fault(call, status=400, body=body, headers={"Content-Type": "application/json"})

    return do


def _fail(*arguments: Any, **named: Any) -> Any:
    raise ZeroDivisionError("division by zero")


def make_the_journal_unreadable(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    """And start the task-runner anew."""
    page = Retained.page

    def only_others(self: Retained, prefix: str, after: str | None) -> Any:
        return _fail() if prefix == TASK else page(self, prefix, after)

    patched.setattr(Retained, "page", only_others)
    agent.start_task_runner()


def fill_the_state(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    """No task can be claimed; and tasks come."""
    for size in range(agent.limits.state_bytes, 0, -20):
        with contextlib.suppress(QueueRefused):
            agent.queue.set_state({"other/1": "x" * size}, durable=True)
            break
    agent.central.offer(agent.central.task("cordon_node", {"node_name": "node-1"}))


def let_a_loop_fail_for_ever(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(agent.runner, "show", _fail)


def let_the_state_of_registration_be_lost(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    """Nobody tries to register, and so nothing may be claimed."""
    agent.stop("heartbeat")
    agent.queue.set_state({REGISTRATION: None})
    agent.start_task_runner()


def take_the_rights_of_metrics(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    """The cluster's role was taken away: the main job cannot begin."""
    agent.cluster.fail(resource="nodes", status=403, times=None)
    agent.start("metrics", "nodes")


def give_up_writing(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    """What SQLite says of a full disk."""

    def commit(self: Store) -> None:
        with self.translated():
            if not self._spool.db.in_transaction:  # What dies with the broker needs no disk.
                return
            raise sqlite3.OperationalError("database or disk is full")

    patched.setattr(Store, "commit", commit)


CASES: dict[str, tuple[Callable[[Agent, pytest.MonkeyPatch], None], str, bool]] = {
    # what is broken: how, what /ready says, whether a restart of the pod could help and so /health turns red
    "polls are refused": (
        refuse("tasks"), r"^task-runner cannot take in tasks, for 6\d s now: .*400 to tasks.*no such cluster", False),
    "heartbeats are refused": (
        refuse("heartbeat"), r"^heartbeat cannot send heartbeats, for 12\d s now: .*400 to heartbeat", False),
    "the journal is unreadable": (
        make_the_journal_unreadable,
        r"^task-runner cannot take in tasks, for 6\d s now: .*ZeroDivisionError", True),
    "nothing can be claimed": (
        fill_the_state,
        r"^task-runner cannot take in tasks, for 6\d s now: .*the state holds \d+ bytes", False),
    "registering is not tried": (
        let_the_state_of_registration_be_lost, r"^registering with Central was not tried yet", False),
    "a loop fails for ever": (
        let_a_loop_fail_for_ever,
        r"^task-runner cannot count its tasks, for 6\d s now: ZeroDivisionError: division by zero$", True),
    "metrics cannot begin": (
        take_the_rights_of_metrics, r"^metrics cannot follow the nodes, for 18\d s now: .*403", False),
    "the disk is full": (
        give_up_writing,
        r"^health cannot write the spool, so nothing can be claimed or kept, for 1\d s now: .*disk is full", False),
}  # fmt: skip


@pytest.mark.parametrize(("break_it", "reason", "restart_helps"), CASES.values(), ids=CASES)
def test_what_keeps_a_job_from_being_done_is_named(
    agent: Agent,
    break_it: Callable[[Agent, pytest.MonkeyPatch], None],
    reason: str,
    restart_helps: bool,
) -> None:
    """On /ready first, on /health only where a restart of the pod could help, and the heartbeat, till it is mended."""
    with pytest.MonkeyPatch.context() as patched:
        break_it(agent, patched)
        said = agent.until_named()
        assert re.search(reason, said), said
        beats = len(agent.statuses()) + 1  # One may have been on its way.
        assert agent.lasts(400) == restart_helps, agent.health.health()
        assert set(agent.statuses()[beats:]) <= {"degraded"}
    agent.mend()
    agent.live(130)
    assert agent.health.ready()[0] == agent.health.health()[0] == 200, agent.health.ready()


def test_a_registration_that_is_refused_is_named(
    run_dir: Path, central: Central, cluster: Cluster, kube: Kube, supervisord: FakeSupervisord
) -> None:
    body = b'{"error": "this cluster is another\'s"}'
    central.fault("register", status=422, body=body, headers={"Content-Type": "application/json"})
    with closing(Agent(run_dir, central, cluster, kube)) as agent:
        agent.live(30)
        assert agent.health.ready()[0] == 200, "it has a minute"
        said = agent.until_named()
        assert re.search(
            r"^heartbeat cannot register with Central, for 6\d s now: .*422 to register.*another's", said
        ), said
        assert not agent.lasts(1000)
        central.faults.clear()
        agent.live(130)
        assert agent.health.ready()[0] == 200


def refuse_list(resource: str) -> Callable[[Agent, pytest.MonkeyPatch], None]:
    """The API server refuses the agent one resource for ever."""

    def do(agent: Agent, patched: pytest.MonkeyPatch) -> None:
        agent.cluster.fail(resource=resource, status=403, times=None)

    return do


def lose_results(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    """Central fails at whatever is delivered."""
    agent.stop("task-runner")
    agent.central.fault("*", status=500)
    agent.queue.put("results", [("r", b'{"task_id": "r"}')])


def damage(method: str, prefix: str) -> Callable[[Agent, pytest.MonkeyPatch], None]:
    """The broker can answer nothing about one part of the state."""

    def do(agent: Agent, patched: pytest.MonkeyPatch) -> None:
        whole = getattr(Retained, method)

        def only_others(self: Retained, asked: str, after: Any) -> Any:
            return _fail() if asked == prefix else whole(self, asked, after)

        patched.setattr(Retained, method, only_others)

    return do


def nothing_more(agent: Agent, patched: pytest.MonkeyPatch) -> None:
    """What it needs was never there."""


ROWS: dict[tuple[str, str], Callable[[Agent, pytest.MonkeyPatch], None]] = {
    ("event-watcher", "events"): refuse_list("events"),
    ("event-watcher", "pods"): refuse_list("pods"),
    ("event-watcher", "nodes"): refuse_list("nodes"),
    ("metrics", "nodes"): refuse_list("nodes"),
    ("metrics", "pods"): refuse_list("pods"),
    ("metrics", "sample"): nothing_more,
    ("metrics", "self-check"): nothing_more,
    ("metrics", "drains"): damage("changes", DRAIN_ENDED),
    ("heartbeat", "deliver"): lose_results,
    ("heartbeat", "refusals"): damage("page", REFUSED_KEYS),
}
"""The other rows of the table, each broken in the same way."""

ELSEWHERE = {
    ("health", "spool"), ("heartbeat", "beat"), ("task-runner", "poll"), ("task-runner", "gauges"),  # above
    ("heartbeat", "register"),  # above
    ("health", "supervisord"), ("health", "assess"),  # test_worker.py, and on the agent as it ships
    # Passes like those above: a read, a call, a put.
    ("metrics", "devices"), ("metrics", "pod-usage"), ("heartbeat", "prices"),
    ("event-watcher", "tell"), ("event-watcher", "own work"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "loop"), ROWS)
def test_each_row_of_the_table_is_named_when_its_job_cannot_be_done(agent: Agent, program: str, loop: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        ROWS[program, loop](agent, patched)
        agent.stop(program)
        agent.start(program, loop)
        said = agent.until_named(limit=int(JOBS[program][loop].patience) + 60)
        assert f"{program} cannot {JOBS[program][loop].what}, for " in said


def test_every_row_is_broken_somewhere() -> None:
    spoken_of = {(program, loop) for program, jobs in JOBS.items() for loop, job in jobs.items() if job.patience < 1e9}
    assert spoken_of == {*ROWS, *ELSEWHERE}


def test_each_loop_of_each_worker_is_a_job_in_the_table(agent: Agent, kube: Kube) -> None:
    loops = {
        "health": agent.health.loops(),
        "heartbeat": agent.heartbeat.loops(),
        "task-runner": agent.task_runner.loops(),
        "metrics": MetricsWorker(agent.processes["metrics"], kube).loops(),
        "event-watcher": EventWatcher(agent.processes["event-watcher"], kube).loops(),
    }
    assert {name: {loop.name for loop in found} for name, found in loops.items()} == {
        name: set(jobs) for name, jobs in JOBS.items()
    }
