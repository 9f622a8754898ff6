"""What a result's logs say: every line with its time, at most 64 KiB, the middle cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.conftest import FakeClock
from workers.task_runner.work.account import MAX_BYTES, Account


def test_each_line_says_when(clock: FakeClock) -> None:
    account = Account(clock)
    account.say("first")
    clock.advance(1.234)
    account.note("second")
    assert account.text() == "+0.00s first\n+1.23s second"


def test_what_is_said_is_in_the_agents_log_too_and_what_is_noted_is_not(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    account = Account(clock)
    account.say("worth a line, 100% sure")
    account.note("one of many")
    assert [record.getMessage() for record in caplog.records] == ["worth a line, 100% sure"]


def test_nothing_said_is_nothing(clock: FakeClock) -> None:
    assert Account(clock).text() == ""


def test_the_beginning_and_the_end_are_kept_and_what_is_cut_is_counted(clock: FakeClock) -> None:
    account = Account(clock)
    for number in range(5000):
        account.note(f"line {number}")
    text = account.text()
    assert len(text.encode()) <= MAX_BYTES
    assert len(text.encode()) > MAX_BYTES * 0.99, "no more is cut than has to be"
    lines = text.splitlines()
    assert lines[0] == "+0.00s line 0"
    assert lines[-1] == "+0.00s line 4999"
    (cut,) = [number for number, line in enumerate(lines) if "lines cut" in line]
    head, tail = int(lines[cut - 1].split()[-1]), int(lines[cut + 1].split()[-1])
    assert lines[cut] == f"... {tail - head - 1} lines cut ..."


def test_a_line_that_is_too_long_by_itself_is_cut(clock: FakeClock) -> None:
    account = Account(clock, limit=1000)
    account.note("short")
    account.note("é" * 10_000)
    account.note("last")
    lines = account.text().splitlines()
    assert (lines[0], lines[-1]) == ("+0.00s short", "+0.00s last")
    assert lines[1].startswith("+0.00s ééé")
    assert lines[1].endswith("é ...")
    assert len(account.text().encode()) <= 1000


@given(st.integers(200, 3000), st.lists(st.text(max_size=400), max_size=60))
def test_it_is_never_larger_than_its_limit_and_never_loses_the_last_word(limit: int, texts: list[str]) -> None:
    account = Account(FakeClock(), limit)
    for text in texts:
        account.note(text)
    text = account.text()
    assert len(text.encode()) <= limit
    if texts and len(texts[-1].encode()) < 20:
        assert text.endswith(texts[-1])


def test_sixty_four_kibibytes_are_the_limit() -> None:
    assert MAX_BYTES == 64 * 1024
