"""How fast evictions go out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.conftest import FakeClock
from workers.task_runner.work.pace import FLOOR, Pace


def taken(pace: Pace, clock: FakeClock) -> float:
    """Wait for a token and take it; the moment."""
    while (pause := pace.take()) > 0:
        clock.advance(pause + 1e-9)
    return clock.monotonic()


def test_a_burst_goes_at_once_and_the_rest_at_the_rate(clock: FakeClock) -> None:
    pace, begun = Pace(10, 3, clock), clock.monotonic()
    assert [round(taken(pace, clock) - begun, 6) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]


def test_a_pause_saves_up_a_burst_and_no_more(clock: FakeClock) -> None:
    pace = Pace(10, 3, clock)
    clock.advance(3600)
    begun = clock.monotonic()
    assert [round(taken(pace, clock) - begun, 6) for _ in range(4)] == [0, 0, 0, 0.1]


@given(st.lists(st.floats(0, 2), max_size=60), st.floats(0.5, 50), st.integers(1, 20))
def test_no_span_of_time_has_more_than_the_burst_and_the_rate_allow(
    pauses: list[float], rate: float, burst: int
) -> None:
    clock = FakeClock()
    pace = Pace(rate, burst, clock)
    moments = []
    for pause in pauses:
        clock.advance(pause)
        moments.append(taken(pace, clock))
    for first in range(len(moments)):
        for last in range(first, len(moments)):
            assert last - first + 1 <= burst + rate * (moments[last] - moments[first]) + 1e-6


def test_an_api_server_in_trouble_is_asked_less_and_never_nothing(clock: FakeClock) -> None:
    pace = Pace(100, 10, clock)
    rates = []
    for _ in range(8):
        clock.advance(1)
        pace.answered(0.1, in_trouble=True)
        rates.append(pace.rate)
    assert rates == [50, 25, 12.5, 6.25, 5, 5, 5, 5]
    assert min(rates) == 100 * FLOOR


def test_answers_to_what_was_asked_before_the_first_step_are_no_news(clock: FakeClock) -> None:
    pace = Pace(100, 10, clock)
    clock.advance(1)
    for _ in range(30):
        pace.answered(0.1, in_trouble=True)
    assert pace.rate == 50


def test_one_that_recovers_is_asked_more_again_and_no_more_than_allowed(clock: FakeClock) -> None:
    pace = Pace(100, 10, clock)
    clock.advance(1)
    pace.answered(0.1, in_trouble=True)
    for _ in range(10):
        pace.answered(0.1, in_trouble=False)
    assert pace.rate == 70
    for _ in range(100):
        pace.answered(0.1, in_trouble=False)
    assert pace.rate == 100


def test_one_that_slows_down_is_asked_less(clock: FakeClock) -> None:
    pace = Pace(100, 10, clock)
    for _ in range(20):
        clock.advance(1)
        pace.answered(3.0, in_trouble=False)
    assert pace.rate == 5


def test_one_slow_webhook_among_many_answers_slows_nobody_down(clock: FakeClock) -> None:
    pace = Pace(100, 10, clock)
    for number in range(100):
        clock.advance(0.5)
        pace.answered(10.0 if number % 50 == 49 else 0.1, in_trouble=False)
        if number % 50 < 49:
            assert pace.rate == 100 or number > 49
