"""What a pod's status shows of kills and evictions, and what is the same however it is seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import at, event, in_event, in_pod, pod
from workers.event_watcher.objects import Pod
from workers.event_watcher.sights.pods import from_pod


def terminated(reason: str = "OOMKilled", at: str | None = "2026-03-01T11:00:00Z", code: int = 137) -> dict[str, Any]:
    return {"terminated": {"reason": reason, "exitCode": code, "finishedAt": at}}


def test_a_container_killed_for_want_of_memory_shows_in_its_last_state() -> None:
    (seen,) = in_pod(pod(containerStatuses=[{"name": "app", "lastState": terminated(), "restartCount": 4}]))
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
    assert [seen.details["container"] for seen in in_pod(status)] == ["app", "init"]


def test_two_kills_are_two_occurrences_and_one_seen_twice_is_one() -> None:
    first, second = terminated(at="2026-03-01T11:00:00Z"), terminated(at="2026-03-01T11:05:00Z")
    as_state = in_pod(pod(containerStatuses=[{"name": "app", "state": first}]))
    later = in_pod(pod(containerStatuses=[{"name": "app", "state": second, "lastState": first}]))
    assert len({seen.event_id for seen in later}) == 2
    assert as_state[0].event_id in {seen.event_id for seen in later}
    other = in_pod(pod(containerStatuses=[{"name": "sidecar", "state": first}]))
    assert other[0].event_id != as_state[0].event_id


@pytest.mark.parametrize("state", [terminated("Completed"), terminated("Error"), {}, None, {"running": {}}])
def test_containers_that_ended_otherwise_do_not_matter(state: Any) -> None:
    assert in_pod(pod(containerStatuses=[{"name": "app", "state": state, "lastState": state}])) == []


@pytest.mark.parametrize("moment", [None, "1970-01-01T00:00:00Z"])
def test_a_kill_without_a_time_is_one_occurrence_whenever_and_wherever_it_is_seen(moment: str | None) -> None:
    """Kubelets write null or 1970 where they do not know."""
    ended = terminated(at=moment)
    first = pod(containerStatuses=[{"name": "app", "state": ended, "restartCount": 2}])
    then = pod(containerStatuses=[{"name": "app", "lastState": ended, "restartCount": 3}])
    another = pod(containerStatuses=[{"name": "app", "lastState": ended, "restartCount": 4}])
    seen = [list(from_pod(one, NOON + timedelta(hours=number))) for number, one in enumerate((first, then, another))]
    assert [len(sights) for sights in seen] == [1, 1, 1]
    assert all(sights[0].undated for sights in seen)
    ids = [sights[0].event.event_id for sights in seen]
    assert ids[0] == ids[1] != ids[2]


def test_a_kill_without_a_time_is_known_by_its_container() -> None:
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "containerID": "containerd://one"}}
    seen = [in_pod(pod(containerStatuses=[{"name": "app", "lastState": ended, "restartCount": n}])) for n in (1, 5)]
    assert seen[0][0].event_id == seen[1][0].event_id


def test_a_kill_without_a_time_was_before_the_container_started_again() -> None:
    running = {"running": {"startedAt": "2026-03-01T09:00:00Z"}}
    status = {"name": "app", "state": running, "lastState": terminated(at=None), "restartCount": 1}
    (seen,) = in_pod(pod(containerStatuses=[status]))
    assert seen.last_seen == at("2026-03-01T09:00:00")


def test_ephemeral_containers_count_as_well() -> None:
    (seen,) = in_pod(pod(ephemeralContainerStatuses=[{"name": "debugger", "state": terminated()}]))
    assert seen.details["container"] == "debugger"


def test_a_container_whose_child_was_killed_lives_or_ends_otherwise_and_is_a_warning() -> None:
    (seen,) = in_pod(pod(containerStatuses=[{"name": "app", "state": terminated(code=1)}]))
    assert (seen.severity, seen.details["exit_code"]) == ("warning", 1)
    assert seen.message == "a process of container app was killed for want of memory (exit code 1)"


def test_a_kill_tells_what_the_container_had() -> None:
    content = {
        "metadata": {"name": "web-0", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "containers": [
                {"name": "other", "resources": {"limits": {"memory": "1Gi"}}},
                {"name": "app", "resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}},
            ]
        },
        "status": {"containerStatuses": [{"name": "app", "lastState": terminated(), "restartCount": 4}]},
    }
    (seen,) = in_pod(msgspec.convert(content, Pod))
    assert seen.details == {
        "container": "app",
        "exit_code": 137,
        "restart_count": 4,
        "memory_request": "64Mi",
        "memory_limit": "128Mi",
    }
    content["status"]["containerStatuses"][0]["resources"] = {"limits": {"memory": "256Mi"}}  # type: ignore[index]
    (resized,) = in_pod(msgspec.convert(content, Pod))
    assert resized.details["memory_limit"] == "256Mi", "what was in force, not what is asked for by now"


def test_pods_without_a_uid_are_known_by_namespace_and_name() -> None:
    ids = set()
    for namespace in ("a", "b", "c"):
        metadata = {"name": "web-0", "namespace": namespace}
        status = {"containerStatuses": [{"name": "app", "lastState": terminated()}]}
        (seen,) = in_pod(msgspec.convert({"metadata": metadata, "status": status}, Pod))
        ids.add(seen.event_id)
    assert len(ids) == 3


def target(reason: str, status: str = "True", **more: Any) -> list[dict[str, Any]]:
    return [{"type": "DisruptionTarget", "status": status, "reason": reason, **more}]


@pytest.mark.parametrize(
    ("reason", "severity", "message", "by"),
    [
        ("EvictionByEvictionAPI", "info", "evicted through the API", "api"),
        ("DeletionByTaintManager", "warning", "evicted by a NoExecute taint", "taint-manager"),
        (
            "DeletionByDeviceTaintManager",
            "warning",
            "evicted by a taint of one of its devices",
            "device-taint-manager",
        ),
        ("PreemptionByScheduler", "warning", "preempted by a pod of higher priority", "preemption"),
        ("TerminationByKubelet", "warning", "evicted by the kubelet", "kubelet"),
    ],
)
def test_an_eviction_shows_in_the_pods_condition_and_by_whom(reason: str, severity: str, message: str, by: str) -> None:
    when = {"lastTransitionTime": "2026-03-01T11:00:00Z"}
    (seen,) = in_pod(pod(conditions=target(reason, **when)))
    assert (seen.event_type, seen.severity, seen.reason, seen.message) == ("pod_evicted", severity, reason, message)
    assert seen.last_seen == at("2026-03-01T11:00:00")
    assert seen.details == {"by": by}


@pytest.mark.parametrize("moment", [None, "1970-01-01T00:00:00Z"])
def test_an_eviction_without_a_time_is_one_occurrence(moment: str | None) -> None:
    sights = [
        list(from_pod(pod(conditions=target("EvictionByEvictionAPI", lastTransitionTime=moment)), NOON + later))
        for later in (timedelta(0), timedelta(hours=1))
    ]
    assert all(seen[0].undated for seen in sights)
    assert len({seen[0].event.event_id for seen in sights}) == 1


@pytest.mark.parametrize(
    "conditions",
    [target("DeletionByPodGC"), target("EvictionByEvictionAPI", "False"), target("SomethingNew"), [], None],
)
def test_other_ends_of_pods_do_not_matter(conditions: Any) -> None:
    assert in_pod(pod(conditions=conditions)) == []


def test_the_reason_given_is_the_most_telling_one() -> None:
    told = target("TerminationByKubelet", message="the condition's words")
    (by_condition,) = in_pod(pod(conditions=told))
    (by_status,) = in_pod(pod(conditions=told, message="the status's words"))
    assert [by_condition.message, by_status.message] == ["the condition's words", "the status's words"]


def test_an_old_kubelet_says_evicted_in_the_status_only() -> None:
    (seen,) = in_pod(pod(phase="Failed", reason="Evicted"))
    assert (seen.event_type, seen.reason, seen.message) == ("pod_evicted", "Evicted", "evicted by the kubelet")


def test_an_eviction_in_the_status_only_happened_when_the_conditions_changed_last() -> None:
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-01T11:30:00Z"}
    initialized = {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-03-01T09:00:00Z"}
    (seen,) = in_pod(pod(phase="Failed", reason="Evicted", conditions=[initialized, ready]))
    assert seen.last_seen == NOON - timedelta(minutes=30)


def test_an_eviction_is_one_occurrence_in_the_event_the_condition_and_the_status() -> None:
    by_event = in_event(event("Evicted"))
    (by_condition,) = in_pod(pod(conditions=target("TerminationByKubelet")))
    (by_status,) = in_pod(pod(reason="Evicted"))
    assert by_event is not None
    assert by_event.event_id == by_condition.event_id == by_status.event_id


def test_a_pod_may_be_killed_and_evicted() -> None:
    both = pod(containerStatuses=[{"name": "app", "state": terminated()}], conditions=target("TerminationByKubelet"))
    assert [seen.event_type for seen in in_pod(both)] == ["oom_killed", "pod_evicted"]


def test_a_healthy_pod_says_nothing() -> None:
    assert in_pod(pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}])) == []


def test_ids_do_not_depend_on_who_looks_when() -> None:
    """Central may use them as keys, so these may never change."""
    (oom,) = in_pod(pod(containerStatuses=[{"name": "app", "state": terminated()}]))
    assert oom.event_id == "cab8f02136e0fd83f3029a975aafc23f"
