"""The metrics worker: from a cluster to samples on the queue."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.basics.timing import SYSTEM_CLOCK
from shared.kube.connection import Kube
from shared.process.lifecycle import Process
from shared.process.state import CLUSTER, DRAIN_ENDED, PRICES, PRICES_WANTED
from shared.queue.client import QueueRefused, value
from shared.queue.limits import Limits
from shared.queue.memory import MemoryQueue
from shared.schemas.metrics import ClusterMetrics
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import counted, eventually, process_of
from tests.unit.workers.conftest import Looping
from tests.unit.workers.metrics.conftest import LINUX
from workers.metrics.capacity import Kind
from workers.metrics.worker import MetricsWorker, NotCounted, show, wanted_prices

SPOT = {"karpenter.sh/capacity-type": "spot"}


class Running:
    """The worker's two watches, and what it puts on the queue."""

    def __init__(self, cluster: Cluster, kube: Kube, process: Process) -> None:
        self.process = process
        self.worker = MetricsWorker(process, kube)
        loops = {loop.name: loop.body for loop in self.worker.loops()}
        self.watches = Looping(cluster, loops["nodes"], loops["pods"])
        eventually(lambda: self.worker._nodes.totals is not None and self.worker._pods.totals is not None)

    @property
    def samples(self) -> list[ClusterMetrics]:
        leased = self.process.queue.lease(["metrics"], 100, 0.0)
        return [ClusterMetrics.model_validate_json(bytes(message.body)) for message in leased]

    @property
    def facts(self) -> dict[str, Any]:
        return dict(value(self.process.queue.get_state(CLUSTER)[CLUSTER]))


@pytest.fixture
def process(run_dir: Path) -> Process:
    return process_of(run_dir, MemoryQueue(), "metrics", env={"METRICS_POLL_INTERVAL_SECONDS": "60"})


@pytest.fixture
def running(cluster: Cluster, kube: Kube, process: Process) -> Iterator[Running]:
    cluster.add_node("spot-1", cpu=4, memory="16Gi", labels=SPOT)
    cluster.add_deployment("shop", "web", 4, cpu="250m", memory="256Mi", limit_cpu="1", limit_memory="512Mi")
    cluster.wait_settled()
    running = Running(cluster, kube, process)
    yield running
    running.watches.kill()


def test_a_sample_is_the_cluster_as_it_is(running: Running) -> None:
    assert 57 <= running.worker.sample() <= 63
    (sample,) = running.samples
    assert sample.cluster_id == "demo"
    assert (sample.node_count, sample.spot_node_count, sample.on_demand_node_count) == (4, 1, 3)
    assert (sample.total_cpu_cores, sample.total_memory_gb) == (10, 40)
    assert (sample.pod_count, sample.running_pod_count) == (4, 4)
    assert (sample.allocated_cpu_cores, sample.allocated_memory_gb) == (1, 1)
    assert (sample.limit_cpu_cores, sample.limit_memory_gb) == (4, 2)
    assert sample.usage_node_count == 4
    assert sample.cpu_utilization_percent is not None
    assert sample.current_cost_per_hour > 0
    assert sample.priced_node_count_by_source == {"table": 3, "spot_factor": 1}
    assert sample.prices_as_of is not None


def test_now_and_then_a_sample_says_who_causes_the_cost(running: Running) -> None:
    running.worker.put_sample()
    running.worker.put_sample()
    first, second = running.samples
    allocation = first.cost_allocation
    assert allocation is not None
    assert round(allocation.nanodollars_per_hour / 1e9, 6) == first.current_cost_per_hour
    assert [part.namespace for part in allocation.namespaces] == ["shop"]
    assert [(part.kind, part.name) for part in allocation.owners] == [("Deployment", "web")]
    assert second.cost_allocation is None, "once in ten minutes is enough"


def test_what_pods_use_is_read_unless_the_owner_does_not_want_it(kube: Kube, run_dir: Path) -> None:
    for wanted in ("true", "false"):
        process = process_of(run_dir, MemoryQueue(), env={"COST_USAGE": wanted})
        loops = [loop.name for loop in MetricsWorker(process, kube).loops()]
        assert ("pod-usage" in loops) == (wanted == "true")


def test_without_metrics_k8s_io_there_is_no_utilisation(cluster: Cluster, running: Running) -> None:
    cluster.set_metrics("absent")
    running.worker.sample()
    (sample,) = running.samples
    assert (sample.cpu_utilization_percent, sample.memory_utilization_percent, sample.usage_node_count) == (
        None,
        None,
        0,
    )


