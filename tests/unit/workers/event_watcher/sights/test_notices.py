"""What clouds and their tools put on a node before they take it, and until when it is there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.schemas.events import ClusterEvent
from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import event, in_event, node
from workers.event_watcher.objects import Node
from workers.event_watcher.sights.notices import from_node, removal

IN_TIME = "Preempt Scheduled: Sun, 01 Mar 2026 12:00:45 GMT. For more information, see https://aka.ms/x. EventId: 4"


def told(node: Node) -> list[ClusterEvent]:
    return [seen.event for seen in from_node(node, NOON)]


def tainted(key: str, value: str = "", **more: Any) -> Node:
    return node("True", taints=[{"key": key, "value": value, "effect": "NoSchedule"}], **more)


def conditioned(kind: str, message: str = "", status: str = "True") -> Node:
    since = "2026-03-01T11:59:00Z"
    return node("True", others=[{"type": kind, "status": status, "message": message, "lastTransitionTime": since}])


@pytest.mark.parametrize(
    ("taint", "what", "severity"),
    [
        ("aws-node-termination-handler/spot-itn", "spot-interruption", "warning"),
        ("aws-node-termination-handler/scheduled-maintenance", "scheduled-maintenance", "warning"),
        ("aws-node-termination-handler/asg-lifecycle-termination", "scale-in", "info"),
        ("aws-node-termination-handler/rebalance-recommendation", "rebalance-recommendation", "info"),
        ("cloud.google.com/impending-node-termination", "termination", "warning"),
        ("cloudprovider.azure.microsoft.com/draining", "preempt", "warning"),
        ("node.kubernetes.io/out-of-service", "out-of-service", "warning"),
    ],
)
def test_a_taint_announces(taint: str, what: str, severity: str) -> None:
    (seen,) = told(tainted(taint))
    assert (seen.event_type, seen.severity, seen.reason) == ("node_disruption_notice", severity, taint)
    assert (seen.kind, seen.name, seen.uid, seen.node_name) == ("Node", "node-1", "node-uid", "node-1")
    assert seen.details["notice"] == what


@pytest.mark.parametrize(
    "taint", ["node.kubernetes.io/unschedulable", "oci.oraclecloud.com/oke-is-preemptible", "dedicated"]
)
def test_other_taints_do_not(taint: str) -> None:
    assert told(tainted(taint)) == []


def test_two_minutes_are_left_after_a_spot_interruption() -> None:
    (seen,) = told(tainted("aws-node-termination-handler/spot-itn"))
    assert seen.details == {
        "notice": "spot-interruption",
        "deadline": "2026-03-01T12:02:00.000Z",
        "deadline_is": "usual",
    }


def test_they_count_from_when_the_handler_says_that_it_marked_the_node() -> None:
    labels = {"aws-node-termination-handler/action-time": str(int((NOON - timedelta(seconds=30)).timestamp()))}
    (seen,) = told(tainted("aws-node-termination-handler/spot-itn", labels=labels))
    assert seen.first_seen == NOON - timedelta(seconds=30)
    assert seen.details["deadline"] == "2026-03-01T12:01:30.000Z"


@pytest.mark.parametrize("label", ["soon", "", "-1", "99999999999999"])
def test_a_label_that_is_no_time_says_nothing(label: str) -> None:
    (seen,) = told(
        tainted("aws-node-termination-handler/spot-itn", labels={"aws-node-termination-handler/action-time": label})
    )
    assert seen.first_seen == NOON


@pytest.mark.parametrize(("labels", "seconds"), [({"cloud.google.com/gke-spot": "true"}, 30), ({}, None), (None, None)])
def test_a_spot_machine_of_google_has_half_a_minute(labels: dict[str, str] | None, seconds: int | None) -> None:
    (seen,) = told(tainted("cloud.google.com/impending-node-termination", labels=labels))
    assert seen.details.get("deadline") == ("2026-03-01T12:00:30.000Z" if seconds else None)


@pytest.mark.parametrize("kind", ["VMEventScheduled", "PreemptScheduled", "PreemptionScheduled"])
def test_azure_states_the_time(kind: str) -> None:
    (seen,) = told(conditioned(kind, IN_TIME))
    assert seen.details == {"notice": "preempt", "deadline": "2026-03-01T12:00:45.000Z", "deadline_is": "stated"}
    assert (seen.severity, seen.message) == ("warning", IN_TIME)


def test_what_states_a_time_is_one_notice_in_both_conditions_and_the_event() -> None:
    conditions = [told(conditioned(kind, IN_TIME))[0] for kind in ("VMEventScheduled", "PreemptScheduled")]
    involved = {"kind": "Node", "name": "node-1", "uid": "node-uid"}
    by_event = in_event(event("PreemptScheduled", "Node", message=IN_TIME, involvedObject=involved))
    assert by_event is not None
    assert len({seen.event_id for seen in (*conditions, by_event)}) == 1


def test_another_time_is_another_notice() -> None:
    ids = {told(conditioned("VMEventScheduled", IN_TIME.replace("12:00", at)))[0].event_id for at in ("12:00", "13:00")}
    assert len(ids) == 2


def test_a_freeze_is_worth_knowing_and_no_more() -> None:
    (seen,) = told(conditioned("VMEventScheduled", "Freeze Scheduled: Sun, 01 Mar 2026 12:00:45 GMT"))
    assert (seen.severity, seen.details["notice"]) == ("info", "freeze")


def test_a_date_that_is_none_is_no_deadline() -> None:
    (seen,) = told(conditioned("VMEventScheduled", "Terminate Scheduled: Sun, 31 Feb 2026 12:00:45 GMT"))
    assert seen.details == {"notice": "terminate"}


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_condition_that_does_not_hold_announces_nothing(status: str) -> None:
    assert told(conditioned("VMEventScheduled", "VM has no scheduled event", status)) == []


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("SpotInterrupted", "spot-interruption"),
        ("SpotRebalanceRecommendation", "rebalance-recommendation"),
        ("InstanceTerminating", "instance-terminating"),
        ("InstanceStopping", "instance-stopping"),
        ("InstanceUnhealthy", "instance-unhealthy"),
        ("SpotInterruption", "spot-interruption"),
        ("TerminateScheduled", "terminate"),
    ],
)
def test_karpenter_and_others_announce_in_events_about_the_node(reason: str, what: str) -> None:
    seen = in_event(event(reason, "Node"))
    assert seen is not None
    assert (seen.event_type, seen.details["notice"]) == ("node_disruption_notice", what)
    assert in_event(event(reason, "Pod")) is None


def test_a_notice_that_says_no_time_is_the_same_whenever_it_is_seen() -> None:
    first, later = (
        list(from_node(tainted("node.kubernetes.io/out-of-service"), when))
        for when in (NOON, NOON + timedelta(hours=1))
    )
    assert first[0].undated
    assert first[0].event.event_id == later[0].event.event_id


def test_two_interruptions_that_the_handler_tells_apart_are_two() -> None:
    ids = {told(tainted("aws-node-termination-handler/spot-itn", value))[0].event_id for value in ("itn-1", "itn-2")}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("taint", "why"),
    [
        ("ToBeDeletedByClusterAutoscaler", "the cluster autoscaler removes it"),
        ("karpenter.sh/disrupted", "Karpenter removes it"),
        ("karpenter.sh/disruption", "Karpenter removes it"),
        ("aws-node-termination-handler/spot-itn", "spot-interruption was announced"),
        ("node.kubernetes.io/unreachable", None),
        ("DeletionCandidateOfClusterAutoscaler", None),
    ],
)
def test_a_node_that_somebody_takes_out_says_so(taint: str, why: str | None) -> None:
    assert removal(tainted(taint)) == why


def test_so_does_one_that_is_being_deleted() -> None:
    assert removal(node(deleted="2026-03-01T11:59:00Z")) == "it is being deleted"
    assert removal(node()) is None
