"""How far a watch came: what is news after a restart, and what was told before."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.conftest import NOON
from tests.unit.workers.event_watcher.conftest import occurrence
from workers.event_watcher.checkpoint import LATENESS, RECENT, Checkpoint


def restarted(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint as the next process reads it."""
    return Checkpoint(json.loads(json.dumps(checkpoint.record())))


@pytest.mark.parametrize("record", [None, "garbage", 7, [], {}])
def test_without_a_record_it_begins_at_the_beginning(record: Any) -> None:
    checkpoint = Checkpoint(record)
    assert (checkpoint.version, checkpoint.time) == ("", None)
    assert checkpoint.is_news(occurrence())


def test_it_survives_a_restart() -> None:
    checkpoint = Checkpoint()
    checkpoint.moved("42", NOON)
    again = restarted(checkpoint)
    assert (again.version, again.time) == ("42", NOON)


def test_what_was_forwarded_is_no_news_after_a_restart() -> None:
    checkpoint = Checkpoint()
    checkpoint.moved("42", NOON)
    checkpoint.forwarded([occurrence("a"), occurrence("b")])
    again = restarted(checkpoint)
    assert [again.is_news(occurrence(event_id)) for event_id in ("a", "b", "c")] == [False, False, True]


def test_a_record_of_another_form_is_no_trouble() -> None:
    assert Checkpoint({"version": "7", "time": None, "recent": {"a": 1.5, "b": None}}).is_news(occurrence("a"))


def test_within_one_process_the_aggregator_knows_what_was_forwarded() -> None:
    checkpoint = Checkpoint()
    checkpoint.forwarded([occurrence("a")])
    assert checkpoint.is_news(occurrence("a", count=2))


def test_a_repeat_of_what_was_forwarded_before_the_restart_is_news() -> None:
    """A pod that cannot be scheduled for hours is one id; Central would hear of it never again."""
    checkpoint = Checkpoint()
    checkpoint.moved("42", NOON)
    checkpoint.forwarded([occurrence("a", count=3)])
    again = restarted(checkpoint)
    assert again.is_news(occurrence("a", count=9, last_seen=NOON + timedelta(minutes=10)))


@pytest.mark.parametrize(
    ("before", "news"), [(timedelta(0), True), (LATENESS, True), (LATENESS + timedelta(seconds=1), False)]
)
def test_what_is_older_than_the_checkpoint_is_history_give_or_take_latecomers(before: timedelta, news: bool) -> None:
    checkpoint = Checkpoint()
    checkpoint.moved("42", NOON)
    assert checkpoint.is_news(occurrence(last_seen=NOON - before)) is news


def test_ids_that_time_alone_rules_out_are_not_kept() -> None:
    checkpoint = Checkpoint()
    checkpoint.forwarded([occurrence("old"), occurrence("new", last_seen=NOON + timedelta(hours=1))])
    checkpoint.moved("42", NOON + timedelta(hours=1))
    assert list(checkpoint.record()["recent"]) == ["new"]


def test_the_record_is_bounded_and_keeps_the_last() -> None:
    checkpoint = Checkpoint()
    checkpoint.moved("42", NOON)
    checkpoint.forwarded(occurrence(f"id-{number}") for number in range(RECENT + 10))
    kept = list(checkpoint.record()["recent"])
    assert kept == [f"id-{number}" for number in range(10, RECENT + 10)]
    assert len(json.dumps(checkpoint.record())) < 100_000
