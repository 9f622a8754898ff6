"""The health worker: what it concludes from the queue and supervisord, and what it does about it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.basics.timing import Backoff
from shared.process.lifecycle import Process, one_pass
from shared.process.programs import PROGRAMS
from shared.process.state import HEALTH, REGISTRATION, TELEMETRY, WORKER
from shared.queue.client import QueueUnavailable, value
from shared.queue.limits import Limits
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock, process_of
from tests.unit.workers.conftest import FakeSupervisord
from workers.health.worker import HealthWorker

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning")

CONNECTED = {"central": {"ok": True, "detail": ""}, "kubernetes": {"ok": True, "detail": ""}}


class Agent:
    """Five workers as they show in the queue's state, and the health worker that looks at them."""

    def __init__(self, run_dir: Path, clock: FakeClock, silent: bool = False) -> None:
        self.clock = clock
        self.queue = MemoryQueue(Limits(messages={"results": 100, "events": 3, "metrics": 3}), clock)
        self.process: Process = process_of(run_dir, self.queue, "health", clock)
        self.worker = HealthWorker(self.process)
        self.queue.set_state({REGISTRATION: {"instance_id": "instance-1", "tried": True, "ok": True}})
        if not silent:
            self.publish()

    def look(self) -> float:
        """One pass of each of the worker's loops but the endpoints'; the seconds until it looks again."""
        loops = {loop.name: loop for loop in self.worker.loops()}
        return [one_pass(self.process.beats, loops[name], Backoff()) for name in ("supervisord", "spool", "assess")][-1]

    def publish(self, *names: str, overdue: dict[str, float] | None = None, **facts: Any) -> None:
        """Some of them (all, if none is named) say how they are."""
        for name in names or PROGRAMS:
            said = {"pid": 7, "overdue": overdue or {}, "connections": CONNECTED, **facts}
            self.queue.set_state({WORKER + name: said})

    def count(self, name: str, pid: int, retries: float) -> None:
        """One of them says what it counted."""
        families = {"cloudoptim_loop_failures": [["cloudoptim_loop_failures_total", {"loop": name}, retries]]}
        self.queue.set_state({TELEMETRY + name: [pid, families]})

    def health(self) -> tuple[int, dict[str, Any]]:
        return self._answer(self.worker.health())

    def ready(self) -> tuple[int, dict[str, Any]]:
        return self._answer(self.worker.ready())

    def metrics(self) -> dict[str, float]:
        status, kind, body = self.worker.metrics()
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        lines = [line.rpartition(" ") for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: float(number) for name, _, number in lines}

    @staticmethod
    def _answer(answer: tuple[int, str, bytes]) -> tuple[int, dict[str, Any]]:
        status, kind, body = answer
        assert kind == "application/json"
        return status, json.loads(body)


@pytest.fixture
def agent(run_dir: Path, clock: FakeClock, supervisord: FakeSupervisord) -> Iterator[Agent]:
    agent = Agent(run_dir, clock)
    yield agent
    agent.worker.server.server_close()


def test_all_is_well(agent: Agent) -> None:
    agent.clock.advance(3600)
    agent.publish()
    assert agent.look() <= 2
    assert agent.health() == (200, {"status": "healthy", "uptime_seconds": 3600})
    assert agent.ready() == (200, {"ready": True, "central_server_connected": True, "k8s_api_connected": True})


def test_before_the_first_look_it_is_alive_and_not_ready(agent: Agent) -> None:
    assert agent.health() == (200, {"status": "healthy", "uptime_seconds": 0})
    assert agent.ready() == (
        503,
        {
            "ready": False,
            "central_server_connected": False,
            "k8s_api_connected": False,
            "reasons": ["the agent starts"],
        },
    )


def test_a_first_look_that_never_comes_is_a_hang_of_its_own(agent: Agent) -> None:
    agent.clock.advance(11)
    status, body = agent.health()
    assert (status, body["status"], body["reasons"]) == (503, "unhealthy", ["the health worker is stuck"])


def test_a_look_that_is_not_renewed_is_worth_nothing_after_ten_seconds(agent: Agent) -> None:
    agent.look()
    agent.clock.advance(9)
    assert agent.health()[0] == 200
    agent.clock.advance(1)
    assert agent.health()[1]["reasons"] == agent.ready()[1]["reasons"] == ["the health worker is stuck"]


