"""Nodes that are not ready: one outage is one occurrence, and not every one is trouble."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest

from shared.schemas.events import ClusterEvent
from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import at, node, sight
from workers.event_watcher.objects import Node
from workers.event_watcher.outages import LATE, YOUNG, Outages

MINUTE = timedelta(minutes=1)


def saw(outages: Outages, node: Node, after: timedelta = timedelta(0)) -> ClusterEvent | None:
    seen = outages.saw(node, NOON + after)
    return seen.event if seen else None


def down(outages: Outages, status: str = "False", since: str = "2026-03-01T11:00:00Z") -> ClusterEvent:
    event = saw(outages, node(status, since))
    assert event is not None
    return event


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_that_is_not_ready_is_one_occurrence_since_its_transition(status: str) -> None:
    event = saw(Outages(), node(status, reason="KubeletNotReady", message="container runtime is down"))
    assert event is not None
    assert (event.event_type, event.severity, event.kind, event.name) == (
        "node_not_ready",
        "critical",
        "Node",
        "node-1",
    )
    assert (event.reason, event.message) == ("KubeletNotReady", "container runtime is down")
    assert (event.namespace, event.node_name, event.uid) == (None, "node-1", "node-uid")
    assert (event.first_seen, event.last_seen) == (at("2026-03-01T11:00:00"), at("2026-03-01T11:00:00"))
    assert event.details == {
        "condition": f"Ready={status}",
        "condition_reason": "KubeletNotReady",
        "not_ready_since": "2026-03-01T11:00:00.000Z",
        "not_ready_seconds": 3600,
    }


@pytest.mark.parametrize("status", ["True", None])
def test_a_ready_node_and_one_that_never_said_so_are_nothing(status: str | None) -> None:
    assert saw(Outages(), node(status)) is None


def test_its_id_is_that_of_the_transition() -> None:
    """Central may use it as a key, so it may never change."""
    assert down(Outages()).event_id == "b21b771727119b58d61285287941f210"


def test_false_and_then_unknown_are_one_outage() -> None:
    outages = Outages()
    first, then = down(outages, "False"), down(outages, "Unknown", "2026-03-01T11:01:00Z")
    assert then.event_id == first.event_id
    assert (then.first_seen, then.last_seen) == (first.first_seen, at("2026-03-01T11:01:00"))


def test_after_it_was_ready_it_is_another() -> None:
    outages = Outages()
    first = down(outages)
    saw(outages, node("True"))
    assert down(outages, since="2026-03-01T11:30:00Z").event_id != first.event_id


def test_a_restart_knows_the_outage() -> None:
    before = Outages()
    first = down(before)
    after = Outages()
    after.load(json.loads(json.dumps(before.unsaved())))
    assert down(after, "Unknown", "2026-03-01T11:01:00Z").event_id == first.event_id
    before.lost()
    assert list(before.unsaved()) == ["node-uid"], "what was lost is handed out again"
    before.saved()
    assert before.unsaved() == {}, "nothing changed since"


def test_only_what_changed_is_saved_however_many_are_down() -> None:
    outages = Outages()
    for number in range(100):
        name = {"name": f"node-{number}", "uid": f"uid-{number}"}
        conditions = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-03-01T11:00:00Z"}]
        outages.saw(msgspec.convert({"metadata": name, "status": {"conditions": conditions}}, Node), NOON)
        assert list(outages.unsaved()) == [f"uid-{number}"]
        outages.saved()
    outages.gone(msgspec.convert({"metadata": {"name": "node-7", "uid": "uid-7"}}, Node))
    assert outages.unsaved() == {"uid-7": None}


@pytest.mark.parametrize("since", [None, "1970-01-01T00:00:00Z"])
def test_without_the_time_of_its_transition_it_is_one_outage_all_the_same(since: str | None) -> None:
    outages = Outages()
    ids = {
        event.event_id
        for later in range(3)
        if (event := saw(outages, node("Unknown", since), timedelta(hours=later))) is not None
    }
    assert len(ids) == 1


# -- what is no trouble ---------------------------------------------------------------------------


YOUNG_NODE = node(made="2026-03-01T11:59:55Z", since="2026-03-01T11:59:55Z")


def test_a_node_that_comes_up_is_not_ready_for_a_while() -> None:
    event = saw(Outages(), YOUNG_NODE)
    assert event is not None
    assert (event.severity, event.details["expected"]) == ("info", "it is coming up")


def test_one_that_does_not_come_up_is_trouble_after_all() -> None:
    outages = Outages()
    first = saw(outages, YOUNG_NODE)
    assert outages.due(NOON + MINUTE) == []
    (grown,) = outages.due(NOON + YOUNG)
    assert first is not None
    assert (grown.event.severity, grown.event.event_id) == ("critical", first.event_id)
    assert outages.due(NOON + 2 * YOUNG) == [], "once"


@pytest.mark.parametrize("end", ["ready", "gone"])
def test_one_that_came_up_or_went_is_not(end: str) -> None:
    outages = Outages()
    saw(outages, YOUNG_NODE)
    if end == "ready":
        saw(outages, node("True", made="2026-03-01T11:59:55Z"))
    else:
        outages.gone(YOUNG_NODE)
    assert outages.due(NOON + YOUNG) == []


def test_a_young_node_that_was_ready_before_is_trouble() -> None:
    outages = Outages()
    saw(outages, node("True", made="2026-03-01T11:58:00Z"))
    event = saw(outages, node(made="2026-03-01T11:58:00Z"))
    assert event is not None
    assert event.severity == "critical"


@pytest.mark.parametrize("taint", ["ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted"])
def test_a_node_that_is_taken_out_is_expected_to_go(taint: str) -> None:
    event = saw(Outages(), node(taints=[{"key": taint}]))
    assert event is not None
    assert event.severity == "info"
    assert "removes it" in str(event.details["expected"])


def test_so_is_one_that_is_deleted_or_drained_by_us() -> None:
    deleted = saw(Outages(), node(deleted="2026-03-01T11:59:00Z"))
    ours = saw(Outages(lambda name: "t-1" if name == "node-1" else None), node())
    assert [event and event.severity for event in (deleted, ours)] == ["info", "info"]
    assert ours is not None
    assert ours.details["expected"] == "drained by task t-1"


# -- what a node tells late -----------------------------------------------------------------------


def test_what_happened_while_a_node_was_cut_off_is_late_and_news() -> None:
    outages = Outages()
    down(outages, "Unknown", "2026-03-01T11:00:00Z")
    saw(outages, node("True"))
    kill = sight(node_name="node-1", last_seen=at("2026-03-01T11:20:00"))
    late = outages.marked_if_late(kill, NOON + MINUTE)
    assert late.late
    assert late.event.details["late"] is True
    assert outages.marked_if_late(kill, NOON + LATE + MINUTE) == kill, "by then it is history"


@pytest.mark.parametrize(
    ("name", "when"),
    [("node-2", "2026-03-01T11:20:00"), ("node-1", "2026-03-01T10:00:00"), ("node-1", "2026-03-01T12:00:00")],
)
def test_other_nodes_and_other_times_are_not(name: str, when: str) -> None:
    outages = Outages()
    down(outages, "Unknown", "2026-03-01T11:00:00Z")
    kill = sight(node_name=name, last_seen=at(when))
    assert outages.marked_if_late(kill, NOON) == kill
