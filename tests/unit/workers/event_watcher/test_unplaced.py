"""Pods that cannot be placed: all attempts count, and the pods of one controller are one trouble."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec

from shared.kube.objects import Owner
from shared.schemas.events import ClusterEvent
from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import occurrence, sight
from workers.event_watcher.objects import Pod
from workers.event_watcher.unplaced import GROUP_ENDS, NAMED, REMEMBERED, Unplaced

WEB = Owner("ReplicaSet", "web-5c", "rs-1", controller=True)


def failed(number: int = 0, count: int = 1, minutes: float = 0) -> ClusterEvent:
    """The scheduler could not place pod ``number``."""
    when = NOON + timedelta(minutes=minutes)
    fields = {"event_type": "pod_scheduling_failed", "severity": "warning", "first_seen": when, "last_seen": when}
    return occurrence(f"id-{number}", name=f"web-{number}", uid=f"uid-{number}", count=count, **fields)


def pod(number: int = 0, node: str = "") -> Pod:
    owner = {"kind": "ReplicaSet", "name": "web-5c", "uid": "rs-1", "controller": True}
    metadata = {"name": f"web-{number}", "namespace": "shop", "uid": f"uid-{number}", "ownerReferences": [owner]}
    return msgspec.convert({"metadata": metadata, "spec": {"nodeName": node}}, Pod)


def test_five_attempts_in_two_events_are_five() -> None:
    unplaced = Unplaced()
    counts = []
    for source, count in (("event-1", 1), ("event-1", 2), ("event-2", 1), ("event-2", 3), ("event-1", 2)):
        counts.append(unplaced.counted(sight("id", source, uid="uid-0", count=count)).count)
    assert counts == [1, 2, 3, 5, 5]


def test_a_pod_that_waits_and_one_that_got_its_node() -> None:
    unplaced = Unplaced()
    unplaced.saw(pod(1))
    unplaced.saw(pod(2))
    unplaced.saw(pod(2, "node-1"))
    unplaced.saw(pod(3, "node-1"))
    assert [unplaced.is_waiting(failed(number)) for number in (1, 2, 3)] == [True, False, False]
    assert [unplaced.is_placed(failed(number)) for number in (1, 2, 3)] == [False, True, False]
    controller = unplaced.controller(failed(1))
    assert controller is not None
    assert controller.name == "web-5c"
    unplaced.gone(pod(1))
    assert not unplaced.is_waiting(failed(1))


def test_a_hundred_pods_of_one_controller_are_one_occurrence_with_a_count() -> None:
    unplaced = Unplaced()
    events = [unplaced.join(WEB, failed(number)) for number in range(100)]
    assert {event.event_id for event in events} == {"id-0"}
    assert {event.name for event in events} == {"web-0"}
    assert events[-1].count == 100
    assert events[-1].details["pods"] == 100
    assert events[-1].details["pod_names"] == [f"web-{number}" for number in range(NAMED)]


def test_attempts_while_they_were_held_back_count_as_well() -> None:
    unplaced = Unplaced()
    for number in range(3):
        for count in (1, 2, 3):
            unplaced.counted(sight(f"id-{number}", "event", uid=f"uid-{number}", count=count))
        joined = unplaced.join(WEB, failed(number, count=1))
    assert (joined.count, joined.details["pods"]) == (9, 3)


def test_another_attempt_for_one_of_them_is_a_repeat_of_the_whole() -> None:
    unplaced = Unplaced()
    for number in range(3):
        unplaced.join(WEB, failed(number))
    repeat = unplaced.of_group(failed(2, count=5))
    assert repeat is not None
    assert (repeat.event_id, repeat.count, repeat.details["pods"]) == ("id-0", 7, 3)
    assert unplaced.of_group(failed(99)) is None


def test_pods_of_another_controller_are_another_trouble() -> None:
    unplaced = Unplaced()
    unplaced.join(WEB, failed(1))
    assert unplaced.join(Owner("ReplicaSet", "api-1", "rs-2"), failed(2)).event_id == "id-2"


def test_a_controller_whose_pods_were_placed_for_long_begins_another_trouble() -> None:
    unplaced = Unplaced()
    unplaced.join(WEB, failed(1))
    much_later = GROUP_ENDS.total_seconds() / 60 + 1
    assert unplaced.of_group(failed(1, minutes=much_later)) is None
    assert unplaced.join(WEB, failed(2, minutes=much_later)).event_id == "id-2"


def test_a_restart_goes_on_with_the_same_id_and_count() -> None:
    before = Unplaced()
    for number in range(10):
        before.join(WEB, failed(number))
    after = Unplaced()
    after.load(json.loads(json.dumps(before.unsaved())))
    joined = after.join(WEB, failed(7, count=2, minutes=5))
    assert (joined.event_id, joined.name, joined.count, joined.details["pods"]) == ("id-0", "web-0", 10, 10)
    before.saved()
    assert before.unsaved() == {}, "nothing changed since"


def test_what_is_remembered_is_bounded() -> None:
    unplaced = Unplaced()
    for number in range(REMEMBERED + 10):
        unplaced.saw(pod(number))
        unplaced.counted(sight("id", "source", uid=f"uid-{number}"))
        unplaced.join(Owner("ReplicaSet", f"rs-{number}", f"rs-{number}"), failed(number))
    assert not unplaced.is_waiting(failed(0))
    assert unplaced.is_waiting(failed(REMEMBERED))
    assert unplaced.of_group(failed(0)) is None
