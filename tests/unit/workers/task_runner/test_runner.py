"""The runner: each task once, in order, within its time, and none without an answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from shared.basics.errors import TemporaryError
from shared.kube.connection import Kube
from shared.queue.client import value
from shared.queue.memory import MemoryQueue
from shared.queue.messages import Put, Reply, Request
from shared.schemas.tasks import TaskResult
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import NOON, counted, eventually, settings_of
from tests.unit.workers.task_runner.conftest import payload, task
from workers.task_runner import runner as module
from workers.task_runner.operations import OPERATIONS
from workers.task_runner.operations.operation import Operation
from workers.task_runner.records.journal import FINISHED_KEPT, Journal
from workers.task_runner.runner import Runner
from workers.task_runner.work import calls, evictor
from workers.task_runner.work.context import HandedBack, Suspended


class FlakyQueue(MemoryQueue):
    """Refuses the next ``failures`` puts."""

    failures = 0

    def call(self, request: Request, patience: float = 5.0) -> Reply:
        if isinstance(request, Put) and self.failures:
            self.failures -= 1
            raise TemporaryError("no room")
        return super().call(request, patience)


@pytest.fixture
def queue() -> FlakyQueue:
    return FlakyQueue()


Begin = Callable[..., Runner]


@pytest.fixture
def begin(queue: FlakyQueue, kube: Kube, run_dir: Path) -> Iterator[Begin]:
    """Starts a runner, with settings by their variables."""
    begun: list[Runner] = []

    def start(started: bool = True, **env: str) -> Runner:
        begun.append(Runner(settings_of(run_dir, **env), queue, kube))
        if started:
            begun[-1].start()
        return begun[-1]

    yield start
    for runner in begun:
        runner.drain(0.0, Suspended)


def answers(queue: MemoryQueue) -> list[dict[str, Any]]:
    """The results on the queue, oldest first; they stay there."""
    leased = queue.lease(["results"], 1000, 60.0)
    queue.release([message.id for message in leased])
    return [json.loads(bytes(message.body)) for message in leased]


def answer(queue: MemoryQueue, task_id: str = "task-1") -> dict[str, Any]:
    found = eventually(lambda: [one for one in answers(queue) if one["task_id"] == task_id])
    assert len(found) == 1
    return dict(found[0])


def delivered(queue: MemoryQueue) -> None:
    queue.ack([message.id for message in queue.lease(["results"], 1000, 60.0)])


def soon(seconds: float) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat()


def held(cluster: Cluster, node: str = "node-1") -> None:
    """A pod on ``node`` that a budget holds: a drain of it does not end by itself."""
    cluster.add_deployment("shop", f"web-{node}", 1, node=node)
    cluster.add_budget("shop", f"web-{node}", {"app": f"web-{node}"}, max_unavailable=0)


def add_node(cluster: Cluster, name: str) -> None:
    if cluster.node(name) is None:
        cluster.add_node(name)


def drain(node: str = "node-1", **fields: Any) -> dict[str, Any]:
    return payload("drain_node", {"node_name": node}, **fields)


def is_cordoned(cluster: Cluster, node: str = "node-1") -> bool:
    return bool((cluster.node(node) or {})["spec"].get("unschedulable"))


def patches(cluster: Cluster) -> list[str]:
    return [entry.name for entry in cluster.audit.select(verb="patch", resource="nodes")]


def shown(runner: Runner, sample: str) -> float:
    """A gauge, brought up to date."""
    runner.show()
    return counted(sample)


# -- one task -------------------------------------------------------------------------------------


def test_a_task_is_executed_and_answered(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    begin().receive(payload(), "poll")
    found = answer(queue)
    assert (found["status"], found["error"]) == ("success", None)
    assert "cordon_node started: node-1, deadline " in found["logs"]
    assert is_cordoned(cluster)


def test_the_claim_is_on_record_before_the_first_write(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    """The API server is slow to take the PATCH; by then the journal has had the task."""
    cluster.fail(verb="patch", resource="nodes", delay=1.0, times=1)
    runner = begin()
    runner.receive(payload(), "poll")
    assert [claim.task.task_id for claim in Journal(queue).load()] == ["task-1"]
    assert not is_cordoned(cluster)
    answer(queue)
    assert Journal(queue).load() == []


def test_what_cannot_be_claimed_is_not_begun(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    runner = begin()
    queue.store.close()
    with pytest.raises(TemporaryError):
        runner.receive(payload(), "poll")
    assert not cluster.audit.select(resource="nodes")


def test_a_result_is_offered_to_the_queue_until_it_takes_it(begin: Begin, queue: FlakyQueue) -> None:
    queue.failures = 2
    begin().receive(payload(), "poll")
    assert answer(queue)["status"] == "success"


def test_the_same_task_by_poll_and_stream_runs_once(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    runner = begin()
    for source in ("poll", "stream", "poll"):
        runner.receive(payload(), source)
    answer(queue)
    runner.receive(payload(), "stream")
    assert patches(cluster) == ["node-1"]
    assert len(answers(queue)) == 1


def test_a_finished_task_that_is_offered_again_later_is_answered_again(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Central did not hear the result; in between, an offer is only a poll that crossed it."""
    runner = begin()
    runner.receive(payload(), "poll")
    first = answer(queue)
    delivered(queue)
    runner.receive(payload(), "poll")
    assert not answers(queue)
    monkeypatch.setattr(module, "ANSWER_AGAIN_AFTER", timedelta(0))
    runner.receive(payload(), "poll")
    assert answer(queue) == first
    assert patches(cluster) == ["node-1"]