def test_what_is_wrong_is_said(agent: Agent) -> None:
    down = {**CONNECTED, "central": {"ok": False, "detail": "timed out"}}
    agent.publish("heartbeat", connections=down)
    agent.look()
    assert agent.health()[0] == 200
    status, body = agent.ready()
    assert (status, body["central_server_connected"], body["k8s_api_connected"]) == (503, False, True)
    assert body["reasons"] == ["central: timed out (heartbeat)"]


def test_the_stream_alone_is_no_reason_not_to_be_ready(agent: Agent) -> None:
    """The poll brings the same tasks."""
    agent.publish("task-runner", connections={**CONNECTED, "stream": {"ok": False, "detail": "closed"}})
    agent.look()
    assert agent.ready()[0] == 200


def test_until_registering_was_tried_it_is_not_ready(agent: Agent) -> None:
    agent.queue.set_state({REGISTRATION: None})
    agent.look()
    assert agent.ready()[1]["reasons"] == ["registering with Central was not tried yet"]


def test_a_broker_that_does_not_answer_is_a_fault_of_this_pod(agent: Agent) -> None:
    agent.look()
    agent.queue.store.close()
    agent.look()
    status, body = agent.health()
    assert status == 503
    assert "the queue's broker does not answer" in body["reasons"]


def test_a_fatal_program_is_a_fault_of_this_pod(agent: Agent, supervisord: FakeSupervisord) -> None:
    supervisord.words["metrics"] = "FATAL"
    agent.look()
    assert agent.health() == (503, {"status": "unhealthy", "uptime_seconds": 0, "reasons": ["worker metrics is fatal"]})


# -- hung workers ---------------------------------------------------------------------------------


def restarts(supervisord: FakeSupervisord) -> list[str]:
    return [asked[1] for asked in supervisord.asked if asked[0] == "signalProcess"]


def hang(agent: Agent) -> None:
    """The loop of metrics is late, for long enough to be believed."""
    for _ in range(7):
        agent.publish()
        agent.publish("metrics", overdue={"pods": 12.5})
        agent.clock.advance(1)
        agent.look()


def look(agent: Agent, times: int, *speaking: str) -> None:
    """So many looks, a second apart, while only these workers speak."""
    for _ in range(times):
        if speaking:
            agent.publish(*speaking)
        agent.look()
        agent.clock.advance(1)


def test_a_hung_worker_is_killed_once_and_the_second_time_the_pod_is_at_fault(
    agent: Agent, supervisord: FakeSupervisord, caplog: pytest.LogCaptureFixture
) -> None:
    hang(agent)
    assert ("signalProcess", "metrics", "KILL") in supervisord.asked
    assert "worker metrics hangs (pods by 12.5 s); restarting it" in caplog.text
    assert agent.health()[0] == 200
    agent.publish()
    agent.look()
    assert agent.health()[0] == 200, "well again"
    hang(agent)
    assert agent.health() == (
        503,
        {"status": "unhealthy", "uptime_seconds": 14, "reasons": ["worker metrics is stale"]},
    )
    assert restarts(supervisord) == ["metrics"]


def test_a_restarted_worker_is_given_its_time_to_speak(agent: Agent, supervisord: FakeSupervisord) -> None:
    """What the killed process said last, and what supervisord said of it, is not held against the new one."""
    hang(agent)
    assert restarts(supervisord) == ["metrics"]
    agent.clock.advance(2)
    supervisord.since["metrics"] = 0
    for second in range(1, 41):
        agent.clock.advance(1)
        supervisord.since["metrics"] = second
        agent.publish("health", "heartbeat", "task-runner", "event-watcher")
        agent.look()
        assert agent.health()[0] == 200, agent.health()
        assert agent.ready()[0] == 503, "but not ready before it speaks"
    agent.publish()
    agent.look()
    assert agent.ready()[0] == 200


def test_a_silent_worker_is_a_hung_one(agent: Agent, supervisord: FakeSupervisord) -> None:
    agent.clock.advance(61)
    look(agent, 8, "health", "heartbeat", "metrics", "event-watcher")
    assert restarts(supervisord) == ["task-runner"]


def test_those_who_have_not_spoken_yet_to_a_new_broker_are_not_hung(
    run_dir: Path, clock: FakeClock, supervisord: FakeSupervisord
) -> None:
    """health was restarted, and with it the broker: what the others, an hour old, said to the last one is gone."""
    agent = Agent(run_dir, clock, silent=True)
    look(agent, 50, "health")
    assert restarts(supervisord) == []
    look(agent, 20, "health")
    assert restarts(supervisord) == sorted(set(PROGRAMS) - {"health"}), "but not for ever"
    agent.worker.server.server_close()