def test_each_sample_has_a_key_of_its_own(running: Running) -> None:
    for _ in range(2):
        running.worker.put_sample()
        threading.Event().wait(0.002)
    keys = [message.key for message in running.process.queue.lease(["metrics"], 10, 60)]
    assert len(set(keys)) == 2
    assert all(key.startswith("instance-1/20") for key in keys)


def test_the_registration_learns_what_cluster_this_is(cluster: Cluster, running: Running) -> None:
    running.worker.put_sample()
    assert running.facts == {
        "kubernetes_version": running.facts["kubernetes_version"],
        "provider": "aws",
        "region": "us-east-1",
        "node_count": 4,
    }
    assert running.facts["kubernetes_version"].startswith("v1.")
    asked = len([entry for entry in cluster.audit if entry.path == "/version"])
    running.worker.put_sample()
    assert len([entry for entry in cluster.audit if entry.path == "/version"]) == asked == 1


def test_a_version_that_cannot_be_read_is_asked_for_again(cluster: Cluster, running: Running) -> None:
    cluster.fail(path="/version", status=503, body="later")
    known = []
    for _ in range(2):
        running.worker.put_sample()
        known.append(running.facts["kubernetes_version"] is not None)
    assert known == [False, True]


def test_before_the_first_list_is_complete_there_is_no_sample(kube: Kube, process: Process) -> None:
    worker = MetricsWorker(process, kube)
    before = counted("metrics_collections_total", result="not_ready")
    assert worker.sample() <= 1
    assert counted("metrics_collections_total", result="not_ready") == before + 1
    with pytest.raises(NotCounted):
        worker.put_sample()
    assert worker.check() > 60
    assert process.queue.stats()["metrics"].depth == 0


def test_collections_are_counted_by_how_they_went(cluster: Cluster, kube: Kube, run_dir: Path) -> None:
    queue = MemoryQueue(Limits(total_bytes=8000))
    running = Running(cluster, kube, process_of(run_dir, queue))
    before = {result: counted("metrics_collections_total", result=result) for result in ("success", "failed")}
    queue.put("results", [("r", json.dumps("x" * 7900).encode())])
    with pytest.raises(QueueRefused):
        running.worker.sample()
    queue.ack([message.id for message in queue.lease(["results"], 1, 60)])
    running.worker.sample()
    after = {result: counted("metrics_collections_total", result=result) for result in ("success", "failed")}
    assert {result: after[result] - before[result] for result in after} == {"success": 1, "failed": 1}
    running.watches.kill()


def test_the_owners_prices_and_label_are_used(cluster: Cluster, kube: Kube, run_dir: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"on_demand": {"m5.large": 2}, "spot": {"m5.large": 0.5}}')
    cluster.add_node("cheap-1", labels={"pool": "cheap"})
    env = {"PRICES_FILE": str(prices), "SPOT_NODE_LABEL": "pool=cheap"}
    running = Running(cluster, kube, process_of(run_dir, MemoryQueue(), env=env))
    running.worker.put_sample()
    (sample,) = running.samples
    assert (sample.spot_cost_per_hour, sample.on_demand_cost_per_hour) == (0.5, 6)
    assert sample.priced_node_count_by_source == {"override": 4}
    running.watches.kill()


def kept(dollars: float) -> dict[str, Any]:
    """An answer as the heartbeat worker keeps it, for the machines of the cluster here."""
    now = SYSTEM_CLOCK.now().timestamp()
    return {"asked_at": now, "asked_for": ["m5.large"], "etag": "", "on_demand": {"m5.large": dollars}, "spot": {}}


@pytest.mark.parametrize(("live", "source"), [("", "table"), ("azure", "live")])
def test_what_others_answered_is_used_and_a_clouds_own_list_only_by_the_owners_wish(
    cluster: Cluster, kube: Kube, run_dir: Path, live: str, source: str
) -> None:
    queue = MemoryQueue()
    queue.set_state({PRICES + "live": kept(3.0)}, durable=True)
    running = Running(cluster, kube, process_of(run_dir, queue, env={"LIVE_PRICES": live}))
    running.worker.put_sample()
    queue.set_state({PRICES + "central": kept(5.0)}, durable=True)
    running.worker.put_sample()
    before, after = running.samples
    assert before.priced_node_count_by_source == {source: 3}
    assert (after.priced_node_count_by_source, after.current_cost_per_hour) == ({"central": 3}, 15.0)
    running.watches.kill()


def test_the_heartbeat_worker_is_told_which_prices_are_wanted(running: Running) -> None:
    running.worker.put_sample()
    assert value(running.process.queue.get_state(PRICES_WANTED)[PRICES_WANTED]) == ["aws/us-east-1/m5.large"]


