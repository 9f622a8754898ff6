"""What is looked up beside the way: whose a pod is, and what else a person asks first; in time or not at all."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from shared.kube import connection
from shared.kube.connection import Kube
from shared.kube.objects import Owner
from shared.queue.memory import MemoryQueue
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FakeClock, counted
from tests.unit.workers.event_watcher.conftest import occurrence
from workers.event_watcher import lookups
from workers.event_watcher.checkpoint import Mark
from workers.event_watcher.lookups import BURST, Lookups
from workers.event_watcher.pending import Pending
from workers.event_watcher.unplaced import Unplaced
from workers.event_watcher.work import OwnWork


class Asking:
    """Look-ups that are made when a test says so."""

    def __init__(self, kube: Kube) -> None:
        self.stop, self.unplaced, self.done = threading.Event(), Unplaced(), 0
        self.lookups = Lookups(kube, OwnWork(MemoryQueue(), FakeClock()), self.unplaced, self.stop, self._count)

    def _count(self) -> None:
        self.done += 1

    def __call__(self, pending: Pending) -> Pending:
        self.lookups.ask(pending)
        self.lookups.run()
        return pending


@pytest.fixture
def asking(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Asking:
    monkeypatch.setattr(lookups, "_IDLE", 0.01)
    return Asking(kube)


def about(name: str = "web-0", controller: Owner | None = None, **fields: Any) -> Pending:
    """An occurrence about a pod that an Event tells of, to be told within a minute."""
    event = occurrence(name=name, uid=None, owner=None, **{"event_type": "pod_scheduling_failed", **fields})
    return Pending(event, Mark(0, "1", None), due=time.monotonic() + 60, from_event=True, controller=controller)


def answers(result: str) -> float:
    return counted("event_lookups_total", result=result)


def test_the_topmost_controller_of_a_pod_is_found_and_remembered(cluster: Cluster, asking: Asking) -> None:
    cluster.add_deployment("shop", "web", 2, node="node-1")
    names = [pod["metadata"]["name"] for pod in cluster.pods("node-1", "shop")]
    assert [asking(about(name)).event.owner for name in names] == ["Deployment/web", "Deployment/web"]
    assert len(cluster.audit.select(verb="get", resource="replicasets")) == 1
    assert asking.done == 2


def test_a_controller_without_another_above_it_is_the_topmost(cluster: Cluster, asking: Asking) -> None:
    pending = asking(about(controller=Owner("StatefulSet", "db", "uid", controller=True)))
    assert pending.event.owner == "StatefulSet/db"
    assert cluster.audit.select(verb="get") == []


def test_what_may_not_be_read_is_asked_for_once(cluster: Cluster, asking: Asking) -> None:
    """The bundle does not grant reading jobs."""
    cluster.fail(path="/apis/batch/", status=403, body={"message": "forbidden"}, times=None)
    owners = [asking(about(controller=Owner("Job", f"import-{number}"))).event.owner for number in range(3)]
    assert owners == ["Job/import-0", "Job/import-1", "Job/import-2"]
    assert len([entry for entry in cluster.audit if "/batch/" in entry.path]) == 1


def test_a_pod_that_has_a_node_is_placed_and_one_that_has_none_is_awaited(cluster: Cluster, asking: Asking) -> None:
    cluster.add_pod("shop", "placed", "node-1")
    cluster.add_pod("shop", "waiting", cpu="1000")
    assert [asking(about(name)).placed for name in ("placed", "waiting")] == [True, False]
    stored = cluster.pod("shop", "waiting")
    assert stored is not None
    assert asking.unplaced.is_waiting(
        about("waiting", namespace="shop").event.model_copy(update={"uid": stored["metadata"]["uid"]})
    )


def test_an_answer_that_does_not_come_in_time_is_none_and_the_next_ones_are_not_asked_for(
    cluster: Cluster, asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SHORTEST_TIMEOUT", 0.1)
    monkeypatch.setattr(lookups, "optional", lambda: connection.optional(0.1))
    fault = cluster.fail(verb="get", times=None, delay=5.0)
    before = answers("skipped")
    slow, next_one = asking(about("a")), asking(about("b"))
    assert (slow.known, next_one.known) == (True, True)
    assert fault.hits == 1
    assert answers("skipped") == before + 1
    assert kube.answers, "nor is it held against the API server"


def test_what_is_due_already_is_not_looked_up(cluster: Cluster, asking: Asking) -> None:
    pending = about()
    pending.due = 0.0
    assert asking(pending).known
    assert cluster.audit.select(verb="get") == []


def test_while_the_worker_stops_nothing_is_asked(cluster: Cluster, asking: Asking) -> None:
    asking.stop.set()
    assert asking(about()).known
    assert cluster.audit.select(verb="get") == []


def test_in_a_storm_most_go_without(cluster: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "RATE", 0.0)
    asking, before = Asking(kube), answers("skipped")
    for number in range(BURST + 30):
        assert asking(about(f"gone-{number}")).known
    assert answers("skipped") == before + 30
    assert len(cluster.audit.select(verb="get", resource="pods")) == BURST
