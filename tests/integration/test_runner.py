"""The runner: no task twice, none lost, each in its turn and within its time, whoever is killed."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from shared.process.state import TASK
from shared.queue.client import QueueClient
from tests.integration.shipped import BLOCKED, Shipped, shipped
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FastClock, eventually, kube_of, settings_of
from tests.unit.shared.queue.conftest import RunningBroker
from workers.task_runner.runner import ANSWER_AGAIN_AFTER, Runner
from workers.task_runner.work.context import Suspended


@dataclass(frozen=True)
class Stopping:
    """An agent that is going down, and the tasks it had."""

    shop: Shipped
    held: str
    ending: str
    waiting: str


@pytest.fixture(scope="module", autouse=True)
def stopping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopping]:
    """Told to stop while one drain is held, another about to end and a third task waiting.

    It gives the held one all the time there is: begun first and looked at last, so that the other tests run meanwhile.
    """
    with shipped(tmp_path_factory.mktemp("stopping")) as shop:
        shop.cluster.add_deployment("shop", "slow", 3, node="node-2", termination_seconds=4.0, grace=10)
        held = shop.draining("node-1")
        ending = shop.offer("drain_node", "node-2")
        shop.cluster.wait_for(lambda: shop.is_cordoned("node-2"))
        waiting = shop.push("uncordon_node", "node-1")
        shop.agent.wait(lambda: shop.logged("claimed uncordon_node"))
        assert shop.agent.process is not None
        shop.agent.process.send_signal(signal.SIGTERM)
        yield Stopping(shop, held, ending, waiting)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    """An agent for all tests of this module; each has nodes of its own."""
    with shipped(tmp_path_factory.mktemp("runner"), nodes=13) as shop:
        yield shop


@pytest.fixture(scope="module", autouse=True)
def long_drain(shop: Shipped) -> str:
    """A drain that goes on for as long as the module does, on node-12."""
    return shop.draining("node-12")


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    """A queue of its own, in a directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="co-") as path:
        broker = RunningBroker(Path(path))
        yield broker
        broker.stop()


# -- once -----------------------------------------------------------------------------------------


def test_a_claim_is_on_disk_before_the_first_write(shop: Shipped) -> None:
    """The API server takes its time over the write; by then the journal has had the task."""
    shop.cluster.fail(verb="patch", name="node-1", delay=1.0)
    queue = QueueClient(shop.agent.run_dir / "queue.sock")
    task_id = shop.push("cordon_node", "node-1")
    shop.agent.wait(lambda: TASK + task_id in queue.get_state(TASK))
    assert not shop.is_cordoned("node-1")
    queue.disconnect()
    assert shop.result(task_id)["status"] == "success"


def test_what_cannot_be_claimed_is_not_begun_and_comes_again(shop: Shipped) -> None:
    """No queue, no journal; Central offers it until it is answered."""
    shop.agent.supervisorctl("stop", "health")
    task_id = shop.push("cordon_node", "node-2")
    shop.agent.wait(lambda: shop.logged("a pushed task could not be claimed"))
    assert not shop.patches("node-2")
    shop.agent.supervisorctl("start", "health")
    shop.agent.wait_ready()
    shop.central.offer(shop.central.task("cordon_node", {"node_name": "node-2"}, task_id=task_id))
    assert shop.result(task_id)["status"] == "success"
    assert shop.patches("node-2") == ["node-2"]


def test_one_task_by_poll_and_by_stream_is_executed_and_answered_once(shop: Shipped) -> None:
    task = shop.central.task("cordon_node", {"node_name": "node-3"})
    shop.central.offer(task)
    for frame in (task, [task, task], {"type": "task", "task": task}):
        shop.central.push(frame)
    assert shop.result(task["task_id"])["status"] == "success"
    shop.central.push(task)
    shop.polls(3)
    assert shop.patches("node-3") == ["node-3"]
    assert len(shop.central.ledger.results(task["task_id"])) == 1


def test_a_finished_task_that_comes_again_is_known_also_after_a_kill(shop: Shipped) -> None:
    task = shop.central.task("cordon_node", {"node_name": "node-4"})
    shop.central.offer(task)
    shop.result(task["task_id"])
    pid = shop.agent.pids()["task-runner"]
    os.kill(pid, signal.SIGKILL)
    shop.agent.wait(lambda: shop.agent.pids().get("task-runner", pid) != pid)
    shop.central.offer(task)
    shop.agent.wait(lambda: shop.agent.metric('cloudoptim_tasks_received_total{source="poll"}') > 0)
    shop.polls(3)
    assert shop.patches("node-4") == ["node-4"]
    shop.central.ledger.pending.clear()


