"""A refused key: said by whoever sees it, confirmed by three times over as long as it may take to rotate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from shared.basics.api_key import ApiKey
from shared.basics.errors import AuthenticationError
from shared.process.refusals import (
    CONFIRM_SECONDS,
    ROTATION_SECONDS,
    UNCLEAR_SECONDS,
    Refusal,
    clear_refusal,
    refusals,
    report_refusal,
)
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock

ERROR = AuthenticationError("Central answered 401 to tasks")
PAGE = AuthenticationError("something before Central answered 401 to tasks: <html>", certain=False)


class Reports:
    """One worker after the other that is refused, by the clock."""

    def __init__(self, clock: FakeClock, api_key: ApiKey) -> None:
        self.queue = MemoryQueue(clock=clock)
        self.api_key = api_key
        self._clock = clock

    def say(self, worker: str = "heartbeat", error: AuthenticationError = ERROR, after: float = 0.0) -> Refusal:
        self._clock.advance(after)
        self.api_key.current()  # As each call does.
        report_refusal(self.queue, worker, error, self.api_key, self._clock)
        return refusals(self.queue)[worker]


@pytest.fixture
def reports(clock: FakeClock) -> Reports:
    return Reports(clock, ApiKey("given-once"))


@pytest.fixture
def in_a_file(clock: FakeClock, tmp_path: Path) -> Reports:
    path = tmp_path / "key"
    path.write_text("old-key-in-a-file")
    return Reports(clock, ApiKey("old-key-in-a-file", path))


@pytest.mark.parametrize("patience", [CONFIRM_SECONDS, ROTATION_SECONDS])
@pytest.mark.parametrize(
    ("times", "of_patience", "confirmed"),
    [(1, 0, False), (2, 2, False), (3, 0.99, False), (3, 1, True), (100, 0.99, False), (4, 1.5, True)],
)
def test_a_refusal_is_confirmed_by_three_times_over_its_patience(
    patience: float, times: int, of_patience: float, confirmed: bool
) -> None:
    refusal = Refusal(times, 1000.0, 1000.0 + of_patience * patience, "", patience, key=0)
    assert refusal.confirmed is confirmed


def test_reports_add_up(reports: Reports, clock: FakeClock) -> None:
    first = clock.monotonic()
    reports.say()
    reports.say(after=20)
    assert reports.say(after=20) == Refusal(3, first, first + 40, str(ERROR), CONFIRM_SECONDS, key=0)


def test_a_step_of_the_wall_clock_confirms_nothing(reports: Reports, clock: FakeClock) -> None:
    """Ages are monotonic."""
    now = clock.now
    for days in (0, 1, -1):
        clock.now = lambda days=days: now() + timedelta(days=days)  # type: ignore[method-assign, misc]
        refusal = reports.say(after=1)
    assert refusal.last - refusal.first == 2


def test_each_worker_has_its_own(reports: Reports) -> None:
    reports.say("task-runner")
    reports.say("heartbeat")
    assert {worker: refusal.times for worker, refusal in refusals(reports.queue).items()} == {
        "task-runner": 1,
        "heartbeat": 1,
    }


def test_a_key_that_was_taken_begins_the_count_anew(reports: Reports, clock: FakeClock) -> None:
    reports.say("heartbeat")
    reports.say("task-runner")
    clear_refusal(reports.queue, "heartbeat")
    assert list(refusals(reports.queue)) == ["task-runner"]
    assert reports.say("heartbeat", after=60).first == clock.monotonic()


def test_while_the_key_is_a_file_a_new_one_has_time_to_get_there(in_a_file: Reports) -> None:
    """A Secret takes up to two minutes to its file, and whoever rotates may revoke the old key first."""
    in_a_file.say()
    in_a_file.say(after=100)
    assert not in_a_file.say(after=75).confirmed
    assert in_a_file.say(after=5).confirmed


def test_another_key_has_all_that_time_again(in_a_file: Reports, tmp_path: Path) -> None:
    """Central may learn of it a little later than its file does."""
    for _ in range(3):
        in_a_file.say(after=55)
    (tmp_path / "key").write_text("new-key-in-a-file")
    assert in_a_file.say(after=30).times == 1
    in_a_file.say(after=100)
    assert in_a_file.say(after=80).confirmed


def test_a_page_of_something_before_central_takes_much_longer(reports: Reports) -> None:
    reports.say(error=PAGE)
    reports.say(error=PAGE, after=100)
    assert not reports.say(error=PAGE, after=700).confirmed
    assert reports.say(error=PAGE, after=UNCLEAR_SECONDS - 800).confirmed


def test_pages_neither_hasten_nor_hinder_what_central_itself_says(reports: Reports) -> None:
    for _ in range(3):
        reports.say(error=PAGE, after=60)
    assert reports.say(error=ERROR).times == 1
    reports.say(error=PAGE, after=10)
    reports.say(error=ERROR, after=10)
    reports.say(error=PAGE, after=5)
    assert reports.say(error=ERROR, after=5).confirmed


def test_clearing_what_was_never_reported_changes_nothing(reports: Reports) -> None:
    version = reports.queue.store.version
    clear_refusal(reports.queue, "heartbeat")
    assert reports.queue.store.version == version


def test_a_queue_that_is_away_does_not_hide_the_refusal(reports: Reports, clock: FakeClock) -> None:
    """Whoever reports is about to raise the refusal itself; an error of the queue must not take its place."""
    reports.queue.store.close()
    report_refusal(reports.queue, "heartbeat", ERROR, reports.api_key, clock)
    clear_refusal(reports.queue, "heartbeat")
