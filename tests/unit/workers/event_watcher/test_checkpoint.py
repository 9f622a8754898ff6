"""How far a watch came: what is news after a restart, and what was told before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import occurrence
from workers.event_watcher.aggregate import WINDOW_SECONDS
from workers.event_watcher.checkpoint import LATENESS, PIECE, PIECES, Checkpoint
from workers.event_watcher.memo import Memo

KEY = "checkpoint/pods"


class Disk:
    """What is saved, and the checkpoint that goes on from there."""

    def __init__(self, **saved: Any) -> None:
        self.saved: dict[str, Any] = saved
        self.written = 0
        """Bytes of the last save."""

    def begin(self, key: str = KEY) -> Checkpoint:
        return Checkpoint(key, self.saved)

    def save(self, checkpoint: Checkpoint) -> None:
        text = json.dumps(checkpoint.unsaved(checkpoint.mark))
        self.saved.update(json.loads(text))
        self.written = len(text)
        checkpoint.saved()

    def restarted(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint as the next process reads it."""
        self.save(checkpoint)
        return self.begin()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.mark.parametrize("record", [None, "garbage", 7, [], {}])
def test_without_a_record_it_begins_at_the_beginning(record: Any) -> None:
    checkpoint = Checkpoint(KEY, {KEY: record, f"{KEY}/recent/0": record})
    assert (checkpoint.version, checkpoint.time) == ("", None)
    assert checkpoint.is_news(occurrence())


