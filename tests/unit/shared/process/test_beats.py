"""How each loop of a worker is: late, hindered, or at its work."""

from __future__ import annotations

from shared.basics.errors import PermanentError, TemporaryError
from shared.process.beats import Beats
from shared.queue.client import QueueFailed, QueueRefused, QueueUnavailable
from tests.unit.conftest import FakeClock


def working(clock: FakeClock) -> Beats:
    """A loop that did its work just now."""
    beats = Beats(clock)
    beats.begin("poll", 60)
    beats.end("poll", 60)
    return beats


# -- late -----------------------------------------------------------------------------------------


def test_a_loop_that_is_back_in_time_is_not_late(clock: FakeClock) -> None:
    beats = Beats(clock)
    beats.begin("poll", 60)
    clock.advance(60)
    assert beats.overdue() == {}


def test_a_late_loop_is_late_by_so_much_until_it_is_back(clock: FakeClock) -> None:
    beats = Beats(clock)
    beats.begin("poll", 60)
    beats.begin("stream", 90)
    clock.advance(62.34)
    assert beats.overdue() == {"poll": 2.3}
    beats.expect("poll", 60)
    assert beats.overdue() == {}


# -- at its work ----------------------------------------------------------------------------------


def test_a_job_says_when_it_was_done_last(clock: FakeClock) -> None:
    beats = working(clock)
    clock.advance(12)
    beats.begin("poll", 60)
    clock.advance(0.5)
    assert beats.jobs() == {"poll": {"done": 12.5}}


def test_a_job_that_was_never_done_counts_from_its_beginning(clock: FakeClock) -> None:
    beats = Beats(clock)
    beats.begin("nodes", 60)
    clock.advance(7)
    beats.begin("nodes", 60)
    assert beats.jobs() == {"nodes": {"done": 7.0}}


def test_a_long_pass_whose_work_goes_on_does_its_work(clock: FakeClock) -> None:
    beats = Beats(clock)
    beats.begin("nodes", 60)
    clock.advance(50)
    beats.expect("nodes", 60)
    clock.advance(3)
    assert beats.jobs() == {"nodes": {"done": 3.0}}


# -- hindered -------------------------------------------------------------------------------------


def test_a_job_that_fails_is_hindered_since_its_first_failure_for_its_last_reason(clock: FakeClock) -> None:
    beats = working(clock)
    clock.advance(10)
    for reason in ("refused", "timed out"):
        beats.begin("poll", 60)
        clock.advance(1)
        beats.fail("poll", 60, TemporaryError(reason))
    clock.advance(5)
    assert beats.jobs()["poll"] == {"done": 17.0, "hindered": 6.0, "why": "timed out", "own_fault": False}
    beats.begin("poll", 60)
    assert "hindered" in beats.jobs()["poll"], "a new pass proves nothing"
    beats.end("poll", 60)
    assert beats.jobs()["poll"] == {"done": 0.0}


def test_a_pass_that_waits_for_something_has_not_done_its_work(clock: FakeClock) -> None:
    beats = working(clock)
    for _ in range(3):
        beats.begin("poll", 60)
        beats.wait("poll", "registration with Central was not tried")
        beats.end("poll", 60)
        clock.advance(2)
    assert beats.jobs()["poll"] == {
        "done": 6.0,
        "hindered": 6.0,
        "why": "registration with Central was not tried",
        "own_fault": False,
    }
    assert beats.overdue() == {}


def test_a_watch_that_fails_again_and_again_at_the_same_object_is_hindered_though_it_reads_a_while(
    clock: FakeClock,
) -> None:
    beats = working(clock)
    for _ in range(20):
        beats.begin("poll", 60)
        clock.advance(4)
        beats.expect("poll", 60)
        clock.advance(1)
        beats.fail("poll", 60, TemporaryError("cannot be read"))
    assert beats.jobs()["poll"]["hindered"] == 95.0
    beats.begin("poll", 60)
    clock.advance(9)
    beats.expect("poll", 60)
    assert "hindered" in beats.jobs()["poll"]
    clock.advance(1)
    beats.expect("poll", 60)
    assert beats.jobs()["poll"] == {"done": 0.0}, "twice as far as the last one came"


def test_a_watch_that_broke_after_hours_has_to_prove_itself_for_a_minute_only(clock: FakeClock) -> None:
    beats = working(clock)
    beats.begin("poll", 60)
    clock.advance(7200)
    beats.fail("poll", 60, TemporaryError("cut"))
    beats.begin("poll", 60)
    clock.advance(60)
    beats.expect("poll", 60)
    assert beats.jobs()["poll"] == {"done": 0.0}


def test_whose_fault_it_is_is_told(clock: FakeClock) -> None:
    """A restart of the pod brings back neither Central nor the API server, and no room on the disk."""
    theirs = [TemporaryError("timed out"), PermanentError("400"), QueueRefused("the disk is full")]
    ours = [QueueUnavailable("no answer"), QueueFailed("damaged"), OverflowError("a bug")]
    for own_fault, errors in ((False, theirs), (True, ours)):
        for error in errors:
            beats = working(clock)
            beats.fail("poll", 60, error)
            assert beats.jobs()["poll"]["own_fault"] == own_fault, error


def test_an_error_nobody_expected_is_told_with_its_kind_and_no_reason_is_long(clock: FakeClock) -> None:
    beats = working(clock)
    beats.fail("poll", 60, OverflowError("date value out of range"))
    assert beats.jobs()["poll"]["why"] == "OverflowError: date value out of range"
    beats.fail("poll", 60, TemporaryError("x" * 1000))
    assert len(beats.jobs()["poll"]["why"]) == 300
