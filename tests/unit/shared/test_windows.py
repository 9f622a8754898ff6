"""Maintenance windows: how they are read, and when they are open."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from shared.config.values import Malformed
from shared.config.windows import parse_windows

NIGHTS = "Mon-Fri 22:00-06:00 Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("windows", "moment", "open_"),
    [
        ("08:00-17:00", "2026-03-01T08:00", True),
        ("08:00-17:00", "2026-03-01T07:59", False),
        ("08:00-17:00", "2026-03-01T17:00", False),
        ("Sun 08:00-17:00", "2026-03-01T12:00", True),
        ("Mon 08:00-17:00", "2026-03-01T12:00", False),
        ("sat,SUN 08:00-17:00", "2026-03-01T12:00", True),
        ("Fri-Mon 08:00-17:00", "2026-03-01T12:00", True),
        ("Tue-Thu 08:00-17:00", "2026-03-01T12:00", False),
        (NIGHTS, "2026-01-05T21:00", True),  # Monday 22:00 in Berlin
        (NIGHTS, "2026-01-05T20:59", False),
        (NIGHTS, "2026-01-10T04:59", True),  # Saturday 05:59: Friday's
        (NIGHTS, "2026-01-10T05:00", False),
        (NIGHTS, "2026-01-11T23:30", False),  # Monday 00:30: Sunday has none
        (NIGHTS, "2026-07-06T20:00", True),  # 22:00 in summer
        (NIGHTS, "2026-07-06T19:59", False),
        ("Sat 00:00-24:00", "2026-01-10T23:59", True),
        ("Sat 00:00-24:00", "2026-01-11T00:00", False),
        ("America/New_York 08:00-17:00", None, None),
        ("Sun 08:00-17:00 America/New_York", "2026-03-01T13:00", True),
        ("Mon 01:00-02:00; Sun 11:00-13:00", "2026-03-01T12:00", True),
    ],
)
def test_when_windows_are_open(windows: str, moment: str | None, open_: bool | None) -> None:
    if moment is None:
        with pytest.raises(Malformed):
            parse_windows(windows)
        return
    assert any(window.is_open(at(moment)) for window in parse_windows(windows)) == open_


@pytest.mark.parametrize(
    ("window", "moment", "opens"),
    [
        ("08:00-17:00", "2026-03-01T07:00", "2026-03-01T08:00"),
        ("08:00-17:00", "2026-03-01T08:00", "2026-03-02T08:00"),
        ("Sun 08:00-17:00", "2026-03-01T08:00", "2026-03-08T08:00"),
        (NIGHTS, "2026-01-10T12:00", "2026-01-12T21:00"),
        (NIGHTS, "2026-03-29T12:00", "2026-03-30T20:00"),  # clocks went forward that night
    ],
)
def test_when_it_opens_next(window: str, moment: str, opens: str) -> None:
    assert parse_windows(window)[0].opens_after(at(moment)) == at(opens)


def test_where_clocks_change_the_clock_on_the_wall_counts() -> None:
    """2026-03-29 in Berlin: 02:00 is 03:00. The night has an hour less."""
    (window,) = parse_windows("Sat 22:00-06:00 Europe/Berlin")
    quarters = [at("2026-03-28T12:00") + timedelta(minutes=15 * number) for number in range(24 * 4)]
    assert sum(window.is_open(quarter) for quarter in quarters) == 7 * 4


def test_windows_show_as_they_were_written() -> None:
    assert [str(window) for window in parse_windows(" Mon  08:00-09:00 ;10:00-11:00 UTC;")] == [
        "Mon 08:00-09:00",
        "10:00-11:00 UTC",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (";", "windows such as"),
        ("night", "not understood: 'night'"),
        ("Mon 8:00-9:00", "not understood"),
        ("Mon 24:00-25:00", "24:00 is no time of day"),
        ("Mon 08:00-24:01", "24:01 is no time of day"),
        ("Mon 08:61-09:00", "08:61 is no time of day"),
        ("Mon 08:00-08:00", "is empty, a whole day is 00:00-24:00"),
        ("Mo 08:00-09:00", "'Mo' is none of Mon, Tue"),
        ("Mon- 08:00-09:00", "'' is none of Mon"),
        ("08:00-09:00 Europe/Atlantis", "no time zone 'Europe/Atlantis'"),
        ("08:00-09:00 ../../etc/passwd", "no time zone"),
        ("08:00-09:00 /etc/passwd", "no time zone"),
    ],
)
def test_what_is_no_window_is_named(text: str, says: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse_windows(text)
    assert says in str(refused.value)