def test_one_look_is_not_enough_to_call_a_worker_hung(agent: Agent, supervisord: FakeSupervisord) -> None:
    agent.clock.advance(61)
    look(agent, 1)
    for _ in range(5):
        agent.publish("metrics", overdue={"pods": 1.0})
        look(agent, 5, *(name for name in PROGRAMS if name != "metrics"))
        agent.publish("metrics")
        look(agent, 1)
    assert restarts(supervisord) == []


@pytest.mark.parametrize("seconds", [10, 120, 7200])
def test_after_a_pause_of_the_whole_machine_nobody_is_hung(
    agent: Agent, supervisord: FakeSupervisord, seconds: int
) -> None:
    """Not even who seemed so just before it: the looks before and after count as one."""
    agent.clock.advance(61)
    look(agent, 5, "health", "heartbeat", "task-runner", "event-watcher")
    agent.clock.advance(seconds)
    look(agent, 4)
    look(agent, 1, *PROGRAMS)
    look(agent, 10)
    assert restarts(supervisord) == []


def test_a_pause_does_not_turn_health_red_for_who_was_restarted_before_it(
    agent: Agent, supervisord: FakeSupervisord
) -> None:
    hang(agent)
    agent.clock.advance(120)
    look(agent, 4)
    assert agent.ready()[1]["reasons"], "it is stale"
    assert agent.health()[0] == 200


def test_while_the_broker_does_not_answer_nobody_is_hung(agent: Agent, supervisord: FakeSupervisord) -> None:
    """Who cannot be heard is not silent. Killing all would help nobody; /health is red for the broker itself."""
    agent.clock.advance(61)
    look(agent, 1, *PROGRAMS)
    agent.queue.store.close()
    look(agent, 30)
    assert agent.health()[0] == 503
    assert restarts(supervisord) == []


def test_it_never_restarts_itself(agent: Agent, supervisord: FakeSupervisord) -> None:
    agent.publish("health", overdue={"assess": 99.0})
    agent.look()
    assert restarts(supervisord) == []


def test_a_hang_of_long_ago_is_forgiven(agent: Agent, supervisord: FakeSupervisord) -> None:
    for _ in range(2):
        hang(agent)
        agent.clock.advance(601)
        agent.publish()
        agent.look()
    assert restarts(supervisord) == ["metrics", "metrics"]


def test_a_supervisord_that_does_not_answer_is_a_fault_of_this_pod_within_half_a_minute(
    agent: Agent, supervisord: FakeSupervisord
) -> None:
    """Nobody would start a worker again that ends. Until then the workers' own words are enough."""
    agent.look()
    supervisord.stop()
    seen = []
    for _ in range(35):
        agent.clock.advance(1)
        agent.publish()
        agent.look()
        seen.append((agent.health()[0], agent.ready()[0]))
    assert seen[5] == (200, 200)
    assert seen[15] == (200, 503)
    assert seen[-1] == (503, 503)
    (reason,) = agent.health()[1]["reasons"]
    assert re.fullmatch(r"health cannot hear supervisord, for \d+ s now: supervisord does not answer at .*", reason)


def test_supervisord_is_not_asked_every_second_while_all_is_well(agent: Agent, supervisord: FakeSupervisord) -> None:
    loops = {loop.name: loop for loop in agent.worker.loops()}
    assert loops["supervisord"].body() == 5


def test_supervisord_is_asked_again_at_once_while_something_is_on_its_way(
    agent: Agent, supervisord: FakeSupervisord
) -> None:
    supervisord.words["metrics"] = "STARTING"
    loops = {loop.name: loop for loop in agent.worker.loops()}
    assert loops["supervisord"].body() == 1
    agent.look()
    assert agent.ready()[1]["reasons"] == ["worker metrics is starting"]


# -- what others hear -----------------------------------------------------------------------------


