"""The event-watcher as a whole: what of a cluster's bustle reaches the queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.kube.connection import Kube
from shared.process.lifecycle import Process
from shared.queue.memory import MemoryQueue
from shared.schemas.events import ClusterEvent
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import counted, eventually, process_of
from tests.unit.workers.conftest import Looping
from tests.unit.workers.event_watcher.test_relay import told
from workers.event_watcher import lookups, relay, work
from workers.event_watcher.worker import EventWatcher


@pytest.fixture(autouse=True)
def held_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing waits for long, so that tests end soon."""
    monkeypatch.setattr(relay, "HOLD_SECONDS", 0.3)
    monkeypatch.setattr(lookups, "_IDLE", 0.05)
    monkeypatch.setattr(work, "_WAIT", 0.05)


class Running:
    """The worker's loops, and what they tell."""

    def __init__(self, cluster: Cluster, kube: Kube, process: Process) -> None:
        self.process = process
        self.worker = EventWatcher(process, kube)
        loops = self.worker.loops()
        self.loops = Looping(cluster, *(loop.body for loop in loops), watches=3)

    @property
    def told(self) -> list[ClusterEvent]:
        return told(self.process.queue)

    def types(self) -> list[str]:
        return sorted(event.event_type for event in self.told)


Begin = Callable[..., Running]


@pytest.fixture
def begin(cluster: Cluster, kube: Kube, run_dir: Path) -> Iterator[Begin]:
    begun: list[Running] = []

    def start(**variables: str) -> Running:
        process = process_of(run_dir, MemoryQueue(), "event-watcher", env=variables)
        begun.append(Running(cluster, kube, process))
        return begun[-1]

    yield start
    for running in begun:
        running.loops.kill()


def test_all_four_kinds_of_trouble_are_told_once_each(cluster: Cluster, begin: Begin) -> None:
    running = begin()
    cluster.add_deployment("shop", "web", 1, node="node-1")
    cluster.fail_scheduling("shop", "huge")
    cluster.node_not_ready("node-2")
    name = cluster.pods("node-1", "shop")[0]["metadata"]["name"]
    cluster.oom_kill("shop", name)
    eventually(lambda: len(running.told) >= 3)
    cluster.kubelet_evict("shop", name)
    eventually(lambda: len(running.told) >= 4)
    threading.Event().wait(0.1)  # time for a second word on any of them
    assert running.types() == ["node_not_ready", "oom_killed", "pod_evicted", "pod_scheduling_failed"]


def test_an_eviction_through_the_api_is_told(cluster: Cluster, kube: Kube, begin: Begin) -> None:
    running = begin()
    cluster.add_pod("shop", "web-0", "node-1")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-0"}}
    kube.call("POST", "/api/v1/namespaces/shop/pods/web-0/eviction", None, body)
    (event,) = eventually(lambda: running.told)
    assert (event.event_type, event.severity, event.reason) == ("pod_evicted", "info", "EvictionByEvictionAPI")


def test_an_event_is_told_with_the_owner_that_only_the_pod_knows(cluster: Cluster, begin: Begin) -> None:
    running = begin()
    cluster.add_deployment("shop", "huge", 1, cpu="1000")
    (event,) = eventually(lambda: running.told)
    assert event.event_type == "pod_scheduling_failed"
    assert event.owner == "Deployment/huge"
    assert event.node_name is None


def test_an_event_whose_pod_is_gone_is_told_without_the_owner(cluster: Cluster, begin: Begin) -> None:
    cluster.fail(verb="get", resource="pods", status=404, body={"message": "not found"}, times=None)
    running = begin()
    cluster.fail_scheduling("shop", "huge")
    (event,) = eventually(lambda: running.told)
    assert event.owner is None


def test_a_node_that_is_not_ready_is_told_also_where_only_its_event_is_seen(cluster: Cluster, begin: Begin) -> None:
    """The node's own watch says the same; both ways give one id."""
    running = begin()
    cluster.node_not_ready("node-1", "Unknown")
    cluster.node_not_ready("node-2", "False")
    eventually(lambda: len({event.name for event in running.told}) == 2)
    threading.Event().wait(0.1)
    assert len({event.event_id for event in running.told}) == 2


