"""Pods that are billed themselves, and what becomes of their cost."""

from __future__ import annotations

from pathlib import Path

from shared.kube.resources import GIB, Amount
from tests.unit.conftest import NOON
from tests.unit.workers.metrics.allocation.conftest import totals_of
from tests.unit.workers.metrics.conftest import node, on_fargate, pod
from tests.unit.workers.metrics.pricing.conftest import LINES, written
from workers.metrics.allocation.bill import Bill
from workers.metrics.billed import Billed, BilledPod, billed_pods
from workers.metrics.causes import Cause
from workers.metrics.nodes import NodeTotals
from workers.metrics.pods import Pod
from workers.metrics.pricing.price import UNPRICED, Price, nano
from workers.metrics.pricing.table import PriceTable
from workers.metrics.sample import take_sample

FARGATE = {"eks.amazonaws.com/compute-type": "fargate", "topology.kubernetes.io/region": "us-east-1"}


def nodes() -> NodeTotals:
    """Two of Fargate and a machine."""
    totals = NodeTotals()
    for name in ("fargate-1", "fargate-2"):
        totals.put(node(name, FARGATE))
    totals.put(node("machine"))
    return totals


def billed(tmp_path: Path, *pods: Pod) -> Billed:
    return billed_pods(nodes(), totals_of(*pods), PriceTable(written(tmp_path, LINES)))


def test_a_pod_on_fargate_costs_what_it_was_provisioned_with(tmp_path: Path) -> None:
    quarter = Amount(250_000_000, GIB // 2)
    assert billed(tmp_path, on_fargate("a", "fargate-1")) == {
        "fargate-1": [BilledPod(Cause("shop", "Pod", "a"), quarter, Price(nano(0.012), "table"))]
    }


def test_one_whose_annotation_says_nothing_has_no_price(tmp_path: Path) -> None:
    (found,) = billed(tmp_path, on_fargate("a", "fargate-1", "a lot"))["fargate-1"]
    assert found.price == UNPRICED


def test_pods_on_machines_and_pods_that_ended_are_not_billed(tmp_path: Path) -> None:
    """Nor those of virtual kubelets, who say nothing of what they run a pod with."""
    ended = on_fargate("b", "fargate-1", phase="Succeeded")
    silent, gone = pod("c", node="fargate-2"), on_fargate("d", "gone")
    assert billed(tmp_path, on_fargate("a", "machine"), ended, silent, gone) == {}


def test_their_cost_is_in_the_sample_and_on_the_bill(tmp_path: Path) -> None:
    pods = totals_of(on_fargate("a", "fargate-1"), on_fargate("b", "fargate-2", "?"), pod("c", node="machine", cpu="1"))
    apart = billed_pods(nodes(), pods, PriceTable(written(tmp_path, LINES)))
    prices = {"machine": Price(nano(1), "table")}
    taken = take_sample("demo", NOON, nodes(), pods, {}, prices, None, apart)
    assert (taken.current_cost_per_hour, taken.on_demand_cost_per_hour) == (1.012, 1.012)
    assert taken.cost_per_hour_by_instance_type == {"unknown": 1.0, "fargate": 0.012}
    assert taken.billed_pod_count_by_source == {"table": 1, "unknown": 1}
    assert taken.priced_node_count_by_source == {"table": 1}
    assert (taken.pod_count, taken.allocated_cpu_cores) == (3, 1)
    bill = Bill()
    for _ in range(2):
        bill.update(nodes().nodes, {"machine": nano(1)}, pods, {}, apart)
        assert bill.total == nano(1.012) == sum(bill.resources)
        assert bill.causes[Cause("shop", "Pod", "a")] == nano(0.012)
        assert bill.idle + bill.system + sum(bill.causes.values()) == bill.total
    bill.update(nodes().nodes, {"machine": nano(1)}, pods)
    assert bill.total == nano(1)
