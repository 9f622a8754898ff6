"""The task-runner's loops: what it does with polls, with its stream, and when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.basics.api_key import ApiKey
from shared.basics.errors import AuthenticationError, PermanentError, TemporaryError
from shared.central.client import CentralClient
from shared.central.identity import Caller
from shared.central.stream import TaskStream
from shared.kube.connection import Kube
from shared.process.lifecycle import Process
from shared.process.state import AT_WORK, REFUSED, REGISTRATION
from shared.queue.client import value
from shared.queue.memory import MemoryQueue
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import counted, eventually, process_of
from workers.task_runner.runner import Runner
from workers.task_runner.worker import TaskRunner


@pytest.fixture
def process(run_dir: Path) -> Process:
    return process_of(run_dir, MemoryQueue(), "task-runner", env={"TASK_POLL_INTERVAL_SECONDS": "10"})


@pytest.fixture
def worker(process: Process, central: Central, kube: Kube) -> Iterator[TaskRunner]:
    caller = Caller(ApiKey("demo-key"), "instance-1")
    runner = Runner(process.settings, process.queue, kube)
    client, stream = CentralClient(central.url, "demo", caller), TaskStream(central.url, "demo", caller)
    worker = TaskRunner(process, runner, client, stream)
    yield worker
    runner.stop_accepting()
    worker.close(pod_stopping=False)


def register(process: Process, instance: str = "instance-1") -> None:
    """What heartbeat leaves once it tried."""
    process.queue.set_state({REGISTRATION: {"instance_id": instance}})


def is_cordoned(cluster: Cluster) -> bool:
    return bool((cluster.node("node-1") or {})["spec"].get("unschedulable"))


def cordon(central: Central) -> dict[str, Any]:
    return central.task("cordon_node", {"node_name": "node-1"})


class Listening:
    """One pass of the stream's loop, on a thread of its own."""

    def __init__(self, worker: TaskRunner) -> None:
        self.pause: float | None = None
        self.error: Exception | None = None
        self._worker = worker
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        try:
            self.pause = self._worker.listen()
        except Exception as error:
            self.error = error


@pytest.mark.parametrize("instance", [None, "another start of the pod"])
def test_nothing_is_asked_of_central_before_this_start_was_registered(
    worker: TaskRunner, process: Process, central: Central, instance: str | None
) -> None:
    if instance:
        register(process, instance)
    assert worker.poll() < 1
    assert worker.listen() < 1
    assert not central.ledger.arrivals
    register(process)
    worker.poll()
    assert central.ledger.of("tasks")


def test_a_poll_takes_in_what_central_wants_done_and_the_next_is_a_while_away(
    worker: TaskRunner, process: Process, central: Central, cluster: Cluster
) -> None:
    register(process)
    central.offer(cordon(central))
    assert 9 <= worker.poll() <= 11
    eventually(lambda: is_cordoned(cluster))


def test_of_what_comes_together_the_most_urgent_is_taken_in_first(
    worker: TaskRunner, process: Process, central: Central, caplog: pytest.LogCaptureFixture
) -> None:
    """An idle executor begins it at once, so that its order among the waiting would come too late."""
    caplog.set_level("INFO", "workers.task_runner.runner")
    register(process)
    tasks = [
        central.task("cordon_node", {"node_name": f"node-{priority}"}, priority=priority) for priority in (7, 1, 3)
    ]
    for task in tasks:
        central.offer(task)
    worker.poll()
    listening = Listening(worker)
    eventually(lambda: central.streams)
    central.push([{**task, "task_id": f"{task['task_id']}-pushed"} for task in tasks])
    eventually(lambda: caplog.text.count("claimed cordon_node") == 6)
    claimed = [record.message for record in caplog.records if "claimed" in record.message]
    assert claimed == [f"claimed cordon_node, priority {priority}" for priority in (1, 3, 7)] * 2
    central.streams[0].cut()
    listening.thread.join(60)


def test_a_refused_key_is_reported_and_so_is_its_being_taken_again(
    worker: TaskRunner, process: Process, central: Central
) -> None:
    register(process)
    central.keys = {"another"}
    with pytest.raises(AuthenticationError):
        worker.poll()
    assert process.queue.get_state(REFUSED)
    central.keys = {"demo-key"}
    worker.poll()
    assert not process.queue.get_state(REFUSED)


@pytest.mark.parametrize("status", [400, 410])
def test_a_poll_that_is_answered_and_refused_is_no_connection(
    worker: TaskRunner, process: Process, central: Central, status: int
) -> None:
    register(process)
    central.fault("tasks", status=status, body=b'{"error": "unknown cluster"}')
    with pytest.raises(PermanentError):
        worker.poll()
    process.publish()
    said = value(process.queue.get_state("worker/task-runner")["worker/task-runner"])["connections"]["central"]
    assert said["ok"] is False
    assert said["detail"] == f'Central answered {status} to tasks: {{"error": "unknown cluster"}}'


def test_a_key_that_the_stream_alone_refuses_is_no_refused_key(
    worker: TaskRunner, process: Process, central: Central
) -> None:
    register(process)
    central.fault("stream", status=401)
    with pytest.raises(AuthenticationError):
        worker.listen()
    assert not process.queue.get_state(REFUSED)