def test_the_owner_of_the_cluster_chooses_types(cluster: Cluster, begin: Begin) -> None:
    running = begin(EVENT_TYPES="node_not_ready")
    cluster.add_pod("shop", "web-0", "node-1")
    cluster.oom_kill("shop", "web-0")
    cluster.fail_scheduling("shop", "huge")
    cluster.node_not_ready("node-2")
    eventually(lambda: running.told)
    threading.Event().wait(0.05)
    assert running.types() == ["node_not_ready"]


@pytest.mark.parametrize("namespaces", ["shop", "shop,batch"])
def test_the_owner_of_the_cluster_chooses_namespaces_which_nodes_have_none_of(
    cluster: Cluster, begin: Begin, namespaces: str
) -> None:
    running = begin(EVENT_NAMESPACES=namespaces)
    for namespace in ("other", "shop"):
        cluster.add_pod(namespace, f"in-{namespace}", "node-1")
        cluster.oom_kill(namespace, f"in-{namespace}")
    cluster.node_not_ready("node-2")
    eventually(lambda: len(running.told) >= 2)
    threading.Event().wait(0.05)
    assert sorted(event.name for event in running.told) == ["in-shop", "node-2"]


@pytest.mark.parametrize("namespaces", ["shop", "shop,batch"])
def test_a_node_out_of_memory_is_told_whatever_the_namespaces(cluster: Cluster, begin: Begin, namespaces: str) -> None:
    """Its event stands in the namespace default."""
    running = begin(EVENT_NAMESPACES=namespaces)
    cluster.add_pod("other", "victim", "node-1")
    cluster.oom_kill("other", "victim", system=True)
    (event,) = eventually(lambda: running.told)
    assert (event.kind, event.name, event.event_type) == ("Node", "node-1", "oom_killed")


def test_where_one_namespace_is_chosen_its_pods_are_all_that_is_asked_for(cluster: Cluster, begin: Begin) -> None:
    begin(EVENT_NAMESPACES="shop")
    watched = {(entry.resource, entry.namespace) for entry in cluster.audit if entry.verb == "list"}
    assert watched == {("pods", "shop"), ("events", ""), ("nodes", "")}


def test_its_loops_are_its_watches_what_is_due_and_what_is_looked_up(kube: Kube, process: Process) -> None:
    loops = EventWatcher(process, kube).loops()
    names = [loop.name for loop in loops]
    assert names == ["events", "pods", "nodes", "tell", "own work", "look-ups 1", "look-ups 2"]
    assert all(loop.patience > 90 + 15 for loop in loops[:3]), "a silent watch is not hung"


# -- noise ----------------------------------------------------------------------------------------


