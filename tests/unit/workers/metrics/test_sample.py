"""The sample: every figure from known totals."""

from __future__ import annotations

from typing import Any

from shared.kube.usage import Used
from shared.schemas.metrics import ClusterMetrics
from tests.unit.conftest import NOON
from tests.unit.workers.metrics.conftest import empty_sample, node, pod
from workers.metrics.capacity import Capacity
from workers.metrics.nodes import NodeRecord, NodeTotals
from workers.metrics.pods import PodTotals
from workers.metrics.pricing.price import UNPRICED, Price, nano
from workers.metrics.sample import take_sample

LABELS = {"node.kubernetes.io/instance-type": "m5.large", "topology.kubernetes.io/zone": "eu-west-1a"}
GIB = 2**30


def priced(record: NodeRecord) -> Price:
    """On-demand a dollar, spot a tenth; the price of what has no type is a guess."""
    dollars = 0.1 if record.identity.capacity is Capacity.SPOT else 1.0
    return Price(nano(dollars), "table" if record.identity.instance_type else "fallback")


def sample(nodes: NodeTotals, pods: PodTotals | None = None, usage: dict[str, Used] | None = None) -> ClusterMetrics:
    prices = {name: priced(record) for name, record in nodes.machines().items()}
    return take_sample("demo", NOON, nodes, pods or PodTotals(), usage or {}, prices, "2025-03-02")


def cluster() -> NodeTotals:
    """Two spot nodes, one on demand, one that says nothing and is not ready."""
    nodes = NodeTotals()
    for name in ("spot-1", "spot-2"):
        nodes.put(node(name, {**LABELS, "karpenter.sh/capacity-type": "spot"}, cpu="1930m", memory="7Gi"))
    other = {**LABELS, "node.kubernetes.io/instance-type": "c5.xlarge", "karpenter.sh/capacity-type": "on-demand"}
    nodes.put(node("base-1", other, cpu="4", memory="16Gi"))
    nodes.put(node("bare-1", {}, provider_id="", cpu="2", memory="8Gi", ready=False))
    return nodes


def test_nodes() -> None:
    taken = sample(cluster())
    assert (taken.cluster_id, taken.timestamp) == ("demo", NOON)
    assert (taken.node_count, taken.spot_node_count, taken.on_demand_node_count) == (4, 2, 2)
    assert taken.unknown_capacity_node_count == 1
    assert (taken.ready_node_count, taken.not_ready_node_count) == (3, 1)
    assert taken.nodes_by_instance_type == {"m5.large": 2, "c5.xlarge": 1, "unknown": 1}
    assert taken.nodes_by_zone == {"eu-west-1a": 3, "unknown": 1}
    assert (taken.total_cpu_cores, taken.total_memory_gb) == (9.86, 38.0)


def test_cost() -> None:
    taken = sample(cluster())
    assert (taken.current_cost_per_hour, taken.spot_cost_per_hour, taken.on_demand_cost_per_hour) == (2.2, 0.2, 2.0)
    assert taken.cost_per_hour_by_instance_type == {"m5.large": 0.2, "c5.xlarge": 1.0, "unknown": 1.0}
    assert taken.priced_node_count_by_source == {"table": 3, "fallback": 1}
    assert taken.prices_as_of == "2025-03-02"


def test_nodes_that_are_no_machines_are_counted_apart_and_add_nothing() -> None:
    nodes = cluster()
    before = sample(nodes)
    nodes.put(node("aci", {"type": "virtual-kubelet"}, provider_id="", cpu="10000", memory="4Ti"))
    nodes.put(node("fargate", {**LABELS, "eks.amazonaws.com/compute-type": "fargate"}, cpu="4"))
    nodes.put(node("fake", {"type": "kwok"}, cpu="64"))
    taken = sample(nodes, usage={"aci": Used(1, 1)})
    assert (taken.virtual_node_count, taken.kwok_node_count) == (2, 1)
    apart = {"virtual_node_count": 0, "kwok_node_count": 0}
    assert taken.model_copy(update=apart) == before


def test_a_price_nobody_knows_adds_nothing_and_is_counted() -> None:
    nodes = NodeTotals()
    nodes.put(node("a", LABELS))
    taken = take_sample("demo", NOON, nodes, PodTotals(), {}, {"a": UNPRICED}, None)
    assert taken.current_cost_per_hour == 0
    assert taken.priced_node_count_by_source == {"unknown": 1}


def test_accelerators() -> None:
    nodes = NodeTotals()
    labels = {"cloud.google.com/gke-accelerator": "nvidia-tesla-v100"}
    for number in range(2):
        nodes.put(node(f"v100-{number}", labels, extended={"nvidia.com/gpu": "4"}))
    nodes.put(node("mig", extended={"nvidia.com/mig-1g.5gb": "7"}))
    assert sample(nodes).accelerators_by_type == {"nvidia-tesla-v100": 8, "nvidia.com/mig-1g.5gb": 7}


