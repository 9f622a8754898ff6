"""What matters in events, pods and nodes, and what is the same however it is seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.kube.objects import Owner
from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import at, event, node, pod
from workers.event_watcher.select import from_event, from_node, from_pod, is_node_not_ready, owner_name

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
    seen = from_event(event(reason, kind, message=message), NOON)
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
    assert from_event(event(reason, kind, message=message), NOON) is None


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
    seen = from_event(event(**fields), NOON)
    assert seen is not None
    assert (seen.count, seen.first_seen, seen.last_seen) == (count, at(first), at(last))


def test_the_node_is_the_source_or_the_node_itself() -> None:
    on_pod = from_event(event("Evicted", source={"component": "kubelet", "host": "node-1"}), NOON)
    on_node = from_event(event("SystemOOM", "Node", source={"host": "other"}), NOON)
    unscheduled = from_event(event(), NOON)
    assert [seen.node_name if seen else "" for seen in (on_pod, on_node, unscheduled)] == ["node-1", "thing", None]


def test_a_long_message_is_cut() -> None:
    seen = from_event(event(message="x" * 5000), NOON)
    assert seen is not None
    assert len(seen.message) == 1024


# -- pods -----------------------------------------------------------------------------------------


def terminated(reason: str = "OOMKilled", at: str | None = "2026-03-01T11:00:00Z", code: int = 137) -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "finishedAt": at}}


def test_a_container_killed_for_want_of_memory_shows_in_its_last_state() -> None:
    (seen,) = from_pod(pod(containerStatuses=[{"name": "app", "lastState": terminated(), "restartCount": 4}]), NOON)
    assert (seen.event_type, seen.severity, seen.reason) == ("oom_killed", "critical", "OOMKilled")
    assert seen.message == "container app was killed for want of memory (exit code 137)"
    assert (seen.kind, seen.namespace, seen.name, seen.uid) == ("Pod", "shop", "web-0", "uid-1")
    assert (seen.node_name, seen.owner) == ("node-1", "ReplicaSet/web-5c")
    assert (seen.count, seen.first_seen, seen.last_seen) == (1, at("2026-03-01T11:00:00"), at("2026-03-01T11:00:00"))


def test_it_may_show_in_the_present_state_and_in_init_containers() -> None:
    status = pod(
        containerStatuses=[{"name": "app", "state": terminated()}],
        initContainerStatuses=[{"name": "init", "lastState": terminated(code=1)}, {"name": "quiet"}],
    )
    assert [seen.message.split()[1] for seen in from_pod(status, NOON)] == ["app", "init"]


def test_two_kills_are_two_occurrences_and_one_seen_twice_is_one() -> None:
    first, second = terminated(at="2026-03-01T11:00:00Z"), terminated(at="2026-03-01T11:05:00Z")
    as_state = list(from_pod(pod(containerStatuses=[{"name": "app", "state": first}]), NOON))
    later = list(from_pod(pod(containerStatuses=[{"name": "app", "state": second, "lastState": first}]), NOON))
    assert len({seen.event_id for seen in later}) == 2
    assert as_state[0].event_id in {seen.event_id for seen in later}
    other = list(from_pod(pod(containerStatuses=[{"name": "sidecar", "state": first}]), NOON))
    assert other[0].event_id != as_state[0].event_id


@pytest.mark.parametrize("state", [terminated("Completed"), terminated("Error"), {}, None, {"running": {}}])
def test_containers_that_ended_otherwise_do_not_matter(state: Any) -> None:
    assert list(from_pod(pod(containerStatuses=[{"name": "app", "state": state, "lastState": state}]), NOON)) == []


def test_a_kill_without_a_time_is_now() -> None:
    (seen,) = from_pod(pod(containerStatuses=[{"name": "app", "state": terminated(at=None)}]), NOON)
    assert seen.last_seen == NOON


def target(reason: str, status: str = "True", **more: Any) -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": status, "reason": reason, **more}]


@pytest.mark.parametrize(
    ("reason", "severity", "message"),
    [
        ("EvictionByEvictionAPI", "info", "evicted through the API"),
        ("DeletionByTaintManager", "warning", "evicted by a NoExecute taint"),
        ("PreemptionByScheduler", "warning", "preempted by a pod of higher priority"),
        ("TerminationByKubelet", "warning", "evicted by the kubelet"),
    ],
)
def test_an_eviction_shows_in_the_pods_condition(reason: str, severity: str, message: str) -> None:
    when = {"lastTransitionTime": "2026-03-01T11:00:00Z"}
    (seen,) = from_pod(pod(conditions=target(reason, **when)), NOON)
    assert (seen.event_type, seen.severity, seen.reason, seen.message) == ("pod_evicted", severity, reason, message)
    assert seen.last_seen == at("2026-03-01T11:00:00")


@pytest.mark.parametrize(
    "conditions",
    [target("DeletionByPodGC"), target("EvictionByEvictionAPI", "False"), target("SomethingNew"), [], None],
)
def test_other_ends_of_pods_do_not_matter(conditions: Any) -> None:
    assert list(from_pod(pod(conditions=conditions), NOON)) == []


def test_the_reason_given_is_the_most_telling_one() -> None:
    told = target("TerminationByKubelet", message="the condition's words")
    (by_condition,) = from_pod(pod(conditions=told), NOON)
    (by_status,) = from_pod(pod(conditions=told, message="the status's words"), NOON)
    assert [by_condition.message, by_status.message] == ["the condition's words", "the status's words"]


def test_an_old_kubelet_says_evicted_in_the_status_only() -> None:
    (seen,) = from_pod(pod(phase="Failed", reason="Evicted"), NOON)
    assert (seen.event_type, seen.reason, seen.message) == ("pod_evicted", "Evicted", "evicted by the kubelet")


def test_an_eviction_in_the_status_only_happened_when_the_conditions_changed_last() -> None:
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-01T11:30:00Z"}
    initialized = {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-03-01T09:00:00Z"}
    (seen,) = from_pod(pod(phase="Failed", reason="Evicted", conditions=[initialized, ready]), NOON)
    assert seen.last_seen == NOON - timedelta(minutes=30)


def test_an_eviction_is_one_occurrence_in_the_event_the_condition_and_the_status() -> None:
    by_event = from_event(event("Evicted"), NOON)
    (by_condition,) = from_pod(pod(conditions=target("TerminationByKubelet")), NOON)
    (by_status,) = from_pod(pod(reason="Evicted"), NOON)
    assert by_event is not None
    assert by_event.event_id == by_condition.event_id == by_status.event_id


def test_a_pod_may_be_killed_and_evicted() -> None:
    both = pod(containerStatuses=[{"name": "app", "state": terminated()}], conditions=target("TerminationByKubelet"))
    assert [seen.event_type for seen in from_pod(both, NOON)] == ["oom_killed", "pod_evicted"]


def test_a_healthy_pod_says_nothing() -> None:
    assert list(from_pod(pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}]), NOON)) == []


# -- nodes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_that_is_not_ready_is_one_occurrence_since_its_transition(status: str) -> None:
    seen = from_node(node(status, reason="KubeletNotReady", message="container runtime is down"), NOON)
    assert seen is not None
    assert (seen.event_type, seen.severity, seen.kind, seen.name) == ("node_not_ready", "critical", "Node", "node-1")
    assert (seen.reason, seen.message) == ("KubeletNotReady", "container runtime is down")
    assert (seen.namespace, seen.node_name, seen.uid) == (None, "node-1", "node-uid")
    assert (seen.first_seen, seen.last_seen) == (at("2026-03-01T11:00:00"), at("2026-03-01T11:00:00"))
    again = from_node(node(status, message="still down"), NOON)
    assert again is not None
    assert again.event_id == seen.event_id, "the same transition"
    later = from_node(node(status, since="2026-03-01T11:20:00Z"), NOON)
    assert later is not None
    assert later.event_id != seen.event_id, "another one"


@pytest.mark.parametrize("status", ["True", None])
def test_a_ready_node_and_one_that_never_said_so_are_nothing(status: str | None) -> None:
    assert from_node(node(status), NOON) is None


def test_a_condition_without_words_is_described() -> None:
    seen = from_node(node("Unknown", since=None), NOON)
    assert seen is not None
    assert (seen.reason, seen.message, seen.last_seen) == ("NodeNotReady", "Ready is Unknown", NOON)


# -- ids ------------------------------------------------------------------------------------------


def test_ids_do_not_depend_on_who_looks_when() -> None:
    """Central may use them as keys, so these may never change."""
    scheduling, node_oom = from_event(event(), NOON), from_event(event("SystemOOM", "Node"), NOON)
    not_ready = from_node(node(), NOON)
    (oom,) = from_pod(pod(containerStatuses=[{"name": "app", "state": terminated()}]), NOON)
    seen = [item.event_id if item else "" for item in (scheduling, node_oom, not_ready, oom)]
    assert seen == [
        "47f3be76d2b8a278f63463e1d0f1d216",
        "fd706747ba94f54875db96ddfec298a5",
        "b21b771727119b58d61285287941f210",
        "cab8f02136e0fd83f3029a975aafc23f",
    ]


def test_an_event_without_a_uid_is_known_by_the_name() -> None:
    one = from_event(event(involvedObject={"kind": "Pod", "name": "a"}), NOON)
    other = from_event(event(involvedObject={"kind": "Pod", "name": "b"}), NOON)
    assert one is not None
    assert other is not None
    assert one.event_id != other.event_id
    assert one.uid is None


def test_an_owner_is_kind_and_name() -> None:
    assert owner_name(Owner("StatefulSet", "db")) == "StatefulSet/db"
    assert owner_name(None) is None
