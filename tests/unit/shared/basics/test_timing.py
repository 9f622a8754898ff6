"""Deadlines, pauses and the form of datetimes."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timedelta, timezone

import pytest

from shared.basics.timing import SYSTEM_CLOCK, Backoff, Deadline, backoff, iso, jittered
from tests.unit.conftest import NOON, FakeClock


class HighestDraw(random.Random):
    """Draws the upper end of every range."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_a_deadline_counts_down_and_is_never_negative(clock: FakeClock) -> None:
    deadline = Deadline.after(10, clock)
    assert (deadline.remaining, deadline.expired) == (10, False)
    clock.advance(9.5)
    assert (deadline.remaining, deadline.expired) == (0.5, False)
    clock.advance(0.5)
    assert (deadline.remaining, deadline.expired) == (0, True)
    clock.advance(100)
    assert deadline.remaining == 0


def test_a_deadline_at_a_moment_ends_at_that_moment(clock: FakeClock) -> None:
    assert Deadline.until(NOON + timedelta(minutes=2), clock).remaining == 120
    assert Deadline.until(NOON - timedelta(minutes=2), clock).expired


def test_a_tighter_deadline_ends_with_the_one_it_was_made_of(clock: FakeClock) -> None:
    deadline = Deadline.after(10, clock)
    assert deadline.within(3).remaining == 3
    assert deadline.within(30).remaining == 10


def test_pauses_double_up_to_the_cap() -> None:
    pauses = backoff(1, 10, HighestDraw())
    assert list(itertools.islice(pauses, 6)) == [1, 2, 4, 8, 10, 10]


def test_the_first_pause_is_below_the_cap_as_well() -> None:
    assert next(backoff(10, 5, HighestDraw())) == 5


def test_pauses_have_full_jitter() -> None:
    drawn = list(itertools.islice(backoff(8, 8, random.Random(1)), 1000))
    assert all(0 <= pause <= 8 for pause in drawn)
    assert min(drawn) < 0.5
    assert max(drawn) > 7.5


def test_after_a_success_pauses_begin_anew() -> None:
    pauses = Backoff(1, 60, HighestDraw())
    assert [pauses.pause() for _ in range(3)] == [1, 2, 4]
    assert pauses.failures == 3
    pauses.reset()
    assert pauses.failures == 0
    assert pauses.pause() == 1


def test_what_the_other_side_asked_for_is_the_least() -> None:
    drawn = [Backoff(1, 60, random.Random(seed)).pause(30) for seed in range(200)]
    assert min(drawn) >= 30


def test_those_who_are_asked_for_the_same_pause_do_not_come_back_together() -> None:
    drawn = [Backoff(1, 60, random.Random(seed)).pause(30) for seed in range(200)]
    assert min(drawn) < 31
    assert 44 < max(drawn) <= 45


def test_a_pause_that_is_asked_for_does_not_shorten_the_backoff() -> None:
    pauses = Backoff(1, 60, HighestDraw())
    assert [pauses.pause(asked) for asked in (30, 0.1, None)] == [45, 2, 4]


def test_intervals_are_spread_around_the_mean() -> None:
    drawn = [jittered(100, 0.1, random.Random(seed)) for seed in range(500)]
    assert 90 <= min(drawn) < 92
    assert 108 < max(drawn) <= 110


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone.utc), "2026-03-01T12:00:00.123Z"),
        (datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T10:00:00.000Z"),
    ],
    ids=["to the millisecond", "in UTC"],
)
def test_moments_are_rfc_3339_with_a_z(moment: datetime, text: str) -> None:
    assert iso(moment) == text


def test_the_machines_clock_knows_its_zone() -> None:
    assert SYSTEM_CLOCK.now().tzinfo is timezone.utc
    assert SYSTEM_CLOCK.monotonic() <= SYSTEM_CLOCK.monotonic()