def test_pods() -> None:
    pods = PodTotals()
    phases = ["Running"] * 3 + ["Pending"] * 2 + ["Failed", "Succeeded", "Unknown"]
    for number, phase in enumerate(phases):
        pods.put(pod(f"p{number}", phase, node="base-1", cpu="333m", memory="100Mi"))
    taken = sample(cluster(), pods)
    counts: dict[str, Any] = {
        name: getattr(taken, f"{name}_pod_count") for name in ("running", "pending", "failed", "succeeded", "unknown")
    }
    assert taken.pod_count == 8
    assert counts == {"running": 3, "pending": 2, "failed": 1, "succeeded": 1, "unknown": 1}
    assert taken.allocated_cpu_cores == 1.998
    assert taken.allocated_memory_gb == round(600 / 1024, 6)
    assert (taken.limit_cpu_cores, taken.limit_memory_gb) == (0, 0)


def test_pods_of_a_node_that_is_gone_count_nowhere() -> None:
    pods = PodTotals()
    pods.put(pod("here", node="spot-1", cpu="1"))
    pods.put(pod("waits", "Pending", node="", cpu="1"))
    before = sample(cluster(), pods)
    pods.put(pod("orphan", node="scaled-down", cpu="1"))
    pods.put(pod("ended-there", "Succeeded", node="scaled-down", cpu="1"))
    assert sample(cluster(), pods) == before
    nodes = cluster()
    nodes.put(node("scaled-down"))
    assert sample(nodes, pods).pod_count == 4, "it is back, and they run"


def test_pods_on_what_is_no_machine_are_counted_and_set_nothing_aside() -> None:
    nodes, pods = cluster(), PodTotals()
    nodes.put(node("aci", {"type": "virtual-kubelet"}, provider_id="", cpu="10000"))
    pods.put(pod("a", node="spot-1", cpu="1"))
    pods.put(pod("b", node="aci", cpu="300"))
    taken = sample(nodes, pods)
    assert (taken.pod_count, taken.running_pod_count, taken.allocated_cpu_cores) == (2, 2, 1)


def test_utilisation_speaks_for_the_nodes_whose_usage_is_known() -> None:
    usage = {"spot-1": Used(965_000_000, 7 * GIB), "base-1": Used(2_000_000_000, 4 * GIB), "gone": Used(1, 1)}
    taken = sample(cluster(), usage=usage)
    assert taken.usage_node_count == 2
    assert taken.cpu_utilization_percent == 50.0
    assert taken.memory_utilization_percent == round(100 * 11 / 23, 2)


def test_without_usage_utilisation_is_not_known_which_is_not_zero() -> None:
    taken = sample(cluster())
    assert (taken.cpu_utilization_percent, taken.memory_utilization_percent, taken.usage_node_count) == (None, None, 0)
    idle = sample(cluster(), usage={"spot-1": Used(0, 0)})
    assert (idle.cpu_utilization_percent, idle.usage_node_count) == (0.0, 1)


def test_usage_without_one_of_its_resources_is_unknown_for_that_one_only() -> None:
    usage = {"spot-1": Used(None, 7 * GIB), "base-1": Used(2_000_000_000, None), "spot-2": Used(None, 0)}
    taken = sample(cluster(), usage=usage)
    assert taken.cpu_utilization_percent == 50.0, "of base-1 alone"
    assert taken.memory_utilization_percent == 50.0, "of the two spot nodes"
    assert taken.usage_node_count == 3
    assert sample(cluster(), usage={"spot-1": Used(None, GIB)}).cpu_utilization_percent is None


def test_an_empty_cluster_is_all_zeros() -> None:
    taken = empty_sample()
    assert (taken.node_count, taken.pod_count, taken.current_cost_per_hour) == (0, 0, 0)
    assert (taken.nodes_by_zone, taken.priced_node_count_by_source) == ({}, {})
    assert taken.prices_as_of is None


def test_figures_are_rounded_to_six_digits() -> None:
    nodes = NodeTotals()
    for number in range(3):
        nodes.put(node(f"n{number}", LABELS, cpu="1234567n", memory="1"))
    prices = dict.fromkeys(nodes.nodes, Price(nano(0.1), "table"))
    taken = take_sample("demo", NOON, nodes, PodTotals(), {}, prices, None)
    assert taken.total_cpu_cores == 0.003704
    assert taken.total_memory_gb == 0.0
    assert taken.current_cost_per_hour == 0.3
    assert taken.cost_per_hour_by_instance_type == {"m5.large": 0.3}
