"""Maintenance windows: how they are written, when one is open, when the next one opens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.config.values import Malformed

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EXPECTED = "windows such as: Mon-Fri 22:00-06:00 Europe/Berlin; Sat,Sun 00:00-24:00 Europe/Berlin"
_WINDOW = re.compile(r"(?:(?P<days>[A-Za-z,-]+)\s+)?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)(?:\s+(?P<zone>[!-~]+))?")


@dataclass(frozen=True)
class Window:
    """A stretch of the day, on some days of the week, by the clocks of one place.

    The days are those on which it opens: ``Fri 22:00-06:00`` ends on Saturday. Where clocks change, it opens and
    closes when the clocks on the wall say so.
    """

    text: str
    """As the owner wrote it."""
    days: frozenset[int]
    """0 is Monday."""
    start: time
    hours: timedelta
    """From opening to closing by the wall clock; at most a day."""
    zone: ZoneInfo

    def is_open(self, now: datetime) -> bool:
        """Whether the window is open at ``now``."""
        today = now.astimezone(self.zone).date()
        return any(opens <= now < closes for opens, closes in self._stretches(today - timedelta(1), 2))

    def opens_after(self, now: datetime) -> datetime:
        """When it opens next."""
        today = now.astimezone(self.zone).date()
        return next(opens for opens, _ in self._stretches(today, 9) if opens > now)

    def _stretches(self, first: date, days: int) -> Iterator[tuple[datetime, datetime]]:
        """When it opens and closes, as UTC, of those that open on one of the ``days`` from ``first`` on."""
        for day in (first + timedelta(number) for number in range(days)):
            if day.weekday() in self.days:
                opens = datetime.combine(day, self.start)
                yield self._utc(opens), self._utc(opens + self.hours)

    def _utc(self, wall: datetime) -> datetime:
        return wall.replace(tzinfo=self.zone).astimezone(timezone.utc)

    def __str__(self) -> str:
        return self.text


def parse_windows(text: str) -> tuple[Window, ...]:
    """Windows, separated by semicolons: days (all if left out), hours, time zone (UTC if left out)."""
    found = tuple(_parse_window(part) for part in (part.strip() for part in text.split(";")) if part)
    if not found:
        raise Malformed(_EXPECTED)
    return found


def _parse_window(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise Malformed(f"{_EXPECTED}; not understood: {text[:80]!r}")
    start, end = _minutes(match["start"], 23 * 60 + 59), _minutes(match["end"], 24 * 60)
    if start == end:
        raise Malformed(f"{_EXPECTED}; {text[:80]!r} is empty, a whole day is 00:00-24:00")
    length = end - start if end > start else end + 24 * 60 - start
    hours = timedelta(minutes=length)
    opens = time(start // 60, start % 60)
    return Window(" ".join(text.split()), _parse_days(match["days"]), opens, hours, _parse_zone(match["zone"] or "UTC"))


def _parse_days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = _day(first), _day(last) if dash else _day(first)
        days.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(days)


def _day(text: str) -> int:
    try:
        return _DAYS.index(text.strip().capitalize())
    except ValueError:
        raise Malformed(f"{_EXPECTED}; {text[:80]!r} is none of {', '.join(_DAYS)}") from None


def _minutes(text: str, most: int) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > most:
        raise Malformed(f"{_EXPECTED}; {text} is no time of day")
    return hours * 60 + minutes


def _parse_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Malformed(f"{_EXPECTED}; no time zone {name[:80]!r} (names as in the IANA database)") from None