def test_a_central_that_does_not_answer_is_an_error_that_may_pass(
    worker: TaskRunner, process: Process, central: Central
) -> None:
    register(process)
    central.stop()
    for call in (worker.poll, worker.listen):
        with pytest.raises(TemporaryError):
            call()


def test_a_pushed_task_is_taken_in_and_a_cancellation_passed_on(
    worker: TaskRunner, process: Process, central: Central, cluster: Cluster
) -> None:
    register(process)
    cluster.add_deployment("shop", "web", 1, node="node-1")
    cluster.add_budget("shop", "web", {"app": "web"}, max_unavailable=0)
    listening = Listening(worker)
    eventually(lambda: central.streams)
    eventually(lambda: counted("stream_connected") == 1)
    task = central.task("drain_node", {"node_name": "node-1"})
    central.push(["nonsense", task])
    eventually(lambda: is_cordoned(cluster))
    central.push({"type": "cancel", "task_id": task["task_id"]})
    eventually(lambda: process.queue.stats()["results"].depth == 1)
    central.streams[0].cut()
    listening.thread.join(60)
    assert counted("stream_connected") == 0


def test_a_push_that_cannot_be_claimed_does_not_end_the_stream(
    worker: TaskRunner, process: Process, central: Central, cluster: Cluster
) -> None:
    register(process)
    listening = Listening(worker)
    eventually(lambda: central.streams)
    assert isinstance(process.queue, MemoryQueue)
    process.queue.store.close()
    central.push(cordon(central))
    central.push("still there?")
    listening.thread.join(0.3)
    assert listening.thread.is_alive()
    assert not is_cordoned(cluster)
    central.streams[0].cut()
    listening.thread.join(60)


def test_a_connection_that_was_worth_something_is_opened_again_soon_and_another_backs_off(
    worker: TaskRunner, process: Process, central: Central, caplog: pytest.LogCaptureFixture
) -> None:
    """The pause of the second kind is the loop's: it grows with each failure."""
    register(process)
    useful = Listening(worker)
    eventually(lambda: central.streams)
    central.push("anything")
    eventually(lambda: "ignored a frame of the stream" in caplog.text)
    central.streams[0].cut()
    useful.thread.join(60)
    assert useful.error is None
    assert useful.pause is not None
    assert 0 <= useful.pause <= 2
    eventually(lambda: not central.streams)
    useless = Listening(worker)
    eventually(lambda: central.streams)[0].cut()
    useless.thread.join(60)
    assert isinstance(useless.error, TemporaryError)


def test_closing_ends_the_stream_at_once_and_takes_nothing_more_in(
    worker: TaskRunner, process: Process, central: Central, cluster: Cluster
) -> None:
    register(process)
    listening = Listening(worker)
    eventually(lambda: central.streams)
    worker.poll()
    process.stop.set()
    worker.close(pod_stopping=True)
    listening.thread.join(60)
    assert (listening.thread.is_alive(), listening.error, listening.pause) == (False, None, 0.0)
    central.offer(cordon(central))
    worker.poll()
    assert not process.queue.get_state("task/")


def test_what_is_at_work_is_published_when_it_changes_and_now_and_then(worker: TaskRunner, process: Process) -> None:
    worker.show()
    before = process.queue.get_state(AT_WORK)[AT_WORK]
    worker.show()
    assert process.queue.get_state(AT_WORK)[AT_WORK].version == before.version
    process.queue.set_state({AT_WORK: None})  # As when the broker restarted.
    eventually(lambda: worker.show() and process.queue.get_state(AT_WORK), 30)
    assert value(before) == value(process.queue.get_state(AT_WORK)[AT_WORK])


def test_the_loop_of_the_gauges_answers_what_waited_too_long(
    worker: TaskRunner, process: Process, central: Central, cluster: Cluster
) -> None:
    register(process)
    cluster.add_deployment("shop", "web", 1, node="node-1")
    cluster.add_budget("shop", "web", {"app": "web"}, max_unavailable=0)
    central.offer(central.task("drain_node", {"node_name": "node-1"}))
    worker.poll()
    eventually(lambda: is_cordoned(cluster))
    central.offer(central.task("uncordon_node", {"node_name": "node-1"}, seconds=1.5))
    worker.poll()
    worker.show()
    assert process.facts["tasks_in_progress"] == 2

    def shown() -> int:
        worker.show()
        return int(process.facts["tasks_in_progress"])

    eventually(lambda: shown() == 1)
    assert process.queue.stats()["results"].depth == 1


def test_a_runner_that_can_claim_no_more_says_so(
    worker: TaskRunner, process: Process, central: Central, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls go on, and yet no task is begun: /ready says it once it lasts."""
    register(process)
    process.beats.begin("poll", 90)
    worker.poll()
    process.beats.end("poll", 90)
    assert "why" not in process.beats.jobs()["poll"]
    monkeypatch.setattr("workers.task_runner.runner.MAX_CLAIMED", 0)
    process.beats.begin("poll", 90)
    worker.poll()
    process.beats.end("poll", 90)
    assert "as many tasks are claimed as there is room for" in process.beats.jobs()["poll"]["why"]