def test_heartbeat_hears_how_all_of_them_are(agent: Agent, supervisord: FakeSupervisord) -> None:
    agent.publish("task-runner", tasks_in_progress=3)
    supervisord.words["metrics"] = "BACKOFF"
    agent.clock.advance(10)
    agent.look()
    said = value(agent.queue.get_state(HEALTH)[HEALTH])
    workers = {**dict.fromkeys(PROGRAMS, "running"), "metrics": "starting"}
    assert said == {
        "ready": False,
        "reasons": ["worker metrics is starting"],
        "uptime_seconds": 10.0,
        "k8s_api_connected": True,
        "workers": workers,
        "tasks_in_progress": 3,
    }


def test_prometheus_sees_what_all_of_them_counted_across_their_restarts(agent: Agent) -> None:
    agent.count("metrics", 10, 3)
    agent.look()
    agent.count("metrics", 20, 1)
    agent.count("heartbeat", 30, 5)
    agent.look()
    page = agent.metrics()
    assert page['cloudoptim_loop_failures_total{loop="metrics"}'] == 4
    assert page['cloudoptim_loop_failures_total{loop="heartbeat"}'] == 5


def test_what_ended_processes_counted_survives_the_health_worker(
    agent: Agent, run_dir: Path, supervisord: FakeSupervisord
) -> None:
    agent.count("metrics", 10, 3)
    agent.look()
    agent.count("metrics", 20, 1)
    agent.look()
    agent.worker.server.server_close()
    agent.worker = HealthWorker(agent.process)
    agent.look()
    assert agent.metrics()['cloudoptim_loop_failures_total{loop="metrics"}'] == 4


def test_prometheus_sees_itself_and_the_queue(agent: Agent) -> None:
    agent.queue.put("events", [(f"e{number}", b"1") for number in range(5)])
    agent.clock.advance(12)
    agent.look()
    agent.process.publish()
    agent.look()
    page = agent.metrics()
    assert page['cloudoptim_queue_depth{topic="events"}'] == 3
    assert page['cloudoptim_queue_dropped_total{topic="events"}'] == 2
    assert page['cloudoptim_queue_oldest_age_seconds{topic="events"}'] == pytest.approx(12)
    assert page["cloudoptim_agent_healthy"] == 1
    assert page['cloudoptim_worker_up{worker="metrics"}'] == 1
    assert page['cloudoptim_agent_info{cluster_id="demo",version="0.1.0"}'] == 1


def test_before_anything_was_counted_the_page_is_empty(agent: Agent) -> None:
    assert agent.metrics() == {}


# -- its loops and its end ------------------------------------------------------------------------


def test_the_http_server_is_a_loop_that_is_never_late(agent: Agent) -> None:
    loops = {loop.name: loop for loop in agent.worker.loops()}
    assert set(loops) == {"assess", "http", "spool", "supervisord"}
    assert loops["http"].patience == float("inf")


def test_once_closed_it_answers_no_more(run_dir: Path, clock: FakeClock, supervisord: FakeSupervisord) -> None:
    worker = HealthWorker(process_of(run_dir, MemoryQueue(clock=clock), "health", clock))
    serve = next(loop.body for loop in worker.loops() if loop.name == "http")
    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    worker.close(pod_stopping=True)
    serving.join(60)
    assert not serving.is_alive()
    assert worker.server.fileno() == -1


# -- the status page ------------------------------------------------------------------------------


def status(agent: Agent) -> tuple[int, dict[str, Any]]:
    code, kind, body = agent.worker.server.endpoints["/status"]()
    assert kind == "application/json"
    return code, json.loads(body)


def test_the_status_is_the_overview_and_serves_all_who_ask_for_a_second(agent: Agent) -> None:
    agent.look()
    code, body = status(agent)
    assert (code, body["ready"], body["cluster_id"]) == (200, True, "demo")
    assert {one["name"]: one["state"] for one in body["workers"]} == dict.fromkeys(PROGRAMS, "running")
    agent.queue.set_state({HEALTH: {"ready": False, "reasons": ["news"]}})
    assert status(agent)[1]["ready"]
    agent.clock.advance(1)
    assert status(agent)[1]["reasons"] == ["news"]


def test_the_status_says_when_the_queue_does_not_answer(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise QueueUnavailable("the queue does not answer")

    monkeypatch.setattr(agent.queue, "call", away)
    assert status(agent) == (503, {"error": "the queue does not answer"})


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_html_from_data(agent: Agent) -> None:
    code, kind, body = agent.worker.server.endpoints["/"]()
    page = body.decode()
    assert (code, kind) == (200, "text/html; charset=utf-8")
    assert not re.findall(r"https?://|innerHTML|document\.write|src=|@import|url\(", page)
