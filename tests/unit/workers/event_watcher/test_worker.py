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
from workers.event_watcher.worker import EventWatcher


class Running:
    """The worker's three loops, and what they tell."""

    def __init__(self, cluster: Cluster, kube: Kube, process: Process) -> None:
        self.process = process
        self.worker = EventWatcher(process, kube)
        self.loops = Looping(cluster, *(loop.body for loop in self.worker.loops()))

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
    assert event.owner is not None
    assert event.owner.startswith("ReplicaSet/huge-")
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


def test_its_loops_are_its_three_watches_and_a_silent_one_is_not_hung_too_soon(kube: Kube, process: Process) -> None:
    loops = EventWatcher(process, kube).loops()
    assert [loop.name for loop in loops] == ["events", "pods", "nodes"]
    assert all(loop.patience > 90 for loop in loops)


def test_closing_forwards_what_waits(cluster: Cluster, begin: Begin) -> None:
    running = begin()
    cluster.fail_scheduling("shop", "huge", "0/3 nodes are available")
    eventually(lambda: running.told)
    before = counted("events_observed_total", event_type="pod_scheduling_failed")
    for _ in range(3):
        cluster.fail_scheduling("shop", "huge", "0/3 nodes are available")
    eventually(lambda: counted("events_observed_total", event_type="pod_scheduling_failed") >= before + 3)
    running.worker.close(pod_stopping=True)
    assert [event.count for event in running.told][-1] == 4
    assert len({event.event_id for event in running.told}) == 1