def test_prices_are_wanted_of_machines_that_say_their_type_the_commonest_first() -> None:
    common, rare = LINUX, LINUX._replace(instance_type="p5.48xlarge")
    nameless, virtual = LINUX._replace(instance_type=""), LINUX._replace(instance_type="x", kind=Kind.VIRTUAL)
    assert wanted_prices([rare, common, common, nameless, virtual]) == [
        "aws/eu-west-1/m5.large",
        "aws/eu-west-1/p5.48xlarge",
    ]


# -- when -----------------------------------------------------------------------------------------


def test_the_end_of_a_drain_is_sampled_at_once(running: Running) -> None:
    running.worker._drains_seen = running.process.queue.watch_state("", 0, 0)[1]
    waiting = threading.Thread(target=running.worker.await_drain, daemon=True)
    waiting.start()
    running.process.queue.set_state({DRAIN_ENDED: "t1"})
    waiting.join(60)
    assert not waiting.is_alive()
    assert len(running.samples) == 1


def test_a_drain_that_ended_before_this_worker_started_is_not(running: Running) -> None:
    running.process.queue.set_state({DRAIN_ENDED: "t0"})
    running.worker.await_drain()
    assert running.samples == []
    running.process.queue.set_state({DRAIN_ENDED: "t1"})
    running.worker.await_drain()
    assert len(running.samples) == 1


def test_when_the_pod_stops_a_last_sample_is_put(running: Running) -> None:
    running.worker.close(pod_stopping=False)
    assert running.samples == []
    running.worker.close(pod_stopping=True)
    assert len(running.samples) == 1


def test_the_last_sample_waits_for_no_usage(cluster: Cluster, running: Running) -> None:
    """A stop has half a minute at most, and a metrics API that hangs would take all of it."""
    running.worker.put_sample()
    (before,) = running.samples
    cluster.audit.clear()
    cluster.fail(path="/apis/metrics.k8s.io/", times=None, delay=600)
    running.process.stop.set()
    running.worker.close(pod_stopping=True)
    *_, last = running.samples
    assert last.usage_node_count == before.usage_node_count == 4
    assert not [entry for entry in cluster.audit if "metrics.k8s.io" in entry.path]


def test_a_last_sample_that_cannot_be_made_does_not_hold_up_the_end(
    kube: Kube, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    MetricsWorker(process, kube).close(pod_stopping=True)
    assert "no final snapshot: the cluster is not listed yet" in caplog.text


def test_the_self_check_looks_at_both(running: Running) -> None:
    before = [counted("metrics_self_checks_total", resource=name, result="match") for name in ("nodes", "pods")]
    assert 540 <= running.worker.check() <= 660
    after = [counted("metrics_self_checks_total", resource=name, result="match") for name in ("nodes", "pods")]
    assert after == [count + 1 for count in before]


def test_at_rest_two_watches_are_all_there_is(cluster: Cluster, running: Running) -> None:
    cluster.audit.clear()
    running.worker.sample()
    asked = {(entry.verb, entry.resource, entry.path.partition("?")[0]) for entry in cluster.audit}
    assert asked == {
        ("get", "", "/apis/metrics.k8s.io"),
        ("list", "nodes", "/apis/metrics.k8s.io/v1beta1/nodes"),
        ("get", "", "/version"),
    }


# -- gauges ---------------------------------------------------------------------------------------


def test_the_sample_is_shown_as_gauges(running: Running) -> None:
    running.worker.put_sample()
    (sample,) = running.samples
    show(sample)
    assert [counted("cluster_nodes", capacity=kind) for kind in ("spot", "on_demand", "unknown")] == [1, 0, 3]
    assert counted("cluster_nodes_ready") == 4
    assert counted("cluster_pods", phase="running") == 4
    assert counted("cluster_cpu_cores", kind="allocatable") == 10
    assert counted("cluster_cpu_cores", kind="requested") == 1
    assert counted("cluster_memory_bytes", kind="limit") == 2 * 2**30
    cost = sample.spot_cost_per_hour + sample.on_demand_cost_per_hour
    assert counted("cluster_cost_dollars_per_hour", capacity="spot") == sample.spot_cost_per_hour
    assert sample.current_cost_per_hour == pytest.approx(cost)
    assert counted("cluster_priced_nodes", source="table") == 3
    assert counted("cluster_utilization_ratio", resource="cpu") > 0


def test_what_is_not_known_any_more_is_not_shown(running: Running) -> None:
    running.worker.put_sample()
    (sample,) = running.samples
    show(sample.model_copy(update={"cpu_utilization_percent": None, "priced_node_count_by_source": {"override": 4}}))
    assert counted("cluster_utilization_ratio", resource="cpu") == 0
    assert counted("cluster_priced_nodes", source="table") == 0
    assert counted("cluster_priced_nodes", source="override") == 4