def test_a_clock_that_is_set_back_keeps_no_answer_from_central(begin: Begin, queue: FlakyQueue) -> None:
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    done = TaskResult(task_id="task-1", status="success", logs="", executed_at=tomorrow, duration_seconds=0.0)
    Journal(queue).finish(done, tomorrow)
    delivered(queue)
    begin().receive(payload(), "poll")
    assert answer(queue)["status"] == "success"


def test_a_finished_task_that_central_keeps_offering_is_answered_now_and_then(
    begin: Begin, queue: FlakyQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at every poll."""
    journal = Journal(queue)
    journal.finish(
        TaskResult(task_id="task-1", status="success", logs="", executed_at=NOON, duration_seconds=0.0), NOON
    )
    delivered(queue)
    runner = begin()
    runner.receive(payload(), "poll")
    answer(queue)
    delivered(queue)
    runner.receive(payload(), "poll")
    assert not answers(queue)


def test_a_task_is_executed_once_however_much_junk_and_work_came_since(
    begin: Begin, queue: FlakyQueue, cluster: Cluster
) -> None:
    """Its result still waits for Central, which therefore offers it again."""
    runner = begin()
    runner.receive(payload(), "poll")
    answer(queue)
    for number in range(FINISHED_KEPT + 1):
        runner.receive(payload("reboot_node", task_id=f"junk-{number}"), "poll")
        runner.receive(payload(task_id=f"late-{number}", deadline=soon(-1)), "poll")
    runner.receive(payload("uncordon_node", task_id="undo"), "poll")
    eventually(lambda: not is_cordoned(cluster) and not runner.in_progress)
    runner.receive(payload(), "poll")
    assert not Journal(queue).load()
    assert not is_cordoned(cluster)
    assert patches(cluster) == ["node-1", "node-1"]


def test_a_bad_task_is_answered_at_once_and_once(begin: Begin, queue: FlakyQueue) -> None:
    before = counted("tasks_total", task_type="unknown", status="failed")
    runner = begin()
    for _ in range(2):
        runner.receive(payload("reboot_node"), "poll")
    assert answer(queue)["error"].startswith("unknown task type 'reboot_node'")
    assert counted("tasks_total", task_type="unknown", status="failed") == before + 1


def test_another_clusters_task_is_counted_and_not_answered_and_warned_of_once(
    begin: Begin, queue: FlakyQueue, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("tasks_dropped_total", reason="other_cluster")
    runner = begin()
    for _ in range(2):
        runner.receive(payload(cluster_id="other"), "poll")
    assert counted("tasks_dropped_total", reason="other_cluster") == before + 2
    warned = [record for record in caplog.records if record.levelname == "WARNING" and "cluster" in record.message]
    assert len(warned) == 1, "a poll brings it again every ten seconds"
    assert not answers(queue)
    assert not queue.get_state("task/")


def test_a_task_that_meets_a_bug_does_not_keep_others_from_being_taken_in(
    begin: Begin, queue: FlakyQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would come with every poll, and all behind it never."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("oh")

    runner = begin()
    with monkeypatch.context() as patched:
        patched.setattr(module, "judge", broken)
        runner.receive(payload(task_id="bad"), "poll")
    assert "ZeroDivisionError: oh" in caplog.text
    runner.receive(payload(task_id="good"), "poll")
    assert answer(queue, "good")["status"] == "success"


def test_nothing_is_taken_in_before_the_start_and_after_the_end(begin: Begin, queue: FlakyQueue) -> None:
    runner = begin(started=False)
    runner.receive(payload(task_id="early"), "poll")
    runner.start()
    runner.stop_accepting()
    runner.receive(payload(task_id="late"), "poll")
    assert not queue.get_state("task/")


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"node_name": "nowhere"}, "node nowhere does not exist"),
        ({"node_name": "node-1", "node_uid": "other"}, "other"),
    ],
)
def test_what_an_operation_raises_is_the_results_error(
    begin: Begin, queue: FlakyQueue, parameters: dict[str, str], error: str
) -> None:
    begin().receive(payload(parameters=parameters), "poll")
    found = answer(queue)
    assert found["status"] == "failed"
    assert error in found["error"]


def test_an_operation_that_has_a_bug_fails_the_task_and_nothing_else(
    begin: Begin, queue: FlakyQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Operation[Any]):
        async def run(self) -> None:
            raise ZeroDivisionError("oh")

    monkeypatch.setitem(OPERATIONS, "uncordon_node", Broken)
    runner = begin()
    runner.receive(payload("uncordon_node", task_id="a"), "poll")
    runner.receive(payload(task_id="b"), "poll")
    assert answer(queue, "a")["error"] == "unexpected ZeroDivisionError: oh"
    assert answer(queue, "b")["status"] == "success"


# -- order and bounds -----------------------------------------------------------------------------


def test_the_most_urgent_of_a_nodes_tasks_starts_first_and_then_the_nearest_deadline(
    begin: Begin, queue: FlakyQueue
) -> None:
    runner = begin(started=False)
    for number, (priority, seconds) in enumerate([(5, 3600), (5, 1800), (1, 3600), (10, 60)]):
        Journal(queue).claim(task(task_id=f"t{number}", priority=priority, deadline=soon(seconds)))
    runner.start()
    eventually(lambda: len(answers(queue)) == 4)
    assert [one["task_id"] for one in answers(queue)] == ["t2", "t1", "t0", "t3"]


def test_held_drains_hold_nobody_else(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    """However many there are, and however urgent."""
    runner = begin()
    for number in range(1, 41):
        add_node(cluster, f"node-{number}")
        held(cluster, f"node-{number}")
        runner.receive(drain(f"node-{number}", task_id=f"node-{number}", priority=1), "poll")
    add_node(cluster, "free")
    runner.receive(payload("cordon_node", {"node_name": "free"}, task_id="late", priority=10), "stream")
    assert answer(queue, "late")["status"] == "success"
    assert [one["task_id"] for one in answers(queue)] == ["late"]


def test_a_task_that_waits_costs_no_thread(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    for number in range(1, 101):
        add_node(cluster, f"node-{number}")
        held(cluster, f"node-{number}")
    runner = begin()
    for number in range(1, 101):
        runner.receive(drain(f"node-{number}", task_id=f"node-{number}"), "poll")
    eventually(lambda: shown(runner, "drain_pods_blocked") == 100)
    ours = {"call", "evict", "passes", "view"}
    threads = [thread.name for thread in threading.enumerate() if thread.name in ours]
    assert len(threads) <= calls.PARALLEL + evictor.PARALLEL + 2
    assert threads.count("view") == 1, "one watch for all"


def test_one_node_has_one_writer(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.receive(payload("uncordon_node", task_id="uncordon", priority=1), "stream")
    runner.receive(payload(parameters={"node_name": "node-2"}, task_id="other"), "poll")
    answer(queue, "other")
    assert is_cordoned(cluster), "the uncordon waits"
    runner.cancel("drain")
    answer(queue, "uncordon")
    assert [one["task_id"] for one in answers(queue)] == ["other", "drain", "uncordon"]


def test_what_is_claimed_is_bounded_in_number_and_size(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest stays with Central, which offers it again."""
    held(cluster)
    runner = begin()
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    monkeypatch.setattr(module, "MAX_CLAIMED", 2)
    for task_id in ("a", "b"):
        runner.receive(payload(task_id=task_id), "poll")
    assert set(queue.get_state("task/")) == {"task/drain", "task/a"}
    monkeypatch.setattr(module, "MAX_CLAIMED", 1000)
    monkeypatch.setattr(module, "MAX_CLAIMED_BYTES", 100)
    runner.receive(payload(task_id="b"), "poll")
    assert set(queue.get_state("task/")) == {"task/drain", "task/a"}


# -- time -----------------------------------------------------------------------------------------


def test_a_task_that_arrives_late_is_not_begun(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    begin().receive(payload(deadline=soon(-1)), "poll")
    found = answer(queue)
    assert found["status"] == "timeout"
    assert "had passed when it arrived" in found["error"]
    assert not cluster.audit.select(resource="nodes")


def test_a_task_whose_time_passes_while_it_waits_is_answered_then(
    begin: Begin, queue: FlakyQueue, cluster: Cluster
) -> None:
    """Not when whatever it waits for has ended."""
    held(cluster)
    runner = begin()
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.receive(payload("uncordon_node", task_id="waits", deadline=soon(1.0)), "poll")
    runner.expire()
    assert not answers(queue)

    def answered() -> bool:
        runner.expire()
        return bool(answers(queue))

    eventually(answered)
    found = answer(queue, "waits")
    assert (found["status"], found["error"]) == ("timeout", "the deadline passed before it could start")
    assert is_cordoned(cluster)


def test_a_task_whose_time_passed_before_its_turn_is_not_begun(
    begin: Begin, queue: FlakyQueue, cluster: Cluster
) -> None:
    Journal(queue).claim(task(deadline=soon(-1)))
    begin()
    assert answer(queue)["status"] == "timeout"
    assert not cluster.audit.select(resource="nodes")


def test_a_drain_whose_time_passes_says_what_is_left(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    held(cluster)
    begin().receive(drain(deadline=soon(0.5)), "poll")
    found = answer(queue)
    assert found["status"] == "timeout"
    assert found["error"].startswith("Node still has 1 pods at the deadline")


# -- cancelling -----------------------------------------------------------------------------------


def test_a_running_task_is_cancelled_at_its_next_safe_point(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.cancel("task-1")
    found = answer(queue)
    assert found["status"] == "failed"
    assert found["error"].startswith("cancelled; Node still has 1 pods")


def test_a_waiting_task_is_cancelled_at_once_and_never_begun(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.receive(payload("uncordon_node", task_id="waits"), "poll")
    runner.cancel("waits")
    assert answer(queue, "waits")["error"] == "cancelled before it started"
    runner.cancel("drain")
    answer(queue, "drain")
    assert is_cordoned(cluster)


def test_a_cancellation_the_queue_does_not_take_is_not_forgotten(
    begin: Begin, queue: FlakyQueue, cluster: Cluster
) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.receive(payload("uncordon_node", task_id="waits"), "poll")
    queue.failures = 1
    runner.cancel("waits")
    assert not answers(queue)
    runner.cancel("drain")
    assert answer(queue, "waits")["error"] == "cancelled"
    assert is_cordoned(cluster)


@pytest.mark.parametrize("task_id", ["", "nobody", "x" * 10_000, "\ud800"])
def test_cancelling_what_is_not_there_does_nothing(begin: Begin, queue: FlakyQueue, task_id: str) -> None:
    begin().cancel(task_id)
    assert not answers(queue)


# -- guard rails ----------------------------------------------------------------------------------


def test_a_task_that_a_rule_refuses_is_answered_with_the_rule(begin: Begin, queue: FlakyQueue) -> None:
    begin(ALLOWED_TASK_TYPES="drain_node").receive(payload(), "poll")
    assert answer(queue)["error"] == (
        "the cluster's owner does not allow cordon_node: ALLOWED_TASK_TYPES is drain_node"
    )


def test_a_rule_set_while_a_task_waits_refuses_it_and_lets_what_runs_go_on(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, run_dir: Path
) -> None:
    held(cluster)
    switch = run_dir / "tasks-paused"
    runner = begin(LIMITS_DIR=str(switch.parent))
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.receive(payload("uncordon_node", task_id="waits"), "poll")
    switch.write_text("true")
    assert not answers(queue)
    runner.cancel("drain")
    assert "tasks-paused says so" in answer(queue, "waits")["error"]
    assert is_cordoned(cluster)


# -- the end, and the next beginning --------------------------------------------------------------


def test_handing_back_answers_what_runs_and_what_waits(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.receive(payload("uncordon_node", task_id="waits"), "poll")
    runner.stop_accepting()
    runner.drain(0.0, HandedBack)
    assert answer(queue, "waits")["error"] == "the agent was shut down before the task started; send it again"
    assert answer(queue, "drain")["error"].startswith(
        "the agent was shut down before the task ended; it is safe to send it again; Node still has 1 pods"
    )
    assert runner.in_progress == 0


def test_one_answer_that_cannot_be_given_does_not_keep_the_others_back(
    begin: Begin, queue: FlakyQueue, cluster: Cluster
) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    runner.receive(payload("uncordon_node", task_id="waits"), "poll")
    queue.failures = 1
    runner.drain(0.0, HandedBack)
    assert answer(queue, "drain")["status"] == "failed"
    assert [claim.task.task_id for claim in Journal(queue).load()] == ["waits"]


def test_suspended_tasks_go_on_with_the_next_runner(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    held(cluster)
    first = begin()
    first.receive(drain(task_id="drain"), "poll")
    eventually(lambda: is_cordoned(cluster))
    first.receive(payload("uncordon_node", task_id="waits"), "poll")
    first.drain(0.0, Suspended)
    assert not answers(queue)
    second = begin()
    eventually(lambda: len(queue.get_state("task/")) == 2)
    second.receive(drain(task_id="drain"), "poll")
    second.cancel("drain")
    assert "drain_node resumed: node-1" in answer(queue, "drain")["logs"]
    answer(queue, "waits")
    assert not is_cordoned(cluster)


def test_what_was_begun_waits_while_tasks_are_paused_and_is_finished_then(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    switch = run_dir / "tasks-paused"
    switch.write_text("true")
    journal = Journal(queue)
    journal.note(journal.claim(task()), cordoned_by_us=True)
    begin(LIMITS_DIR=str(switch.parent))
    eventually(lambda: "the task goes on when that ends" in caplog.text)
    assert not is_cordoned(cluster)
    switch.write_text("false")
    found = answer(queue)
    assert found["status"] == "success"
    assert "tasks-paused says so; the task goes on when that ends" in found["logs"]


def test_a_drain_evicts_nothing_more_while_tasks_are_paused(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, run_dir: Path
) -> None:
    """Not even what waits for its turn behind the rate limit."""
    switch = run_dir / "tasks-paused"
    cluster.add_deployment("shop", "web", 20, node="node-1")
    runner = begin(LIMITS_DIR=str(switch.parent), EVICTIONS_PER_SECOND="2", EVICTION_BURST="2")
    runner.receive(drain(), "poll")
    eventually(lambda: evictions(cluster))
    switch.write_text("true")
    eventually(lambda: runner._surroundings.paused() is not None)
    before = len(evictions(cluster))
    time.sleep(3)
    assert len(evictions(cluster)) <= before + 1, "one may have been on its way"
    runner.cancel("task-1")
    assert answer(queue)["error"].startswith("cancelled; Node still has ")


def test_a_paused_drain_that_is_cancelled_is_answered_and_leaves_its_cordon(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the owner paused writes nothing, not even to take something back; and Central hears of it at once."""
    caplog.set_level("INFO")
    held(cluster)
    switch = run_dir / "tasks-paused"
    runner = begin(LIMITS_DIR=str(switch.parent))
    runner.receive(payload("drain_node", {"node_name": "node-1", "uncordon_on_failure": True}), "poll")
    eventually(lambda: is_cordoned(cluster))
    switch.write_text("true")
    eventually(lambda: "the task goes on when that ends" in caplog.text)
    runner.cancel("task-1")
    found = answer(queue)
    assert found["status"] == "failed"
    assert "node node-1 stays cordoned: paused by the cluster's owner" in found["logs"]
    assert is_cordoned(cluster)


def test_what_only_waited_is_not_begun_after_a_restart_when_tasks_are_paused_now(
    begin: Begin, queue: FlakyQueue
) -> None:
    Journal(queue).claim(task())
    begin(TASKS_PAUSED="true")
    assert "tasks are paused" in answer(queue)["error"]


def test_a_claim_this_version_does_not_take_is_answered_and_the_rest_goes_on(begin: Begin, queue: FlakyQueue) -> None:
    journal = Journal(queue)
    journal.claim(task("reboot_node", {}, task_id="odd"))
    journal.claim(task(task_id="good"))
    queue.set_state({"task/broken": {"nonsense": 1}}, durable=True)
    begin()
    assert answer(queue, "odd")["error"].startswith("it was begun, and cannot be resumed: unknown task type")
    assert answer(queue, "good")["status"] == "success"


def test_the_end_of_a_drain_asks_for_a_sample(begin: Begin, queue: FlakyQueue) -> None:
    begin().receive(drain(), "poll")
    answer(queue)
    entry = eventually(lambda: queue.get_state("drain-ended").get("drain-ended"))
    assert value(entry) == "task-1"


def test_how_far_drains_are_shows_in_the_gauges(begin: Begin, queue: FlakyQueue, cluster: Cluster) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(), "poll")
    eventually(lambda: shown(runner, "drain_pods_blocked") == 1)
    assert counted("drain_pods_remaining") == 1
    assert counted("task_oldest_age_seconds") > 0
    runner.cancel("task-1")
    answer(queue)
    eventually(lambda: shown(runner, "tasks_in_progress") == 0)
    assert counted("drain_pods_remaining") == 0


def test_how_far_drains_are_shows_with_what_holds_their_pods_and_then_as_a_result(
    begin: Begin, queue: FlakyQueue, cluster: Cluster
) -> None:
    held(cluster)
    runner = begin()
    runner.receive(drain(), "poll")
    (seen,) = eventually(lambda: [task for task in runner.show()["tasks"] if task["held"]])
    assert (seen["phase"], seen["pods_left"]) == ("evicting", 1)
    assert seen["held"] == [{"by": "budget web-node-1", "pods": 1}]
    assert seen["held_since"] >= seen["started"][:19]
    runner.cancel("task-1")
    answer(queue)
    (result,) = eventually(lambda: runner.show()["results"])
    assert (result["task_type"], result["target"], result["status"]) == ("drain_node", "node-1", "failed")
    assert begin().show()["results"] == [result], "it is known over a restart"


def test_a_type_that_central_made_up_fills_no_journal(begin: Begin, queue: FlakyQueue) -> None:
    runner = begin()
    runner.receive(payload("x" * 100_000), "poll")
    answer(queue)
    assert [result["task_type"] for result in runner.show()["results"]] == ["unknown"]
    (entry,) = queue.get_state("task/").values()
    assert len(bytes(entry.value)) < 4096


# -- the agent's own node -------------------------------------------------------------------------


def own_pod(cluster: Cluster) -> str:
    """The agent's pod, alone on node-1; its UID."""
    cluster.add_deployment("agents", "agent", 1, node="node-1")
    pods = eventually(lambda: cluster.pods("node-1", "agents"))
    return str(pods[0]["metadata"]["uid"])


def evictions(cluster: Cluster) -> list[int]:
    return [entry.code for entry in cluster.audit.select(verb="create", subresource="eviction")]


def test_the_agents_own_pod_is_not_evicted_while_a_result_waits_for_central(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The spool would go with it; when the task's time is up the pod stays, and the log says so."""
    begin(POD_UID=own_pod(cluster)).receive(drain(deadline=soon(3)), "poll")
    assert answer(queue)["status"] == "success"
    eventually(lambda: "stays on its drained node: 1 results are not with Central yet" in caplog.text)
    assert evictions(cluster) == []


def test_once_all_results_are_delivered_its_eviction_is_tried_until_it_is_accepted(
    begin: Begin, queue: FlakyQueue, cluster: Cluster
) -> None:
    runner = begin(POD_UID=own_pod(cluster))
    cluster.fail(subresource="eviction", status=503, times=1)
    cluster.fail(subresource="eviction", status=429, body="slow down", times=1)
    runner.receive(drain(), "poll")
    answer(queue)
    assert evictions(cluster) == []
    delivered(queue)
    eventually(lambda: evictions(cluster)[-1:] == [201])
    assert sorted(evictions(cluster)) == [201, 429, 503]


def test_an_eviction_of_itself_that_cannot_be_is_said_and_not_repeated(
    begin: Begin, queue: FlakyQueue, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    runner = begin(POD_UID=own_pod(cluster))
    cluster.fail(subresource="eviction", status=400, body={"kind": "Status", "message": "no"}, times=1)
    runner.receive(drain(), "poll")
    answer(queue)
    delivered(queue)
    eventually(lambda: "stays on its drained node: HTTP 400" in caplog.text)
    assert evictions(cluster) == [400]