def test_a_result_central_did_not_confirm_is_sent_again_and_nothing_is_done_again(shop: Shipped) -> None:
    shop.central.fault("result", status=503, times=2, after=True)
    task_id = shop.offer("cordon_node", "node-5")
    shop.central.ledger.wait(lambda: len(shop.central.ledger.results(task_id)) == 3)
    first, *others = shop.central.ledger.results(task_id)
    assert others == [first, first]
    assert shop.patches("node-5") == ["node-5"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Executors' connections end with them.
def test_a_result_that_got_lost_is_sent_again_when_the_task_comes_again(
    broker: RunningBroker, cluster: Cluster, tmp_path: Path
) -> None:
    """By a fast clock, because in between Central is given time to hear it."""
    queue = QueueClient(broker.path)
    clock = FastClock(100)
    task = {
        "task_id": "t1",
        "cluster_id": "demo",
        "task_type": "cordon_node",
        "parameters": {"node_name": "node-1"},
        "priority": 5,
        "deadline": "2090-01-01T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
    }

    def received() -> list[str]:
        """What heartbeat would deliver, and Central never gets to know."""
        leased = queue.lease(["results"], 10, 60.0)
        queue.ack([message.id for message in leased])
        return [message.key for message in leased]

    kube = kube_of(cluster.url, tmp_path, token="admin")
    runner = Runner(settings_of(broker.path.parent), queue, kube, clock)
    try:
        runner.start()
        runner.receive(task, "poll")
        assert eventually(received) == ["t1"]
        at = clock.now()
        eventually(lambda: clock.now() - at > ANSWER_AGAIN_AFTER)
        runner.receive(task, "poll")
        assert received() == ["t1"]
        assert len(cluster.audit.select(verb="patch", name="node-1")) == 1
    finally:
        runner.drain(0.0, Suspended)
        queue.disconnect()
        gc.collect()  # Now, and not in a test that has nothing to do with it.


# -- who is killed --------------------------------------------------------------------------------


def test_a_drain_resumed_after_a_kill_still_knows_that_it_was_the_one_to_cordon(shop: Shipped) -> None:
    task_id = shop.draining("node-6", uncordon_on_failure=True)
    pid = shop.agent.pids()["task-runner"]
    os.kill(pid, signal.SIGKILL)
    shop.agent.wait(lambda: shop.agent.pids().get("task-runner", pid) != pid)
    shop.agent.wait(lambda: shop.logged("drain_node resumed: node-6"))
    assert shop.is_cordoned("node-6")
    assert not shop.central.ledger.results(task_id)
    shop.agent.wait(lambda: shop.central.streams)
    result = shop.cancel(task_id)
    assert result["status"] == "failed"
    assert result["error"].startswith("cancelled; Node still has 1 pods")
    assert not shop.is_cordoned("node-6")


def test_a_deletion_is_settled_by_uid_when_its_worker_is_killed(shop: Shipped) -> None:
    """The StatefulSet's new pod of the same name is there before the worker is: it is not touched."""
    shop.cluster.add_statefulset("shop", "db", 1, node="node-7", termination_seconds=1.0, grace=5)
    first = uid(shop, "db-0")
    created = datetime.now(timezone.utc) + timedelta(seconds=2)  # A pod's creation time has whole seconds only.
    task = shop.central.task("delete_pod", {"namespace": "shop", "pod_name": "db-0"}, created_at=created.isoformat())
    shop.central.offer(task)
    shop.cluster.wait_for(lambda: (shop.cluster.pod("shop", "db-0") or {})["metadata"].get("deletionTimestamp"))
    pid = shop.agent.pids()["task-runner"]
    os.kill(pid, signal.SIGSTOP)
    shop.cluster.wait_for(lambda: uid(shop, "db-0") not in ("", first))
    second = uid(shop, "db-0")
    os.kill(pid, signal.SIGKILL)
    result = shop.result(task["task_id"])
    assert result["status"] == "success"
    assert (
        f"gone before the agent restarted: pod shop/db-0 has uid {second}; the one with uid {first} is gone"
        in (result["logs"])
    )
    assert uid(shop, "db-0") == second
    assert len(shop.cluster.audit.select(verb="create", subresource="eviction", name="db-0", code=201)) == 1


# -- in its turn ----------------------------------------------------------------------------------


def test_held_drains_hold_nobody_and_a_node_has_one_writer_at_a_time(shop: Shipped) -> None:
    """Priority, then deadline, decide who is the next on a node."""
    shop.agent.wait(lambda: shop.central.streams)
    held = shop.draining("node-9")
    tasks = [
        shop.central.task("uncordon_node", {"node_name": "node-9"}, seconds=seconds, priority=priority)
        for seconds, priority in [(300, 5), (200, 5), (400, 1)]
    ]
    shop.central.push(tasks)
    shop.agent.wait(lambda: shop.agent.metric("cloudoptim_tasks_waiting") == 3)
    for node in ("node-10", "node-11"):
        assert shop.result(shop.push("drain_node", node, priority=10))["status"] == "success"
    assert not [task for task in tasks if shop.central.ledger.results(task["task_id"])], "their node is being drained"
    assert shop.is_cordoned("node-9")
    shop.cancel(held)
    results = [shop.result(task["task_id"]) for task in tasks]
    order = sorted(results, key=lambda result: str(result["executed_at"]))
    assert [result["task_id"] for result in order] == [tasks[number]["task_id"] for number in (2, 1, 0)]
    assert not shop.is_cordoned("node-9")


# -- in its time ----------------------------------------------------------------------------------


def test_a_task_past_its_deadline_is_not_begun(shop: Shipped) -> None:
    before = len(shop.patches())
    result = shop.result(shop.offer("cordon_node", "node-1", seconds=-1))
    assert result["status"] == "timeout"
    assert "had passed when it arrived" in result["error"]
    assert len(shop.patches()) == before


def test_a_drain_past_its_deadline_says_what_is_left_and_so_does_what_waits_for_it(shop: Shipped) -> None:
    shop.hold("node-1")
    drain = shop.push("drain_node", "node-1", seconds=4)
    shop.agent.wait(lambda: shop.logged("drain_node started: node-1,"))
    behind = shop.push("uncordon_node", "node-1", seconds=1)
    waited = shop.result(behind)
    assert (waited["status"], waited["error"]) == ("timeout", "the deadline passed before it could start")
    assert not shop.central.ledger.results(drain), "nor did it have to end for that"
    result = shop.result(drain)
    assert result["status"] == "timeout"
    assert result["error"].startswith("Node still has 1 pods at the deadline; budget held-node-1 holds 1")


# -- no task at all -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task_type", "parameters", "error"),
    [
        ("reboot_node", {"node_name": "node-1"}, "unknown task type 'reboot_node'; this agent knows drain_node, "),
        ("drain_node", {}, "bad parameters for drain_node: node_name: is required"),
        ("drain_node", {"node_name": "node-1", "dryrun": True}, "bad parameters for drain_node: dryrun: unknown "),
    ],
)
def test_what_cannot_be_understood_fails_with_the_reason(
    shop: Shipped, task_type: str, parameters: dict[str, object], error: str
) -> None:
    result = shop.result(shop.central.offer(shop.central.task(task_type, parameters)))
    assert result["status"] == "failed"
    assert result["error"].startswith(error)
    assert result["duration_seconds"] == 0


