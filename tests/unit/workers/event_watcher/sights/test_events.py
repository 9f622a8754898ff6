"""What matters in Event objects, how often it happened and when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.workers.event_watcher.conftest import at, event, in_event
from workers.event_watcher.sights.events import is_node_not_ready

DELETION = "Marking for deletion Pod shop/thing"
CANCELLED = "Cancelling deletion of Pod shop/thing"


@pytest.mark.parametrize(
    ("kind", "reason", "message", "event_type", "severity"),
    [
        ("Pod", "FailedScheduling", "0/3 nodes are available", "pod_scheduling_failed", "warning"),
        ("Pod", "Evicted", "The node was low on resource: memory.", "pod_evicted", "warning"),
        ("Pod", "TaintManagerEviction", DELETION, "pod_evicted", "warning"),
        ("Node", "SystemOOM", "System OOM encountered", "oom_killed", "critical"),
        ("Node", "OOMKilling", "Memory cgroup out of memory", "oom_killed", "critical"),
    ],
)
def test_these_events_matter(kind: str, reason: str, message: str, event_type: str, severity: str) -> None:
    seen = in_event(event(reason, kind, message=message))
    assert seen is not None
    assert (seen.event_type, seen.severity, seen.reason, seen.message) == (event_type, severity, reason, message)
    assert (seen.kind, seen.name, seen.uid) == (kind, "thing", "uid-1")
    assert seen.namespace == ("shop" if kind == "Pod" else None)


@pytest.mark.parametrize(
    ("kind", "reason", "message"),
    [
        ("Pod", "Scheduled", ""),
        ("Pod", "BackOff", ""),
        ("Pod", "OOMKilling", ""),
        ("Pod", "NodeNotReady", "Node is not ready"),
        ("Pod", "TaintManagerEviction", CANCELLED),
        ("Pod", "", ""),
        ("Node", "FailedScheduling", ""),
        ("Node", "Evicted", ""),
        ("Node", "NodeReady", ""),
        ("Node", "NodeNotReady", "the node's condition says more"),
        ("Deployment", "ScalingReplicaSet", ""),
        ("", "FailedScheduling", ""),
    ],
)
def test_these_do_not(kind: str, reason: str, message: str) -> None:
    assert in_event(event(reason, kind, message=message)) is None


def test_a_node_that_goes_not_ready_is_a_hint_to_look_at_it() -> None:
    assert is_node_not_ready(event("NodeNotReady", "Node"))
    assert not is_node_not_ready(event("NodeNotReady", "Pod"))
    assert not is_node_not_ready(event("NodeReady", "Node"))


# -- how often and when ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "count", "first", "last"),
    [
        ({}, 3, "2026-03-01T11:00:00", "2026-03-01T11:30:00"),
        ({"count": None}, 1, "2026-03-01T11:00:00", "2026-03-01T11:30:00"),
        ({"count": 0}, 1, "2026-03-01T11:00:00", "2026-03-01T11:30:00"),
        (
            {
                "count": None,
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": "2026-03-01T11:10:00Z",
                "series": {"count": 7, "lastObservedTime": "2026-03-01T11:50:00Z"},
            },
            7,
            "2026-03-01T11:10:00",
            "2026-03-01T11:50:00",
        ),
        (
            {"firstTimestamp": None, "lastTimestamp": None, "eventTime": "2026-03-01T11:10:00Z"},
            3,
            "2026-03-01T11:10:00",
            "2026-03-01T11:10:00",
        ),
        ({"firstTimestamp": None, "lastTimestamp": None}, 3, "2026-03-01T11:00:00", "2026-03-01T11:00:00"),
        (
            {"firstTimestamp": None, "lastTimestamp": None, "metadata": {"name": "x"}},
            3,
            "2026-03-01T12:00:00",
            "2026-03-01T12:00:00",
        ),
        ({"lastTimestamp": "2026-03-01T10:00:00Z"}, 3, "2026-03-01T11:00:00", "2026-03-01T11:00:00"),
    ],
    ids=["old form", "no count", "zero", "series", "new form", "creation only", "no time at all", "last before first"],
)
def test_count_and_times_are_found_in_either_form_of_event(
    fields: dict[str, Any], count: int, first: str, last: str
) -> None:
    seen = in_event(event(**fields))
    assert seen is not None
    assert (seen.count, seen.first_seen, seen.last_seen) == (count, at(first), at(last))


def test_the_node_is_the_source_or_the_node_itself() -> None:
    on_pod = in_event(event("Evicted", source={"component": "kubelet", "host": "node-1"}))
    on_node = in_event(event("SystemOOM", "Node", source={"host": "other"}))
    unscheduled = in_event(event())
    assert [seen.node_name if seen else "" for seen in (on_pod, on_node, unscheduled)] == ["node-1", "thing", None]


def test_a_long_message_is_cut() -> None:
    seen = in_event(event(message="x" * 5000))
    assert seen is not None
    assert len(seen.message) == 1024


def test_a_pod_that_is_being_deleted_is_not_one_that_cannot_be_placed() -> None:
    assert in_event(event(message="skip schedule deleting pod: shop/thing")) is None


@pytest.mark.parametrize(
    ("type_", "component", "severity", "by"),
    [
        ("Warning", "kubelet", "warning", "kubelet"),
        ("Normal", "karpenter", "info", "karpenter"),
        ("Warning", "", "warning", "kubelet"),
    ],
)
def test_who_evicts_and_whether_it_means_harm(type_: str, component: str, severity: str, by: str) -> None:
    seen = in_event(event("Evicted", type=type_, source={"component": component}))
    assert seen is not None
    assert (seen.severity, seen.details) == (severity, {"by": by})
    as_reported = in_event(event("Evicted", type=type_, reportingComponent=component))
    assert as_reported is not None
    assert as_reported.details == seen.details


@pytest.mark.parametrize("field", ["firstTimestamp", "lastTimestamp"])
def test_1970_is_no_time(field: str) -> None:
    seen = in_event(event(**{field: "1970-01-01T00:00:00Z"}))
    assert seen is not None
    assert min(seen.first_seen, seen.last_seen).year == 2026


def test_an_event_without_a_uid_is_known_by_namespace_and_name() -> None:
    places = [("a", "web-0"), ("b", "web-0"), ("a", "web-1")]
    seen = [in_event(event(involvedObject={"kind": "Pod", "namespace": ns, "name": name})) for ns, name in places]
    assert len({one.event_id for one in seen if one}) == 3
    assert {one.uid for one in seen if one} == {None}


def test_ids_do_not_depend_on_who_looks_when() -> None:
    """Central may use them as keys, so these may never change."""
    scheduling, node_oom = in_event(event()), in_event(event("SystemOOM", "Node"))
    assert scheduling is not None
    assert node_oom is not None
    assert (scheduling.event_id, node_oom.event_id) == (
        "47f3be76d2b8a278f63463e1d0f1d216",
        "fd706747ba94f54875db96ddfec298a5",
    )
