"""Events on nodes: for people, and never a reason for a task to fail."""

from __future__ import annotations

import logging

import pytest

from shared.kube import connection
from shared.kube.connection import Kube
from shared.kube.nodes import Node, Nodes
from tests.sim.kube.cluster import Cluster
from tests.unit.conftest import NOON, FakeClock
from workers.task_runner.work import announce
from workers.task_runner.work.announce import Announcer


@pytest.fixture
def node(kube: Kube) -> Node:
    return Nodes(kube).find("node-1")


def announcer(kube: Kube, clock: FakeClock, wanted: bool = True) -> Announcer:
    return Announcer(kube, clock, wanted, "agent-0")


def test_an_event_is_on_the_node_as_kubectl_looks_for_it(
    cluster: Cluster, kube: Kube, clock: FakeClock, node: Node
) -> None:
    announcer(kube, clock).on_node(node, "Drained", "Drained of all evictable pods")
    (event,) = cluster.events(reason="Drained")
    about = event["involvedObject"]
    assert (about["kind"], about["name"], about["uid"]) == ("Node", "node-1", node.metadata.uid)
    assert (event["type"], event["message"]) == ("Normal", "Drained of all evictable pods")
    assert event["metadata"]["namespace"] == "default"
    assert event["lastTimestamp"] == f"{NOON:%Y-%m-%dT%H:%M:%SZ}"
    assert event["source"] == {"component": "cloudoptim-agent", "host": "agent-0"}


def test_what_went_wrong_is_a_warning(cluster: Cluster, kube: Kube, clock: FakeClock, node: Node) -> None:
    announcer(kube, clock).on_node(node, "DrainFailed", "Not drained", warning=True)
    assert [event["type"] for event in cluster.events(reason="DrainFailed")] == ["Warning"]


def test_two_events_at_the_same_instant_are_two(cluster: Cluster, kube: Kube, clock: FakeClock, node: Node) -> None:
    for _ in range(2):
        announcer(kube, clock).on_node(node, "Cordoned", "Cordoned")
    assert len(cluster.events(reason="Cordoned")) == 2


def test_a_message_is_no_longer_than_the_api_takes(cluster: Cluster, kube: Kube, clock: FakeClock, node: Node) -> None:
    announcer(kube, clock).on_node(node, "R" * 500, "m" * 5000)
    (event,) = cluster.events(reason="R" * 128)
    assert len(event["message"]) == 1024


def test_unless_wanted_nothing_is_written(cluster: Cluster, kube: Kube, clock: FakeClock, node: Node) -> None:
    announcer(kube, clock, wanted=False).on_node(node, "Drained", "Drained")
    assert not cluster.audit.select(verb="create", resource="events")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_that_it_cannot_be_written_is_a_line_in_the_log(
    cluster: Cluster, kube: Kube, clock: FakeClock, node: Node, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.fail(verb="create", resource="events", status=status, times=None)
    with caplog.at_level(logging.WARNING):
        announcer(kube, clock).on_node(node, "Drained", "Drained")
    assert "no Event on node node-1 (is the kubernetes-events component applied?)" in caplog.text


def test_one_that_takes_too_long_to_be_written_holds_up_no_task(
    cluster: Cluster, kube: Kube, clock: FakeClock, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook may be slow with Events; that says nothing of the API server either."""
    monkeypatch.setattr(connection, "SHORTEST_TIMEOUT", 0.1)
    monkeypatch.setattr(announce, "optional", lambda: connection.optional(0.1))
    cluster.fail(verb="create", resource="events", delay=5.0, times=None)
    announcer(kube, clock).on_node(node, "Drained", "Drained")
    assert not cluster.events(reason="Drained"), "it did not wait for it"
    assert kube.answers


FORBIDDEN = {"kind": "Status", "reason": "Forbidden", "message": 'events is forbidden: User "agent" may not'}


def test_a_missing_right_is_said_once_until_it_was_there(
    cluster: Cluster, kube: Kube, clock: FakeClock, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    ours = announcer(kube, clock)
    for _ in range(2):
        cluster.fail(verb="create", resource="events", status=403, body=FORBIDDEN, times=3)
        with caplog.at_level(logging.WARNING):
            for _ in range(4):
                ours.on_node(node, "Drained", "Drained")
    assert len(caplog.records) == 2
    assert len(cluster.events(reason="Drained")) == 2
