"""What is kept of nodes."""

from __future__ import annotations

from shared.kube.resources import Amount
from tests.unit.workers.metrics.conftest import node
from workers.metrics.capacity import Capacity
from workers.metrics.nodes import NodeTotals

M = 1_000_000


def test_a_node_is_its_identity_what_it_has_and_whether_it_is_ready() -> None:
    totals = NodeTotals(("pool", "cheap"))
    totals.put(node("a", {"pool": "cheap"}, cpu="1930m", memory="7244720Ki", capacity={"cpu": "2", "memory": "8Gi"}))
    totals.put(node("b", ready=False))
    a, b = totals.nodes["a"], totals.nodes["b"]
    assert (a.identity.capacity, a.allocatable, a.ready) == (Capacity.SPOT, Amount(1930 * M, 7244720 * 1024), True)
    assert a.capacity == Amount(2000 * M, 8 * 2**30)
    assert (b.identity.capacity, b.ready) == (Capacity.UNKNOWN, False)


def test_a_node_changes_and_goes() -> None:
    totals = NodeTotals()
    totals.put(node("a", cpu="1"))
    totals.put(node("a", cpu="2"))
    assert (len(totals), totals.nodes["a"].allocatable.cpu) == (1, 2000 * M)
    totals.remove("a")
    totals.remove("a")
    assert len(totals) == 0


def test_what_is_no_machine_is_not_among_the_machines() -> None:
    totals = NodeTotals()
    totals.put(node("a"))
    totals.put(node("aci", {"type": "virtual-kubelet"}))
    assert (list(totals.machines()), len(totals)) == (["a"], 2)


def test_nodes_that_are_alike_share_an_identity() -> None:
    totals = NodeTotals()
    for number in range(10):
        totals.put(node(f"n{number}"))
    assert len({id(record.identity) for record in totals.nodes.values()}) == 1