def test_a_pod_that_gets_a_node_within_seconds_is_nobodys_trouble(
    cluster: Cluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at each scale-up: the first attempt fails, and then there is a node."""
    monkeypatch.setattr(relay, "HOLD_SECONDS", 1.0)
    running = begin()
    before, seen = counted("events_placed_total"), counted("events_observed_total", event_type="pod_scheduling_failed")
    cluster.add_deployment("shop", "web", 1, cpu="6")
    eventually(lambda: counted("events_observed_total", event_type="pod_scheduling_failed") > seen)
    cluster.add_node("node-4", cpu="8")
    eventually(lambda: counted("events_placed_total") == before + 1)
    assert running.told == []


def test_a_pod_whose_node_only_a_look_up_knows_of_is_nobodys_trouble_either(cluster: Cluster, begin: Begin) -> None:
    cluster.add_pod("shop", "web-0", "node-1")
    running = begin()
    before = counted("events_placed_total")
    cluster.fail_scheduling("shop", "web-0", "0/3 nodes are available")
    eventually(lambda: counted("events_placed_total") == before + 1)
    assert running.told == []


def test_the_pods_of_a_deployment_that_cannot_be_placed_are_one_event_with_a_count(
    cluster: Cluster, begin: Begin
) -> None:
    running = begin()
    cluster.add_deployment("shop", "web", 30, cpu="1000")
    (event,) = eventually(lambda: running.told)
    threading.Event().wait(0.5)
    running.worker.close(pod_stopping=True)
    events = running.told
    assert {one.event_id for one in events} == {event.event_id}
    assert {one.owner for one in events} == {"Deployment/web"}
    assert (events[-1].details["pods"], events[-1].count >= 30) == (30, True)


def test_a_node_that_comes_up_or_is_taken_out_is_no_alarm(cluster: Cluster, begin: Begin) -> None:
    running = begin()
    for node, taint in (("node-1", "ToBeDeletedByClusterAutoscaler"), ("node-2", "karpenter.sh/disrupted")):
        cluster.taint_node(node, taint)
        cluster.node_not_ready(node)
    cluster.node_not_ready("node-3")
    told_of = eventually(lambda: len(running.told) == 3 and {event.name: event for event in running.told})
    assert [told_of[f"node-{n}"].severity for n in (1, 2, 3)] == ["info", "info", "critical"]


# -- context --------------------------------------------------------------------------------------


def test_a_kill_is_told_with_all_that_a_person_asks_first(cluster: Cluster, begin: Begin) -> None:
    running = begin()
    cluster.add_deployment("shop", "web", 1, node="node-1", memory="128Mi")
    name = eventually(lambda: [pod for pod in cluster.pods("node-1") if pod["status"].get("phase") == "Running"])[0]
    cluster.oom_kill("shop", name["metadata"]["name"])
    (event,) = eventually(lambda: running.told)
    assert event.owner == "Deployment/web"
    assert {key: event.details[key] for key in ("container", "exit_code", "restart_count")} == {
        "container": "app",
        "exit_code": 137,
        "restart_count": 1,
    }
    assert event.details["memory_request"] == "128Mi"
    assert "memory_usage" in event.details


def test_a_node_that_is_not_ready_is_told_with_how_many_pods_are_on_it(cluster: Cluster, begin: Begin) -> None:
    cluster.add_deployment("shop", "web", 4, node="node-2")
    running = begin()
    cluster.node_not_ready("node-2")
    (event,) = eventually(lambda: running.told)
    assert event.details["pods"] == 4
    assert event.details["condition"] == "Ready=Unknown"


def test_an_eviction_of_ours_is_told_with_its_task(cluster: Cluster, kube: Kube, begin: Begin) -> None:
    running = begin()
    cluster.add_pod("shop", "web-0", "node-1")
    task = {"task_id": "t-1", "task_type": "drain_node", "parameters": {"node_name": "node-1"}}
    running.process.queue.set_state({"task/t-1": {"task": task, "notes": {}}}, durable=True)
    eventually(lambda: running.worker._work.on_node("node-1"))
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-0"}}
    kube.call("POST", "/api/v1/namespaces/shop/pods/web-0/eviction", None, body)
    (event,) = eventually(lambda: running.told)
    assert event.details == {"by": "cloudoptim-agent", "task_id": "t-1"}


def test_a_notice_goes_ahead_of_everything_and_waits_for_nothing(cluster: Cluster, begin: Begin) -> None:
    running = begin()
    cluster.fail(verb="get", times=None, delay=5.0)
    cluster.taint_node("node-1", "aws-node-termination-handler/spot-itn")
    (leased,) = eventually(lambda: running.process.queue.lease(["notices"], 10, 0.0))
    event = ClusterEvent.model_validate_json(bytes(leased.body))
    assert (event.event_type, event.name) == ("node_disruption_notice", "node-1")
    assert event.details["deadline_is"] == "usual"


# -- look-ups -------------------------------------------------------------------------------------


def test_an_api_server_that_is_slow_to_say_whose_a_pod_is_holds_up_nothing(
    cluster: Cluster, kube: Kube, begin: Begin
) -> None:
    for number in range(30):
        cluster.add_pod("shop", f"web-{number}", "node-1")
    running = begin()
    fault = cluster.fail(verb="get", resource="pods", times=None, delay=6.0)
    for number in range(30):
        cluster.kubelet_evict("shop", f"web-{number}")
        cluster.fail_scheduling("shop", f"other-{number}", "0/3 nodes are available")
    eventually(lambda: len({event.event_id for event in running.told}) == 60, 60)
    assert fault.hits <= 4, "it is left alone then"
    assert kube.answers, "and that is no reason to call it away"


def test_closing_forwards_what_waits(cluster: Cluster, begin: Begin) -> None:
    running = begin()
    cluster.fail_scheduling("shop", "huge", "0/3 nodes are available")
    eventually(lambda: running.told)
    before = counted("events_observed_total", event_type="pod_scheduling_failed")
    for _ in range(3):
        cluster.fail_scheduling("shop", "huge", "0/3 nodes are available")
    eventually(lambda: counted("events_observed_total", event_type="pod_scheduling_failed") >= before + 3)
    running.worker.close(pod_stopping=True)
    assert [event.count for event in running.told][-1] == 5, "and the scheduler's own, whose words are others"
    assert len({event.event_id for event in running.told}) == 1
