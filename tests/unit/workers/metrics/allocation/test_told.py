"""What a sample says of the bill: bounded, the costliest first, and exact."""

from __future__ import annotations

from tests.unit.workers.metrics.allocation.conftest import record, totals_of
from tests.unit.workers.metrics.conftest import pod
from workers.metrics.allocation.bill import Bill
from workers.metrics.allocation.told import allocation
from workers.metrics.pods import Pod


def bill_of(*pods: Pod, labels: tuple[str, ...] = ()) -> Bill:
    bill = Bill()
    bill.update({"node-1": record("1000", "1Ti")}, {"node-1": 32_000_000_000}, totals_of(*pods, labels=labels))
    return bill


def test_by_namespace_and_by_owner_the_costliest_first() -> None:
    pods = [
        pod("a", namespace="shop", owner=("StatefulSet", "db"), cpu="200"),
        pod("b", namespace="shop", owner=("StatefulSet", "db"), cpu="200"),
        pod("c", namespace="batch", owner=("Job", "import"), cpu="300"),
        pod("d", namespace="shop", cpu="100"),
    ]
    told = allocation(bill_of(*pods), (), None)
    assert [part.namespace for part in told.namespaces] == ["shop", "batch"]
    owners = [(part.namespace, part.kind, part.name) for part in told.owners]
    assert owners == [("shop", "StatefulSet", "db"), ("batch", "Job", "import"), ("shop", "Pod", "d")]
    assert told.owners[0].nanodollars_per_hour == round(0.4 * told.cpu_nanodollars_per_hour)
    assert (told.other_owners.count, told.other_owners.nanodollars_per_hour) == (0, 0)


def test_beyond_a_hundred_the_rest_is_one_figure() -> None:
    pods = [pod(f"p{number:03}", namespace=f"ns-{number:03}", cpu=str(1 + number // 2)) for number in range(130)]
    told = allocation(bill_of(*pods), (), None)
    assert (len(told.owners), told.other_owners.count) == (100, 30)
    assert (len(told.namespaces), told.other_namespaces.count) == (100, 30)
    names = [part.name for part in told.owners]
    assert set(names[:2]) == {"p128", "p129"}
    assert told.other_owners.nanodollars_per_hour > 0


def test_by_the_labels_the_owner_asked_for() -> None:
    pods = [
        pod("a", labels={"team": "blue", "app": "web"}, cpu="1"),
        pod("b", labels={"team": "red"}, cpu="2"),
        pod("c", cpu="3"),
    ]
    team, app = allocation(bill_of(*pods, labels=("team", "app")), ("team", "app"), None).labels
    assert (team.label, [part.value for part in team.values]) == ("team", ["", "red", "blue"])
    assert (app.label, [part.value for part in app.values]) == ("app", ["", "web"])


def test_it_says_what_counted() -> None:
    without, with_usage = allocation(bill_of(), (), None), allocation(bill_of(), (), 0)
    assert (without.basis, without.usage_pod_count) == ("requests", 0)
    assert (with_usage.basis, with_usage.usage_pod_count) == ("max_of_requests_and_usage", 0)


def test_a_cluster_without_nodes_costs_nothing() -> None:
    told = allocation(Bill(), ("team",), None)
    assert (told.nanodollars_per_hour, told.namespaces, told.owners) == (0, [], [])