def test_another_clusters_task_is_logged_and_counted_and_not_answered(shop: Shipped) -> None:
    task_id = shop.push("cordon_node", "node-1", cluster_id="other")
    (line,) = eventually(lambda: shop.logged(f"task {task_id} is for cluster 'other'"))
    assert line["level"] == "WARNING"
    shop.agent.wait(lambda: shop.agent.metric('cloudoptim_tasks_dropped_total{reason="other_cluster"}') == 1)
    assert not shop.central.ledger.results(task_id)


# -- looking on, and the end ----------------------------------------------------------------------


def test_a_long_drain_shows_how_far_it_is(shop: Shipped, long_drain: str) -> None:
    """In the log now and then, in the metrics all the time."""
    for gauge in ("tasks_in_progress", "drain_pods_remaining", "drain_pods_blocked"):
        shop.agent.wait(lambda gauge=gauge: shop.agent.metric(f"cloudoptim_{gauge}") == 1)  # type: ignore[misc]
    age = shop.agent.metric("cloudoptim_task_oldest_age_seconds")
    shop.agent.wait(lambda: shop.agent.metric("cloudoptim_task_oldest_age_seconds") > age)
    said = eventually(lambda: shop.logged("1 pods are not gone yet"), timeout=60)[-1]
    assert f"{BLOCKED}/held-node-12-" in said["message"]
    assert said["message"].endswith("; budget held-node-12 holds 1")
    assert (said["task_id"], said["node_name"]) == (long_drain, "node-12")
    shop.let_go("node-12")
    assert shop.result(long_drain)["status"] == "success"


def test_told_to_stop_it_ends_what_it_can_and_hands_the_rest_back(stopping: Stopping) -> None:
    process, ledger = stopping.shop.agent.process, stopping.shop.central.ledger
    assert process is not None
    assert process.wait(60) == 0
    (ended,) = ledger.results(stopping.ending)
    assert ended["status"] == "success"
    (held,) = ledger.results(stopping.held)
    assert held["status"] == "failed"
    assert held["error"].startswith(
        "the agent was shut down before the task ended; it is safe to send it again; Node still has 1 pods"
    )
    (waiting,) = ledger.results(stopping.waiting)
    assert waiting["error"] == "the agent was shut down before the task started; send it again"
    assert ledger.arrivals[-1].call == "deregister"
    assert stopping.shop.is_cordoned("node-1")


def uid(shop: Shipped, name: str) -> str:
    """Of the pod of that name that is there now; "" without one."""
    return str((shop.cluster.pod("shop", name) or {"metadata": {"uid": ""}})["metadata"]["uid"])
