"""A flood of one source is a number in the log, and the other sources are heard."""

from __future__ import annotations

import logging

from shared.basics.throttle import BURST, PER_SECOND, Throttle
from tests.unit.conftest import FakeClock, counted


def record(line: int, message: str = "dropped %d", number: int = 0) -> logging.LogRecord:
    return logging.LogRecord("shared.test", logging.WARNING, "file.py", line, message, (number,), None)


def test_a_source_may_write_a_burst_and_then_at_a_rate(clock: FakeClock) -> None:
    throttle = Throttle(clock)
    before = counted("log_lines_dropped_total")
    assert sum(throttle.filter(record(1)) for _ in range(BURST + 500)) == BURST
    clock.advance(10)
    assert sum(throttle.filter(record(1)) for _ in range(BURST)) == 10 * PER_SECOND
    clock.advance(3600)
    assert sum(throttle.filter(record(1)) for _ in range(2 * BURST)) == BURST
    assert counted("log_lines_dropped_total") - before == 500 + BURST - 10 * PER_SECOND + BURST


def test_another_source_is_not_held_back(clock: FakeClock) -> None:
    throttle = Throttle(clock)
    for _ in range(BURST + 1):
        throttle.filter(record(1))
    assert throttle.filter(record(2))


def test_what_was_left_out_is_one_line_with_its_number_and_the_last_of_it(clock: FakeClock) -> None:
    throttle = Throttle(clock)
    for number in range(BURST + 7):
        throttle.filter(record(1, number=number))
    (summary,) = throttle.summaries()
    assert summary.getMessage() == f"7 more lines like this were left out: dropped {BURST + 6}"
    assert (summary.name, summary.levelno) == ("shared.test", logging.WARNING)
    assert throttle.summaries() == []
