"""The totals: kept by difference, and always equal to a recount."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.kube.nodes import Node
from shared.kube.resources import Amount, cpu_and_memory, pod_limits, pod_requests
from tests.unit.workers.metrics.conftest import node, pod
from workers.metrics.capacity import Capacity
from workers.metrics.totals import NodeTotals, Pod, PodTotals, shape_of

M = 1_000_000


def test_a_pod_that_is_bound_and_runs_sets_its_requests_aside() -> None:
    totals = PodTotals()
    totals.put(pod(cpu="100m", memory="64Mi"))
    assert (len(totals), totals.phases["Running"]) == (1, 1)
    assert totals.requests == Amount(100 * M, 64 * 2**20)


def test_a_pod_that_ended_or_is_not_bound_is_counted_and_sets_nothing_aside() -> None:
    totals = PodTotals()
    totals.put(pod("a", "Succeeded", cpu="1"))
    totals.put(pod("b", "Failed", cpu="1"))
    totals.put(pod("c", "Pending", node="", cpu="1"))
    assert totals.requests == Amount(0, 0)
    assert {phase: count for phase, count in totals.phases.items() if count} == {
        "Succeeded": 1,
        "Failed": 1,
        "Pending": 1,
    }


def test_a_bound_pod_that_is_pending_sets_its_requests_aside() -> None:
    totals = PodTotals()
    totals.put(pod("a", "Pending", cpu="1"))
    assert totals.requests.cpu == 1000 * M


def test_a_pod_without_a_phase_is_unknown() -> None:
    totals = PodTotals()
    totals.put(pod(phase=""))
    assert totals.phases["Unknown"] == 1


def test_a_change_moves_the_sums_and_a_repeat_does_not() -> None:
    totals = PodTotals()
    for change in (pod(cpu="1"), pod(cpu="1"), pod(cpu="2"), pod(phase="Succeeded", cpu="2")):
        totals.put(change)
    assert (len(totals), totals.requests, +totals.phases) == (1, Amount(0, 0), Counter({"Succeeded": 1}))


def test_removing_takes_away_what_was_there_and_nothing_else() -> None:
    totals = PodTotals()
    totals.put(pod("a", cpu="1"))
    totals.put(pod("b", cpu="2"))
    totals.remove("a")
    totals.remove("a")
    totals.remove("nobody")
    assert (len(totals), totals.requests.cpu, +totals.phases) == (1, 2000 * M, Counter({"Running": 1}))


def test_uids_need_not_be_uuids() -> None:
    """Mirror pods have an MD5 sum, and tests any word."""
    totals = PodTotals()
    uids = [str(uuid.uuid4()), "0f343b0931126a20f133d67c2b018a3b", "web-0"]
    for uid in uids:
        totals.put(pod(uid))
    assert len(totals) == 3
    for uid in uids:
        totals.remove(uid)
    assert len(totals) == 0


def test_pods_of_one_shape_share_a_record() -> None:
    totals = PodTotals()
    for number in range(100):
        totals.put(pod(str(uuid.UUID(int=number)), cpu="100m"))
    assert len({id(shape) for shape in totals._pods.values()}) == 1


def test_a_record_that_no_pod_has_any_more_is_forgotten() -> None:
    """Where an autoscaler gives every pod requests of its own, they would add up for ever."""
    totals = PodTotals()
    for number in range(100):
        totals.put(pod("one", cpu=f"{number}m"))
    assert len(totals._shapes) == 1
    totals.remove("one")
    assert len(totals._shapes) == 0


UIDS = [str(uuid.UUID(int=number)) for number in range(6)]
PODS = st.builds(
    lambda uid, phase, bound, cpu, memory: pod(uid, phase, "node-1" if bound else "", cpu=cpu, memory=memory),
    st.sampled_from(UIDS),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""]),
    st.booleans(),
    st.sampled_from(["0", "100m", "0.1", "333u", "7n", "2"]),
    st.sampled_from(["1Mi", "1M", "123", "1e3"]),
)
STEPS = st.lists(st.one_of(st.tuples(st.just("put"), PODS), st.tuples(st.just("remove"), st.sampled_from(UIDS))))


@given(STEPS, st.lists(PODS, max_size=4), STEPS)
def test_whatever_happens_the_totals_equal_a_recount(
    first: list[tuple[str, Any]], listed: list[Pod], then: list[tuple[str, Any]]
) -> None:
    """Adds, changes, deletes in any order, a fresh list in between, and more of the same."""
    totals, present = PodTotals(), dict[str, Pod]()
    assert follow(totals, present, first)
    totals, present = PodTotals(), dict[str, Pod]()
    for item in listed:
        totals.put(item)
        present[item.metadata.uid] = item
    assert follow(totals, present, then)


def follow(totals: PodTotals, present: dict[str, Pod], steps: list[tuple[str, Any]]) -> bool:
    for name, argument in steps:
        if name == "put":
            totals.put(argument)
            present[argument.metadata.uid] = argument
        else:
            totals.remove(argument)
            present.pop(argument, None)
        active = [
            item
            for item in present.values()
            if item.spec.node_name and item.status.phase not in ("Succeeded", "Failed")
        ]
        requests = [cpu_and_memory(pod_requests(item.spec, item.status)) for item in active]
        limits = [cpu_and_memory(pod_limits(item.spec, item.status)) for item in active]
        assert len(totals) == len(present)
        assert +totals.phases == Counter(item.status.phase or "Unknown" for item in present.values())
        assert totals.requests == Amount(sum(r.cpu for r in requests), sum(r.memory for r in requests))
        assert totals.limits == Amount(sum(r.cpu for r in limits), sum(r.memory for r in limits))
    return True


def test_a_shape_is_phase_requests_and_limits() -> None:
    assert shape_of(pod(cpu="1")).requests == Amount(1000 * M, 0)
    assert shape_of(pod(cpu="1")) == shape_of(pod("other", node="node-9", cpu="1000m"))


# -- nodes ----------------------------------------------------------------------------------------


def test_a_node_is_its_identity_what_it_has_and_whether_it_is_ready() -> None:
    totals = NodeTotals(("pool", "cheap"))
    totals.put(node("a", {"pool": "cheap"}, cpu="1930m", memory="7244720Ki"))
    totals.put(node("b", ready=False))
    a, b = totals.nodes["a"], totals.nodes["b"]
    assert (a.identity.capacity, a.allocatable, a.ready) == (Capacity.SPOT, Amount(1930 * M, 7244720 * 1024), True)
    assert (b.identity.capacity, b.ready) == (Capacity.UNKNOWN, False)


def test_a_node_changes_and_goes() -> None:
    totals = NodeTotals()
    totals.put(node("a", cpu="1"))
    totals.put(node("a", cpu="2"))
    assert (len(totals), totals.nodes["a"].allocatable.cpu) == (1, 2000 * M)
    totals.remove("a")
    totals.remove("a")
    assert len(totals) == 0


def test_nodes_that_are_alike_share_an_identity() -> None:
    totals = NodeTotals()
    alike: list[Node] = [node(f"n{number}") for number in range(10)]
    for item in alike:
        totals.put(item)
    assert len({id(record.identity) for record in totals.nodes.values()}) == 1
