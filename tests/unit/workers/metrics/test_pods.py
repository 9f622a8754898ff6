"""The totals of pods: kept by difference, and always equal to a recount."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.kube.resources import Amount, cpu_and_memory, pod_limits, pod_requests
from tests.unit.workers.metrics.conftest import counted, pod
from workers.metrics.causes import Cause
from workers.metrics.pods import Pod, PodTotals, Shape, Work, key_of

M = 1_000_000


def phases(totals: PodTotals) -> dict[str, int]:
    return dict(+counted(totals).phases)


def test_a_pod_that_is_bound_and_runs_sets_its_requests_aside() -> None:
    totals = PodTotals()
    totals.put(pod(cpu="100m", memory="64Mi"))
    assert (len(totals), phases(totals)) == (1, {"Running": 1})
    assert counted(totals).requests == Amount(100 * M, 64 * 2**20)


def test_a_pod_that_ended_or_is_not_bound_is_counted_and_sets_nothing_aside() -> None:
    totals = PodTotals()
    totals.put(pod("a", "Succeeded", cpu="1"))
    totals.put(pod("b", "Failed", cpu="1"))
    totals.put(pod("c", "Pending", node="", cpu="1"))
    assert counted(totals).requests == Amount(0, 0)
    assert phases(totals) == {"Succeeded": 1, "Failed": 1, "Pending": 1}


def test_a_bound_pod_that_is_pending_sets_its_requests_aside() -> None:
    totals = PodTotals()
    totals.put(pod("a", "Pending", cpu="1"))
    assert counted(totals).requests.cpu == 1000 * M


def test_a_pod_without_a_phase_is_unknown() -> None:
    totals = PodTotals()
    totals.put(pod(phase=""))
    assert phases(totals) == {"Unknown": 1}


def test_a_change_moves_the_sums_and_a_repeat_does_not() -> None:
    totals = PodTotals()
    for change in (pod(cpu="1"), pod(cpu="1"), pod(cpu="2"), pod(phase="Succeeded", cpu="2")):
        totals.put(change)
    assert (len(totals), counted(totals).requests, phases(totals)) == (1, Amount(0, 0), {"Succeeded": 1})


def test_removing_takes_away_what_was_there_and_nothing_else() -> None:
    totals = PodTotals()
    totals.put(pod("a", cpu="1"))
    totals.put(pod("b", cpu="2"))
    for gone in (pod("a"), pod("a"), pod("nobody"), pod("b", namespace="other")):
        totals.remove(gone)
    assert (len(totals), counted(totals).requests.cpu, phases(totals)) == (1, 2000 * M, {"Running": 1})


def test_a_pod_that_is_bound_leaves_those_that_wait() -> None:
    totals = PodTotals()
    totals.put(pod(phase="Pending", node="", cpu="1"))
    totals.put(pod(phase="Pending", node="node-7", cpu="1"))
    assert (len(totals), list(totals.places().values())) == (1, ["node-7"])
    totals.remove(pod(node="node-7"))
    assert len(totals) == 0


def test_a_pod_that_was_bound_and_deleted_between_two_looks_is_gone() -> None:
    totals = PodTotals()
    totals.put(pod(phase="Pending", node=""))
    totals.remove(pod(node="node-7"))
    assert len(totals) == 0


def test_pods_are_found_by_their_node() -> None:
    totals = PodTotals()
    totals.put(pod("a", node="node-1", owner=("StatefulSet", "db"), cpu="1", requests={"nvidia.com/gpu": "2"}))
    totals.put(pod("b", "Succeeded", node="node-1"))
    shape = Shape("Running", Amount(1000 * M, 0), Amount(0, 0), (("nvidia.com/gpu", 2),))
    assert totals.on("node-1") == {
        key_of("shop", "a"): Work(shape, Cause("shop", "StatefulSet", "db")),
        key_of("shop", "b"): Work(Shape("Succeeded"), None),
    }
    assert totals.on("node-2") == {}


def test_the_labels_asked_for_are_kept_of_what_costs() -> None:
    totals = PodTotals(("team",))
    totals.put(pod("a", labels={"team": "blue", "app": "web"}))
    (work,) = totals.on("node-1").values()
    assert work.cause is not None
    assert work.cause.labels == ("blue",)


def test_nodes_whose_pods_changed_are_noted() -> None:
    totals = PodTotals()
    totals.put(pod("a", node="node-1"))
    totals.put(pod("b", node="node-2"))
    totals.changed.clear()
    totals.put(pod("a", node="node-1"))
    assert totals.changed == set(), "nothing new"
    totals.put(pod("a", node="node-1", cpu="1"))
    totals.remove(pod("b", node="node-2"))
    assert totals.changed == {"node-1", "node-2"}


def test_pods_of_one_workload_and_shape_share_a_record() -> None:
    totals = PodTotals()
    for number in range(100):
        totals.put(pod(f"web-{number}", owner=("ReplicaSet", "web"), cpu="100m"))
    assert len({id(work) for work in totals.on("node-1").values()}) == 1


def test_workloads_alike_share_the_shape() -> None:
    totals = PodTotals()
    for number in range(100):
        totals.put(pod(f"bare-{number}", cpu="100m"))
    assert len({id(work.shape) for work in totals.on("node-1").values()}) == 1


def test_a_record_that_no_pod_has_any_more_is_forgotten() -> None:
    """Where an autoscaler gives every pod requests of its own, they would add up for ever."""
    totals = PodTotals()
    for number in range(100):
        totals.put(pod("one", cpu=f"{number}m"))
    assert (len(totals._works), len(totals._shapes)) == (1, 1)
    totals.remove(pod("one"))
    assert (len(totals._works), len(totals._shapes), totals._nodes) == (0, 0, {})


NAMES = ["a", "b", "c", "d", "e", "f"]
NODES = ["", "node-1", "node-2"]
PODS = st.builds(
    lambda name, phase, bound, cpu, memory: pod(name, phase, bound, cpu=cpu, memory=memory),
    st.sampled_from(NAMES),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""]),
    st.sampled_from(NODES),
    st.sampled_from(["0", "100m", "0.1", "333u", "7n", "2"]),
    st.sampled_from(["1Mi", "1M", "123", "1e3"]),
)
STEPS = st.lists(st.one_of(st.tuples(st.just("put"), PODS), st.tuples(st.just("remove"), st.sampled_from(NAMES))))


@given(STEPS, st.lists(PODS, max_size=4), STEPS)
def test_whatever_happens_the_totals_equal_a_recount(
    first: list[tuple[str, Any]], listed: list[Pod], then: list[tuple[str, Any]]
) -> None:
    """Adds, changes, deletes in any order, a fresh list in between, and more of the same."""
    totals, present = PodTotals(), dict[str, Pod]()
    follow(totals, present, first)
    totals, present = PodTotals(), dict[str, Pod]()
    follow(totals, present, [("put", item) for item in listed])
    follow(totals, present, then)


def follow(totals: PodTotals, present: dict[str, Pod], steps: list[tuple[str, Any]]) -> None:
    """Take the steps as a watch would bring them, and compare after each."""
    for step, argument in steps:
        if step == "put":
            name = argument.metadata.name
            before = present.get(name)
            if before is not None and before.spec.node_name not in ("", argument.spec.node_name):
                totals.remove(before)  # Bound for good: one of that name elsewhere is another, later pod.
            totals.put(argument)
            present[name] = argument
        else:
            totals.remove(present.pop(argument) if argument in present else pod(argument))
        compare(totals, list(present.values()), everywhere=NODES)
        compare(totals, [item for item in present.values() if item.spec.node_name != "node-2"], ["", "node-1"])


def compare(totals: PodTotals, present: list[Pod], everywhere: list[str]) -> None:
    active = [item for item in present if item.spec.node_name and item.status.phase not in ("Succeeded", "Failed")]
    requests = [cpu_and_memory(pod_requests(item.spec, item.status)) for item in active]
    limits = [cpu_and_memory(pod_limits(item.spec, item.status)) for item in active]
    sums = totals.counted(everywhere, everywhere)
    assert sums.pods == len(present)
    assert +sums.phases == Counter(item.status.phase or "Unknown" for item in present)
    assert sums.requests == Amount(sum(r.cpu for r in requests), sum(r.memory for r in requests))
    assert sums.limits == Amount(sum(r.cpu for r in limits), sum(r.memory for r in limits))