def test_it_survives_a_restart(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    again = disk.restarted(checkpoint)
    assert (again.version, again.time) == ("42", NOON)


def test_what_was_forwarded_is_no_news_after_a_restart(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    checkpoint.forwarded([occurrence("a"), occurrence("b")])
    again = disk.restarted(checkpoint)
    assert [again.is_news(occurrence(event_id)) for event_id in ("a", "b", "c")] == [False, False, True]


def test_what_another_watch_forwarded_before_the_restart_is_no_news_either(disk: Disk) -> None:
    """An eviction shows in an event and in the pod: whichever watch comes second finds it told."""
    other = disk.begin("checkpoint/events")
    other.forwarded([occurrence("a")])
    disk.save(other)
    mine = disk.begin()
    assert [mine.is_news(occurrence(event_id)) for event_id in ("a", "b")] == [False, True]


def test_within_one_process_the_aggregator_knows_what_was_forwarded(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.forwarded([occurrence("a")])
    assert checkpoint.is_news(occurrence("a", count=2))


def test_a_repeat_of_what_was_forwarded_before_the_restart_is_news(disk: Disk) -> None:
    """A pod that cannot be scheduled for hours is one id; Central would hear of it never again."""
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    checkpoint.forwarded([occurrence("a", count=3)])
    again = disk.restarted(checkpoint)
    assert again.is_news(occurrence("a", count=9, last_seen=NOON + timedelta(minutes=10)))


@pytest.mark.parametrize(("later", "news"), [(0, False), (WINDOW_SECONDS - 1, False), (WINDOW_SECONDS, True)])
def test_another_event_about_the_same_begins_at_one_and_is_news_all_the_same(
    disk: Disk, later: float, news: bool
) -> None:
    checkpoint = disk.begin()
    checkpoint.forwarded([occurrence("a", count=50)])
    again = disk.restarted(checkpoint)
    assert again.is_news(occurrence("a", count=1, last_seen=NOON + timedelta(seconds=later))) is news


@pytest.mark.parametrize(
    ("before", "news"), [(timedelta(0), True), (LATENESS, True), (LATENESS + timedelta(seconds=1), False)]
)
def test_what_is_older_than_the_checkpoint_is_history_give_or_take_latecomers(
    disk: Disk, before: timedelta, news: bool
) -> None:
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    checkpoint.begin()
    assert checkpoint.is_history(occurrence(last_seen=NOON - before)) is not news


def test_what_is_history_is_fixed_while_a_watch_is_open(disk: Disk) -> None:
    """What happened while we were away comes bunch by bunch: the newest must not rule out the rest."""
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    checkpoint.begin()
    later = occurrence(last_seen=NOON + timedelta(hours=1))
    checkpoint.saw(later)
    checkpoint.moved("43", later.last_seen)
    assert not checkpoint.is_history(occurrence("latecomer", last_seen=NOON))
    checkpoint.begin()
    assert checkpoint.is_history(occurrence("latecomer", last_seen=NOON))


def test_time_goes_by_what_was_seen_and_not_by_our_clock_which_may_be_ahead(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    checkpoint.saw(occurrence(last_seen=NOON + timedelta(minutes=1)))
    checkpoint.moved("43", NOON + timedelta(hours=1))
    assert disk.restarted(checkpoint).time == NOON + timedelta(minutes=1)


def test_a_node_whose_clock_is_ahead_makes_nothing_history(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    checkpoint.saw(occurrence(last_seen=NOON + timedelta(hours=1)))
    checkpoint.moved("43", NOON + timedelta(minutes=1))
    assert disk.restarted(checkpoint).time == NOON + timedelta(minutes=1)


def test_time_never_goes_back(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    checkpoint.saw(occurrence(last_seen=NOON - timedelta(minutes=1)))
    checkpoint.moved("43", NOON - timedelta(hours=1))
    assert checkpoint.time == NOON


def test_what_is_remembered_is_bounded_and_is_the_last(disk: Disk) -> None:
    checkpoint = disk.begin()
    for number in range(3 * PIECE * PIECES):
        checkpoint.forwarded([occurrence(f"id-{number}")])
        disk.save(checkpoint)
    again = disk.begin()
    known = [number for number in range(3 * PIECE * PIECES) if not again.is_news(occurrence(f"id-{number}"))]
    assert known == list(range(2 * PIECE * PIECES, 3 * PIECE * PIECES))


def test_a_save_writes_little_however_much_is_remembered(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.forwarded(occurrence(f"{number:032}") for number in range(PIECE * PIECES))
    disk.save(checkpoint)
    checkpoint.forwarded([occurrence("one more")])
    disk.save(checkpoint)
    assert disk.written < 200
    checkpoint.moved("43", NOON)
    disk.save(checkpoint)
    assert set(checkpoint.unsaved(checkpoint.mark)) == {KEY}


def test_while_something_waits_the_ids_are_saved_and_that_it_must_be_seen_again(disk: Disk) -> None:
    """Killed before the rest is put, the next process sees all again, and knows what was told."""
    checkpoint = disk.begin()
    checkpoint.moved("42", NOON)
    before = checkpoint.mark
    checkpoint.saw(occurrence(last_seen=NOON + timedelta(minutes=1)))
    checkpoint.moved("43", NOON + timedelta(minutes=1))
    checkpoint.forwarded(occurrence(f"id-{number}") for number in range(PIECE + 1))
    disk.saved.update(checkpoint.unsaved(before))
    checkpoint.saved()
    again = disk.begin()
    assert (again.version, again.time) == ("42", NOON)
    assert not any(again.is_news(occurrence(event_id)) for event_id in ("id-0", f"id-{PIECE}"))
    assert before < checkpoint.mark
    assert disk.restarted(checkpoint).version == "43"


def test_what_could_not_be_saved_is_saved_with_the_next(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.forwarded(occurrence(f"id-{number}") for number in range(PIECE))
    checkpoint.unsaved(checkpoint.mark)  # and the queue had no room
    checkpoint.forwarded([occurrence("next")])
    again = disk.restarted(checkpoint)
    assert not any(again.is_news(occurrence(event_id)) for event_id in ("id-0", f"id-{PIECE - 1}", "next"))


def test_a_restart_goes_on_filling_where_it_was(disk: Disk) -> None:
    for number in range(PIECE + 5):
        checkpoint = disk.begin()
        checkpoint.forwarded([occurrence(f"id-{number}")])
        disk.save(checkpoint)
    assert [len(disk.saved[f"{KEY}/recent/{piece}"]) for piece in (0, 1)] == [PIECE, 5]


class Memory(Memo):
    """A memo of whatever a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, Any] = {}

    def load(self, records: Mapping[str, Any]) -> None:
        self.records = dict(records)

    def set(self, key: str, value: Any) -> None:
        self.records[key] = value
        self._changed.add(key)

    def _record(self, key: str) -> Any:
        return self.records.get(key)


def test_what_must_be_remembered_besides_is_saved_when_it_changed_and_handed_back(disk: Disk) -> None:
    memory = Memory()
    checkpoint = Checkpoint(KEY, disk.saved, memory)
    memory.set("a", 1)
    memory.set("b", 2)
    disk.save(checkpoint)
    assert set(checkpoint.unsaved(checkpoint.mark)) == {KEY}, "nothing changed since"
    memory.set("a", 3)
    assert checkpoint.unsaved(checkpoint.mark)[f"{KEY}/memo/a"] == 3
    checkpoint.lost()
    memory.set("b", 4)
    disk.save(checkpoint)
    again = Memory()
    Checkpoint(KEY, disk.saved, again)
    assert again.records == {"a": 3, "b": 4}, "what could not be saved came with the next"


def test_what_was_told_before_the_restart_is_known(disk: Disk) -> None:
    checkpoint = disk.begin()
    checkpoint.forwarded([occurrence("a")])
    again = disk.restarted(checkpoint)
    assert [again.was_told(occurrence(event_id)) for event_id in ("a", "b")] == [True, False]
