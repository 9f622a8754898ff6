"""When the bill is told, and to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.kube.connection import Kube
from shared.kube.reads import Resource
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock, counted, process_of
from tests.unit.workers.metrics.allocation.conftest import record, totals_of
from tests.unit.workers.metrics.conftest import pod
from workers.metrics.allocation.costs import CostKeeper
from workers.metrics.follow import Followed
from workers.metrics.pods import Pod, PodTotals
from workers.metrics.pricing.price import UNPRICED, Price

MACHINES = {"node-1": record("4", "16Gi", {"cpu": "5", "memory": "16Gi"}), "unknown": record()}
PRICES = {"node-1": Price(1_000_000_000, "table"), "unknown": UNPRICED}


def keeper(run_dir: Path, kube: Kube, clock: FakeClock, **variables: str) -> CostKeeper:
    pods = Followed("pods", Resource(kube, "/api/v1/pods", Pod), PodTotals, PodTotals.put, PodTotals.remove)
    pods.totals = totals_of(pod("a", namespace="shop", cpu="1"), pod("b", namespace="batch", cpu="2"))
    return CostKeeper(process_of(run_dir, MemoryQueue(), clock=clock, env=variables), kube, pods)


def test_it_is_told_at_first_and_then_every_ten_minutes(run_dir: Path, kube: Kube, clock: FakeClock) -> None:
    costs = keeper(run_dir, kube, clock)
    first = costs.divide(MACHINES, PRICES)
    assert first is not None
    assert first.nanodollars_per_hour == 1_000_000_000, "nodes whose price nobody knows are not on it"
    assert costs.divide(MACHINES, PRICES) == first, "until it is on its way, it is due"
    costs.told()
    assert costs.divide(MACHINES, PRICES) is None
    clock.advance(600)
    assert costs.divide(MACHINES, PRICES) == first


def test_to_prometheus_by_namespace_if_the_owner_wants_it(run_dir: Path, kube: Kube, clock: FakeClock) -> None:
    costs = keeper(run_dir, kube, clock, COST_PROMETHEUS="true")
    costs.told()
    costs.divide(MACHINES, PRICES)
    costs.show()
    names = ["shop", "batch", "(idle)", "(system)", "(others)"]
    shown = [counted("cluster_namespace_cost_dollars_per_hour", workload_namespace=name) for name in names]
    assert sum(shown) == pytest.approx(1.0)
    assert shown[1] == pytest.approx(2 * shown[0])
    assert shown[3] > 0


def test_to_prometheus_not_at_all_if_not(run_dir: Path, kube: Kube, clock: FakeClock) -> None:
    costs = keeper(run_dir, kube, clock)
    costs.divide(MACHINES, PRICES)
    before = counted("cluster_namespace_cost_dollars_per_hour", workload_namespace="batch")
    costs.show()
    assert counted("cluster_namespace_cost_dollars_per_hour", workload_namespace="batch") == before


def test_usage_is_read_every_ten_minutes_once_there_are_pods(run_dir: Path, kube: Kube, clock: FakeClock) -> None:
    costs = keeper(run_dir, kube, clock)
    assert costs.measure() == 600
    told = costs.divide(MACHINES, PRICES)
    assert told is not None
    assert told.basis == "max_of_requests_and_usage"
