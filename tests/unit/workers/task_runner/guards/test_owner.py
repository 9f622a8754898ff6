"""The owner's law as operations ask it, against an API server and a queue."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.kube.connection import MERGE_PATCH, Kube
from shared.kube.errors import Forbidden
from shared.kube.nodes import Nodes
from shared.queue.memory import MemoryQueue
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import FakeClock, eventually, settings_of
from tests.unit.workers.task_runner.conftest import pod
from workers.task_runner.guards.law import PROTECTED
from workers.task_runner.guards.ledger import Permit
from workers.task_runner.guards.owner import Owner


@pytest.fixture
def owner(kube: Kube, clock: FakeClock, run_dir: Path) -> Owner:
    env = {"LIMITS_DIR": str(run_dir), "PROTECTED_NAMESPACES": "bank", "MAX_EVICTIONS_PER_HOUR": "1"}
    return Owner(settings_of(run_dir, **env).tasks.limits, kube, MemoryQueue(), clock)


def mark(kube: Kube, namespace: str, value: str | None) -> None:
    body = {"metadata": {"labels": {PROTECTED: value}}}
    kube.call("PATCH", f"/api/v1/namespaces/{namespace}", None, body, MERGE_PATCH)


def lists(cluster: Cluster) -> int:
    return len(cluster.audit.select(verb="list", resource="namespaces"))


def test_a_label_on_the_namespace_protects_its_pods_within_seconds(
    owner: Owner, kube: Kube, cluster: Cluster, clock: FakeClock
) -> None:
    cluster.add_namespace("shop")
    assert owner.on_pod(pod()) is None
    mark(kube, "shop", "true")
    clock.advance(6)
    assert "namespace shop: it is labelled" in str(owner.on_pod(pod()))
    mark(kube, "shop", None)
    clock.advance(6)
    assert owner.on_pod(pod()) is None


def test_the_label_takes_a_listed_namespace_out(owner: Owner, kube: Kube, cluster: Cluster, clock: FakeClock) -> None:
    cluster.add_namespace("bank")
    assert "PROTECTED_NAMESPACES" in str(owner.on_pod(pod(namespace="bank")))
    mark(kube, "bank", "false")
    clock.advance(6)
    assert owner.on_pod(pod(namespace="bank")) is None


def test_many_who_ask_at_once_cost_one_list(owner: Owner, cluster: Cluster) -> None:
    for _ in range(100):
        owner.on_pod(pod())
    assert lists(cluster) == 1


def test_what_cannot_be_read_protects(owner: Owner, cluster: Cluster) -> None:
    body = {
        "kind": "Status",
        "status": "Failure",
        "message": 'namespaces is forbidden: User "x" cannot list',
        "code": 403,
    }
    cluster.fail(verb="list", resource="namespaces", status=403, body=body, times=1)
    with pytest.raises(Forbidden):
        owner.on_pod(pod())


def test_the_limits_are_those_of_the_moment(owner: Owner, kube: Kube, run_dir: Path, clock: FakeClock) -> None:
    node = Nodes(kube).find("node-1")
    assert owner.on_node(node) is None
    assert owner.on_task("drain_node", dry_run=False) is None
    (run_dir / "allowed-task-types").write_text("cordon_node")
    assert "does not allow drain_node" in str(owner.on_task("drain_node", dry_run=False))
    clock.advance(1)
    Nodes(kube).set_labels("node-1", {"node-role.kubernetes.io/control-plane": ""})
    node = Nodes(kube).find("node-1")
    assert "control plane" in str(owner.on_node(node))
    (run_dir / "allow-control-plane-nodes").write_text("true")
    clock.advance(1)
    assert owner.on_node(node) is None


def test_evictions_and_drains_are_counted_apart(owner: Owner) -> None:
    permit = owner.begin_eviction()
    assert isinstance(permit, Permit)
    assert isinstance(owner.begin_eviction(), str)
    owner.not_evicted(permit)
    assert isinstance(owner.begin_eviction(), Permit)
    assert owner.begin_drain() is None


def test_whoever_asks_for_limits_does_not_wait_for_the_api_server(owner: Owner, cluster: Cluster) -> None:
    """The passes over all tasks do, before each request."""
    cluster.fail(verb="list", resource="namespaces", delay=2.0, times=1)
    asking = threading.Thread(target=owner.on_pod, args=(pod(),))
    asking.start()
    eventually(lambda: owner._looking.locked())
    assert owner.closed() is None
    assert asking.is_alive()
    asking.join(60)
