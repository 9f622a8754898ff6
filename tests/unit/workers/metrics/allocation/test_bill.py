"""The bill: for any cluster and whatever happens to it, the parts sum to the whole."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.kube.resources import Amount
from tests.unit.workers.metrics.allocation.conftest import totals_of
from tests.unit.workers.metrics.conftest import node, pod
from workers.metrics.allocation import bill as bills
from workers.metrics.allocation.bill import Bill, Usage
from workers.metrics.allocation.shares import Measured, Shares, shares_of
from workers.metrics.allocation.told import allocation
from workers.metrics.billed import Billed, BilledPod
from workers.metrics.causes import Cause
from workers.metrics.nodes import NodeTotals
from workers.metrics.pods import Pod, key_of
from workers.metrics.pricing.price import Price


def nodes_of(*names: str) -> NodeTotals:
    totals = NodeTotals()
    for name in names:
        totals.put(node(name, cpu="4", memory="16Gi", capacity={"cpu": "5", "memory": "17Gi"}))
    return totals


def state(bill: Bill) -> tuple[object, ...]:
    return bill.total, bill.resources, bill.idle, bill.system, bill.causes


def ways_of_dividing(bill: Bill) -> None:
    """Whatever a sample tells of the bill, each way of dividing it gives the whole."""
    said = allocation(bill, ("team",), None)
    whole = said.nanodollars_per_hour - said.idle_nanodollars_per_hour - said.system_nanodollars_per_hour
    by_namespace = [part.nanodollars_per_hour for part in said.namespaces]
    by_owner = [part.nanodollars_per_hour for part in said.owners]
    by_team = [part.nanodollars_per_hour for part in said.labels[0].values]
    assert sum(by_namespace) + said.other_namespaces.nanodollars_per_hour == whole
    assert sum(by_owner) + said.other_owners.nanodollars_per_hour == whole
    assert sum(by_team) + said.labels[0].other_values.nanodollars_per_hour == whole


def parts(bill: Bill) -> int:
    return bill.idle + bill.system + sum(bill.causes.values())


def test_the_bill_is_the_price_of_all_nodes_and_its_parts_are_the_bill() -> None:
    nodes, pods = nodes_of("a", "b"), totals_of(pod("p", node="a", cpu="1"), pod("q", node="b", cpu="2"))
    bill = Bill()
    bill.update(nodes.nodes, {"a": 100, "b": 333}, pods)
    assert bill.total == parts(bill) == sum(bill.resources) == 433
    assert set(bill.causes) == {Cause("shop", "Pod", "p"), Cause("shop", "Pod", "q")}


def test_a_node_without_a_price_is_on_no_bill_nor_are_its_pods() -> None:
    bill = Bill()
    bill.update(nodes_of("a", "b").nodes, {"a": 100}, totals_of(pod("q", node="b", cpu="2")))
    assert (bill.total, bill.causes) == (100, {})


def test_only_what_changed_is_divided_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    divided: list[int] = []

    def counting(price: int, *rest: Any) -> Shares:
        divided.append(price)
        return shares_of(price, *rest)

    nodes, pods = nodes_of("a", "b", "c"), totals_of(pod("p", node="a", cpu="1"))
    prices, bill = {"a": 1, "b": 2, "c": 3}, Bill()
    monkeypatch.setattr(bills, "shares_of", counting)
    bill.update(nodes.nodes, prices, pods)
    bill.update(nodes.nodes, prices, pods)
    assert divided == [1, 2, 3]
    pods.put(pod("q", node="b", cpu="1"))
    nodes.put(node("c", cpu="8"))
    bill.update(nodes.nodes, {**prices, "a": 7}, pods)
    assert divided == [1, 2, 3, 7, 2, 3]
    bill.update(nodes.nodes, {"a": 7}, pods)
    assert (bill.total, len(divided)) == (7, 6), "those that are gone are just taken off"


def test_a_new_reading_of_usage_and_a_new_list_of_pods_are_changes_too() -> None:
    nodes, bill = nodes_of("a"), Bill()
    pods = totals_of(pod("p", node="a", cpu="1"), pod("q", node="a", cpu="1"))
    bill.update(nodes.nodes, {"a": 10**9}, pods)
    before = bill.causes.copy()
    bill.update(nodes.nodes, {"a": 10**9}, pods, {"a": {key_of("shop", "p"): Measured(2 * 10**9, 0)}})
    costs = [bill.causes[Cause("shop", "Pod", name)] for name in ("p", "q")]
    assert costs[0] == pytest.approx(2 * costs[1], abs=2)
    bill.update(nodes.nodes, {"a": 10**9}, pods)
    assert bill.causes == before
    relisted = totals_of(pod("q", node="a", cpu="1"))
    relisted.changed.clear()
    bill.update(nodes.nodes, {"a": 10**9}, relisted)
    assert set(bill.causes) == {Cause("shop", "Pod", "q")}


NODES = ["a", "b", "c"]
PODS = [f"p{number}" for number in range(8)]
BILLED = st.builds(
    lambda name, cpu, price: BilledPod(
        Cause("shop", "Pod", name, ("blue",)), Amount(cpu, 2**30), Price(price, "table")
    ),
    st.sampled_from(["x", "y"]),
    st.integers(0, 10**10),
    st.none() | st.integers(0, 10**12),
)
OWNERS = [None, ("StatefulSet", "db"), ("Job", "import"), ("DaemonSet", "agent")]


class Cluster(RuleBasedStateMachine):
    """Nodes and pods come, change and go, prices move, usage is read, and all is listed anew in between."""

    @initialize()
    def start(self) -> None:
        self.bill = Bill()
        self.nodes = NodeTotals()
        self.prices: dict[str, int] = {}
        self.present: dict[str, Pod] = {}
        self.usage: Usage = {}
        self.billed: Billed = {}
        self.relist()

    @rule(name=st.sampled_from(NODES), cpu=st.sampled_from(["0", "2", "4"]), capacity=st.sampled_from(["1", "4", "5"]),
          gpus=st.sampled_from(["0", "2"]), price=st.integers(0, 10**12))  # fmt: skip
    def put_node(self, name: str, cpu: str, capacity: str, gpus: str, price: int) -> None:
        extended = {"nvidia.com/gpu": gpus}
        self.nodes.put(node(name, cpu=cpu, extended=extended, capacity={"cpu": capacity, "memory": "9Gi"}))
        self.prices[name] = price

    @rule(name=st.sampled_from(NODES))
    def remove_node(self, name: str) -> None:
        self.nodes.remove(name)
        self.prices.pop(name, None)

    @rule(name=st.sampled_from(NODES), price=st.none() | st.integers(0, 10**12))
    def change_price(self, name: str, price: int | None) -> None:
        self.prices.pop(name, None)
        if price is not None and name in self.nodes.nodes:
            self.prices[name] = price

    @rule(name=st.sampled_from(PODS), phase=st.sampled_from(["Pending", "Running", "Succeeded"]),
          node=st.sampled_from(["", *NODES]), owner=st.sampled_from(OWNERS), team=st.sampled_from(["", "blue", "red"]),
          cpu=st.sampled_from(["0", "1m", "1", "9"]), gpus=st.sampled_from(["0", "1"]))  # fmt: skip
    def put_pod(
        self, name: str, phase: str, node: str, owner: tuple[str, str] | None, team: str, cpu: str, gpus: str
    ) -> None:
        self.remove_pod(name)
        requests = {"cpu": cpu, "memory": "1Gi", "nvidia.com/gpu": gpus}
        namespace = f"ns-{PODS.index(name) % 3}"
        self.present[name] = pod(name, phase, node, namespace, owner, {"team": team} if team else None, requests)
        self.pods.put(self.present[name])

    @rule(pods=st.dictionaries(st.sampled_from(["fargate-1", "fargate-2"]), st.lists(BILLED, max_size=2)))
    def bill_pods(self, pods: dict[str, list[BilledPod]]) -> None:
        self.billed = pods

    @rule(name=st.sampled_from(PODS))
    def remove_pod(self, name: str) -> None:
        if name in self.present:
            self.pods.remove(self.present.pop(name))

    @rule(cpu=st.integers(0, 10**11), memory=st.integers(0, 10**11))
    def measure(self, cpu: int, memory: int) -> None:
        usage: dict[str, dict[int, Measured]] = {}
        for key, on in self.pods.places().items():
            usage.setdefault(on, {})[key] = Measured(cpu, memory)
        self.usage = usage

    @rule()
    def relist(self) -> None:
        self.pods = totals_of(*self.present.values(), labels=("team",))

    @rule()
    def take_a_sample(self) -> None:
        """Or rather not: what changed since the last one is on the next."""
        self.bill.update(self.nodes.nodes, self.prices, self.pods, self.usage, self.billed)
        anew = Bill()
        anew.update(self.nodes.nodes, self.prices, self.pods, self.usage, self.billed)
        assert state(self.bill) == state(anew), "kept by difference, it is what a fresh count gives"
        apart = sum(pod.price.nanodollars or 0 for pods in self.billed.values() for pod in pods)
        assert self.bill.total == sum(self.prices.values()) + apart

    @invariant()
    def parts_sum_to_the_whole(self) -> None:
        assert parts(self.bill) == self.bill.total == sum(self.bill.resources)
        assert min(self.bill.idle, self.bill.system, *self.bill.causes.values(), *self.bill.resources) >= 0
        ways_of_dividing(self.bill)

    def teardown(self) -> None:
        self.take_a_sample()


TestAnyCluster = Cluster.TestCase
